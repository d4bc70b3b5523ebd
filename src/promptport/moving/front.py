"""`move`, the one front door: looks at what there is, says which road it takes, and takes it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from promptport.backbone import Backbone
from promptport.distillation import DistillConfig, Teacher, move_by_answers
from promptport.distillation.moving import AnswersResult, fit_mixtures, words_of
from promptport.distillation.starts import Start, learning_settings, usual_distillation
from promptport.distillation.written_answers import WritingResult, move_by_writing
from promptport.errors import BackboneError, PromptPortError, TaskError, UnknownNameError
from promptport.evaluation import evaluate
from promptport.moving.answer_check import CHECK_ROWS, AnswerCheck, check_answers
from promptport.moving.embeddings import EmbeddingsConfig, move_by_embeddings
from promptport.moving.expected_score import (
    OF_LARGE,
    OF_SMALL,
    ExpectedScore,
    expect_score,
)
from promptport.moving.places import Model, ModelPlace, Prompt, PromptAt, open_prompts
from promptport.moving.planning import (
    CAUSAL_MIXTURE,
    FEWEST_TEXTS,
    MovePlan,
    Situation,
    plan_move,
    texts_at_hand,
)
from promptport.moving.result import MoveResult, dev_rows, dev_score, fewer_equal
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Score, Task, Template, open_task
from promptport.transfers import TransferReport, TransferResult
from promptport.transfers.report import FREE_PROMPT
from promptport.tuning.usual import LARGE

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MoveConfig:
    """Everything about a move but what is moved, and to where.

    Attributes:
        data: folder of `lama:` and `nlu:` tasks that prompts remember; None for none.
        split: the split whose unlabelled texts are read.
        distill: budget and rates of the road by answers; None for the usual ones of the target
            (`usual_distillation`). The plan sets `texts`.
        learning: fields of `DistillConfig` in place of those.
        start: what alignment begins from on that road, see `move_by_answers`.
        labelled: rows of the split whose labels are learned too, on that road.
        embeddings: how the road by embeddings is gone.
        asked_of_tables: options of that road that were given, as a user writes them; with the
            method `auto` they decide for it.
        check: whether the road by embeddings ends with a look at the answers (64 rows, no labels);
            None: if both models are here and small (4 GiB), and the task is known.
        template: in place of the prompts' own; None to keep them.
        weights: of several prompts; none for all alike (the road by embeddings alone).
        loading: device, dtype and device_map of the models.
        state: folder of an unfinished move, which goes on from there: made if missing, and to be
            removed when the prompt is saved. None: an interrupted move begins anew.
    """

    data: Path | None = None
    split: str = "train"
    distill: DistillConfig | None = None
    learning: Mapping[str, Any] = field(default_factory=dict)
    start: str | SoftPrompt = "auto"
    labelled: int = 0
    embeddings: EmbeddingsConfig = field(default_factory=EmbeddingsConfig)
    asked_of_tables: tuple[str, ...] = ()
    check: bool | None = None
    template: str | None = None
    weights: tuple[float, ...] = ()
    loading: Mapping[str, Any] = field(default_factory=dict)
    state: Path | None = None


@dataclass(frozen=True)
class PreparedMove:
    """A move whose road is chosen. Nothing is done yet, no model is loaded.

    Attributes:
        sources: the prompts with their backbones.
        target: the backbone to carry them to.
        task: the task that both models are asked about; None if none is known.
        plan: the road.
        config: everything else.
    """

    sources: Sequence[PromptAt]
    target: ModelPlace
    task: Task | None
    plan: MovePlan
    config: MoveConfig

    def run(self, progress: Progress | None = None) -> MoveResult:
        """Go the road.

        Args:
            progress: called with (what, steps done, steps in all).

        Raises:
            PromptPortError: what `move_by_answers` and `move_by_embeddings` refuse.
        """
        by_answers = self.plan.method == "answers" and self.task is not None
        if by_answers and self.task is not None:
            return self._by_answers(self.task, progress)
        return self._by_embeddings(progress)

    @property
    def teachers(self) -> list[Teacher]:
        """The sources with their models, which are loaded now."""
        return [Teacher(each.place.backbone, each.prompt, each.weight) for each in self.sources]

    def _by_answers(self, task: Task, progress: Progress | None) -> MoveResult:
        if task.kind == "text2text":
            return self._by_writing(task)
        teachers, target, split = self.teachers, self.target.backbone, self.config.split
        config = self._distill_config(target)
        with contextlib.ExitStack() as kept:
            for model in {id(m): m for m in (target, *(t.backbone for t in teachers))}.values():
                kept.enter_context(model.keeping_texts())
            report = move_by_answers(
                teachers,
                target,
                task,
                start=self.config.start,
                labelled=self.config.labelled,
                split=split,
                config=config,
                progress=progress,
                state=self.config.state,
            )
            check = check_answers(
                report.prompt,
                target,
                teachers,
                task,
                split=split,
                config=config,
                held_back=True,
                targets=report.asked,
            )
        fell = fewer_equal(report.before, report.after, report.texts)
        return self._result(report.prompt, report, check, fell)

    def _by_writing(self, task: Task) -> MoveResult:
        """Of a text-to-text task; the budget is that of tuning, unless another one is given."""
        config = replace(self.config.distill or DistillConfig(), **self.config.learning)
        written = move_by_writing(
            self.teachers,
            self.target.backbone,
            task,
            start="vocabulary" if self.config.start == "auto" else self.config.start,
            split=self.config.split,
            config=config,
            labelled=self.config.labelled,
            state=self.config.state,
        )
        return self._result(written.prompt, written, None, ())

    def _distill_config(self, model: Backbone) -> DistillConfig:
        """The usual budget on a model, but for what was given."""
        usual = self.config.distill or usual_distillation(model)
        given = {**self.config.learning, "texts": self.plan.texts or "words"}
        return learning_settings(usual, given)

    def _by_embeddings(self, progress: Progress | None) -> MoveResult:
        told = None
        if progress is not None:
            told = lambda done, total: progress("carrying", done, total)  # noqa: E731
        sources = self._fitted(progress) if self.plan.fits else self.sources
        moved: TransferResult = move_by_embeddings(
            sources, self.target, self.config.embeddings, task=self.task, progress=told
        )
        check = self._look(moved.prompt) if self._checks else None
        return self._result(moved.prompt, moved.report, check, self._of_cue_word(moved))

    def _fitted(self, progress: Progress | None) -> list[PromptAt]:
        """The sources as mixtures of words that all models know."""
        assert self.task is not None
        spaces = [self.target.space, *(each.place.space for each in self.sources)]
        fitted = fit_mixtures(
            self.teachers,
            self.task,
            words_of(*spaces),
            split=self.config.split,
            config=self._distill_config(self.sources[0].place.backbone),
            progress=progress,
            state=self.config.state,
        )
        return [
            each if found is None else replace(each, prompt=found.prompt)
            for each, found in zip(self.sources, fitted, strict=True)
        ]

    @property
    def _checks(self) -> bool:
        if self.task is None or self.task.kind == "text2text" or self.config.check is False:
            return False
        places = [self.target, *(each.place for each in self.sources)]
        if self.config.check:
            return True
        return all(place.is_small for place in places)

    def _look(self, prompt: SoftPrompt) -> AnswerCheck:
        """Ask the task's own texts, if there are some, since random words tell little."""
        assert self.task is not None
        enough = texts_at_hand(self.task, self.config.split)[0] >= FEWEST_TEXTS
        config = DistillConfig(texts="task" if enough else "words", rows=CHECK_ROWS, truncate=True)
        return check_answers(
            prompt,
            self.target.backbone,
            self.teachers,
            self.task,
            split=self.config.split,
            config=config,
        )

    def _of_cue_word(self, moved: TransferResult) -> tuple[str, ...]:
        """Tables know no answers, so they cannot tell which word a causal model needs."""
        template = moved.prompt.provenance.template
        if moved.prompt.mixture is None or template is None:
            return ()
        try:
            bare = Template.parse(template).answers_from_soft
        except TaskError:  # of a prompt that other software made: nothing to warn of
            return ()
        return (CAUSAL_MIXTURE,) if bare and self.target.space.kind == "causal" else ()

    def _result(
        self,
        prompt: SoftPrompt,
        report: AnswersResult | WritingResult | TransferReport,
        check: AnswerCheck | None,
        warnings: tuple[str, ...],
    ) -> MoveResult:
        if self.task is not None and prompt.provenance.task is None:  # PEFT's say no task
            prompt = prompt.with_provenance(task=self.task.name)
        if check is not None and check.verdict == "at chance":
            warnings = (*warnings, f"{check.lines[0]}; {check.lines[2]}")
        scores = tuple(dev_score(each.prompt) for each in self.sources)
        expected = self.plan.warnings
        if isinstance(report, TransferReport):
            told = [line for line in report.warnings if line != FREE_PROMPT]
            if len(told) == len(report.warnings):  # the tables are alike, as of a tuned copy
                expected = ()
            warnings = (*told, *warnings)
        warnings = (*expected, *warnings)
        return MoveResult(
            prompt, self.plan, report, check, warnings, scores, self._forecast(scores, check)
        )

    def _forecast(
        self, scores: Sequence[float | None], check: AnswerCheck | None
    ) -> ExpectedScore | None:
        """Of several sources, whose answers are pooled, their mean score counts."""
        known = [score for score in scores if score is not None]
        if self.task is None or check is None or not known or len(known) < len(scores):
            return None
        rows = [dev_rows(each.prompt) for each in self.sources]
        fewest = min((count for count in rows if count is not None), default=None)
        large = self.target.backbone.parameters >= LARGE
        return expect_score(
            sum(known) / len(known),
            check,
            metric=self.task.metric,
            dev_rows=fewest,
            numbers=OF_LARGE if large else OF_SMALL,
        )

    def check_score(self) -> None:
        """Refuse now what `score` could not do when all is done.

        Raises:
            TaskError: no task is known.
            BackboneError: of the target only the tables are at hand.
        """
        if self.task is None:
            raise TaskError(
                "--score", expected="a task", got="none", fix="Name the task (--task NAME)"
            )
        if self.target.lacks is not None:
            raise BackboneError(
                "--score", expected="a target model", got=self.target.lacks, fix="Leave it out"
            )

    def score(self, prompt: SoftPrompt, split: str = "test") -> dict[str, Score]:
        """Scores of the sources and of the moved prompt on a split; labels are read for this alone.

        Args:
            prompt: the moved one.
            split: train, dev or test.

        Raises:
            TaskError: no task is known, or it has no such rows.
            BackboneError: of the target only the tables are at hand.
        """
        self.check_score()
        scores = {
            f"source on {each.place.name}": self._scored(each.place, each.prompt, split)
            for each in self.sources
            if each.place.lacks is None
        }
        return {**scores, f"moved to {self.target.name}": self._scored(self.target, prompt, split)}

    def _scored(self, place: ModelPlace, prompt: SoftPrompt, split: str) -> Score:
        assert self.task is not None
        with stage(f"scoring {split} rows on {place.name}"):
            return evaluate(
                place.backbone,
                self.task,
                prompt,
                split=split,
                truncate=self._distill_config(place.backbone).truncate,
            ).score


def prepare_move(
    prompts: Prompt | Sequence[Prompt],
    to: Model,
    *,
    backbone: Model | Sequence[Model] | None = None,
    task: Task | str | None = None,
    method: str = "auto",
    texts: str = "auto",
    config: MoveConfig | None = None,
) -> PreparedMove:
    """Look at what there is and choose the road; see `move`.

    Raises:
        PromptPortError: something is not there, or no road is open.
    """
    config = config or MoveConfig()
    sources = open_prompts(prompts, backbone, config.weights, config.loading)
    if config.template is not None:
        sources = [_in_template(each, config.template) for each in sources]
    target = ModelPlace(to, loading=config.loading)
    if method not in ("auto", "answers", "embeddings"):  # the name of a transfer method
        config, method = _with_method(config, method), "embeddings"
    opened, refused = _task_of(sources, task, config.data)
    if opened is not None and isinstance(config.start, str) and config.start != "auto":
        Start.parse(config.start, opened, 0)  # refused before the work
    free = opened is not None and opened.kind == "text2text"
    looks = (texts == "auto" or free) and method != "embeddings"
    count, unread = texts_at_hand(opened, config.split) if looks else (0, None)
    lacks = [each.place.lacks for each in sources]
    situation = Situation(
        mixture=all(each.prompt.mixture is not None for each in sources),
        source_lacks=next((reason for reason in lacks if reason is not None), None),
        target_lacks=target.lacks,
        task=None if opened is None else opened.name,
        kind=None if opened is None else opened.kind,
        task_refused=refused,
        texts=count,
        split=config.split,
        texts_refused=unread,
        asked_of_tables=config.asked_of_tables,
        labelled=config.labelled,
        cannot_write=_cannot_write([*(s.place for s in sources), target]) if free else None,
    )
    if config.check and (opened is None or opened.kind == "text2text"):
        raise PromptPortError(
            "--check",
            expected="a task whose answers can be compared",
            got=refused or (f"{opened.name}, text to text" if opened else "none"),
            fix="Name the task (--task NAME or a .yaml file), or leave --check out",
        )
    return PreparedMove(sources, target, opened, plan_move(situation, method, texts), config)


def move(
    prompts: Prompt | Sequence[Prompt],
    to: Model,
    *,
    backbone: Model | Sequence[Model] | None = None,
    task: Task | str | None = None,
    method: str = "auto",
    texts: str = "auto",
    config: MoveConfig | None = None,
    progress: Progress | None = None,
) -> MoveResult:
    """Carry a finished prompt to another model by the road that works.

    No label is read, unless the configuration names labelled rows.

        moved = promptport.move("capital", to="nano-roberta")
        print(moved.plan.line, moved.verdict, sep="\\n")
        promptport.save_prompt(moved.prompt, "capital-roberta")

    Args:
        prompts: a prompt or its folder (ours or PEFT's), or several of one task.
        to: the target: embedded name, folder, Hub id, `Backbone`, or an `EmbeddingSpace` if the
            model itself is not at hand.
        backbone: of each prompt, in place of the one that it remembers.
        task: what both models are asked about, or its reference; None for the task that the
            prompts remember.
        method: `auto`; `answers` (asks both models); `embeddings` (their tables alone), or the name
            of a transfer method for this road.
        texts: what they are asked: `task` (its unlabelled texts), `write` (texts that one of them
            writes), `words` (random words), or `auto` (the task's, if there are 8 or more).
        config: everything else.
        progress: called with (what, steps done, steps in all).

    Returns:
        The prompt, the plan with its reason, a report, a check of its answers, warnings, a verdict.

    Raises:
        PromptPortError: something is not there, does not fit, or no road is open.
    """
    prepared = prepare_move(
        prompts, to, backbone=backbone, task=task, method=method, texts=texts, config=config
    )
    return prepared.run(progress)


def _cannot_write(places: Sequence[ModelPlace]) -> str | None:
    """The first of some models that is a masked one, in words."""
    masked = [place.name for place in places if place.space.kind == "masked"]
    return f"{masked[0]}, a masked model" if masked else None


def _with_method(config: MoveConfig, name: str) -> MoveConfig:
    transfer = replace(config.embeddings.transfer, method=name)
    return replace(config, embeddings=replace(config.embeddings, transfer=transfer))


def _in_template(source: PromptAt, template: str) -> PromptAt:
    return replace(source, prompt=source.prompt.with_provenance(template=template))


def _task_of(
    sources: Sequence[PromptAt], task: Task | str | None, data: Path | None
) -> tuple[Task | None, str | None]:
    """The task that is given, else the one that all prompts remember; or why that cannot be."""
    if isinstance(task, Task):
        return task, None
    if task is not None:
        return open_task(task, data), None
    names = {each.prompt.provenance.task for each in sources}
    name = names.pop() if len(names) == 1 else None
    if name is None:
        return None, None
    try:
        return open_task(name, data), None
    except (UnknownNameError, TaskError):
        needs = " (its data: --data FOLDER)" if ":" in name else ""
        return None, f"the task {name} that the prompt remembers cannot be opened{needs}"
