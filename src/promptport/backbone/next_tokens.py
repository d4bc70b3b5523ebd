"""Logits of the next token of many rows, step by step, with what was read kept in a cache.

Rows stand at the right edge of a batch, padding at their left. What rows of one prompt share at
their beginning is read once: its keys and values are laid in front of each row, where they would
stand without sharing, so that windows, biases and positions are those of a plain batch.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptport.backbone.layout import EncodedRow

if TYPE_CHECKING:
    from promptport.backbone.model import Backbone

# Tokens that sharing must save in a batch: for fewer, one more forward pass is not worth it.
_WORTH_SHARING = 64
_CACHED_LAYERS = {"full_attention", "sliding_attention"}


class CausalSteps:
    """Rows of a causal backbone that are continued.

    Args:
        backbone: the causal backbone.
        rows: B rows up to the token before the first new one.
        vectors: (N, d) virtual tokens of all prompts.
        starts: first row of each row's prompt.
        share: whether common beginnings are read once.

    Attributes:
        logits: (B, V) of the next token of each row.
    """

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
        *,
        share: bool = True,
    ) -> None:
        self._backbone = backbone
        lengths = [len(row.ids) for row in rows]
        longest = max(lengths)
        shared = _shared_beginnings(rows, starts) if share and can_cache(backbone) else {}
        # Every row reads its last `rest` tokens itself; a shared beginning may end before them.
        rest = max(n - shared.get(s, 0) for n, s in zip(lengths, starts, strict=True))
        padding = torch.tensor([longest - n for n in lengths], device=backbone.device)
        columns = torch.arange(longest, device=backbone.device)
        self._attention = (columns >= padding[:, None]).long()  # (B, T)
        self._cache = None if not can_cache(backbone) else new_cache()
        if rest < longest:
            firsts = {s: i for i, s in reversed(list(enumerate(starts)))}
            read = {s: self._read(rows[i], vectors, s, shared[s]) for s, i in firsts.items()}
            self._lay(read, starts, padding, longest - rest)
        ends = [_last(row, start, rest) for row, start in zip(rows, starts, strict=True)]
        self._embeds = input_rows(
            backbone, [e for e, _ in ends], vectors, [s for _, s in ends], rest
        )
        self.logits = self._forward(self._embeds)

    def step(self, ids: Tensor) -> None:
        """Read one more token of every row: (B,)."""
        rows = self._backbone.embed(ids[:, None])
        self._attention = torch.cat([self._attention, torch.ones_like(ids[:, None])], dim=1)
        if self._cache is None:
            rows = self._embeds = torch.cat([self._embeds, rows], dim=1)
        self.logits = self._forward(rows)

    def keep(self, places: Tensor) -> None:
        """Go on with some of the rows only."""
        self._attention = self._attention[places]
        if self._cache is None:
            self._embeds = self._embeds[places]
        else:
            self._cache.batch_select_indices(places)

    def _forward(self, embeds: Tensor) -> Tensor:
        """(B, T', d) input rows at the right edge -> (B, V)."""
        backbone, inputs = self._backbone, {"inputs_embeds": embeds, "use_cache": False}
        if self._cache is not None:
            inputs |= {"past_key_values": self._cache, "use_cache": True}
        if takes(backbone, "position_ids"):
            positions = (self._attention.cumsum(1) - 1).clamp(min=0)
            inputs["position_ids"] = positions[:, -embeds.shape[1] :]
        if takes(backbone, "logits_to_keep"):
            inputs["logits_to_keep"] = 1
        out = backbone.model(attention_mask=self._attention, return_dict=True, **inputs)
        return known_tokens(backbone, out.logits)

    def _read(self, row: EncodedRow, vectors: Tensor, start: int, length: int) -> Any:
        """Cache of the first tokens of a row."""
        cache, backbone = new_cache(), self._backbone
        first = EncodedRow(row.ids[:length], tuple(s for s in row.soft if s < length), (), ())
        embeds = input_rows(backbone, [first], vectors, [start], length)
        backbone.model(
            inputs_embeds=embeds,
            attention_mask=torch.ones(1, length, dtype=torch.long, device=embeds.device),
            past_key_values=cache,
            use_cache=True,
            return_dict=True,
            **({"logits_to_keep": 1} if takes(backbone, "logits_to_keep") else {}),
        )
        return cache

    def _lay(
        self, read: dict[int, Any], starts: Sequence[int], padding: Tensor, width: int
    ) -> None:
        """Put shared beginnings in front: each row's stands where the row begins."""
        number = {start: i for i, start in enumerate(read)}
        own = torch.tensor([number[s] for s in starts], device=padding.device)[:, None]  # (B, 1)
        places = (torch.arange(width, device=padding.device) - padding[:, None]).clamp(min=0)
        caches = list(read.values())
        for layer in range(len(caches[0].layers)):
            pair = []
            for part in ("keys", "values"):
                parts = [getattr(cache.layers[layer], part)[0].transpose(0, 1) for cache in caches]
                table = torch.nn.utils.rnn.pad_sequence(parts, batch_first=True)  # (P, T, H, d)
                at = places.clamp(max=table.shape[1] - 1)
                pair.append(table[own.to(table.device), at.to(table.device)].transpose(1, 2))
            self._cache.update(*pair, layer)  # type: ignore[union-attr]


class Seq2SeqSteps:
    """Rows of a seq2seq backbone whose decoder is continued; all openings are of one length.

    Args and attributes are those of `CausalSteps`.
    """

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
    ) -> None:
        self._backbone = backbone
        longest = max(len(row.ids) for row in rows)
        mask = [[1] * len(row.ids) + [0] * (longest - len(row.ids)) for row in rows]
        self._attention = torch.tensor(mask, device=backbone.device)
        embeds = input_rows(backbone, rows, vectors, starts, longest, left=False)
        encoder = backbone.model.get_encoder()
        self._encoded: Tensor = encoder(
            inputs_embeds=embeds, attention_mask=self._attention, return_dict=True
        )[0]
        self._cache: Any = None
        openings = [row.decoder_ids[: row.scored[0] + 1] for row in rows]
        self.logits = self._forward(torch.tensor(openings, device=backbone.device))

    def step(self, ids: Tensor) -> None:
        """Read one more token of every row: (B,)."""
        self.logits = self._forward(ids[:, None])

    def keep(self, places: Tensor) -> None:
        """Go on with some of the rows only."""
        self._attention, self._encoded = self._attention[places], self._encoded[places]
        self._cache.batch_select_indices(places)

    def _forward(self, ids: Tensor) -> Tensor:
        from transformers.modeling_outputs import BaseModelOutput

        out = self._backbone.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=self._attention,
            decoder_input_ids=ids,
            past_key_values=self._cache,
            use_cache=True,
            return_dict=True,
        )
        self._cache = out.past_key_values
        return known_tokens(self._backbone, out.logits)


def new_cache() -> Any:
    """An empty cache that keeps every token: windows are cut by masks, not by the cache."""
    from transformers import DynamicCache

    return DynamicCache()


def can_cache(backbone: Backbone) -> bool:
    """Whether a causal backbone keeps keys and values (those with states do not)."""
    config = backbone.model.config.get_text_config(decoder=True)
    kinds = set(getattr(config, "layer_types", None) or ())
    return takes(backbone, "past_key_values") and kinds <= _CACHED_LAYERS


def takes(backbone: Backbone, argument: str) -> bool:
    """Whether the model's `forward` has an argument."""
    return argument in inspect.signature(backbone.model.forward).parameters


def known_tokens(backbone: Backbone, logits: Tensor) -> Tensor:
    """(B, 1, V') -> (B, V): rows of the head beyond the tokenizer's tokens are untrained."""
    return logits[:, -1, : len(backbone.tokenizer)]


def input_rows(
    backbone: Backbone,
    rows: Sequence[EncodedRow],
    vectors: Tensor,
    starts: Sequence[int],
    width: int,
    *,
    left: bool = True,
) -> Tensor:
    """(B, width, d) input rows with virtual tokens in place, padded at one side.

    Args:
        backbone: the backbone.
        rows: B rows of at most `width` tokens.
        vectors: (N, d) virtual tokens of all prompts.
        starts: the row of `vectors` for the first virtual token of each row.
        width: tokens of the batch.
        left: where padding stands.
    """
    offsets = [width - len(row.ids) if left else 0 for row in rows]
    ids = torch.full((len(rows), width), backbone.special.pad, device=backbone.device)
    for i, (row, offset) in enumerate(zip(rows, offsets, strict=True)):
        ids[i, offset : offset + len(row.ids)] = torch.tensor(row.ids, device=backbone.device)
    embeds = backbone.embed(ids)
    places = [
        (i, offset + position, start + j)
        for i, (row, start, offset) in enumerate(zip(rows, starts, offsets, strict=True))
        for j, position in enumerate(row.soft)
    ]
    if not places:
        return embeds
    row_of, position_of, source = torch.tensor(places, device=backbone.device).unbind(1)
    values = vectors.to(backbone.device)[source].to(embeds.dtype)
    return embeds.index_put((row_of, position_of), values)


def _last(row: EncodedRow, start: int, most: int) -> tuple[EncodedRow, int]:
    """The last tokens of a row, and where its first virtual token is found then."""
    gone = max(0, len(row.ids) - most)
    soft = tuple(s - gone for s in row.soft if s >= gone)
    return EncodedRow(row.ids[gone:], soft, (), ()), start + len(row.soft) - len(soft)


def _shared_beginnings(rows: Sequence[EncodedRow], starts: Sequence[int]) -> dict[int, int]:
    """Tokens that all rows of a prompt have in common at their beginning, where it is worth it.

    Of each row at least one token is left to be read.
    """
    lines: dict[int, list[tuple[int, ...]]] = {}
    for row, start in zip(rows, starts, strict=True):
        line = list(row.ids)
        for position in row.soft:
            line[position] = -1  # their number and order are those of the prompt
        lines.setdefault(start, []).append(tuple(line))
    shared = {start: _common_length(own) for start, own in lines.items()}
    saved = sum((len(own) - 1) * shared[start] for start, own in lines.items())
    return shared if saved >= _WORTH_SHARING else {}


def _common_length(lines: Sequence[tuple[int, ...]]) -> int:
    first, last = min(lines), max(lines)  # tuples in order: what these share, all share
    shortest = min(len(line) for line in lines)
    pairs = zip(first, last, strict=False)
    differing = (i for i, (a, b) in enumerate(pairs) if a != b)
    return min(next(differing, shortest), shortest - 1)
