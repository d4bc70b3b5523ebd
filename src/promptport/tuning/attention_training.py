"""Tuning of ATTEMPT: a target prompt and the attention over frozen source prompts.

What is trained makes no table of prompts, since each row has a prompt of its own, and its parts
have learning rates of their own. So it has an optimiser of torch's beside the training loop; the
forward loop, the rows of a step, the choice of the epoch and the saved state are those of all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone, KeptTexts
from promptport.errors import TuningError
from promptport.evaluation import evaluate_queries, prompted
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tuning.attention import AttentionPrompts, pool_texts, start_attention
from promptport.tuning.checkpoint import StateFile, data_hash, run_to_the_end
from promptport.tuning.config import Progress, TuneConfig, TuneJob, config_dict
from promptport.tuning.independent import rate_of
from promptport.tuning.runs import PromptRun, RowReader
from promptport.tuning.trainer import backward

_NETWORK_RATE = 5e-3
_TUNED = ("target", "down", "up", "gain")


def tune_attention(
    backbone: Backbone,
    job: TuneJob,
    sources: Sequence[SoftPrompt],
    config: TuneConfig | None = None,
    *,
    inner: int = 24,
    temperature: float | None = None,
    state: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AttentionPrompts:
    """Tune a target prompt and the attention over frozen source prompts (ATTEMPT).

    The attention starts untrained: the paper's optional step of training it on the sources first is
    left out.

    Args:
        backbone: the frozen model.
        job: the task, and the origin, length, seed and learning rate of the target prompt.
        sources: one or more prompts of this backbone and length.
        config: epochs, batch size, patience and limits; the schedule is constant.
        inner: r, width of the small projection, 1 or more.
        temperature: T above 0; None for e * d, as in the paper.
        state: file that keeps the run: the same call goes on from it, to the same result as if it
            had never stopped. It stays when the run is over: delete it once the result is saved.
        progress: called with (steps done, steps in all).

    Returns:
        The best on dev.

    Raises:
        TuningError: no sources, another length, numbers out of range, a state file of another run,
            or a loss not finite, which removes the state.
        FileFormatError: a damaged state file.
        MismatchError: a source of another backbone.
        TaskError: data or templates that do not fit.
    """
    config = config or TuneConfig()
    model = start_attention(
        backbone, job, sources, inner=inner, temperature=temperature, truncate=config.truncate
    )
    run = _AttentionRun(model, job, config)
    file = None if state is None else StateFile(Path(state), run.identity())

    def tell() -> None:
        if progress is not None:
            progress(run.run.step, run.run.total)

    try:
        run_to_the_end(run, tell, file, config.save_seconds, f"tuning {job.label}")
    except TuningError:
        if file is not None and run.run.error is not None:
            file.remove()  # or another learning rate would be refused
        raise
    return run.kept


class _AttentionRun:
    """A target prompt and its attention on their way."""

    def __init__(self, model: AttentionPrompts, job: TuneJob, config: TuneConfig) -> None:
        self.model, self.job, self.config = model, job, config
        backbone = model.backbone
        self.rows = RowReader(backbone, config).rows(job, 0)
        rate = rate_of(job, backbone)
        self.run = PromptRun.of([self.rows], rate, config)
        self.train, self.dev = self.rows.train.questions, self.rows.dev.questions
        self.pooled, self.dev_pooled = (
            pool_texts(backbone, questions) for questions in (self.train, self.dev)
        )
        network = [model.down, model.up, model.gain]
        self.optimiser = torch.optim.Adam(
            [{"params": [model.target], "lr": rate}, {"params": network, "lr": _NETWORK_RATE}]
        )
        self.kept = _detached(model)
        self.texts = KeptTexts()

    @property
    def running(self) -> bool:
        return self.run.stopped is None

    def progress(self) -> Progress:
        """Where it stands."""
        best = self.run.best[0] if self.run.best_epoch >= 0 else None
        return Progress(self.run.step, self.run.total, int(self.running), (best,))

    def step(self) -> bool:
        """One step; True if it ended an epoch, which was scored on dev.

        Raises:
            TuningError: a loss that is no finite number.
        """
        rows = self.rows.next_rows(self.run.step, self.config.batch_size)
        self.optimiser.zero_grad()
        with self.model.backbone.keeping_texts(self.texts):
            self.run.epoch_loss += backward(
                self.model.backbone,
                prompted(self.rows.objective, [self.train[i] for i in rows]),
                self.model.prompts(self.pooled[rows]),
                lambda scored: scored.losses() / len(rows),
                batch_tokens=self.config.batch_tokens,
            )
        self.optimiser.step()
        self.run.step += 1
        if self.run.ends_epoch:
            self._score()
        return self.run.ends_epoch

    def _score(self) -> None:
        queries = prompted(self.rows.objective, self.dev)
        prompts = self.model.prompts(self.dev_pooled)
        with stage("scoring dev rows"), self.model.backbone.keeping_texts(self.texts):
            outcome = evaluate_queries(self.model.backbone, queries, prompts)
        score = outcome.score(self.job.task.metric, resamples=1).value
        loss = outcome.mean_loss
        if self.run.note_epoch([score], [loss], self.config.patience):
            self.kept = _detached(self.model)
        if self.run.error is not None:
            raise TuningError(
                f"job {self.job.label}",
                expected="a finite loss",
                got=str(loss),
                fix="Lower the learning rate",
            )

    def identity(self) -> dict[str, Any]:
        """What a saved state must agree with to be continued."""
        model = self.model
        parts = [model.sources, *_tuned(model).values()]
        started = b"".join(part.detach().cpu().numpy().tobytes() for part in parts)
        return {
            "way": "attention",
            "backbone": model.backbone.space.fingerprint,
            "precision": [str(model.backbone.dtype), model.backbone.device.type],
            "job": self.job.describe(),
            "start": hashlib.sha256(started).hexdigest(),
            "shape": [list(part.shape) for part in parts],
            "temperature": model.temperature,
            "data": data_hash(self.job.task, self.train, self.dev),
            "config": config_dict(self.config),
        }

    def save(self, file: StateFile) -> None:
        """Keep everything that the rest of the run depends on."""
        moments = self.optimiser.state_dict()["state"]
        tensors = {f"adam.{i}.{n}": value for i, own in moments.items() for n, value in own.items()}
        for name, model in (("now", self.model), ("kept", self.kept)):
            tensors |= {f"{name}.{part}": value for part, value in _tuned(model).items()}
        file.write(tensors, [self.run.saved()])

    def restore(self, file: StateFile) -> None:
        """Go on from a saved state, if there is one."""
        saved = file.read()
        if saved is None:
            return
        tensors, (progress,) = saved
        with torch.no_grad():
            for name, model in (("now", self.model), ("kept", self.kept)):
                for part, value in _tuned(model).items():
                    value.copy_(tensors[f"{name}.{part}"])
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            kind, _, rest = key.partition(".")
            if kind == "adam":
                number, _, name = rest.partition(".")
                moments.setdefault(int(number), {})[name] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.run.restore(progress)


def _tuned(model: AttentionPrompts) -> dict[str, Tensor]:
    return {name: getattr(model, name) for name in _TUNED}


def _detached(model: AttentionPrompts) -> AttentionPrompts:
    parts: dict[str, Any] = {n: part.detach().clone() for n, part in _tuned(model).items()}
    return replace(model, **parts)
