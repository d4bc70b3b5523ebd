"""The training loop of tuning: many prompts in the same batches, whatever is trained.

Rows of all prompts (of any tasks, templates, lengths, seeds) stand side by side in one forward
pass. A prompt sees only its own rows, so each gradient is what it would be alone; each prompt has
its own optimiser state, schedule, early stopping and best epoch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from promptport.backbone import Backbone, KeptTexts
from promptport.evaluation import (
    BATCH_TOKENS,
    PromptedQuestion,
    PromptsOf,
    ScoredQuestions,
    evaluate_queries,
    score_batches,
)
from promptport.parameters.noise import draw, with_noise
from promptport.parameters.origin_offsets import OriginOffsets
from promptport.parameters.parametrisation import Parametrisation
from promptport.progress import stage
from promptport.tuning.checkpoint import StateFile
from promptport.tuning.config import Progress, TuneConfig, TuneJob
from promptport.tuning.runs import PromptRun, TaskRows

ProgressCallback = Callable[[Progress], None]


class Trainer:
    """The state of a run: what is trained, and where each prompt stands.

    Attributes:
        best: for each backbone the table (N, d) of the best prompts so far, on the CPU.
        origins: for each backbone the table (N, d) of what they start from, on the CPU.

    Args:
        backbones: the frozen models, one for each table of the parametrisation.
        parameters: what is trained.
        runs: the prompts.
        origins: what the tables are before the first step.
        config: settings that all share.
    """

    def __init__(
        self,
        backbones: Sequence[Backbone],
        parameters: Parametrisation,
        runs: Sequence[PromptRun],
        origins: Sequence[Tensor],
        config: TuneConfig,
    ) -> None:
        self.backbones, self.parameters, self.runs = backbones, parameters, runs
        self.origins, self.config = origins, config
        self.best = [table.clone() for table in origins]
        self._kept = [KeptTexts() for _ in backbones]
        self.offsets = [
            OriginOffsets(backbone, [p.job for p in parts], [p.start for p in parts])
            for backbone, parts in zip(
                backbones, map(self._parts_of, range(len(backbones))), strict=True
            )
        ]

    def _parts_of(self, table: int) -> list[TaskRows]:
        return [part for run in self.runs for part in run.parts if part.table == table]

    def active(self) -> list[PromptRun]:
        """Prompts that are still trained."""
        return [run for run in self.runs if run.stopped is None]

    @property
    def running(self) -> bool:
        """Whether there are any."""
        return bool(self.active())

    def step(self) -> bool:
        """One update of every running prompt; True if any was scored on dev afterwards."""
        tables, runs = self.parameters.forward(), self.active()
        losses, gradients = self.gradients(tables, runs)
        for run, own in zip(runs, losses, strict=True):
            self._refuse_what_is_not_finite(run, own, gradients)
            run.epoch_loss += sum(own) / len(own)
        self._clip(gradients)
        self.parameters.step(tables, gradients, *self._rates())
        for run in self.active():
            run.step += 1
        return self._score_finished_epochs()

    def gradients(
        self, tables: Sequence[Tensor], runs: Sequence[PromptRun]
    ) -> tuple[list[list[float]], list[Tensor]]:
        """Losses of the next batch of each part of each run, and the gradient of each table."""
        losses: list[list[float]] = [[] for _ in runs]
        gradients = []
        for number, table in enumerate(tables):
            owners = [i for i, run in enumerate(runs) for p in run.parts if p.table == number]
            parts = [(run, p) for run in runs for p in run.parts if p.table == number]
            own, gradient = self._gradient(number, table, parts)
            gradients.append(gradient)
            for owner, loss in zip(owners, own, strict=True):
                losses[owner].append(loss)
        return losses, gradients

    def _gradient(
        self, number: int, table: Tensor, parts: Sequence[tuple[PromptRun, TaskRows]]
    ) -> tuple[list[float], Tensor]:
        """Of one backbone: the loss of each part, and the gradient of its table (N, d)."""
        queries: list[PromptedQuestion] = []
        noises: list[Tensor | None] = []
        owners: list[int] = []
        shares: list[float] = []
        for owner, (run, part) in enumerate(parts):
            rows = part.next_rows(run.step, self.config.batch_size)
            starts = self.offsets[number].draw(part.start, len(rows), part.job.seed, run.step)
            queries += [
                PromptedQuestion(part.objective, part.train.questions[i], start)
                for i, start in zip(rows, starts, strict=True)
            ]
            noises += _noise(part.job, len(rows), table.shape[1], run.step)
            owners += [owner] * len(rows)
            shares += [1 / len(rows)] * len(rows)
        # An origin is made of one prompt alone, a table of all at once, which may round otherwise.
        begun = any(run.step for run in self.runs)
        values = table.detach() if begun else self.origins[number].to(table.device, copy=True)
        leaf = values.requires_grad_(True)
        share = torch.tensor(shares, device=leaf.device)
        losses = torch.zeros(len(parts), device=leaf.device)
        owner_index = torch.tensor(owners, device=leaf.device)

        def noisy(places: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
            starts, own = [queries[i].start for i in places], [noises[i] for i in places]
            return with_noise(self.offsets[number].table(leaf), starts, own)

        def shared_losses(scored: ScoredQuestions) -> Tensor:
            loss = scored.losses() * share[scored.places]
            losses.index_add_(0, owner_index[scored.places], loss.detach())
            return loss

        backbone = self.backbones[number]
        with backbone.keeping_texts(self._kept[number]):
            backward(backbone, queries, noisy, shared_losses, batch_tokens=self.config.batch_tokens)
        assert leaf.grad is not None
        return losses.tolist(), leaf.grad

    def _refuse_what_is_not_finite(
        self, run: PromptRun, losses: Sequence[float], gradients: Sequence[Tensor]
    ) -> None:
        for part, loss in zip(run.parts, losses, strict=True):
            own = gradients[part.table][part.rows]
            if not math.isfinite(loss) or not bool(torch.isfinite(own).all()):
                where = f" in {part.objective.backbone.name}" if len(self.backbones) > 1 else ""
                run.fail(f"the loss or its gradient is not finite at step {run.step}{where}")

    def _clip(self, gradients: Sequence[Tensor]) -> None:
        """Shorten the gradient of each prompt to the largest norm that is allowed."""
        if not self.config.clip:
            return
        for run in self.active():
            for part in run.parts:
                own = gradients[part.table][part.rows]
                own.mul_((self.config.clip / own.norm().clamp_min(1e-12)).clamp_max(1.0))

    def _rates(self) -> tuple[Tensor, Tensor]:
        """Learning rate of every row of the tables and whether it is in use, (N, 1) each."""
        rates = torch.zeros(len(self.best[0]), 1, dtype=torch.float64)
        active = torch.zeros(len(rates), 1, dtype=torch.bool)
        for run in self.active():
            for part in run.parts:
                rates[part.rows] = run.learning_rate(self.config)
                active[part.rows] = True
        return rates, active

    def _score_finished_epochs(self) -> bool:
        due = [run for run in self.active() if run.ends_epoch]
        if not due:
            return False
        tables = self.parameters.tables()
        scores = [self._dev_scores(number, table, due) for number, table in enumerate(tables)]
        for run in due:
            own = [scores[part.table][id(part)] for part in run.parts]
            if run.note_epoch([s for s, _ in own], [x for _, x in own], self.config.patience):
                for part in run.parts:
                    self.best[part.table][part.rows] = tables[part.table][part.rows].cpu()
                    self.parameters.keep(part.rows)
        return True

    def _dev_scores(
        self, number: int, table: Tensor, due: Sequence[PromptRun]
    ) -> dict[int, tuple[float, float]]:
        """Score and loss on dev of the parts of some prompts in one backbone, by their `id`."""
        parts = [part for run in due for part in run.parts if part.table == number]
        offsets = self.offsets[number]
        queries = [
            PromptedQuestion(part.objective, question, start)
            for part in parts
            for question, start in offsets.deal(part.start, part.dev.questions)
        ]
        backbone = self.backbones[number]
        with stage("scoring dev rows"), backbone.keeping_texts(self._kept[number]):
            outcome = evaluate_queries(
                backbone, queries, offsets.table(table), batch_tokens=self.config.batch_tokens
            )
        first, scores = 0, {}
        for part in parts:
            own = outcome.part(range(first, first + len(part.dev.questions)))
            first += len(part.dev.questions)
            score = own.score(part.job.task.metric, resamples=1).value
            scores[id(part)] = (score, own.mean_loss)
        return scores

    def progress(self) -> Progress:
        """Where the run stands."""
        return Progress(
            max(run.step for run in self.runs),
            max(run.total for run in self.runs),
            len(self.active()),
            tuple(run.best[0] if run.best_epoch >= 0 else None for run in self.runs),
        )

    def save(self, file: StateFile) -> None:
        """Keep everything that the rest of the run depends on."""
        file.write(self._state(), [run.saved() for run in self.runs])

    def restore(self, file: StateFile) -> None:
        """Go on from a saved state, if there is one."""
        saved = file.read()
        if saved is None:
            return
        tensors, runs = saved
        for name, tensor in self._state().items():
            tensor.copy_(tensors[name])
        for run, values in zip(self.runs, runs, strict=True):
            run.restore(values)

    def _state(self) -> dict[str, Tensor]:
        """Everything in tensors by name, changed in place."""
        numbered = enumerate(self.best)
        best = {f"best{number or ''}": table for number, table in numbered}
        return best | {name: part.detach() for name, part in self.parameters.state().items()}


def _noise(job: TuneJob, rows: int, width: int, step: int) -> Sequence[Tensor | None]:
    """For every row of a step its noise (n, d), or None."""
    if not job.noise_share:
        return [None] * rows
    return draw(job.noise_share, rows, (job.length, width), job.seed, step).unbind()


def backward(
    backbone: Backbone,
    queries: Sequence[PromptedQuestion],
    prompts: Tensor | PromptsOf,
    losses_of: Callable[[ScoredQuestions], Tensor],
    *,
    batch_tokens: int = BATCH_TOKENS,
) -> float:
    """Add the gradient of a sum of losses to what the prompts are made of, pass by pass.

    Args:
        backbone: as in `evaluation.score_batches`, like all that follows.
        queries: the questions.
        prompts: a leaf (N, d), or what makes the prompts from one.
        losses_of: (Q',) of the questions of a pass that share an objective.
        batch_tokens: tokens per forward pass: no more are held for the backward pass.

    Returns:
        The sum.
    """
    total = 0.0
    for parts in score_batches(backbone, queries, prompts, batch_tokens=batch_tokens):
        loss = torch.stack([losses_of(scored).sum() for scored in parts]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss.detach())
    return total
