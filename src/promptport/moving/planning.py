"""Which road a prompt takes to another model: decided from what is there, before anything starts.

Two roads lead to another backbone. By **answers**: the prompt becomes a mixture of words on its own
backbone, is carried, and is aligned with its source's answers; this needs both models and a task.
By **embeddings**: the two embedding tables alone; this is enough for a mixture of words, and next
to nothing for a free prompt, which becomes a mixture first where its own model can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from promptport.distillation import Texts
from promptport.errors import PromptPortError, TaskError, UnknownNameError
from promptport.tasks import Task
from promptport.transfers.report import LITTLE_OF_FREE

Method = Literal["auto", "answers", "embeddings"]
Road = Literal["answers", "embeddings"]
FEWEST_TEXTS = 8  # unlabelled rows below which a task's own texts cannot be learned from

# Measured: benchmarks/transfer_quality, share of the score of tuning on the target that is kept.
ANSWERS_KEEP = "the road by answers keeps 0.86 there, and 0.94 with unlabelled texts of the task"
FITTED_KEEP = (
    "as a mixture of words first (leave --method out) it keeps 0.70 there, and 0.66 without texts"
)
CAUSAL_MIXTURE = (
    "a causal model answers from the token in front of {answer}: in the benchmark transfer_quality "
    "mixtures keep 0.34 on nano-gpt2, and 0.76 with a cue word there; name one (--cue-word is)"
)


@dataclass(frozen=True)
class Situation:
    """What there is to decide by.

    Attributes:
        mixture: whether every prompt is a mixture of words; False: one is free, at least.
        source_lacks: why the backbone of a prompt cannot be asked, None if it can.
        target_lacks: the same of the target.
        task: the task's name, None if none is known.
        kind: of the task.
        task_refused: why the task that the prompt remembers cannot be used, if so.
        texts: rows of the task whose text can be read, 0 or more.
        split: where these are.
        texts_refused: why they cannot be read, if there are some that cannot.
        asked_of_tables: options given that only the road by embeddings has.
        labelled: rows whose labels are to be learned.
        cannot_write: of a text to text task the first model that cannot write; None if all can.
    """

    mixture: bool
    source_lacks: str | None = None
    target_lacks: str | None = None
    task: str | None = None
    kind: str | None = None
    task_refused: str | None = None
    texts: int = 0
    split: str = "train"
    texts_refused: str | None = None
    asked_of_tables: tuple[str, ...] = ()
    labelled: int = 0
    cannot_write: str | None = None

    @property
    def has_models(self) -> bool:
        """Whether both models can be asked."""
        return self.source_lacks is None and self.target_lacks is None


@dataclass(frozen=True)
class MovePlan:
    """The road to take.

    Attributes:
        method: `answers` or `embeddings`.
        why: the reason, in one sentence without a full stop.
        texts: what both models are asked: `task`, `write`, `words`, or None if nothing is asked.
        warnings: what speaks against the result, known before it is made.
        better: the method that would keep more, if it is open: `answers`, or `auto`.
        fits: whether free prompts become mixtures of words before they are carried by embeddings.
    """

    method: Road
    why: str
    texts: Texts | None = None
    warnings: tuple[str, ...] = ()
    better: Literal["answers", "auto"] | None = None
    fits: bool = False

    @property
    def line(self) -> str:
        """The plan in one line."""
        return f"road: {self.method}, since {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"method": self.method, "why": self.why, "texts": self.texts, "fits": self.fits}


def plan_move(situation: Situation, method: str = "auto", texts: str = "auto") -> MovePlan:
    """Choose the road, and what the models are asked on it.

    Args:
        situation: what there is (`look_around` finds it out).
        method: `answers`, `embeddings`, or `auto` for the one that works.
        texts: `task`, `write`, `words`, or `auto`: the task's own texts where there are 8 or more.

    Raises:
        UnknownNameError: another method or other texts.
        PromptPortError: the road that is asked for is not open; or none is that would carry
            anything: a free prompt, both models, and no task to ask them about.
    """
    _check_name("method", method, get_args(Method))
    _check_name("texts", texts, ("auto", *get_args(Texts)))
    if situation.cannot_write is not None:
        raise PromptPortError(
            f"task {situation.task}",
            expected="models that write, since its answers are written",
            got=situation.cannot_write,
            fix="Choose a causal or an encoder-decoder model",
        )
    hindrance = _hindrance(situation)
    if method == "answers":
        if hindrance is not None:
            raise PromptPortError(
                "method answers",
                expected="both models, and a task whose answers can be compared",
                got=hindrance.got,
                fix=hindrance.fix,
            )
        return _by_answers(situation, texts, "you asked for it")
    if method == "embeddings":
        return _by_embeddings(situation, "you asked for it")
    if situation.asked_of_tables:
        given = ", ".join(situation.asked_of_tables)
        verb = "is" if len(situation.asked_of_tables) == 1 else "are"
        why = f"{given} {verb} given, of this road alone"
        return _by_embeddings(situation, why)
    if hindrance is None:
        return _by_answers(situation, texts, _why_answers(situation))
    if situation.task is None and situation.has_models and not situation.mixture:
        raise PromptPortError(
            "--task",
            expected="a task, to ask both models about it",
            got=situation.task_refused or "none",
            fix="Name the task (--task NAME or a .yaml file). --method embeddings needs none, but "
            "keeps next to nothing of a free prompt",
        )
    if _can_fit(situation):
        return _fitted(situation, texts, hindrance.got)
    return _by_embeddings(situation, hindrance.got)


@dataclass(frozen=True)
class _Hindrance:
    got: str
    fix: str


def _hindrance(situation: Situation) -> _Hindrance | None:
    """What closes the road by answers."""
    for lacks in (situation.source_lacks, situation.target_lacks):
        if lacks is not None:
            return _Hindrance(lacks, "Give the whole model, or use --method embeddings")
    if situation.task is None:
        return _Hindrance(
            situation.task_refused or "no task is known to ask the models about",
            "Name the task (--task NAME or a .yaml file)",
        )
    if situation.kind == "text2text":
        return _hindrance_of_writing(situation)
    return None


def _hindrance_of_writing(situation: Situation) -> _Hindrance | None:
    """What keeps a source from writing answers that the target learns."""
    if situation.texts < FEWEST_TEXTS:
        there = situation.texts_refused or f"{situation.texts} texts in {situation.split}"
        got = f"{situation.task} is a text to text task with {there}"
        return _Hindrance(got, f"Give {FEWEST_TEXTS} unlabelled texts or more")
    return None


def _why_answers(situation: Situation) -> str:
    kind = "a mixture of words" if situation.mixture else "free"
    return f"the prompt is {kind} and both models are at hand"


def _by_answers(situation: Situation, texts: str, why: str) -> MovePlan:
    """The road by answers, and what it asks."""
    task = situation.task or "the task"
    chosen, asked = choose_texts(
        texts, task, situation.split, situation.texts, situation.texts_refused
    )
    if situation.kind == "text2text" and chosen != "task":
        raise PromptPortError(
            f"texts {chosen!r}",
            expected="texts of the task, since answers are written to them",
            got=f"{task}, a text to text task",
            fix="Leave --texts out",
        )
    labels = f"{situation.labelled} labels are" if situation.labelled else "no label is"
    return MovePlan("answers", f"{why}; both are asked {asked}, {labels} read", chosen)


def choose_texts(
    texts: str, task: str, split: str, count: int, refused: str | None = None
) -> tuple[Texts, str]:
    """What models are asked, and the same in words.

    Args:
        texts: `task`, `write`, `words`, or `auto`: the task's own texts where there are 8 or more.
        task: its name.
        split: where its texts are.
        count: how many there are.
        refused: why they cannot be read, if so.

    Raises:
        UnknownNameError: other texts.
    """
    _check_name("texts", texts, ("auto", *get_args(Texts)))
    if texts == "task" or (texts == "auto" and count >= FEWEST_TEXTS):
        return "task", f"unlabelled texts of {task} ({split})"
    if texts == "write":
        return "write", f"texts like those of {task} that a model writes"
    if texts == "words":
        return "words", "random words"
    there = f"{count} texts" if count else "no texts"
    return "words", f"random words ({refused or f'{task} has {there} in {split}'})"


def _can_fit(situation: Situation) -> bool:
    """Whether free prompts can become mixtures of words: their own model and a task are there."""
    comparable = situation.task is not None and situation.kind != "text2text"
    return not situation.mixture and situation.source_lacks is None and comparable


def _fitted(situation: Situation, texts: str, why: str) -> MovePlan:
    """A mixture first, then the tables."""
    chosen, asked = choose_texts(
        texts,
        situation.task or "the task",
        situation.split,
        situation.texts,
        situation.texts_refused,
    )
    first = (
        "the free prompt becomes a mixture of words first, for which its own model is asked "
        f"{asked}, no label is read"
    )
    return MovePlan("embeddings", f"{why}; {first}", chosen, fits=True)


def _by_embeddings(situation: Situation, why: str) -> MovePlan:
    """The tables alone, with what that costs and what would do better."""
    if situation.mixture:
        return MovePlan("embeddings", why)
    end: str = ""
    better: Literal["answers", "auto"] | None = None
    if _hindrance(situation) is None:
        end, better = f"; {ANSWERS_KEEP}", "answers"
    elif _can_fit(situation):
        end, better = f"; {FITTED_KEEP}", "auto"
    elif situation.has_models and situation.kind is None:
        end = f"; {ANSWERS_KEEP} (promptport move, with the task as --task)"
    return MovePlan("embeddings", why, None, (f"{LITTLE_OF_FREE}{end}",), better)


def _check_name(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise UnknownNameError(
            what, expected=f"one of {', '.join(known)}", got=repr(given), fix="Choose one of them"
        )


def texts_at_hand(task: Task | None, split: str) -> tuple[int, str | None]:
    """How many rows of a task's split can be read without labels, and what hinders it, if so."""
    if task is None or split not in task.splits:
        return 0, None
    try:
        return len(task.texts(split)), None
    except TaskError as error:
        return 0, str(error)
