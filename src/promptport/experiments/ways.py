"""The ways to combine prompts of several tasks into one that comparisons know by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from promptport.backbone import Backbone
from promptport.distillation import (
    DistillConfig,
    DistillResult,
    distill_merge,
    merge_settings,
)
from promptport.library import TaskPrompt
from promptport.merging import SearchConfig, concatenate, list_merges, merge, search_coefficients
from promptport.prompt import SoftPrompt
from promptport.vector import TaskPromptVector, unique_labels

SEARCHED = {
    "paper": SearchConfig(),
    "separate": SearchConfig("min", "separate", ties="loss"),
}
CONCATENATE, DISTILL = "concatenate", "distill"


@dataclass(frozen=True)
class WayConfig:
    """What the ways read besides the prompts.

    Attributes:
        dev_rows: most labelled dev rows of each task that searches read; 0 for all.
        distill: how `distill` learns, or changes to what is usual on the backbone; its seed and
            `truncate` are those given here.
        seed: of methods that draw, and of `distill`.
        truncate: cut texts that are too long instead of refusing them.
    """

    dev_rows: int = 0
    distill: DistillConfig | Mapping[str, Any] | None = None
    seed: int = 0
    truncate: bool = False


@dataclass(frozen=True)
class WayResult:
    """A prompt for several tasks.

    Attributes:
        prompt: on the origin of the first one.
        coefficients: that were found, for the ways that search.
        distilled: how it was learned, for `distill`.
    """

    prompt: SoftPrompt
    coefficients: tuple[float, ...] | None = None
    distilled: DistillResult | None = None

    def __repr__(self) -> str:
        return f"WayResult({self.prompt.length} virtual tokens, {self.coefficients})"


def way_names() -> list[str]:
    """All ways: those that search, `concatenate`, `distill`, and the merge methods."""
    names = [method.name for method in list_merges()]
    families = dict.fromkeys(name.rpartition(".")[0] for name in names)
    return [*SEARCHED, CONCATENATE, DISTILL, *families, *names]


def combine_by(
    way: str,
    backbone: Backbone,
    parts: Mapping[str, TaskPrompt],
    config: WayConfig | None = None,
) -> WayResult:
    """Combine prompts of several tasks.

    Args:
        way: `paper` (the plain sum, one coefficient by the mean dev score), `separate` (a
            coefficient for each task, by the smallest retention on dev), `concatenate`, `distill`
            (begun from the sum and from the concatenation, learns from the single prompts without
            labels), or a merge method (coefficients of 1, its usual options).
        backbone: the frozen model of all.
        parts: prompts with their origins, and their tasks, by name.
        config: what the ways read besides.

    Raises:
        UnknownNameError: no such way.
        MismatchError: a prompt without origin, unless the way is `concatenate`.
        ShapeError: vectors of different lengths.
    """
    config = config or WayConfig()
    prompts = [part.prompt for part in parts.values()]
    if way == CONCATENATE:
        return WayResult(concatenate(prompts))
    tasks = [part.task for part in parts.values()]
    vectors = unique_labels({name: TaskPromptVector.of(p.prompt) for name, p in parts.items()})
    origin, made = prompts[0].origin, prompts[0].provenance.origin
    assert origin is not None, "its vector was made from it"
    if way in SEARCHED:
        search = replace(
            SEARCHED[way], rows=config.dev_rows, truncate=config.truncate, seed=config.seed
        )
        searched = search_coefficients(backbone, vectors, tasks, origin, search, made=made)
        return WayResult(searched.prompt, tuple(searched.coefficients))
    if way == DISTILL:
        starts = [merge(vectors).apply(origin, made), concatenate(prompts)]
        learning = replace(
            merge_settings(backbone, config.distill), seed=config.seed, truncate=config.truncate
        )
        pairs = list(zip(prompts, tasks, strict=True))
        distilled = distill_merge(starts, backbone, pairs, config=learning)
        return WayResult(distilled.prompt, distilled=distilled)
    return WayResult(merge(vectors, method=way, seed=config.seed).apply(origin, made))
