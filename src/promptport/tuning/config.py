"""Settings, jobs and results of tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from promptport.errors import TuningError
from promptport.parameters.noise import MIXTURE_NOISE, MOST_NOISE
from promptport.parameters.origins import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.seeds import check_seed
from promptport.tasks import Task, Template, as_task

_IN_RANGE = "Give a value in this range, or leave it out"


@dataclass(frozen=True)
class TuneConfig:
    """Settings that all prompts of one run share.

    Attributes:
        epochs: passes over the training rows, 1 or more.
        max_steps: most updates of each prompt; 0: only `epochs` limits it.
        check: updates between two looks at the dev rows; 0: a pass over the training rows. What
            follows speaks of epochs in the sense of these looks.
        batch_size: rows per prompt and step, 1 or more.
        patience: epochs without a better dev score after which a prompt stops; 0 never stops.
        schedule: `constant` or `linear` (to zero at the last step).
        warmup: share of the steps in which the learning rate rises from zero, 0 to 1.
        weight_decay: decoupled, 0 or more.
        clip: largest norm of a prompt's gradient over all its entries; 0 for no limit.
        max_train_rows: use only so many training rows (the first ones); 0 for all.
        max_dev_rows: use only so many dev rows; 0 for all.
        batch_tokens: tokens per forward pass, padding included; limits memory, not results.
        truncate: cut texts that are too long instead of refusing them.
        save_seconds: time between two saved states of an unfinished run.

    Raises:
        TuningError: a value out of its range.
    """

    epochs: int = 20
    batch_size: int = 32
    patience: int = 5
    schedule: Literal["linear", "constant"] = "constant"
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 0.0
    max_train_rows: int = 0
    max_dev_rows: int = 0
    batch_tokens: int = 8192
    truncate: bool = False
    save_seconds: float = 30.0
    max_steps: int = 0
    check: int = 0

    def __post_init__(self) -> None:
        positive = ("epochs", "batch_size", "batch_tokens")
        for name in positive:
            if getattr(self, name) < 1:
                raise _out_of_range(name, "1 or more", getattr(self, name))
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, int | float) and not value >= 0:
                raise _out_of_range(name, "0 or more", value)
        if self.warmup > 1:
            raise _out_of_range("warmup", "0 to 1", self.warmup)
        if self.schedule not in ("linear", "constant"):
            raise _out_of_range("schedule", "linear or constant", self.schedule)


def _out_of_range(name: str, expected: str, value: Any) -> TuningError:
    return TuningError(name, expected=expected, got=repr(value), fix=_IN_RANGE)


@dataclass(frozen=True)
class TuneJob:
    """One prompt to tune.

    Attributes:
        task: the task; may be given by its name or file.
        origin: what to start from.
        length: number of virtual tokens n.
        seed: order of the training rows.
        relative_lr: learning rate as a share of the standard deviation of the backbone's input
            rows, so that one value suits all backbones.
        lr: absolute learning rate, in place of the relative one (of the logits of a mixture: 1.0).
        template: in place of the task's.
        name: name of the job; default task and seed.
        origins: number of origins; from 2 on every row of a step starts from one of them, drawn at
            random, and what is tuned is the one task prompt vector that serves them all. The
            prompt that comes out stands on the first.
        rest: of a mixture prompt, the largest norm of what is added to the mixture of words of a
            virtual token, as a share of the mixture's norm; 0 for nothing.
        noise: norm of the noise that every row of a step puts on each virtual token, as a share of
            the token's own norm, 0 to 10; None for the usual: 1 for mixtures (they move better
            then, docs/concepts/mixtures.md), else 0.
    """

    task: Task
    origin: OriginSpec = field(default_factory=OriginSpec)
    length: int = 5
    seed: int = 0
    relative_lr: float = 0.1
    lr: float | None = None
    template: Template | None = None
    name: str = ""
    origins: int = 1
    rest: float = 0.0
    noise: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "task", as_task(self.task))
        check_seed(self.seed)
        if self.noise is not None and not 0 <= self.noise <= MOST_NOISE:
            raise _out_of_range("noise", f"0 to {MOST_NOISE:g}", self.noise)
        if not 0 <= self.rest < float("inf") or (self.rest > 0 and not self.is_mixture):
            raise _out_of_range("rest", "0 or more, and 0 unless it is a mixture", self.rest)
        if self.origins < 1:
            raise _out_of_range("origins", "1 or more", self.origins)
        self.origin.others(self.origins)  # refuses kinds that cannot be drawn again
        rate = self.relative_lr if self.lr is None else self.lr
        if not 0 < rate < float("inf"):
            raise _out_of_range("learning rate", "a number above 0", rate)

    @property
    def is_mixture(self) -> bool:
        """Whether mixture weights over words are tuned instead of free vectors."""
        return self.origin.kind == "mixture"

    @property
    def noise_share(self) -> float:
        """The noise in use."""
        usual = MIXTURE_NOISE if self.is_mixture else 0.0
        return usual if self.noise is None else self.noise

    @property
    def label(self) -> str:
        """Name of the job for messages and folders."""
        return self.name or f"{self.task.name.replace(':', '-').replace('/', '-')}-seed{self.seed}"

    def describe(self) -> dict[str, Any]:
        """Everything that decides the result, as plain JSON values."""
        return {
            "task": self.task.name,
            "origin": self.origin.to_dict(),
            "length": self.length,
            "seed": self.seed,
            "lr": self.lr,
            "relative_lr": self.relative_lr,
            "template": (self.template or self.task.template).text,
            **({} if self.origins == 1 else {"origins": self.origins}),
            **({} if self.rest == 0 else {"rest": self.rest}),
            **({} if self.noise_share == 0 else {"noise": self.noise_share}),
        }


@dataclass(frozen=True)
class TuneResult:
    """What became of one job.

    Attributes:
        job: the job.
        prompt: the best prompt on dev; None if the job failed before its first dev score.
        dev_score: its metric on dev.
        dev_loss: its mean negative log-likelihood on dev.
        steps: steps that were run.
        epochs: epochs that were scored on dev.
        stopped: `finished`, `no better dev score`, or `failed`.
        error: why it failed.
        curve: per epoch (training loss, dev loss, dev score).
        skipped: training rows that could not be asked.
    """

    job: TuneJob
    prompt: SoftPrompt | None
    dev_score: float
    dev_loss: float
    steps: int
    epochs: int
    stopped: str
    error: str | None
    curve: tuple[tuple[float, float, float], ...]
    skipped: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompt."""
        return {
            **self.job.describe(),
            "name": self.job.label,
            "dev_score": self.dev_score,
            "dev_loss": self.dev_loss,
            "steps": self.steps,
            "epochs": self.epochs,
            "stopped": self.stopped,
            "error": self.error,
            "skipped_rows": self.skipped,
        }


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for progress bars.

    Attributes:
        step: steps done by the longest job.
        total: steps of the longest job if none stops early.
        active: jobs still running.
        best: best dev score of each job so far, None before the first.
    """

    step: int
    total: int
    active: int
    best: tuple[float | None, ...]

    @property
    def note(self) -> str:
        """What there is to say beside the steps."""
        known = [score for score in self.best if score is not None]
        best = f"best dev score {max(known):.3f}" if known else ""
        running = f"{self.active} running" if len(self.best) > 1 else ""
        return ", ".join(part for part in (running, best) if part)


def config_dict(config: TuneConfig) -> dict[str, Any]:
    """A configuration as plain JSON values, less what cannot change the result."""
    values = asdict(config)
    del values["save_seconds"]
    for name in ("max_steps", "check"):  # records of earlier versions have neither
        if not values[name]:
            del values[name]
    return values


def refuse_unused(config: TuneConfig, names: Sequence[str], where: str) -> None:
    """Refuse settings that a way to tune does not know.

    Raises:
        TuningError: one of them is not as usual.
    """
    usual = TuneConfig()
    for name in names:
        if getattr(config, name) != getattr(usual, name):
            raise TuningError(
                name,
                expected=f"{getattr(usual, name)!r}, all that {where} knows",
                got=repr(getattr(config, name)),
                fix=f"Leave {name} out",
            )
