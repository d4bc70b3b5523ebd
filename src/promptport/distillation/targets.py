"""What distillation learns: questions without labels, and the answers of teachers to them.

The questions are texts of the task, or made up of random words where there are none. A teacher is
a prompt in the backbone that it was tuned on.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.checks import refuse_out_of_range
from promptport.distillation.synthetic_text import spread, swapped_rows, synthetic_rows
from promptport.distillation.written_text import can_write, written_rows
from promptport.errors import AnchorError, BackboneError, TaskError
from promptport.evaluation import choose_template, collect_scores, prompted, score_questions
from promptport.objective import Objective, Question, pick_rows
from promptport.parameters.noise import MIXTURE_NOISE, MOST_NOISE
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.space import EmbeddingSpace
from promptport.storage import PromptLike, as_prompt
from promptport.tasks import Row, Task, TaskLike, Template, as_task
from promptport.tuning.checkpoint import StateFile
from promptport.tuning.label_prior import has_prior, label_scores, without_prior

Texts = Literal["task", "words", "write"]

_FEWEST_ROWS = 8
_NO_FREE_ANSWERS = "Free answers cannot be compared word by word; tune on the target instead"
_LEAST_UNIT = 0.05  # nats; teachers that tell less must not outweigh all others
_MADE_PER_ROW = 4  # made-up texts of which one is kept
_MOST_WORDS = 20_000  # a probe's answers are compared on at most so many shared words


@dataclass(frozen=True)
class DistillConfig:
    """Budget and rates.

    Attributes:
        texts: `task` (texts of the task, unlabelled), `write` (texts that one of the backbones
            writes, `written_text.written_rows`) or `words` (random words that the backbones share:
            nothing of the task is read but its templates and label words).
        rows: most unlabelled rows that are read or made, 8 or more.
        shown: with `write`, texts of the task that the writer is shown, 0 or more.
        about: with `write`, what the texts are, for instance `short film reviews`.
        written: the texts of the task were written by a model (`with_written_texts` says so): of
            twice as many those are kept whose first answers differ most.
        fill: fewer texts of a task are filled up to so many, but not more than `rows`, with
            some that are only learned from (words swapped for near ones,
            `synthetic_text.swapped_rows`). 0: none.
        held_back: share of them that only decides when to stop, above 0 and below 1.
        epochs: most passes over the others; of several tasks, over those of the longest. 0: only
            `steps` limit it.
        steps: most updates for each task; 0: only `epochs` limit it.
        check: updates for each task between two looks at the held-back rows; 0: a pass.
        patience: looks without a lower loss there after which it ends, 1 or more.
        enough: it ends when of every task less than this share is missed (`DistillResult.missed`),
            0 (never) or more.
        average: what is looked at and kept of free vectors is their running mean over about so
            many updates for each task; 0: the latest ones.
        batch_size: rows per step, 1 or more.
        relative_lr: step of free vectors as a share of the spread of the backbone's input rows.
        logit_lr: step of the logits of a mixture.
        manual_weight: what the answers of the learning backbone's own manual template, its label
            prior off, count beside those of the teachers, 0 (nothing) or more: log-probabilities
            are added. Of classifications with such a template.
        noise: on the virtual tokens of a mixture (`TuneJob.noise`), 0 to 10.
        seed: of the order of the rows and of the mixture to start from.
        truncate: cut texts that are too long instead of refusing them.

    Raises:
        TuningError: a value out of its range.
    """

    texts: Texts = "task"
    rows: int = 256
    shown: int = 8
    about: str = ""
    written: bool = False
    fill: int = 0
    held_back: float = 0.2
    epochs: int = 10
    steps: int = 0
    check: int = 0
    patience: int = 3
    enough: float = 0.0
    average: int = 0
    batch_size: int = 16
    relative_lr: float = 0.03
    logit_lr: float = 1.0
    manual_weight: float = 0.0
    noise: float = MIXTURE_NOISE
    seed: int = 0
    truncate: bool = False

    def __post_init__(self) -> None:
        ranges = {
            "texts": (self.texts in get_args(Texts), " or ".join(get_args(Texts))),
            "rows": (self.rows >= _FEWEST_ROWS, f"{_FEWEST_ROWS} or more"),
            "shown": (self.shown >= 0, "0 or more"),
            "fill": (self.fill >= 0, "0 or more"),
            "held_back": (0 < self.held_back < 1, "above 0 and below 1"),
            "epochs": (self.epochs >= (not self.steps), "1 or more, or 0 with a limit of steps"),
            "steps": (self.steps >= 0, "0 or more"),
            "check": (self.check >= 0, "0 or more"),
            "patience": (self.patience >= 1, "1 or more"),
            "enough": (0 <= self.enough < math.inf, "0 or more"),
            "average": (self.average >= 0, "0 or more"),
            "batch_size": (self.batch_size >= 1, "1 or more"),
            "relative_lr": (0 < self.relative_lr < math.inf, "a number above 0"),
            "logit_lr": (0 < self.logit_lr < math.inf, "a number above 0"),
            "manual_weight": (0 <= self.manual_weight < math.inf, "0 or more"),
            "noise": (0 <= self.noise <= MOST_NOISE, f"0 to {MOST_NOISE:g}"),
        }
        refuse_out_of_range(self, ranges)
        check_seed(self.seed)


@dataclass(frozen=True, init=False)
class Teacher:
    """A prompt whose answers are to be learned.

    Attributes:
        backbone: the frozen model that the prompt belongs to; may be given by name or folder.
        prompt: the prompt; may be given by its folder.
        weight: its say among the teachers, above 0.
    """

    backbone: Backbone
    prompt: SoftPrompt
    weight: float = 1.0

    def __init__(self, backbone: BackboneLike, prompt: PromptLike, weight: float = 1.0) -> None:
        object.__setattr__(self, "backbone", as_backbone(backbone))
        object.__setattr__(self, "prompt", as_prompt(prompt))
        object.__setattr__(self, "weight", weight)


@dataclass(frozen=True)
class Agreement:
    """How far two prompts answer alike on unlabelled text.

    Attributes:
        divergence: mean Kullback-Leibler divergence from the teachers' answers, 0 or more, in nats.
        same: share of the rows with the same first answer, 0 to 1.
        rows: rows read.
    """

    divergence: float
    same: float
    rows: int


@torch.no_grad()
def agreement(
    prompt: PromptLike,
    backbone: BackboneLike,
    teachers: Sequence[Teacher],
    task: TaskLike,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    held_back: bool = False,
) -> Agreement:
    """How far a prompt answers like others, on unlabelled text; no label is read.

    Args:
        prompt: of `backbone`.
        backbone: for instance the target of a transfer.
        teachers: for instance the source's prompt on the source.
        task: gives the texts and the template.
        split: the split whose texts are read.
        config: `texts`, `rows`, `seed` and `truncate` count.
        held_back: ask only the rows that `align` and `fit_mixture` hold back with this
            configuration, so that what they learned from does not count.

    Raises:
        MismatchError: a prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
        AnchorError: a probe, and the backbones share no words to compare answers on.
    """
    prompt, backbone, task = as_prompt(prompt), as_backbone(backbone), as_task(task)
    backbone.check_prompt(prompt)
    config = replace(config or DistillConfig(), fill=0)  # made rows are only learned from
    targets = DistillTargets.make(backbone, prompt, teachers, task, split, config)
    count = targets.held_back(config) if held_back else None
    return targets.agreement(prompt.vectors.to(backbone.device), count)


@dataclass(frozen=True)
class DistillTargets:
    """Questions without labels and the teachers' answers to them.

    Attributes:
        objective: of the backbone whose prompt learns.
        questions: Q questions.
        answers: (Q, A) probabilities to learn, over labels or over shared words.
        columns: tokens of these words in that backbone, None for labels.
        made: how many of the questions were made beside the task's texts; they stand behind these.
        labelled: how many, the last ones, have their label for an answer, and no teacher's.
        told: (Q, A) probabilities of the teachers alone; None if these are `answers`.
    """

    objective: Objective
    questions: tuple[Question, ...]
    answers: Tensor
    columns: Tensor | None
    made: int = 0
    labelled: int = 0
    told: Tensor | None = None

    @property
    def read(self) -> int:
        """How many of the questions, the first ones, are texts that only the teachers answered."""
        return len(self.questions) - self.made - self.labelled

    @property
    def of_teachers(self) -> Tensor:
        """(Q, A) probabilities that the teachers give."""
        return self.answers if self.told is None else self.told

    @classmethod
    def make(
        cls,
        backbone: Backbone,
        prompt: SoftPrompt,
        teachers: Sequence[Teacher],
        task: Task,
        split: str,
        config: DistillConfig,
        kept: Path | None = None,
        labelled: Sequence[Row] = (),
    ) -> DistillTargets:
        """Ask the teachers.

        Args:
            backbone: whose prompt learns.
            prompt: that prompt, whose template and length the questions have.
            teachers: one or more; their weighted mean answers.
            task: gives texts and template.
            split: the split whose texts are read.
            config: `texts`, `rows`, `fill`, `seed` and `truncate` count.
            kept: file of their answers: read if it is there and of these very questions, else
                written.
            labelled: rows whose labels are learned beside their answers.
        """
        if config.texts == "write":
            task, config = with_written_texts(task, split, config, backbone, teachers)
        shared = _shared_words(backbone, teachers) if _compares_words(task, config) else ()
        rows = _unlabelled(task, split, config, shared)
        template = choose_template(task, prompt)
        objective = Objective(
            backbone, task, template, length=prompt.length, truncate=config.truncate
        )
        words = shared if task.kind == "probe" else None
        blind = tuple(_blind(row, task, words) for row in rows)
        more = _filling(blind, objective, config)
        blind = (*blind, *more)
        file = None if kept is None else _file_of_answers(kept, teachers, task, blind, words)
        answers = _read(file)
        if answers is None:
            answers = _mean_answers(teachers, task, blind, words, config)
            if file is not None:
                file.write({"answers": answers}, [])
        if config.texts == "words" or config.written:
            chosen = spread(answers, config.rows)
            blind, answers = tuple(blind[i] for i in chosen), answers[chosen]
        told = answers
        if config.manual_weight and words is None and has_prior(task) and task.manual is not None:
            own = _of_template(backbone, task, blind, config)
            answers = (answers.clamp_min(1e-30).log() + config.manual_weight * own).softmax(1)
        gold, known = _of_labels(labelled, task, words)
        if known:
            answers, told = torch.cat([answers, gold]), torch.cat([told, gold])
            blind = (*blind, *(_blind(row, task, words) for row in known))
        return cls(
            objective,
            objective.prepare(blind).questions,
            answers,
            _columns(backbone, words),
            len(more),
            len(known),
            told,
        )

    def held_back(self, config: DistillConfig) -> int:
        """How many questions, the first ones, only decide when to stop: not all, and none made."""
        return _held_back(self.read, config)

    @property
    def unit(self) -> float:
        """Mutual information of texts and answers in nats, `_LEAST_UNIT` or more.

        How far the teachers' answers depend on the text: about the divergence of one and the same
        answer to all of them.
        """
        answers = self.answers[: self.read]
        told = entropy(answers.mean(0, keepdim=True)) - entropy(answers)
        return max(told, _LEAST_UNIT)

    def asked_through(self, template: Template, length: int | None = None) -> DistillTargets:
        """The same questions in another template, or behind a prompt of another length."""
        own = self.objective
        objective = Objective(
            own.backbone, own.task, template, length=length or own.length, truncate=own.truncate
        )
        rows = [question.row for question in self.questions]
        return replace(self, objective=objective, questions=objective.prepare(rows).questions)

    @torch.no_grad()
    def agreement(self, vectors: Tensor, count: int | None = None) -> Agreement:
        """How far a prompt (n, d) answers as the teachers told, on the first `count` questions, all
        that only they answered without it."""
        count = count or self.read
        total, same = 0.0, 0
        queries = prompted(self.objective, self.questions[:count])
        with stage(f"comparing answers on {self.objective.backbone.name}"):
            for scored in score_questions(self.objective.backbone, queries, vectors):
                scores = scored.scores()
                total += float(self.losses(scores, scored.places, self.of_teachers).sum())
                own = scores if self.columns is None else scores.index_select(1, self.columns)
                same += int(
                    (own.argmax(1).cpu() == self.of_teachers[scored.places].argmax(1)).sum()
                )
        return Agreement(total / count - entropy(self.of_teachers[:count]), same / count, count)

    def losses(
        self, scores: Tensor, places: Sequence[int], answers: Tensor | None = None
    ) -> Tensor:
        """Cross-entropy to the answers to learn, or to others (Q, A): (Q',)."""
        log_probs = scores.log_softmax(1)
        if self.columns is not None:
            # Over the whole vocabulary, so that what teachers never say loses its weight too.
            log_probs = log_probs.index_select(1, self.columns)
        wanted = self.answers if answers is None else answers
        return -(wanted[list(places)].to(log_probs.device) * log_probs).sum(1)


def with_written_texts(
    task: Task,
    split: str,
    config: DistillConfig,
    backbone: Backbone,
    teachers: Sequence[Teacher],
) -> tuple[Task, DistillConfig]:
    """A task whose texts are those that a model writes, and a configuration that reads them.

    Args:
        task: whose first texts the model is shown, as `config.shown` says.
        split: of these, and of the written ones.
        config: with the texts `write`.
        backbone: whose prompt learns; it writes if it can.
        teachers: else the first of their backbones that can.

    Raises:
        TaskError: nothing to begin with, a text to text task, or too few texts came.
        BackboneError: none of the backbones can write.
    """
    task.refuse_text2text(_NO_FREE_ANSWERS)
    able = [own for own in (backbone, *(t.backbone for t in teachers)) if can_write(own)]
    if not able:
        raise BackboneError(
            "texts 'write'",
            expected="a causal model, which writes",
            got=", ".join(dict.fromkeys(f"{t.backbone.name}: {t.backbone.kind}" for t in teachers)),
            fix="Choose --texts words, or give texts of the task",
        )
    there = task.texts(split) if split in task.splits else ()
    shown = pick_rows(there, config.shown, config.seed) if config.shown else ()
    # Most texts get one answer: of twice as many, those are kept whose answers differ.
    rows = written_rows(
        able[0], task, 2 * config.rows, config.seed, shown=shown, about=config.about
    )
    if len(rows) < _FEWEST_ROWS:
        raise TaskError(
            f"texts by {able[0].name}",
            expected=f"{_FEWEST_ROWS} or more that are of use",
            got=str(len(rows)),
            fix="Show it some texts of the task, or say what they are (--about)",
        )
    return task.with_rows(**{split: rows}), replace(config, texts="task", written=True)


def _compares_words(task: Task, config: DistillConfig) -> bool:
    return task.kind == "probe" or config.texts == "words"


def _unlabelled(
    task: Task, split: str, config: DistillConfig, words: Sequence[str]
) -> Sequence[Row]:
    task.refuse_text2text(_NO_FREE_ANSWERS)
    if config.texts == "words":
        return synthetic_rows(task, words, _MADE_PER_ROW * config.rows, config.seed)
    most = 2 * config.rows if config.written else config.rows
    picked = pick_rows(task.texts(split), most, config.seed)
    if len(picked) < _FEWEST_ROWS:
        raise TaskError(
            f"task {task.name!r}, {split}",
            expected=f"at least {_FEWEST_ROWS} rows of text",
            got=str(len(picked)),
            fix="Give more unlabelled rows, or learn on random words",
        )
    return picked


def _held_back(count: int, config: DistillConfig) -> int:
    return min(count - 1, max(1, round(config.held_back * count)))


def _filling(rows: Sequence[Row], objective: Objective, config: DistillConfig) -> list[Row]:
    """Rows made of those that are learned from, where there are few."""
    missing = min(config.fill, config.rows) - len(rows)
    if config.texts == "words" or config.written or missing <= 0:
        return []
    held = _held_back(len(rows), config)
    made = swapped_rows(rows[held:], objective.backbone, missing, config.seed, but=rows[:held])
    return [row for row in made if fits(row, objective)]


def fits(row: Row, objective: Objective) -> bool:
    """Whether a backbone can be asked a row."""
    try:
        objective.prepare([row])
    except TaskError:
        return False
    return True


def _shared_words(backbone: Backbone, teachers: Sequence[Teacher]) -> tuple[str, ...]:
    spaces = [backbone.space, *(teacher.backbone.space for teacher in teachers)]
    words = set.intersection(*(set(space.words) for space in spaces))
    if len(words) > _MOST_WORDS:
        # Tokenizers order words by frequency: the rare ones are left out.
        words = set(sorted(words, key=lambda word: _rarity(word, spaces))[:_MOST_WORDS])
    if len(words) < 2:
        raise AnchorError(
            "answers",
            expected="words that are single tokens of all backbones",
            got=str(len(words)),
            fix="Choose another pair of backbones",
        )
    return tuple(sorted(words))


def _rarity(word: str, spaces: Sequence[EmbeddingSpace]) -> tuple[float, str]:
    """Mean place in the spaces' tables, as a share of their sizes; the word decides ties."""
    return sum(space.words[word] / space.trained_rows for space in spaces) / len(spaces), word


def _blind(row: Row, task: Task, words: Sequence[str] | None) -> Row:
    """The row with a stand-in for its answer, which only takes the answer's place."""
    return replace(row, answer=words[0] if words else task.label_names[0])


def _columns(backbone: Backbone, words: Sequence[str] | None) -> Tensor | None:
    if words is None:
        return None
    ids = [backbone.space.words[word] for word in words]
    return torch.tensor(ids, device=backbone.device)


def _of_labels(
    rows: Sequence[Row], task: Task, words: Sequence[str] | None
) -> tuple[Tensor, list[Row]]:
    """Probability 1 (L, A) of the labels of some rows, and those whose label is among the answers.

    Raises:
        TaskError: there are such rows, and no label is among the answers.
    """
    names = {name: i for i, name in enumerate(task.label_names if words is None else words)}
    known = [row for row in rows if row.answer in names]
    if rows and not known:
        raise TaskError(
            f"task {task.name!r}",
            expected="labelled rows whose labels are words of both models",
            got=f"{rows[0].answer!r} and others",
            fix="Leave --labelled out, or choose a pair of models that share them",
        )
    gold = torch.zeros(len(known), len(names))
    for place, row in enumerate(known):
        gold[place, names[row.answer]] = 1
    return gold, known


def _of_template(
    backbone: Backbone, task: Task, rows: Sequence[Row], config: DistillConfig
) -> Tensor:
    """Log-probabilities (Q, C) of the manual template, the mean of its answers taken off."""
    assert task.manual is not None
    objective = Objective(backbone, task, task.manual, truncate=config.truncate)
    with stage(f"asking {backbone.name} with the manual template"):
        scores = label_scores(objective, rows)
    return without_prior(scores, scores.softmax(1).mean(0)).log_softmax(1)


def _file_of_answers(
    path: Path,
    teachers: Sequence[Teacher],
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
) -> StateFile:
    """The file of the answers to these questions: any other question has another identity."""
    digest = hashlib.sha256(repr([*rows, words, task.labels]).encode())
    for teacher in teachers:
        template = choose_template(task, teacher.prompt).text
        told = [teacher.backbone.space.fingerprint, template, teacher.weight]
        digest.update(repr(told).encode())
        digest.update(teacher.prompt.vectors.numpy().tobytes())
    return StateFile(path, {"asked": digest.hexdigest(), "promptport": __version__})


def _read(file: StateFile | None) -> Tensor | None:
    found = None if file is None else file.read()
    return None if found is None else found[0]["answers"]


def _mean_answers(
    teachers: Sequence[Teacher],
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
    config: DistillConfig,
) -> Tensor:
    """The weighted mean of the teachers' probabilities: (Q, A)."""
    total = sum(teacher.weight for teacher in teachers)
    answers = torch.zeros(0)
    for teacher in teachers:
        own = _answers(teacher, task, rows, words, config) * (teacher.weight / total)
        answers = own if not len(answers) else answers + own
    return answers


def _answers(
    teacher: Teacher,
    task: Task,
    rows: Sequence[Row],
    words: Sequence[str] | None,
    config: DistillConfig,
) -> Tensor:
    """Probabilities (Q, A) that a teacher gives to labels, or to the shared words."""
    backbone, prompt = teacher.backbone, teacher.prompt
    backbone.check_prompt(prompt)
    template = choose_template(task, prompt)
    objective = Objective(backbone, task, template, length=prompt.length, truncate=config.truncate)
    queries = prompted(objective, objective.prepare(rows).questions)
    columns = _columns(backbone, words)

    def probabilities(scores: Tensor) -> Tensor:
        kept = scores if columns is None else scores.index_select(1, columns)
        return kept.softmax(1).cpu()

    with stage(f"asking {backbone.name} for its answers"):
        return collect_scores(backbone, queries, prompt.vectors, of_batch=probabilities)


def entropy(answers: Tensor) -> float:
    """Mean entropy of rows of probabilities (Q, A), in nats."""
    return float(-(answers * answers.clamp_min(1e-30).log()).sum(1).mean())
