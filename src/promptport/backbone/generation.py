"""Backbones write: continuations of rows, each behind its own prompt, greedy or drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

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
_COLDEST = 1e-6  # a lower temperature is greedy: logits divided by it would overflow
_LEAVE_AT = 0.8  # when so few rows of a batch are still written, the others leave it


@torch.no_grad()
def generate(
    backbone: Backbone,
    rows: Sequence[EncodedRow],
    vectors: Tensor,
    starts: Sequence[int],
    writing: WritingConfig | Sequence[WritingConfig],
) -> list[str]:
    """See `Backbone.generate`."""
    writings = [writing] * len(rows) if isinstance(writing, WritingConfig) else writing
    if backbone.kind == "masked":
        raise BackboneError(
            backbone.name,
            expected="a causal or seq2seq backbone for text-to-text tasks",
            got="a masked one",
            fix="Choose another backbone, or a probe or classification task",
        )
    if backbone.kind == "causal":
        rows = [without_answer(row) for row in rows]
    said = [""] * len(rows)
    for places in row_batches(rows, [each.max_new_tokens for each in writings]):
        own, ways = [rows[i] for i in places], [writings[i] for i in places]
        batch = Writing(backbone, own, vectors, [starts[i] for i in places], ways)
        while not batch.is_done:
            batch.step()
        for number, i in enumerate(places):
            said[i] = batch.text(number)
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


def row_batches(
    rows: Sequence[EncodedRow], new: Sequence[int], most: int | None = None
) -> Iterator[list[int]]:
    """Numbers of rows in batches of similar length, the longest first.

    Args:
        rows: encoded rows.
        new: tokens that each may still get.
        most: tokens of a batch, new ones and padding included; None for the usual number.
    """
    bound = most or _BATCH_TOKENS
    sizes = [len(row.ids) + more for row, more in zip(rows, new, strict=True)]
    # seq2seq: openings of one length together
    order = sorted(range(len(rows)), key=lambda i: (-_opening(rows[i]), -sizes[i]))
    batch: list[int] = []
    for i in order:
        full = bool(batch) and (len(batch) + 1) * sizes[batch[0]] > bound
        if batch and (full or _opening(rows[i]) != _opening(rows[batch[0]])):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _opening(row: EncodedRow) -> int:
    """Tokens that a decoder starts from; 0 for causal rows."""
    return row.scored[0] + 1 if row.decoder_ids else 0


def without_answer(row: EncodedRow) -> EncodedRow:
    """A row of a causal backbone up to the token in front of its answer."""
    end = row.scored[0] + 1
    return EncodedRow(row.ids[:end], tuple(s for s in row.soft if s < end), (end - 1,), ())


class Writing:
    """Answers on their way, a token of each at every step. Made and used without gradients.

    Args:
        backbone: a causal or seq2seq one.
        rows: B encoded rows; of a causal backbone they end with the token in front of the first
            new one, of a seq2seq one their decoders begin with as many tokens.
        vectors: (N, d) virtual tokens of all prompts.
        starts: first row of each row's prompt.
        writings: how each row is written.
    """

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
        writings: Sequence[WritingConfig],
    ) -> None:
        self._backbone = backbone
        self._writings = writings
        self._rooms = [
            _room(backbone, row, own.max_new_tokens)
            for row, own in zip(rows, writings, strict=True)
        ]
        self._ends = end_tokens(backbone)
        self._ids: list[list[int]] = [[] for _ in rows]
        self._reasons: list[str | None] = [None] * len(rows)
        self._choose = _Chooser(rows, writings)
        self._alive = list(range(len(rows)))  # rows of the forward pass
        self._number = 0
        self._pending: Tensor | None = None  # chosen, not read yet
        make = CausalSteps if backbone.kind == "causal" else Seq2SeqSteps
        self._steps = make(backbone, rows, vectors, starts)

    @property
    def is_done(self) -> bool:
        """Whether every row has ended."""
        return all(reason is not None for reason in self._reasons)

    @property
    def left(self) -> int:
        """Rows that have not ended."""
        return sum(reason is None for reason in self._reasons)

    @torch.no_grad()
    def step(self) -> list[int]:
        """Write one more token of every row that has not ended.

        Returns:
            Numbers of these rows.
        """
        if self._pending is not None:
            self._read(self._pending)
        chosen = self._choose(self._steps.logits, self._alive, self._number)
        self._number += 1
        grown = []
        for i, token in zip(self._alive, chosen.tolist(), strict=True):
            if self._reasons[i] is None:
                self._reasons[i] = self._note(i, token)
                grown.append(i)
        self._pending = chosen
        return grown

    def stop(self, row: int) -> None:
        """Write no more of a row."""
        self._reasons[row] = self._reasons[row] or "stopped"

    def text(self, row: int) -> str:
        """What is written of a row."""
        text = self._decode(self._ids[row])
        stops = self._writings[row].stop
        return text[: min((text.find(s) for s in stops if s in text), default=None)]

    def tokens(self, row: int) -> int:
        """Tokens written of a row, its end not counted."""
        return len(self._ids[row])

    def ended(self, row: int) -> str | None:
        """Why a row has ended: `end` (the model's own end, or a stop), `length`, `stopped`; None
        while it goes on."""
        return self._reasons[row]

    def _read(self, chosen: Tensor) -> None:
        """Put the last tokens to the model; rows that ended leave once they are enough."""
        left = [place for place, i in enumerate(self._alive) if self._reasons[i] is None]
        if len(left) <= _LEAVE_AT * len(self._alive):
            kept = torch.tensor(left, device=chosen.device)
            self._steps.keep(kept)
            chosen, self._alive = chosen[kept], [self._alive[place] for place in left]
        self._steps.step(chosen.to(self._backbone.device))

    def _note(self, row: int, token: int) -> str | None:
        """Note a row's next token; why it is its last, if so."""
        if token in self._ends:
            return "end"
        ids = self._ids[row]
        ids.append(token)
        stops = self._writings[row].stop
        if stops and any(s in self._decode(ids) for s in stops):
            return "end"
        return "length" if len(ids) >= self._rooms[row] else None

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._backbone.tokenizer.decode(ids, skip_special_tokens=True))


def _room(backbone: Backbone, row: EncodedRow, most: int) -> int:
    """New tokens that there are positions for; the last one needs none."""
    if backbone.max_tokens is None:
        return most
    taken = len(row.ids) if backbone.kind == "causal" else _opening(row)
    return max(1, min(most, backbone.max_tokens - taken + 1))


class _Chooser:
    """Chooses the next token of every row, each as its own configuration says."""

    def __init__(self, rows: Sequence[EncodedRow], writings: Sequence[WritingConfig]) -> None:
        self._writings = writings
        self._chances = {
            i: _chances(row, own)
            for i, (row, own) in enumerate(zip(rows, writings, strict=True))
            if own.temperature >= _COLDEST
        }

    def __call__(self, logits: Tensor, alive: Sequence[int], number: int) -> Tensor:
        """Ids (B,) of the tokens that follow, of logits (B, V) of the rows with these numbers."""
        groups: dict[tuple[float, float], list[int]] = {}
        for place, i in enumerate(alive):
            if i in self._chances and number < len(self._chances[i]):
                own = self._writings[i]
                groups.setdefault((own.temperature, own.top_p), []).append(place)
        chosen = logits.argmax(-1)
        for (temperature, top_p), places in groups.items():
            chance = torch.stack([self._chances[alive[place]][number] for place in places])
            index = torch.tensor(places, device=logits.device)
            cooled = logits[index].float() / temperature
            chosen[index] = draw_tokens(cooled, chance.to(logits.device), top_p)
        return chosen


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
