"""ATTEMPT: each row has its own prompt, by attention over frozen source prompts.

Asai, Salehi, Peters, Hajishirzi (2022, arXiv 2205.11961), section 3: with x̂ the max-pooled input
rows of the text and P̂_j the max-pooled prompts,
`H = LayerNorm(W_up SiLU(W_down x̂))`, `a = softmax(P̂ H / T)` (Eq. 2 to 4) and
`P(x) = P_target + Σ_j a_j P_j` over all sources and the target prompt itself (Eq. 1).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.evaluation import (
    Evaluation,
    PromptsOf,
    evaluate_queries,
    evaluation_of,
    prompted,
    score_questions,
)
from promptport.objective import Objective, Question, blind_rows
from promptport.parameters.origins import make_origin
from promptport.prompt import Provenance, SoftPrompt
from promptport.tasks import Task
from promptport.tuning.checkpoint import StateFile, data_hash
from promptport.tuning.config import TuneConfig, TuneJob, config_dict

_NETWORK_RATE = 5e-3
_TUNED = ("target", "down", "up", "gain")
_PROGRESS = ("step", "best_epoch", "stopped")


@dataclass(frozen=True)
class AttentionPrompts:
    """Prompts that differ from row to row; not a prompt folder, but see `averaged` and
    `interop.save_attention`.

    Attributes:
        backbone: the frozen model.
        task: the task that it was tuned on.
        sources: (S, n, d) frozen.
        target: (n, d), tuned.
        down: (r, d), tuned.
        up: (d, r), tuned.
        gain: (2, d) scale and shift of the layer norm, tuned.
        temperature: T of the softmax, above 0.
        truncate: texts that are too long are cut.
    """

    backbone: Backbone
    task: Task
    sources: Tensor
    target: Tensor
    down: Tensor
    up: Tensor
    gain: Tensor
    temperature: float
    truncate: bool = False

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.target.shape[0]

    def attention(self, pooled: Tensor) -> Tensor:
        """Weights of the sources and, last, of the target prompt.

        Args:
            pooled: (Q, d) max-pooled input rows of each text.

        Returns:
            (Q, S + 1), each row sums to 1.
        """
        # In units of the input rows' spread, so that one temperature suits all backbones.
        unit = self.backbone.space.statistics.std
        keys = torch.cat([self.sources, self.target[None]]).amax(1) / unit  # (S + 1, d)
        hidden = torch.nn.functional.silu(pooled / unit @ self.down.T) @ self.up.T
        query = torch.nn.functional.layer_norm(hidden, hidden.shape[1:], *self.gain)  # (Q, d)
        return (query @ keys.T / self.temperature).softmax(1)

    def vectors(self, pooled: Tensor) -> Tensor:
        """Prompts of rows, one below the other.

        Args:
            pooled: (Q, d) as in `attention`.

        Returns:
            (Q * n, d).
        """
        parts = torch.cat([self.sources, self.target[None]])
        mixed = torch.einsum("qs,snd->qnd", self.attention(pooled), parts)
        return (self.target + mixed).flatten(0, 1)

    def prompts(self, pooled: Tensor) -> PromptsOf:
        """Each question's own prompt, as `evaluation.score_batches` takes them.

        Args:
            pooled: (Q, d) as in `attention`.
        """

        def those_of(places: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
            starts = [i * self.length for i in range(len(places))]
            return self.vectors(pooled[list(places)]), starts

        return those_of

    @property
    def provenance(self) -> Provenance:
        """Where it was tuned, and on what."""
        backbone = self.backbone
        return Provenance(
            backbone.name,
            backbone.kind,
            backbone.revision,
            backbone.space.fingerprint,
            template=self.task.template.text,
            task=self.task.name,
            tuning={"way": "attention"},
        )

    @torch.no_grad()
    def averaged(self, split: str = "train", *, rows: int = 0) -> SoftPrompt:
        """The ordinary prompt of the mean attention over a split: what a prompt folder can hold.

        It answers as the mean row is answered; how far that is from `evaluate` must be measured.

        Args:
            split: whose texts are read; no label is.
            rows: read only so many (the first ones); 0 for all.
        """
        objective = self._objective()
        texts = blind_rows(self.task.texts(split)[: rows or None], objective)
        questions = objective.prepare(texts).questions
        mean = self.attention(pool_texts(self.backbone, questions)).mean(0)  # (S + 1,)
        parts = torch.cat([self.sources, self.target[None]])
        tuning = {"way": "attention, averaged", "attention": mean.tolist()}
        return SoftPrompt(
            self.target + torch.einsum("s,snd->nd", mean, parts),
            replace(self.provenance, tuning=tuning),
        )

    def evaluate(self, split: str = "test", *, rows: int = 0) -> Evaluation:
        """Score on a split, each row behind its own prompt.

        Args:
            split: `train`, `dev` or `test`.
            rows: use only so many (the first ones); 0 for all.

        Raises:
            TaskError: the data do not fit, or a text to text task.
        """
        self.task.refuse_text2text("Tune a prompt for it")
        objective = self._objective()
        prepared = objective.prepare(self.task.load(split)[: rows or None])
        prompts = self.prompts(pool_texts(self.backbone, prepared.questions))
        queries = prompted(objective, prepared.questions)
        return evaluation_of(evaluate_queries(self.backbone, queries, prompts), objective, prepared)

    def _objective(self) -> Objective:
        return Objective(self.backbone, self.task, length=self.length, truncate=self.truncate)


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
    run = _Run(model, job, config)
    file = None if state is None else StateFile(Path(state), run.identity())
    if file is not None:
        run.restore(file)
    saved = time.monotonic()
    while run.active:
        try:
            scored = run.update()
        except TuningError:
            if file is not None:
                file.remove()  # or another learning rate would be refused
            raise
        if progress is not None:
            progress(run.step, run.total)
        if file is not None and (scored or time.monotonic() - saved > config.save_seconds):
            run.save(file)
            saved = time.monotonic()
    return run.kept


class _Run:
    """A target prompt and its attention on their way."""

    def __init__(self, model: AttentionPrompts, job: TuneJob, config: TuneConfig) -> None:
        self.model, self.job, self.config = model, job, config
        backbone = model.backbone
        self.objective = Objective(
            backbone, job.task, job.template, length=job.length, truncate=config.truncate
        )
        self.train, self.dev = (
            self.objective.prepare(job.task.load(split)[: most or None]).questions
            for split, most in (("train", config.max_train_rows), ("dev", config.max_dev_rows))
        )
        self.pooled, self.dev_pooled = (
            pool_texts(backbone, self.train),
            pool_texts(backbone, self.dev),
        )
        rate = job.relative_lr * backbone.space.statistics.std if job.lr is None else job.lr
        network = [model.down, model.up, model.gain]
        self.optimiser = torch.optim.Adam(
            [{"params": [model.target], "lr": rate}, {"params": network, "lr": _NETWORK_RATE}]
        )
        self.kept = _detached(model)
        self.best, self.best_epoch, self.stopped = (-math.inf, math.inf), -1, False
        self.step, self.per_epoch = 0, math.ceil(len(self.train) / config.batch_size)
        self.total = config.epochs * self.per_epoch
        self._known: tuple[int, list[int]] = (-1, [])

    @property
    def active(self) -> bool:
        return self.step < self.total and not self.stopped

    def update(self) -> bool:
        """One step; True if it ended an epoch, which was scored on dev.

        Raises:
            TuningError: a loss that is no finite number.
        """
        size = self.config.batch_size
        epoch, place = divmod(self.step, self.per_epoch)
        rows = self._order(epoch)[place * size : (place + 1) * size]
        self.optimiser.zero_grad()
        queries = prompted(self.objective, [self.train[i] for i in rows])
        prompts, tokens = self.model.prompts(self.pooled[rows]), self.config.batch_tokens
        backbone = self.model.backbone
        for scored in score_questions(backbone, queries, prompts, batch_tokens=tokens):
            (scored.losses().sum() / len(rows)).backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.step += 1
        ended = self.step % self.per_epoch == 0
        if ended:
            self._score(epoch)
        return ended

    def _order(self, epoch: int) -> list[int]:
        """A function of seed and epoch alone, so that a run can resume."""
        if self._known[0] != epoch:
            generator = torch.Generator().manual_seed(self.job.seed * 100_003 + epoch)
            order = torch.randperm(len(self.train), generator=generator).tolist()
            self._known = (epoch, order)
        return self._known[1]

    def _score(self, epoch: int) -> None:
        prompts = self.model.prompts(self.dev_pooled)
        outcome = evaluate_queries(self.model.backbone, prompted(self.objective, self.dev), prompts)
        metric = self.objective.task.metric
        found = outcome.score(metric, resamples=1).value, outcome.mean_loss
        if not math.isfinite(found[1]):
            raise TuningError(
                f"job {self.job.label}",
                expected="a finite loss",
                got=str(found[1]),
                fix="Lower the learning rate",
            )
        if (found[0], -found[1]) > (self.best[0], -self.best[1]):
            self.best, self.best_epoch, self.kept = found, epoch, _detached(self.model)
        elif self.config.patience and epoch - self.best_epoch >= self.config.patience:
            self.stopped = True

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
        progress = {name: getattr(self, name) for name in _PROGRESS}
        file.write(tensors, [progress | {"best": list(self.best)}])

    def restore(self, file: StateFile) -> None:
        """Go on from a saved state, if there is one."""
        found = file.read()
        if found is None:
            return
        tensors, (progress,) = found
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
        for name in _PROGRESS:
            setattr(self, name, progress[name])
        self.best = (progress["best"][0], progress["best"][1])


def start_attention(
    backbone: Backbone,
    job: TuneJob,
    sources: Sequence[SoftPrompt],
    *,
    inner: int = 24,
    temperature: float | None = None,
    truncate: bool = False,
) -> AttentionPrompts:
    """What `tune_attention` starts from: nothing is tuned yet.

    Args:
        backbone: as in `tune_attention`, like all that follows.
        job: the task and the target prompt's origin.
        sources: one or more.
        inner: 1 or more.
        temperature: above 0.
        truncate: cut texts that are too long.

    Raises:
        TuningError: no sources, another length, or numbers out of range.
        MismatchError: a source of another backbone.
        TaskError: a text to text task.
    """
    job.task.refuse_text2text("Tune a prompt for it")
    wrong = None
    lengths = sorted({prompt.length for prompt in sources})
    if lengths != [job.length]:
        wrong = "sources", f"one prompt or more of {job.length} virtual tokens", str(lengths)
    elif inner < 1:
        wrong = "inner", "1 or more", str(inner)
    elif job.noise_share:
        wrong = "noise", "0 with attention over sources", str(job.noise_share)
    elif job.origins != 1:
        wrong = "origins", "1 with attention over sources", str(job.origins)
    elif temperature is not None and not 0 < temperature < math.inf:
        wrong = "temperature", "a number above 0", repr(temperature)
    if wrong is not None:
        name, expected, got = wrong
        raise TuningError(name, expected=expected, got=got, fix=f"Correct {name}")
    for prompt in sources:
        backbone.check_prompt(prompt)
    place, width = backbone.device, backbone.width
    generator = torch.Generator().manual_seed(job.seed)

    def drawn(*shape: int) -> Tensor:
        rows: Tensor = torch.randn(*shape, generator=generator) / shape[-1] ** 0.5
        return rows.to(place).detach().requires_grad_(True)

    return AttentionPrompts(
        backbone,
        job.task if job.template is None else job.task.with_template(job.template.text),
        torch.stack([prompt.vectors for prompt in sources]).to(place),
        make_origin(job.origin, backbone, job.length).to(place).requires_grad_(True),
        drawn(inner, width),
        drawn(width, inner),
        torch.stack([torch.ones(width), torch.zeros(width)]).to(place).requires_grad_(True),
        math.e * width if temperature is None else temperature,
        truncate,
    )


def _tuned(model: AttentionPrompts) -> dict[str, Tensor]:
    return {name: getattr(model, name) for name in _TUNED}


def _detached(model: AttentionPrompts) -> AttentionPrompts:
    parts: dict[str, Any] = {n: part.detach().clone() for n, part in _tuned(model).items()}
    return replace(model, **parts)


@torch.no_grad()
def pool_texts(backbone: Backbone, questions: Sequence[Question]) -> Tensor:
    """Max over the input rows of each text, without virtual tokens and without the answer: (Q, d).

    Args:
        backbone: the frozen model.
        questions: Q questions.
    """
    found = []
    for question in questions:
        row = question.inputs[0]
        # A causal row goes on with its answer behind the position that predicts it.
        end = row.scored[0] + 1 if backbone.kind == "causal" else len(row.ids)
        soft = set(row.soft)
        ids = [token for i, token in enumerate(row.ids[:end]) if i not in soft]
        found.append(backbone.embed(torch.tensor(ids, device=backbone.device)).float().amax(0))
    return torch.stack(found)
