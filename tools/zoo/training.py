"""The training loop: resumable to the step, with a running average of the weights to export."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from .architectures import batch_loss, build_model
from .batches import Batch, make_batcher
from .config import BackboneConfig
from .corpus import TextSource
from .export import History, export, half_precision
from .optimizers import make_optimizers, rate_factor, recentre
from .probe import Relation, Score, mean_precision, probe
from .rows import RowMaker

BLOCK = 4096  # texts


@dataclass
class Progress:
    """Where a run stands; part of the checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    block: int = 0  # block of texts, and batch in it, that come next
    batch: int = 0
    best: float = -1.0  # best P@1 exported
    losses: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Schedule:
    """When to log, save, probe and stop; seconds."""

    log: float = 20.0
    save: float = 120.0
    probe: float = 180.0
    minutes: float = float("inf")  # stop after so much time, before the last token


class Trainer:
    """One backbone in training."""

    def __init__(
        self,
        config: BackboneConfig,
        *,
        tokenizer: PreTrainedTokenizerFast,
        source: TextSource,
        relations: list[Relation],
        folder: Path,
        target: Path | None,
        device: str = "cpu",
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.source = source
        self.relations = relations
        self.folder = folder
        self.target = target
        self.device = device
        self.model: PreTrainedModel = build_model(config, tokenizer).to(device)
        self.average = {
            name: weight.detach().clone() for name, weight in self.model.named_parameters()
        }
        self.optimizers = make_optimizers(self.model, config.training)
        self.base_rates = [
            [group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers
        ]
        self.progress = Progress()
        easy = replace(config, data=config.data.easy())
        self.makers = {
            is_easy: (RowMaker(chosen, tokenizer), make_batcher(chosen, tokenizer))
            for is_easy, chosen in ((False, config), (True, easy))
        }
        if self.checkpoint.is_file():
            self.restore()

    @property
    def checkpoint(self) -> Path:
        """The file that a run resumes from."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint atomically."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": asdict(self.progress),
        }
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, self.checkpoint)

    def restore(self) -> None:
        """Continue from the checkpoint."""
        state: dict[str, Any] = torch.load(
            self.checkpoint, map_location=self.device, weights_only=True
        )
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.progress = Progress(**state["progress"])

    def batches(self) -> Iterator[tuple[int, int, Batch]]:
        """Batches from where the run stands, each with its block and number in it."""
        first = self.progress.batch
        for block in itertools.count(self.progress.block):
            texts = self.source.block(block, BLOCK)
            rng = np.random.default_rng([self.config.seed, block, 1])
            row_maker, batcher = self.makers[self.source.is_easy(block, BLOCK)]
            groups = row_maker.groups(texts, rng)
            for number in range(first, len(groups)):
                rng = np.random.default_rng([self.config.seed, block, 2, number])
                yield block, number, batcher(groups[number], rng)
            first = 0

    def run(self, schedule: Schedule) -> None:
        """Train to the last token or the last minute, then save, probe and export."""
        self.model.train()
        begun = last_log = last_save = last_probe = time.monotonic()
        tokens_then, waiting = self.progress.tokens, []
        for block, number, batch in self.batches():
            waiting.append(self._step(batch))
            self.progress.block, self.progress.batch = block, number + 1
            now = time.monotonic()
            over = now - begun > schedule.minutes * 60
            done = over or self.progress.tokens >= self.config.training.tokens
            if now - last_log > schedule.log or done:
                self.progress.seconds += now - last_log
                loss = torch.stack(waiting).mean().item()
                self.progress.losses.append((self.progress.tokens, round(loss, 4)))
                self._log(loss, (self.progress.tokens - tokens_then) / (now - last_log))
                tokens_then, waiting = self.progress.tokens, []
                last_log = now
            if now - last_save > schedule.save or done:
                self.save()
                last_save = now
            if now - last_probe > schedule.probe or done:
                self.snapshot()
                last_probe = time.monotonic()
                last_log += last_probe - now
            if done:
                return

    def _step(self, batch: Batch) -> Tensor:
        factor = rate_factor(self.progress.tokens, self.config.training)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        loss = batch_loss(self.model, {name: part.to(self.device) for name, part in batch.items()})
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recentre(self.model)
        self.progress.step += 1
        self.progress.tokens += int(batch["attention_mask"].sum())
        self._update_average()
        return loss.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        step = self.progress.step
        keep = min(self.config.training.average, step / (step + 10))
        weights = dict(self.model.named_parameters())
        torch._foreach_lerp_(
            list(self.average.values()), [weights[name] for name in self.average], 1 - keep
        )

    def _log(self, loss: float, speed: float) -> None:
        here = self.progress
        factor = rate_factor(here.tokens, self.config.training)
        print(
            f"{self.config.name} step {here.step} tokens {here.tokens / 1e6:.3f}M loss {loss:.4f} "
            f"tokens/s {speed:.0f} lr {factor:.2f} minutes {here.seconds / 60:.1f}",
            flush=True,
        )

    def snapshot(self) -> dict[str, Score]:
        """Probe the averaged weights in half precision; export them unless they got clearly worse.

        The facts are known early, the language comes later: a later model is the better one even
        if its score wavers by a little.
        """
        # Scored in float32 but with the rounded weights, as users will load them.
        twin = half_precision(self.model, self.average)
        scores = probe(twin.float(), self.tokenizer, self.relations)
        precision = mean_precision(scores)
        print(f"{self.config.name} probe P@1 {precision:.4f}", flush=True)
        if self.target is not None and precision >= 0.95 * self.progress.best:
            self.progress.best = max(precision, self.progress.best)
            history = History(
                self.progress.tokens,
                self.progress.step,
                self.progress.seconds,
                self.progress.losses,
                scores,
            )
            export(
                twin.half(),
                self.tokenizer,
                config=self.config,
                history=history,
                target=self.target / self.config.name,
            )
        return scores
