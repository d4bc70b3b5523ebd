"""Kinds of cells, by the names that recipes write."""

from promptport.recipes.kinds.base import Context, Key, Kind, names_in
from promptport.recipes.kinds.baseline import BASELINE
from promptport.recipes.kinds.cosine import COSINE
from promptport.recipes.kinds.few_shot import FEW_SHOT
from promptport.recipes.kinds.origins import ORIGINS
from promptport.recipes.kinds.sums import SUMS
from promptport.recipes.kinds.together import TOGETHER
from promptport.recipes.kinds.transfer import CHAIN, TRANSFER
from promptport.recipes.kinds.tune import TUNE

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (TUNE, BASELINE, TRANSFER, CHAIN, ORIGINS, SUMS, TOGETHER, FEW_SHOT, COSINE)
}

__all__ = ["KINDS", "Context", "Key", "Kind", "names_in"]
