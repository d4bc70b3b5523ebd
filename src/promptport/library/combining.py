"""A combination as users write it: `library/sst2 + 0.5*mnli`, read, merged, searched, distilled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from promptport.backbone import Backbone, BackboneLike
from promptport.distillation import DistillConfig, DistillResult, distill_merge
from promptport.errors import PromptPortError, UnknownNameError
from promptport.library.terms import Combinable, Terms, find_terms
from promptport.merging import (
    SearchConfig,
    SearchResult,
    concatenate,
    list_merges,
    merge,
    search_coefficients,
)
from promptport.parameters.written_origins import OWN, OriginLike, origin_on, own_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.registry import unknown_name
from promptport.tasks import Task, TaskLike, as_task, open_task
from promptport.vector import TaskPromptVector

EITHER = "either"  # begin from the sum and from the concatenation, go on from the better one
_WHOLE = ("concatenate", "concatenate.v1", EITHER)  # methods that take prompts as they are


@dataclass(frozen=True)
class CombineConfig:
    """How prompts are combined.

    Attributes:
        method: a merge method, `concatenate` (whole prompts one behind the other), or `either`
            (with `distill`: the sum and the concatenation are both begun, and the one that misses
            less goes on).
        options: of the merge method.
        origin: what the combination is put on: `own` (that of the first prompt) or what
            `read_origin` takes.
        seed: of random origins and methods.
        search: choose the coefficients by labelled dev rows; its method, options and seed are
            those of this configuration. None: take them from the expression.
        distill: let the combination learn to answer like each of its prompts, without labels: how,
            or changes to what is usual for the backbone (`distillation.merge_settings`).

    Raises:
        PromptPortError: choices that do not fit together.
        UnknownNameError: no such method.
    """

    method: str = "sum"
    options: Mapping[str, Any] = field(default_factory=dict)
    origin: OriginLike = OWN
    seed: int = 0
    search: SearchConfig | None = None
    distill: DistillConfig | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _check_method(self.method)
        if self.method == EITHER and self.distill is None:
            raise PromptPortError(
                f"method {EITHER}",
                expected="--distill, which tells the sum and the concatenation apart",
                got="none",
                fix="Add --distill, or choose sum or concatenate",
            )
        given = {
            "--origin": self.origin != OWN,
            "--option": bool(self.options),
            "--search": self.search is not None,
        }
        if self.is_whole and any(given.values()):
            raise PromptPortError(
                f"method {self.method}",
                expected="whole prompts, like 'a + b', without --origin, --option and --search",
                got=", ".join(name for name, is_given in given.items() if is_given),
                fix="Leave coefficients and options out, or choose another method",
            )

    @property
    def is_whole(self) -> bool:
        """Whether the method takes prompts as they are."""
        return self.method in _WHOLE

    @property
    def needs_model(self) -> bool:
        """Whether the backbone is asked, not only its embedding table."""
        return self.search is not None or self.distill is not None


@dataclass(frozen=True)
class Combination:
    """What came of an expression.

    Attributes:
        prompt: on its origin; its history says how it was made.
        terms: the expression.
        method: that it was made with; of `either`, the one that went on.
        vector: the combination without its origin; None for whole prompts.
        search: how the coefficients were chosen, if they were searched.
        distilled: what it learned, if it was distilled.
        starts: methods that distillation began from, in the order of `distilled.tried`.
        notes: what may surprise, one line each.
    """

    prompt: SoftPrompt
    terms: Terms
    method: str
    vector: TaskPromptVector | None = None
    search: SearchResult | None = None
    distilled: DistillResult | None = None
    starts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the vectors."""
        made = self.prompt.provenance
        described: dict[str, Any] = {
            "combination": made.task if self.vector is None else self.vector.label,
            "terms": dict(self.terms.weights),
            "folders": {name: str(place) for name, place in self.terms.folders.items()},
            "method": self.method,
            "backbone": made.backbone,
            "origin": made.origin,
            "length": self.prompt.length,
            "template": made.template,
            "vector_norms": None if self.vector is None else self.vector.delta.norm(dim=1).tolist(),
        }
        if self.search is not None:
            described["search"] = self.search.to_dict(list(self.terms.weights))
        if self.distilled is not None:
            described["distilled"] = self.distilled.to_dict()
            if self.distilled.tried:
                tried = dict(zip(self.starts, self.distilled.tried, strict=True))
                described["distilled"]["tried"] = tried
        return described


def combine(
    expression: str | Terms,
    prompts: Mapping[str, Combinable] | None = None,
    config: CombineConfig | None = None,
    *,
    backbone: BackboneLike | None = None,
    tasks: Sequence[TaskLike] = (),
    data: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Combination:
    """Add, subtract, scale and merge tuned prompts; trains nothing unless it is distilled.

    Example:
        >>> combine("sst2 + 0.5*mnli", {"sst2": "runs/sst2", "mnli": prompt})  # doctest: +SKIP

    Args:
        expression: over names, see `find_terms`, or what that returns.
        prompts: prompts, vectors or folders by name; other names are folders.
        config: method, origin, search, distillation.
        backbone: the frozen model of all of them: loaded, or its name if it is not where the
            prompts say. It is only opened if it is needed.
        tasks: those that a search serves, or one for each name that is added, in their order;
            loaded, or their names. None given: the tasks that the prompts remember.
        data: folder of `lama:` and `nlu:` tasks.
        loading: `device`, `dtype` and `device_map`, as `Backbone.load` takes them.
        progress: of a distillation, called with (steps done, steps in all).

    Raises:
        PromptPortError: no such expression, or a configuration that does not fit it.
        MismatchError: several backbones or sizes, or a prompt without origin.
        UnknownNameError: a task that cannot be opened.
    """
    config = config or CombineConfig()
    terms = expression if isinstance(expression, Terms) else find_terms(expression, prompts)
    _check_terms(terms, config)
    opened = tuple(as_task(task, data) for task in tasks)
    work = _Work(terms, config, backbone, opened, data, dict(loading or {}))
    return work.run(progress)


@dataclass
class _Work:
    """One combination on its way."""

    terms: Terms
    config: CombineConfig
    backbone: BackboneLike | None
    tasks: tuple[Task, ...]
    data: str | Path | None
    loading: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    def run(self, progress: Callable[[int, int], None] | None) -> Combination:
        config = self.config
        starts: dict[str, SoftPrompt] = {}
        vector: TaskPromptVector | None = None
        search: SearchResult | None = None
        if config.search is not None:
            search = self._searched(config.search)
            starts, vector = {config.method: search.prompt}, search.vector
        elif not config.is_whole or config.method == EITHER:
            vector = self._merged()
            starts = {"sum" if config.is_whole else config.method: self._on_origin(vector)}
        if config.is_whole:
            starts["concatenate"] = concatenate(self.terms.prompts())
        prompt, distilled, chosen = next(iter(starts.values())), None, 0
        if config.distill is not None:
            distilled = self._distilled(list(starts.values()), config.distill, progress)
            prompt, chosen = distilled.prompt, distilled.start
            vector = vector if chosen == 0 else None  # of the sum, where both were begun
        if vector is not None and not vector.delta.any():
            self.notes.append("the combination is zero: the prompt is the bare origin")
        return Combination(
            prompt,
            self.terms,
            list(starts)[chosen],
            vector,
            search,
            distilled,
            tuple(starts),
            tuple(self.notes),
        )

    def _merged(self) -> TaskPromptVector:
        config = self.config
        whole = config.is_whole
        return merge(
            self.terms.vectors(self._named()),
            list(self.terms.weights.values()),
            method="sum" if whole else config.method,
            seed=config.seed,
            options={} if whole else config.options,
        )

    def _on_origin(self, vector: TaskPromptVector) -> SoftPrompt:
        start, made = self._origin(vector.provenance, vector.length)
        return vector.apply(start, made)

    def _origin(self, source: Provenance, length: int) -> tuple[Tensor, dict[str, Any] | None]:
        """(n, d), and how it was made."""
        config, terms = self.config, self.terms
        if config.origin == OWN:
            name = str(terms.folders.get(terms.first, terms.first))
            return own_origin(terms.prompt_or_none(terms.first), name, self._named())
        return origin_on(
            config.origin,
            source,
            length,
            backbone=self._named(),
            seed=config.seed,
            also=f"{OWN}, ",
        )

    def _searched(self, config: SearchConfig) -> SearchResult:
        mine = self.config
        config = replace(config, method=mine.method, options=mine.options, seed=mine.seed)
        vectors = self.terms.vectors(self._named())
        start, made = self._origin(vectors[0].provenance, vectors[0].length)
        remembered = [] if self.tasks else [self._remembered(name) for name in self.terms.added]
        result = search_coefficients(
            self._model(vectors[0].provenance),
            vectors,
            self.tasks or tuple({task.name: task for task in remembered}.values()),
            start,
            config,
            terms=list(self.terms.weights.values()),
            made=made,
        )
        chosen = zip(self.terms.weights, result.coefficients, strict=True)
        idle = [name for name, value in chosen if not value]
        if 0 < len(idle) < len(self.terms.weights):
            self.notes.append(f"with coefficient 0, {', '.join(idle)} adds nothing")
        return result

    def _distilled(
        self,
        starts: list[SoftPrompt],
        config: DistillConfig | Mapping[str, Any] | None,
        progress: Callable[[int, int], None] | None,
    ) -> DistillResult:
        added = self.terms.added
        if self.tasks and len(self.tasks) != len(added):
            raise PromptPortError(
                "--task",
                expected=f"one for each name that is added ({', '.join(added)})",
                got=", ".join(task.name for task in self.tasks),
                fix="Repeat --task in the order of the names",
            )
        tasks = self.tasks or tuple(self._remembered(name) for name in added)
        parts = list(zip(map(self.terms.prompt, added), tasks, strict=True))
        model = self._model(starts[0].provenance)
        return distill_merge(starts, model, parts, config=config, progress=progress)

    def _remembered(self, name: str) -> Task:
        """The task that the prompt or vector of a name tells of.

        Raises:
            PromptPortError: none, or one that is not embedded.
        """
        recorded = self.terms.provenance(name).task
        try:
            if recorded:
                return open_task(recorded, self.data)
        except UnknownNameError:
            pass
        raise PromptPortError(
            "--task",
            expected=f"a task for {name}, since its folder names none that comes with promptport",
            got="none" if recorded is None else f"only the recorded name {recorded!r}",
            fix="Give --task TASK, for instance the path of a .yaml file",
        )

    def _named(self) -> Backbone | str | None:
        """The backbone that was given: loaded, or its name."""
        return str(self.backbone) if isinstance(self.backbone, Path) else self.backbone

    def _model(self, source: Provenance) -> Backbone:
        """The backbone, loaded as it was asked for."""
        known = self._named()
        if isinstance(known, Backbone):
            return known
        revision = source.revision if known is None else None
        return Backbone.load(known or source.backbone, revision=revision, **self.loading)


def _check_method(method: str) -> None:
    """Refuse a name that is none, with all that there are."""
    full = {"concatenate.v1", *(known.name for known in list_merges())}
    bare = {EITHER, *(name.rpartition(".")[0] for name in full)}
    if method not in full | bare:
        raise unknown_name("merge method", method, full if "." in method else bare)


def _check_terms(terms: Terms, config: CombineConfig) -> None:
    """Refuse coefficients that the method or a distillation has no use for.

    Raises:
        PromptPortError: scaled whole prompts; a distillation that takes something off, which it
            would undo, or that adds nothing.
    """
    scaled = [f"{value:g}*{name}" for name, value in terms.weights.items() if value != 1]
    if config.is_whole and scaled:
        raise PromptPortError(
            f"method {config.method}",
            expected="whole prompts, like 'a + b', without coefficients",
            got=", ".join(scaled),
            fix="Leave the coefficients out, or choose another method",
        )
    wrong = [f"{value:g}*{name}" for name, value in terms.weights.items() if value < 0]
    if config.distill is not None and (wrong or not terms.added):
        raise PromptPortError(
            "--distill",
            expected="names that are added: it learns to answer like each of them, and would undo "
            "what is taken off",
            got=", ".join(wrong) or "none",
            fix="Leave --distill out, or take nothing off",
        )
