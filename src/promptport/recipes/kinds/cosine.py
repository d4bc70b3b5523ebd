"""`cosine`: how alike two task prompt vectors are (paper B, its heat maps)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.kinds.tune import TUNING_SETTINGS, tuned_cell

if TYPE_CHECKING:
    from promptport.recipes.bench import Bench


class Cosine(Kind):
    """The cosine of two task prompt vectors, flattened; `prompts` is that of the tuned prompts."""

    name = "cosine"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "task": Key("task"),
        "other": Key("task"),
        "seed": SEED,
        "other_seed": SEED,
    }
    methods: Mapping[str, Method] = {}
    reads = TUNING_SETTINGS

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        backbone = place["backbone"]
        other = {"seed": place["other_seed"]}
        return [
            tuned_cell(place, context, backbone=backbone, task=place["task"]),
            tuned_cell(other, context, backbone=backbone, task=place["other"]),
        ]

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        from torch.nn.functional import cosine_similarity

        from promptport.vector import TaskPromptVector

        for cell in cells:
            prompts = [bench.prompt(need) for need in self.needs(cell.place, bench.context)]
            first, second = (TaskPromptVector.of(prompt).delta.flatten() for prompt in prompts)
            whole, others = (prompt.vectors.flatten() for prompt in prompts)
            yield (
                cell,
                {
                    "score": float(cosine_similarity(first, second, dim=0)),
                    "prompts": float(cosine_similarity(whole, others, dim=0)),
                },
            )


COSINE = Cosine()
