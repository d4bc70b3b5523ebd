"""Backbones write: continuations of rows, each behind its own prompt, greedy or drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptport.backbone.chat import has_chat
from promptport.backbone.encoded import EncodedRow
from promptport.backbone.next_tokens import CausalSteps, Seq2SeqSteps
from promptport.errors import BackboneError
from promptport.tasks.writing import WritingConfig

if TYPE_CHECKING:
    from promptport.backbone.model import Backbone

_BATCH_TOKENS = 16384  # of a batch, new ones included: bounds the memory of keys and values
_CANDIDATES = 1024  # tokens that are looked at first when some are drawn
_LEAVE_AT = 0.8  # when so few rows of a batch are still written, the others leave it


@torch.no_grad()
def generate(
    backbone: Backbone,
    rows: Sequence[EncodedRow],
    vectors: Tensor,
    starts: Sequence[int],
    writing: WritingConfig,
) -> list[str]:
    """See `Backbone.generate`."""
    if backbone.kind == "masked":
        raise BackboneError(
            backbone.name,
            expected="a causal or seq2seq backbone for text-to-text tasks",
            got="a masked one",
            fix="Choose another backbone, or a probe or classification task",
        )
    if backbone.kind == "causal":
        rows = [_without_answer(row) for row in rows]
    said = [""] * len(rows)
    for places in _batches(rows, writing.max_new_tokens):
        batch = _Batch(backbone, [rows[i] for i in places], writing)
        for i, text in zip(places, batch.write(vectors, [starts[i] for i in places]), strict=True):
            said[i] = text
    return said


def end_tokens(backbone: Backbone) -> set[int]:
    """Ids behind which an answer is over: those of the tokenizer, the model and its chats."""
    found: set[int | None] = set()
    model = backbone.model
    for source in (getattr(model, "generation_config", None), model.config):
        ids = getattr(source, "eos_token_id", None)
        found |= {ids} if isinstance(ids, int) else set(ids or ())
    if backbone.kind == "causal" and has_chat(backbone.tokenizer):
        found |= {backbone.layout.chat.end}
    return {i for i in (*found, backbone.special.end) if i is not None}


def _batches(rows: Sequence[EncodedRow], new: int) -> Iterator[list[int]]:
    """Numbers of rows in batches of similar length, the longest first."""
    # seq2seq: openings of one length together
    order = sorted(range(len(rows)), key=lambda i: (-_opening(rows[i]), -len(rows[i].ids)))
    batch: list[int] = []
    for i in order:
        full = bool(batch) and (len(batch) + 1) * (len(rows[batch[0]].ids) + new) > _BATCH_TOKENS
        if batch and (full or _opening(rows[i]) != _opening(rows[batch[0]])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _opening(row: EncodedRow) -> int:
    """Tokens that a decoder starts from; 0 for causal rows."""
    return row.scored[0] + 1 if row.decoder_ids else 0


def _without_answer(row: EncodedRow) -> EncodedRow:
    end = row.scored[0] + 1
    return EncodedRow(row.ids[:end], tuple(s for s in row.soft if s < end), (end - 1,), ())


class _Batch:
    """Rows that are written together."""

    def __init__(
        self, backbone: Backbone, rows: Sequence[EncodedRow], writing: WritingConfig
    ) -> None:
        self._backbone = backbone
        self._rows = rows
        self._writing = writing
        self._rooms = [_room(backbone, row, writing.max_new_tokens) for row in rows]
        self._ends = end_tokens(backbone)
        self._ids: list[list[int]] = [[] for _ in rows]

    def write(self, vectors: Tensor, starts: Sequence[int]) -> list[str]:
        """The answers; arguments as in `generate`."""
        make = CausalSteps if self._backbone.kind == "causal" else Seq2SeqSteps
        steps = make(self._backbone, self._rows, vectors, starts)
        choose = _chooser(self._writing, self._rows)
        alive = list(range(len(self._rows)))  # rows of the forward pass
        done: set[int] = set()
        for number in range(max(self._rooms)):
            chosen = choose(steps.logits, alive, number)
            for i, token in zip(alive, chosen.tolist(), strict=True):
                if i not in done and self._ends_with(i, token):
                    done.add(i)
            left = [place for place, i in enumerate(alive) if i not in done]
            if not left:
                break
            if len(left) <= _LEAVE_AT * len(alive):
                kept = torch.tensor(left, device=chosen.device)
                steps.keep(kept)
                chosen, alive = chosen[kept], [alive[place] for place in left]
            steps.step(chosen.to(self._backbone.device))
        return [self._text(ids) for ids in self._ids]

    def _ends_with(self, row: int, token: int) -> bool:
        """Note a row's next token; whether it is its last."""
        if token in self._ends:
            return True
        ids = self._ids[row]
        ids.append(token)
        return len(ids) >= self._rooms[row] or (
            bool(self._writing.stop) and any(s in self._decode(ids) for s in self._writing.stop)
        )

    def _text(self, ids: Sequence[int]) -> str:
        text = self._decode(ids)
        return text[: min((text.find(s) for s in self._writing.stop if s in text), default=None)]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._backbone.tokenizer.decode(ids, skip_special_tokens=True))


def _room(backbone: Backbone, row: EncodedRow, most: int) -> int:
    """New tokens that there are positions for; the last one needs none."""
    if backbone.max_tokens is None:
        return most
    taken = len(row.ids) if backbone.kind == "causal" else _opening(row)
    return max(1, min(most, backbone.max_tokens - taken + 1))


def _chooser(writing: WritingConfig, rows: Sequence[EncodedRow]) -> Any:
    """A function (logits (B, V), numbers of the B rows, step) -> ids (B,)."""
    if writing.temperature == 0:
        return lambda logits, _alive, _number: logits.argmax(-1)
    chances = torch.stack([_chances(row, writing) for row in rows])  # (rows, most)

    def draw(logits: Tensor, alive: Sequence[int], number: int) -> Tensor:
        chance = chances[list(alive), number].to(logits.device)
        return draw_tokens(logits.float() / writing.temperature, chance, writing.top_p)

    return draw


def _chances(row: EncodedRow, writing: WritingConfig) -> Tensor:
    """(most,) numbers from 0 to 1, of the row's text and the seed alone."""
    soft = set(row.soft)
    text = [token for i, token in enumerate(row.ids) if i not in soft]
    key = hashlib.blake2b(f"{writing.seed} {text}".encode(), digest_size=7).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    return torch.rand(writing.max_new_tokens, generator=generator, dtype=torch.float64)


def draw_tokens(logits: Tensor, chances: Tensor, top_p: float) -> Tensor:
    """Draw a token of every row.

    Args:
        logits: (B, V).
        chances: (B,) from 0 to 1: where in the sum of the probabilities, the largest first, the
            token lies.
        top_p: share of the probability that the candidates have together.

    Returns:
        (B,) ids. The likeliest token is always a candidate.
    """
    total = logits.logsumexp(-1, keepdim=True).double()
    if top_p == 1 or logits.shape[1] <= _CANDIDATES:
        return _drawn(*_sorted(logits, total), chances, top_p)
    # Sorting a vocabulary takes longer than the model: mostly a few candidates hold `top_p`.
    values, ids = logits.topk(_CANDIDATES)
    ids, order = ids.sort(-1)  # of equal logits the lower id comes first, as in a whole sort
    shares, order = _sorted(values.gather(1, order), total)
    ids = ids.gather(1, order)
    enough = shares[:, :-1].sum(-1) >= top_p
    drawn = _drawn(shares, ids, chances, top_p)
    if not bool(enough.all()):
        rest = ~enough
        drawn[rest] = _drawn(*_sorted(logits[rest], total[rest]), chances[rest], top_p)
    return drawn


def _sorted(logits: Tensor, total: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (B, K) of some tokens, the largest first, and their places in `logits`."""
    logits, places = logits.sort(stable=True, dim=-1, descending=True)
    return (logits.double() - total).exp(), places


def _drawn(shares: Tensor, ids: Tensor, chances: Tensor, top_p: float) -> Tensor:
    """Ids (B,) of tokens whose probabilities (B, K) come the largest first."""
    sums = shares.cumsum(-1)
    inside = (sums - shares) < top_p
    total = (shares * inside).sum(-1, keepdim=True)
    place = torch.searchsorted(sums, chances[:, None] * total, right=True)
    most = inside.sum(-1, keepdim=True) - 1
    return ids.gather(1, torch.minimum(place, most)).squeeze(1)
