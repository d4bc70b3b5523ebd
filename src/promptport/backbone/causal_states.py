"""Passes of a causal backbone whose rows share the keys and values of what they begin with."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from promptport.backbone.attention import attending
from promptport.backbone.batch import only_positions
from promptport.backbone.encoded import EncodedRow
from promptport.backbone.kept_texts import KeptTexts
from promptport.backbone.sharing import Shared, line_of, remainder, share

if TYPE_CHECKING:
    from promptport.backbone.model import Backbone

_CHECK_TEXT = "this is a test of words"
# Relative differences of logits beyond which sharing is not what the model computes without it.
_TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-3}
_ROUNDED = 0.05  # of types with fewer digits
_TOKENS_PER_PASS = 4096  # of texts whose keys and values are computed to be kept
_CANNOT = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class _Past:
    """Keys and values in front of each row, padded at the left.

    Attributes:
        states: (L, 2, B, H, S, D).
        lengths: (B,) how many of the S positions are the row's own, at the right.
    """

    states: Tensor
    lengths: Tensor

    @classmethod
    def of(cls, prefixes: Sequence[Tensor], owners: Sequence[int]) -> _Past:
        """Prefixes (L, 2, H, s, D) for the rows that own them; -1 for a row without one."""
        lengths = [prefix.shape[-2] for prefix in prefixes]
        own = [0 if owner < 0 else lengths[owner] for owner in owners]
        if any(prefix.requires_grad for prefix in prefixes):
            states = cls._joined(prefixes, owners, max(lengths))
        else:
            states = cls._copied(prefixes, owners, max(lengths))
        return cls(states, torch.tensor(own, device=states.device))

    @staticmethod
    def _copied(prefixes: Sequence[Tensor], owners: Sequence[int], width: int) -> Tensor:
        """One copy of each: keys and values of long texts take gigabytes."""
        layers, pair, heads, _, size = prefixes[0].shape
        states = prefixes[0].new_zeros(layers, pair, len(owners), heads, width, size)
        for i, owner in enumerate(owners):
            if owner >= 0:
                length = prefixes[owner].shape[-2]
                states[:, :, i, :, width - length :] = prefixes[owner]
        return states

    @staticmethod
    def _joined(prefixes: Sequence[Tensor], owners: Sequence[int], width: int) -> Tensor:
        """The same, through which gradients flow."""
        padded = [functional.pad(p, (0, 0, width - p.shape[-2], 0)) for p in prefixes]
        if -1 in owners:
            padded.append(torch.zeros_like(padded[0]))
        index = torch.tensor(owners, device=padded[0].device) % len(padded)  # -1: the last
        return torch.stack(padded, dim=2).index_select(2, index)

    @property
    def width(self) -> int:
        """S."""
        return self.states.shape[-2]

    @property
    def attention(self) -> Tensor:
        """(B, S) 1 at the row's own positions."""
        places = torch.arange(self.width, device=self.lengths.device)[None]
        return (places >= self.width - self.lengths[:, None]).long()

    def cache(self) -> Any:
        """The same as transformers takes it: windows are cut by masks, not by the cache."""
        from transformers import DynamicCache

        return DynamicCache([(layer[0], layer[1]) for layer in self.states])


class CausalStates:
    """Shares keys and values between the rows of a pass, and keeps those of texts between passes.

    Args:
        backbone: a causal one.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone
        self._kept: KeptTexts | None = None
        self._prompts: KeptTexts | None = None

    @contextlib.contextmanager
    def keeping_texts(self, kept: KeptTexts | None) -> Iterator[None]:
        """See `Backbone.keeping_texts`."""
        if self._kept is not None:
            yield
            return
        self._kept = KeptTexts() if kept is None else kept
        try:
            yield
        finally:
            if kept is None:
                self._kept.close()
            self._kept = None

    @property
    def keeps_texts(self) -> bool:
        """Whether passes keep them now."""
        return self._kept is not None

    @contextlib.contextmanager
    def keeping_prompts(self, kept: KeptTexts) -> Iterator[None]:
        """See `Backbone.keeping_prompts`."""
        before, self._prompts = self._prompts, kept
        try:
            yield
        finally:
            self._prompts = before

    def logits(
        self, rows: Sequence[EncodedRow], vectors: Tensor, starts: Sequence[int]
    ) -> Tensor | None:
        """Logits at the scored positions (B, m, V); None if rows have nothing worth sharing."""
        shared = self._share(rows, starts)
        if shared is None or not self.works:
            return None
        return self._continue(rows, vectors, starts, shared)[0]

    def begin(
        self, rows: Sequence[EncodedRow], vectors: Tensor, starts: Sequence[int]
    ) -> tuple[Tensor, Any, Tensor] | None:
        """Read rows that are to be continued behind their scored token, which is their last.

        Returns:
            Logits (B, m, V) there, a cache in which all rows end at the same place, and the
            attention mask (B, T) of what is in it; None for an architecture that keeps no keys and
            values, or not as others do.
        """
        if not self.works:
            return None
        shared = self._share(rows, starts)
        if shared is None:
            logits, states = self._pass(rows, vectors, starts, None, keep=True)
        else:
            logits, states = self._continue(rows, vectors, starts, shared, keep=True)
        past = _Past.of(states, range(len(rows)))
        return logits, past.cache(), past.attention

    def _share(self, rows: Sequence[EncodedRow], starts: Sequence[int]) -> Shared | None:
        return share(
            rows,
            starts,
            keep_texts=self._kept is not None,
            keep_prompts=self._prompts is not None and not torch.is_grad_enabled(),
        )

    def _continue(
        self,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
        shared: Shared,
        *,
        keep: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits of rows behind what they share; if kept, keys and values of whole rows."""
        prefixes = self._states(shared.prefixes, vectors, shared.starts)
        rests, own = [], []
        for row, start, cut in zip(rows, starts, shared.cuts, strict=True):
            rests.append(remainder(row, cut))
            own.append(start + sum(place < cut for place in row.soft))
        past = _Past.of(prefixes, shared.owners)
        return self._pass(rests, vectors, own, past, keep=keep)

    def _states(
        self, rows: Sequence[EncodedRow], vectors: Tensor, starts: Sequence[int]
    ) -> list[Tensor]:
        """Keys and values (L, 2, H, T, D) of whole rows."""
        states: dict[int, Tensor] = {}
        kept = self._kept
        if kept is not None:
            texts = [i for i, row in enumerate(rows) if not row.soft]
            keys = [rows[i].ids for i in texts]
            found = self._of_kept(kept, keys, [rows[i] for i in texts], vectors, [0] * len(texts))
            states |= zip(texts, found, strict=True)
        kept = self._prompts
        if kept is not None and not torch.is_grad_enabled():
            # Behind a text they would be kept for each text anew.
            leading = [i for i, row in enumerate(rows) if len(row.soft) == len(row.ids)]
            own, begins = [rows[i] for i in leading], [starts[i] for i in leading]
            keys = [_prompt_key(r, vectors, start) for r, start in zip(own, begins, strict=True)]
            states |= zip(leading, self._of_kept(kept, keys, own, vectors, begins), strict=True)
        others = [i for i in range(len(rows)) if i not in states]
        if others:
            computed = self._computed(
                [rows[i] for i in others], vectors, [starts[i] for i in others]
            )
            states |= zip(others, computed, strict=True)
        return [states[i] for i in range(len(rows))]

    def _computed(
        self, rows: Sequence[EncodedRow], vectors: Tensor, starts: Sequence[int]
    ) -> list[Tensor]:
        shared = self._share(rows, starts)
        if shared is not None:
            return self._continue(rows, vectors, starts, shared, keep=True)[1]
        return self._pass(rows, vectors, starts, None, keep=True)[1]

    @torch.no_grad()
    def _of_kept(
        self,
        kept: KeptTexts,
        keys: Sequence[tuple[int, ...]],
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
    ) -> list[Tensor]:
        """Of rows that never change: those that are kept, and others, which are kept then."""
        device = self._backbone.device
        states = {i: kept.get(key, device) for i, key in enumerate(keys) if key in kept}
        missing = [i for i in range(len(rows)) if i not in states]
        for places in _passes(missing, rows):
            own = [rows[i] for i in places]
            begins = [starts[i] for i in places]
            _, computed = self._pass(own, vectors, begins, None, keep=True)
            for i, value in zip(places, computed, strict=True):
                kept.put(keys[i], value)
                states[i] = value
        return [states[i] for i in range(len(rows))]

    def _pass(
        self,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
        past: _Past | None,
        *,
        keep: bool = False,
    ) -> tuple[Tensor, list[Tensor]]:
        """One forward pass: logits (B, m, V); if kept, keys and values of each whole row."""
        from transformers import DynamicCache

        backbone = self._backbone
        batch = backbone.collate(rows, starts)
        attention = batch.attention
        positions = torch.arange(attention.shape[1], device=attention.device)[None]
        before = 0
        cache = DynamicCache()
        if past is not None:
            before = past.width
            attention = torch.cat([past.attention, attention], dim=1)
            # Padding behind a short rest of a long row would lie beyond the last position.
            positions = (positions + past.lengths[:, None]) * (batch.attention != 0)
            cache = past.cache()
            if not keep:
                _let_go(cache)
        inputs = {
            "inputs_embeds": backbone.with_prompts(batch, vectors),
            "attention_mask": attention,
            "past_key_values": cache,
            "use_cache": True,
        }
        if self._takes_positions:
            inputs["position_ids"] = positions.expand(len(rows), -1)
        with only_positions(backbone.trunk, batch.scored), attending(vectors, backbone.dtype):
            logits: Tensor = backbone.model(**inputs, return_dict=True).logits
        if not keep:
            return logits, []
        return logits, _each_row(cache, past, before, [len(row.ids) for row in rows])

    @cached_property
    def _takes_positions(self) -> bool:
        return "position_ids" in inspect.signature(self._backbone.model.forward).parameters

    @cached_property
    def works(self) -> bool:
        """Whether logits are the same with and without sharing; tried on two short rows."""
        backbone = self._backbone
        ids = tuple(backbone.tokenizer(_CHECK_TEXT, add_special_tokens=False)["input_ids"])
        if len(ids) < 3:
            return False
        rows = [EncodedRow(part, (), (len(part) - 1,), ()) for part in (ids, ids[:-1])]
        cuts = [len(ids) - 1, 1]
        parts = [EncodedRow(r.ids[:c], (), (c - 1,), ()) for r, c in zip(rows, cuts, strict=True)]
        nothing = torch.zeros(1, backbone.width, device=backbone.device)
        with torch.no_grad():
            wanted = backbone.plain_logits(rows, nothing, [0, 0])
            try:
                _, states = self._pass(parts, nothing, [0, 0], None, keep=True)
                rests = [remainder(row, cut) for row, cut in zip(rows, cuts, strict=True)]
                logits, _ = self._pass(rests, nothing, [0, 0], _Past.of(states, [0, 1]))
            except _CANNOT:  # no keys and values, or not of this shape: nothing is shared
                return False
        error = float((logits.float() - wanted.float()).abs().max())
        tolerance = _TOLERANCE.get(backbone.dtype, _ROUNDED)
        return error <= tolerance * float(wanted.float().abs().max()) + 1e-6


def _prompt_key(row: EncodedRow, vectors: Tensor, start: int) -> tuple[int, ...]:
    """What tells a beginning of virtual tokens apart: their values, not where they lie."""
    own = vectors[start : start + len(row.soft)].detach().to("cpu", torch.float32).contiguous()
    digest = hashlib.blake2b(own.numpy().tobytes(), digest_size=16).digest()
    return int.from_bytes(digest, "big"), *line_of(row)


def _passes(places: Sequence[int], rows: Sequence[EncodedRow]) -> Iterator[list[int]]:
    """Rows of like length together, as many as one pass may have."""
    batch: list[int] = []
    for i in sorted(places, key=lambda i: -len(rows[i].ids)):
        if batch and (len(batch) + 1) * len(rows[batch[0]].ids) > _TOKENS_PER_PASS:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _let_go(cache: Any) -> None:
    """Let the layers of a cache give what is in front of new positions, and keep nothing new."""

    def give(layer: Any) -> Callable[..., tuple[Tensor, Tensor]]:
        def update(
            keys: Tensor, values: Tensor, *_args: Any, **_options: Any
        ) -> tuple[Tensor, Tensor]:
            return torch.cat([layer.keys, keys], -2), torch.cat([layer.values, values], -2)

        return update

    for layer in cache.layers:
        layer.update = give(layer)


def _each_row(cache: Any, past: _Past | None, before: int, lengths: Sequence[int]) -> list[Tensor]:
    """Keys and values of each row without padding, as views: (L, 2, H, T, D)."""
    states = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])
    begins = [before] * len(lengths) if past is None else (before - past.lengths).tolist()
    return [
        states[:, :, i, :, begin : before + length]
        for i, (begin, length) in enumerate(zip(begins, lengths, strict=True))
    ]
