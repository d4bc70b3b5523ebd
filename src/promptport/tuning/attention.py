"""ATTEMPT: each row has its own prompt, by attention over frozen source prompts.

Asai, Salehi, Peters, Hajishirzi (2022, arXiv 2205.11961), section 3: with x̂ the max-pooled input
rows of the text and P̂_j the max-pooled prompts,
`H = LayerNorm(W_up SiLU(W_down x̂))`, `a = softmax(P̂ H / T)` (Eq. 2 to 4) and
`P(x) = P_target + Σ_j a_j P_j` over all sources and the target prompt itself (Eq. 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.evaluation import (
    BATCH_TOKENS,
    Ask,
    Evaluation,
    Outcome,
    batches,
    evaluation_of,
    forward,
)
from promptport.objective import Objective, Question
from promptport.prompt import Provenance, SoftPrompt
from promptport.tasks import Task
from promptport.tuning.config import TuneConfig, TuneJob
from promptport.tuning.lesson import blind_rows
from promptport.tuning.origins import make_origin

_NETWORK_RATE = 5e-3


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
        asks = [Ask(objective, question, 0) for question in prepared.questions]
        outcome = _outcome(self, asks, pool_texts(self.backbone, prepared.questions))
        return evaluation_of(outcome, asks[0], prepared, objective.template.text)

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
        progress: called with (steps done, steps in all).

    Returns:
        The best on dev.

    Raises:
        TuningError: no sources, another length, numbers out of range, or a loss not finite.
        MismatchError: a source of another backbone.
        TaskError: data or templates that do not fit.
    """
    config = config or TuneConfig()
    model = start_attention(
        backbone, job, sources, inner=inner, temperature=temperature, truncate=config.truncate
    )
    objective = Objective(
        backbone, job.task, job.template, length=job.length, truncate=config.truncate
    )
    train, dev = (
        objective.prepare(job.task.load(split)[: most or None]).questions
        for split, most in (("train", config.max_train_rows), ("dev", config.max_dev_rows))
    )
    train_pooled, dev_pooled = pool_texts(backbone, train), pool_texts(backbone, dev)
    dev_asks = [Ask(objective, question, 0) for question in dev]
    rate = job.relative_lr * backbone.space.statistics.std if job.lr is None else job.lr
    network = [model.down, model.up, model.gain]
    optimiser = torch.optim.Adam(
        [{"params": [model.target], "lr": rate}, {"params": network, "lr": _NETWORK_RATE}]
    )
    best, best_epoch, kept = (-math.inf, math.inf), -1, _detached(model)
    size, step = config.batch_size, 0
    total = config.epochs * math.ceil(len(train) / size)
    for epoch in range(config.epochs):
        generator = torch.Generator().manual_seed(job.seed * 100_003 + epoch)
        order = torch.randperm(len(train), generator=generator).tolist()
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            optimiser.zero_grad()
            asks = [Ask(objective, train[i], 0) for i in rows]
            for losses, _, _ in _answers(model, asks, train_pooled[rows], config.batch_tokens):
                (losses.sum() / len(rows)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step += 1
            if progress is not None:
                progress(step, total)
        outcome = _outcome(model, dev_asks, dev_pooled)
        found = outcome.score(dev_asks, resamples=1).value, outcome.mean_loss
        if not math.isfinite(found[1]):
            raise TuningError(
                f"job {job.label}",
                expected="a finite loss",
                got=str(found[1]),
                fix="Lower the learning rate",
            )
        if (found[0], -found[1]) > (best[0], -best[1]):
            best, best_epoch, kept = found, epoch, _detached(model)
        elif config.patience and epoch - best_epoch >= config.patience:
            break
    return kept


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


def _detached(model: AttentionPrompts) -> AttentionPrompts:
    target, down, up, gain = (
        part.detach().clone() for part in (model.target, model.down, model.up, model.gain)
    )
    return replace(model, target=target, down=down, up=up, gain=gain)


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


def _answers(
    model: AttentionPrompts, asks: Sequence[Ask], pooled: Tensor, batch_tokens: int
) -> Iterator[tuple[Tensor, list[int], Tensor]]:
    """Losses (Q',), places and logits of each batch, one after another."""
    for batch in batches(asks, batch_tokens):
        # The prompts of a batch are rows of one tensor, so each row has its own.
        moved = [replace(asks[i], start=j * model.length) for j, i in enumerate(batch)]
        vectors = model.vectors(pooled[batch])
        for objective, members, logits in forward(model.backbone, moved, vectors):
            places = [batch[m] for m in members]
            yield objective.losses(logits, [asks[i].question for i in places]), places, logits


@torch.no_grad()
def _outcome(model: AttentionPrompts, asks: Sequence[Ask], pooled: Tensor) -> Outcome:
    objective = asks[0].objective
    losses = torch.zeros(len(asks))
    predictions: list[Any] = [None] * len(asks)
    for found, places, logits in _answers(model, asks, pooled, BATCH_TOKENS):
        losses[places] = found.float().cpu()
        said = objective.predictions(logits, [asks[i].question for i in places])
        for i, value in zip(places, said, strict=True):
            predictions[i] = value
    return Outcome(losses, predictions, objective.gold([ask.question for ask in asks]))
