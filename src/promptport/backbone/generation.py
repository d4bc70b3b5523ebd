"""Backbones write: continuations of rows, each behind its own prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from promptport.backbone.layout import EncodedRow
from promptport.errors import BackboneError

if TYPE_CHECKING:
    from promptport.backbone.model import Backbone


@torch.no_grad()
def generate(
    backbone: Backbone,
    rows: Sequence[EncodedRow],
    vectors: Tensor,
    starts: Sequence[int],
    max_new_tokens: int,
) -> list[str]:
    """See `Backbone.generate`."""
    if backbone.kind == "masked":
        raise BackboneError(
            backbone.name,
            expected="a causal or seq2seq backbone for text-to-text tasks",
            got="a masked one",
            fix="Choose another backbone, or a probe or classification task",
        )
    left = backbone.kind == "causal"
    cut = [_without_answer(row) for row in rows] if left else list(rows)
    # Rows of like room together, so that what a row says does not depend on its neighbours.
    by_room: dict[int, list[int]] = {}
    for i, row in enumerate(cut):
        by_room.setdefault(_room(backbone, row, max_new_tokens), []).append(i)
    said = [""] * len(cut)
    for room, places in by_room.items():
        own = [starts[i] for i in places]
        found = _write(backbone, [cut[i] for i in places], vectors, own, room)
        for i, text in zip(places, found, strict=True):
            said[i] = text
    return said


def _room(backbone: Backbone, row: EncodedRow, most: int) -> int:
    """New tokens that there are positions for; the last one needs none."""
    if backbone.max_tokens is None:
        return most
    taken = len(row.ids) if backbone.kind == "causal" else 1
    return max(1, min(most, backbone.max_tokens - taken + 1))


def _write(
    backbone: Backbone,
    rows: Sequence[EncodedRow],
    vectors: Tensor,
    starts: Sequence[int],
    most: int,
) -> list[str]:
    out = backbone.model.generate(
        **backbone.inputs(rows, vectors, starts, left=backbone.kind == "causal"),
        do_sample=False,
        num_beams=1,
        max_new_tokens=most,
        pad_token_id=backbone.special.pad,
    )
    return [str(t) for t in backbone.tokenizer.batch_decode(out, skip_special_tokens=True)]


def _without_answer(row: EncodedRow) -> EncodedRow:
    end = row.scored[0] + 1
    return EncodedRow(row.ids[:end], tuple(s for s in row.soft if s < end), (end - 1,), ())
