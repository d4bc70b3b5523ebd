"""Which tasks survive together? All pairs, or larger sets, of a library of prompts.

Paper B's second question (arXiv 2408.01119, RQ2): task prompt vectors are added, one coefficient is
chosen by the mean dev score, and what each task keeps of its own prompt's score is compared. There
8 of 15 pairs lose a task almost wholly. Every way to combine is scored on the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from promptport.analysis import forecast_pair
from promptport.analysis.forecast import RELIABILITY
from promptport.backbone import Backbone, BackboneLike, as_backbone, with_origin
from promptport.checks import is_once, refuse_out_of_range
from promptport.distillation import DistillConfig, merge_settings
from promptport.errors import PromptPortError, ShapeError, UnknownNameError
from promptport.evaluation import Evaluation, score_prompts
from promptport.experiments.result_store import (
    CELLS_FILE,
    Cell,
    ResultStore,
    backbone_stamp,
    packed,
    task_stamp,
    unpacked,
)
from promptport.experiments.retention import (
    Combined,
    Pairs,
    forecasts_of,
    records_of,
    task_retention,
)
from promptport.experiments.ways import (
    CONCATENATE,
    DISTILL,
    SEARCHED,
    WayConfig,
    WayResult,
    combine_by,
    way_names,
)
from promptport.library import Library, TaskPrompt
from promptport.library.library import task_prompts_on
from promptport.progress import also, stage
from promptport.prompt import SoftPrompt
from promptport.records import digest
from promptport.seeds import check_seed
from promptport.storage.prompt_folder import checksum
from promptport.vector import TaskPromptVector

_VALUES = ("score", "right", "low", "majority", "coefficients", "said")


@dataclass(frozen=True)
class PairsConfig:
    """What is combined, how, and on which rows.

    Attributes:
        ways: names of merge methods (coefficients of 1, their usual options); `paper` (the plain
            sum, one coefficient by the mean dev score), `separate` (a coefficient for each task, by
            the smallest retention on dev), `concatenate`, and `distill` (begun from the sum and
            from the concatenation, learns from the single prompts without labels). The others are
            compared with the first.
        sizes: tasks in a set, 2 or more each.
        most: sets of each size, drawn at random; 0 for all.
        split: whose rows are scored.
        rows: most rows of each task, the first ones; 0 for all.
        dev_rows: the same for searches, which read the labels of `dev`.
        forecast_rows: unlabelled training rows for a forecast of each pair that is combined by
            `sum`, `mean` or `select`; 0 for none.
        distill: how `distill` learns, or changes to what is usual on the backbone; its seed and
            `truncate` are those given here.
        seed: of the sets that are drawn, of methods that draw, and of `distill`.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        PromptPortError: no way or size, one twice, or one that cannot be; a number below 0.
    """

    ways: tuple[str, ...] = ("paper", "sum", "separate")
    sizes: tuple[int, ...] = (2,)
    most: int = 0
    split: str = "test"
    rows: int = 0
    dev_rows: int = 0
    forecast_rows: int = 0
    distill: DistillConfig | Mapping[str, Any] | None = None
    seed: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        check_seed(self.seed)
        known = way_names()
        for way in self.ways:
            if way not in known:
                raise UnknownNameError(
                    f"way {way!r}",
                    expected=f"one of {', '.join(known)}",
                    got="another name",
                    fix="Choose one of them",
                )
        counts = ("most", "rows", "dev_rows", "forecast_rows")
        ranges = {
            "ways": (is_once(self.ways), "one or more, each once"),
            "sizes": (
                is_once(self.sizes) and min(self.sizes) >= 2,
                "one or more, each once, of 2 tasks or more",
            ),
            **{name: (getattr(self, name) >= 0, "0 or more") for name in counts},
        }
        refuse_out_of_range(self, ranges)


def score_pairs(
    backbone: BackboneLike,
    library: Library | Mapping[str, TaskPrompt],
    config: PairsConfig | None = None,
    *,
    out: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Combine the prompts of a library in pairs or larger sets, and say what each task keeps.

    A prompt counts if the interval of its score lies above the majority answer: shares of less are
    noise. Combinations stand on the origin of their first prompt.

    Args:
        backbone: the frozen model of all prompts.
        library: prompts with their origins, and their tasks, by name. Prompts of the same task are
            not combined with each other.
        config: what is combined, how, and on which rows.
        out: folder that keeps what is measured (`cells.jsonl`), so that a stopped run goes on.
        progress: called with (sets done, sets in all).

    Raises:
        PromptPortError: fewer prompts of different tasks that count than a set has tasks.
        MismatchError: prompts of other backbones, or without origin.
        ShapeError: vectors of different lengths.
        TaskError: data or templates that do not fit, a text to text task to forecast or distill.
        TuningError: `distill` cannot learn from these rows.
        StorageError, FileFormatError: see `ResultStore`.
    """
    backbone = as_backbone(backbone)
    parts = task_prompts_on(library, backbone)
    return _Comparison(backbone, parts, config or PairsConfig(), out).run(progress)


class _Comparison:
    def __init__(
        self,
        backbone: Backbone,
        parts: Mapping[str, TaskPrompt],
        config: PairsConfig,
        out: str | Path | None,
    ) -> None:
        self.backbone, self.config = backbone, config
        self.parts = {
            name: TaskPrompt(with_origin(part.prompt, backbone), part.task)
            for name, part in parts.items()
        }
        for part in self.parts.values():
            backbone.check_prompt(part.prompt)
        self._check_ways()
        self._stamp = cache(self._stamped)
        self.cells = ResultStore(
            None if out is None else Path(out) / CELLS_FILE,
            self._weights if out is not None else lambda cell: "",
            *_VALUES,
            exact=True,
        )

    def _check_ways(self) -> None:
        """Refuse at once what would end a long comparison."""
        ways = self.config.ways
        if self.config.forecast_rows or DISTILL in ways:
            for part in self.parts.values():
                part.task.refuse_text2text(f"Leave out forecasts and {DISTILL}")
        if set(ways) == {CONCATENATE}:
            return
        vectors = {name: TaskPromptVector.of(p.prompt, name) for name, p in self.parts.items()}
        lengths = {name: len(vector.delta) for name, vector in vectors.items()}
        if len(set(lengths.values())) > 1:
            raise ShapeError(
                "virtual tokens of the prompts",
                expected=f"as many for all, unless {CONCATENATE} is the only way",
                got=", ".join(f"{name} {length}" for name, length in lengths.items()),
                fix="Leave out the others, or tune them with the same --length",
            )

    def _weights(self, place: Mapping[str, Any]) -> str:
        """Of everything that a cell depends on; empty for what is not asked here."""
        names, way, config = place.get("prompts"), place.get("way"), self.config
        if not names or way is None or any(name not in self.parts for name in names):
            return ""
        read, more = {config.split}, [config.split, config.rows, config.truncate]
        if way in SEARCHED:
            read.add("dev")
            more += [config.dev_rows, asdict(SEARCHED[way])]
        elif way == DISTILL:
            read.add("train")
            more += [asdict(merge_settings(self.backbone, config.distill))]
        if config.forecast_rows and way in RELIABILITY:
            read.add("train")
            more += [config.forecast_rows]
        if way not in ("", CONCATENATE):
            more += [config.seed]
        own = [self._stamp(name, split) for name in names for split in sorted(read)]
        return digest(self._base, own, more)

    @cached_property
    def _base(self) -> str:
        return backbone_stamp(self.backbone)

    def _stamped(self, name: str, split: str) -> str:
        part = self.parts[name]
        told = [checksum(part.prompt), part.prompt.provenance.template]
        return digest(told, task_stamp(part.task, split))

    def run(self, progress: Callable[[int, int], None] | None) -> Pairs:
        alone = {name: self._alone(name) for name in self.parts}
        left_out = {
            name: f"{cell['score']:.3f} does not beat the majority answer ({cell['majority']:.3f}) "
            "beyond noise"
            for name, cell in alone.items()
            if cell["low"] <= cell["majority"]
        }
        counting = [name for name in self.parts if name not in left_out]
        sets = self._sets(counting)
        without = set(self.config.sizes) - set(map(len, sets))
        if without:
            raise PromptPortError(
                "prompts to combine",
                expected=f"{min(without)} or more of different tasks that beat the majority answer",
                got="; ".join(
                    [
                        *(f"{name} ({self.parts[name].task.name})" for name in counting),
                        *(f"{name}: {why}" for name, why in left_out.items()),
                    ]
                )
                or "none",
                fix="Tune those longer, or add others",
            )
        combined = []
        with stage("scoring sets of prompts") as told:
            at = also(told, progress)
            told.at(0, len(sets))
            for done, names in enumerate(sets):
                combined += [self._combined(cell, alone) for cell in self._measure(names)]
                at(done + 1, len(sets))
        return Pairs(
            {name: cell["score"] for name, cell in alone.items()},
            left_out,
            tuple(combined),
            records_of(combined, {name: part.task.name for name, part in self.parts.items()}),
            forecasts_of(combined),
        )

    def _alone(self, name: str) -> Cell:
        place = {"prompts": [name], "way": ""}
        if not self.cells.has(**place):
            part = self.parts[name]
            ((evaluation,),) = self._score([part.prompt], [name])
            majority = part.task.majority_score(self.config.split).value
            known = {"low": evaluation.score.low, "majority": majority}
            self.cells.add({**_scored([evaluation]), **known}, **place)
        cell = self.cells.get(**place)
        assert cell is not None
        return {**cell, "score": cell["score"][0], "right": cell["right"][0]}

    def _score(self, prompts: Sequence[SoftPrompt], names: Sequence[str]) -> list[list[Evaluation]]:
        config = self.config
        with stage(f"scoring {' + '.join(names)}"):
            return score_prompts(
                self.backbone,
                prompts,
                [self.parts[name].task for name in names],
                split=config.split,
                rows=config.rows,
                truncate=config.truncate,
            )

    def _sets(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        """Sets of different tasks, of every size those that are drawn."""
        drawn: list[tuple[str, ...]] = []
        for size in self.config.sizes:
            every = [
                chosen
                for chosen in combinations(names, size)
                if len({self.parts[name].task.name for name in chosen}) == size
            ]
            order = np.random.default_rng(self.config.seed).permutation(len(every))
            drawn += [every[i] for i in sorted(order[: self.config.most or None])]
        return drawn

    def _measure(self, names: tuple[str, ...]) -> list[Cell]:
        """The cells of a set, one per way; those that are missing are scored in shared batches."""
        places = {way: {"prompts": list(names), "way": way} for way in self.config.ways}
        missing = [way for way, place in places.items() if not self.cells.has(**place)]
        if missing:
            made = [self._combine(way, names) for way in missing]
            scores = self._score([each.prompt for each in made], names)
            for way, each, evaluations in zip(missing, made, scores, strict=True):
                factors = None if each.coefficients is None else list(each.coefficients)
                known = {"coefficients": factors, "said": self._forecast(way, names, each.prompt)}
                self.cells.add({**_scored(evaluations), **known}, **places[way])
        cells = [self.cells.get(**place) for place in places.values()]
        return [cell for cell in cells if cell is not None]

    def _combine(self, way: str, names: Sequence[str]) -> WayResult:
        config = self.config
        read = WayConfig(config.dev_rows, config.distill, config.seed, config.truncate)
        return combine_by(way, self.backbone, {name: self.parts[name] for name in names}, read)

    def _forecast(self, way: str, names: Sequence[str], prompt: SoftPrompt) -> list[str] | None:
        """The verdicts of the forecast, of a pair that is combined in a way that it knows."""
        config = self.config
        if not config.forecast_rows or len(names) != 2 or way not in RELIABILITY:
            return None
        first, second = (self.parts[name] for name in names)
        forecast = forecast_pair(
            self.backbone,
            first,
            second,
            combined=prompt,
            rows=config.forecast_rows,
            seed=config.seed,
            truncate=config.truncate,
        )
        return [task.verdict for task in forecast.tasks]

    def _combined(self, cell: Cell, alone: Mapping[str, Cell]) -> Combined:
        tasks = []
        for i, name in enumerate(cell["prompts"]):
            rows, own = cell["right"][i], alone[name]["right"]
            known = rows is not None and own is not None
            retention = task_retention(
                name,
                (cell["score"][i], alone[name]["score"]),
                (unpacked(rows), unpacked(own)) if known else None,
            )
            said = cell["said"][i] if cell["said"] else None
            tasks.append(replace(retention, forecast=said))
        coefficients = None if cell["coefficients"] is None else tuple(cell["coefficients"])
        return Combined(cell["way"], tuple(tasks), coefficients)


def _scored(evaluations: Sequence[Evaluation]) -> Cell:
    """Per task the score, and the rows that are right."""
    return {
        "score": [e.score.value for e in evaluations],
        "right": [None if e.right is None else packed(e.right) for e in evaluations],
    }
