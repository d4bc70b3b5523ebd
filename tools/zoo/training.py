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

from .architectures import batch_loss, build_model, embedding_rate, word_embedding
from .batches import Batch, make_batcher
from .config import BackboneConfig
from .cooccurrence import cooccurrence_embeddings
from .corpus import TextSource
from .export import History, export, half_precision
from .optimizers import make_optimizers, open_weight, rate_factor, recentre
from .probe import Relation, Score, mean_precision, probe
from .rows import Row, RowMaker

POCKET, CORPUS = 4096, 1024  # texts in a block


@dataclass
class Progress:
    """Where a run stands; part of the checkpoint."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    block: int = 0  # block of texts, and batch in it, that come next
    batch: int = 0
    best: float = -1.0  # best P@1 exported
    losses: list[tuple[int, float, float]] = field(default_factory=list)


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
        self.model: PreTrainedModel = build_model(config, tokenizer)
        if config.training.cooccurrence and not self.checkpoint.is_file():
            self._seed_embeddings()
        self.model.to(device)
        self.average = {
            name: weight.detach().clone() for name, weight in self.model.named_parameters()
        }
        self.optimizers = make_optimizers(self.model, config.training)
        table = word_embedding(self.model)
        self.base_rates = [
            [(group["lr"], group["params"][0] is table) for group in optimizer.param_groups]
            for optimizer in self.optimizers
        ]
        self.progress = Progress()
        self.row_maker = RowMaker(config, tokenizer)
        self.batcher = make_batcher(config, tokenizer)
        self.clean_batcher = make_batcher(replace(config, data=config.data.clean()), tokenizer)
        if self.checkpoint.is_file():
            self.restore()

    @torch.no_grad()
    def _seed_embeddings(self) -> None:
        """Start from what the corpus says of the likeness of tokens."""
        table = word_embedding(self.model)
        rows = cooccurrence_embeddings(
            self.tokenizer, self.source.lines, width=table.shape[1], seed=self.config.seed
        )
        table.copy_(rows * self.config.training.cooccurrence * embedding_rate(self.model))

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

    def batches(self) -> Iterator[tuple[int, int, tuple[Batch, Batch]]]:
        """Batches from where the run stands, each with its block and number in it."""
        first = self.progress.batch
        for block in itertools.count(self.progress.block):
            short, opened = self._groups(block)
            for number in range(first, len(short)):
                rng = np.random.default_rng([self.config.seed, block, 2, number])
                is_clean = open_weight(self.progress.tokens, self.config.training) == 0
                short_batcher = self.clean_batcher if is_clean else self.batcher
                yield (
                    block,
                    number,
                    (
                        short_batcher(short[number], rng, is_open=False),
                        self.batcher(opened[number % len(opened)], rng, is_open=True),
                    ),
                )
            first = 0

    def _groups(self, block: int) -> tuple[list[list[Row]], list[list[Row]]]:
        data, budget = self.config.data, self.config.training.batch_tokens
        packed = round(CORPUS * data.long_share * data.long_pocket_share)
        pocket, corpus = self.source.block(block, pocket=POCKET + packed, corpus=CORPUS)
        rng = np.random.default_rng([self.config.seed, block, 1])
        short = round(budget * data.pocket_share)
        return (
            self.row_maker.short(pocket[packed:], rng, budget=short),
            self.row_maker.open(pocket[:packed], corpus, rng, budget=budget - short),
        )

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
                short, opened = torch.stack(waiting).mean(dim=0).tolist()
                self.progress.losses.append(
                    (self.progress.tokens, round(short, 4), round(opened, 4))
                )
                self._log((short, opened), (self.progress.tokens - tokens_then) / (now - last_log))
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

    def _step(self, parts: tuple[Batch, Batch]) -> Tensor:
        """One update from both parts; the losses of the short and the open rows. (2,)"""
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, (rate, is_table) in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * rate_factor(
                    self.progress.tokens, self.config.training, is_table=is_table
                )
        losses = torch.zeros(2)
        weights = (1.0, open_weight(self.progress.tokens, self.config.training))  # short, open
        for index, (batch, weight) in enumerate(zip(parts, weights, strict=True)):
            if not weight:
                continue
            here = {name: part.to(self.device) for name, part in batch.items()}
            loss = batch_loss(self.model, here)
            (weight * loss).backward()
            losses[index] = loss.detach()
            self.progress.tokens += int(batch["attention_mask"].sum())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 2.0)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        recentre(self.model)
        self.progress.step += 1
        self._update_average()
        return losses

    @torch.no_grad()
    def _update_average(self) -> None:
        step = self.progress.step
        keep = min(self.config.training.average, step / (step + 10))
        weights = dict(self.model.named_parameters())
        torch._foreach_lerp_(
            list(self.average.values()), [weights[name] for name in self.average], 1 - keep
        )

    def _log(self, losses: tuple[float, float], speed: float) -> None:
        here = self.progress
        factor = rate_factor(here.tokens, self.config.training)
        print(
            f"{self.config.name} step {here.step} tokens {here.tokens / 1e6:.3f}M "
            f"loss short {losses[0]:.4f} open {losses[1]:.4f} tokens/s {speed:.0f} "
            f"lr {factor:.2f} minutes {here.seconds / 60:.1f}",
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
        facts, classes = (mean_precision(scores, facts=facts) for facts in (True, False))
        print(
            f"{self.config.name} probe P@1 of facts {facts:.4f}, classes {classes:.4f}", flush=True
        )
        precision = (facts + classes) / 2
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
