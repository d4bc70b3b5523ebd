"""Rows side by side, with padding, virtual tokens at their places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from promptport.backbone.encoded import EncodedRow


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass.

    Attributes:
        ids: (B, T) token ids, a filler at virtual tokens and padding.
        attention: (B, T) 1 at tokens, 0 at padding.
        places: (B * n, 3): batch row, position, row of the table of prompts.
        scored: (B, m) positions that are read.
        decoder_ids: (B, T_d) of a seq2seq model, else None.
    """

    ids: Tensor
    attention: Tensor
    places: Tensor
    scored: Tensor
    decoder_ids: Tensor | None

    @classmethod
    def of(
        cls,
        rows: Sequence[EncodedRow],
        starts: Sequence[int],
        *,
        pad: int,
        device: torch.device,
        left: bool = False,
    ) -> Batch:
        """Lay rows side by side.

        Args:
            rows: B rows.
            starts: for each the first row of its prompt in the table of prompts.
            pad: filler.
            device: of the tensors.
            left: padding stands in front.
        """

        def tensor(values: Sequence[Sequence[int]]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        length = max(len(row.ids) for row in rows)
        offsets = [length - len(row.ids) if left else 0 for row in rows]
        ids = torch.full((len(rows), length), pad, dtype=torch.long)
        attention = torch.zeros_like(ids)
        for i, (row, offset) in enumerate(zip(rows, offsets, strict=True)):
            ids[i, offset : offset + len(row.ids)] = torch.tensor(row.ids, dtype=torch.long)
            attention[i, offset : offset + len(row.ids)] = 1
        places = [
            (i, offset + position, start + j)
            for i, (row, start, offset) in enumerate(zip(rows, starts, offsets, strict=True))
            for j, position in enumerate(row.soft)
        ]
        most = max(len(row.scored) for row in rows)
        scored = [
            [*row.scored, *[row.scored[0]] * (most - len(row.scored))] if row.scored else [0] * most
            for row in rows
        ]
        longest = max(len(row.decoder_ids) for row in rows)
        decoder = [[*r.decoder_ids, *[pad] * (longest - len(r.decoder_ids))] for r in rows]
        return cls(
            ids.to(device),
            attention.to(device),
            tensor(places).reshape(-1, 3),
            tensor(scored),
            tensor(decoder) if longest else None,
        )


def insert_rows(embeds: Tensor, vectors: Tensor, batch: Batch) -> Tensor:
    """Put virtual tokens at their places: (B, T, d) and (N, d) -> (B, T, d)."""
    if batch.places.numel() == 0:
        return embeds
    row, position, source = batch.places.unbind(1)
    values = vectors[source].to(dtype=embeds.dtype, device=embeds.device)
    return embeds.index_put((row, position), values)


@contextlib.contextmanager
def only_positions(trunk: nn.Module, scored: Tensor) -> Iterator[None]:
    """Let the head see nothing but the scored positions: it is the dearest part of small models."""

    def keep(_module: nn.Module, _inputs: Any, output: Any) -> Any:
        hidden = output[0]
        index = scored.to(hidden.device).unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        gathered = hidden.gather(1, index)  # (B, m, d)
        if isinstance(output, tuple):
            return (gathered, *output[1:])
        output["last_hidden_state"] = gathered
        return output

    handle = trunk.register_forward_hook(keep)
    try:
        yield
    finally:
        handle.remove()
