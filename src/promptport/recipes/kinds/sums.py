"""`sum`: prompts of several tasks combined into one (paper B, RQ2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from promptport.recipes.cells import Cell
from promptport.recipes.kinds.base import SEED, Context, Key, Kind, Method
from promptport.recipes.kinds.tune import TUNING_SETTINGS, tuned_cell

if TYPE_CHECKING:
    from promptport.experiments.ways import WayResult
    from promptport.recipes.bench import Bench

# `paper`: the plain sum with one coefficient by the mean dev score.
# `distill`: learns the answers of the prompts.
WAYS = (
    *("paper", "separate", "concatenate", "distill"),
    *("dare", "mean", "orthogonal", "select", "sum", "ties", "weighted"),
)


class Sums(Kind):
    """Prompts of several tasks combined into one: what each task keeps of its own prompt's score.

    The score is the mean of the kept shares. `least` is the smallest, and `lost` says whether it is
    below 0.8.
    """

    name = "sum"
    keys: Mapping[str, Key] = {
        "backbone": Key("backbone"),
        "tasks": Key("tasks", least=2),
        "method": Key("method"),
        "seed": SEED,
    }
    methods: Mapping[str, Method] = {way: {} for way in WAYS}
    options: Mapping[str, str] = {
        "way": "how they are combined: one of the methods that are known; usual: its own name",
        "dev_rows": "labelled dev rows that coefficients are chosen on; 0: all",
        "tuned": "method of `tune` that makes the prompts",
        "distill": "fields of `DistillConfig`, over those of the settings",
    }
    takes: Mapping[str, Any] = {"way": WAYS, "dev_rows": 0, "tuned": "", "distill": {}}
    reads = (*TUNING_SETTINGS, "distill")
    alike = ("backbone", "tasks", "seed")
    whole = True  # methods share the keys and values of texts

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        how = self.method(place["method"], context).get("tuned", "free")
        return [
            tuned_cell(place, context, method=how, backbone=place["backbone"], task=task)
            for task in place["tasks"]
        ]

    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        with bench.backbone(cells[0].place["backbone"]).keeping_texts():
            for cell in cells:
                yield cell, self._kept(cell, bench)

    def _kept(self, cell: Cell, bench: Bench) -> dict[str, Any]:
        """What each task keeps of its own prompt's score."""
        from promptport.evaluation import score_prompts
        from promptport.experiments.retention import LOST, retention_of

        backbone = bench.backbone(cell.place["backbone"])
        tasks = [bench.task(name) for name in cell.place["tasks"]]
        made = self._combined(cell, bench)
        (evaluations,) = score_prompts(backbone, [made.prompt], tasks, truncate=True)
        needs = self.needs(cell.place, bench.context)
        alone = [bench.folder.values(need.id)["score"] for need in needs]
        scores = [evaluation.score.value for evaluation in evaluations]
        kept = [retention_of(s, own) for s, own in zip(scores, alone, strict=True)]
        return {
            "score": fmean(kept),
            "kept": kept,
            "least": min(kept),
            "lost": float(min(kept) < LOST),
            "scores": scores,
            "alone": alone,
            "coefficients": None if made.coefficients is None else list(made.coefficients),
        }

    def _combined(self, cell: Cell, bench: Bench) -> WayResult:
        from promptport.experiments.ways import WayConfig, combine_by
        from promptport.library import TaskPrompt

        options = cell.settings["method"]
        needs = self.needs(cell.place, bench.context)
        parts = {
            name: TaskPrompt(bench.prompt(need), bench.task(name))
            for name, need in zip(cell.place["tasks"], needs, strict=True)
        }
        learning = {**bench.settings.distill, **options.get("distill", {})}
        config = WayConfig(
            options.get("dev_rows", 0),
            learning,
            cell.place["seed"],
            truncate=True,
        )
        way = options.get("way", cell.place["method"])
        return combine_by(way, bench.backbone(cell.place["backbone"]), parts, config)


SUMS = Sums()
