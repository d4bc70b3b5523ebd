"""Logits of the next token of many rows, step by step, with what was read kept in a cache.

Rows stand at the right edge of a batch, padding at their left. What rows of one prompt share at
their beginning is read once (`causal_states.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from promptport.backbone.encoded import EncodedRow

if TYPE_CHECKING:
    from promptport.backbone.model import Backbone


class CausalSteps:
    """Rows of a causal backbone that are continued.

    Args:
        backbone: the causal backbone.
        rows: B rows up to the token before the first new one.
        vectors: (N, d) virtual tokens of all prompts.
        starts: first row of each row's prompt.

    Attributes:
        logits: (B, V) of the next token of each row.
    """

    def __init__(
        self,
        backbone: Backbone,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
    ) -> None:
        self._backbone = backbone
        self._cache: Any = None
        begun = backbone.states.begin(rows, vectors, starts)
        if begun is not None:
            logits, self._cache, self._attention = begun
            self.logits = known_tokens(backbone, logits)
            return
        # No keys and values are kept: every step reads the whole rows.
        batch = backbone.collate(rows, starts, left=True)
        self._embeds, self._attention = backbone.with_prompts(batch, vectors), batch.attention
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
        batch = backbone.collate(rows, starts)
        self._attention = batch.attention
        self._encoded: Tensor = backbone.model.get_encoder()(
            inputs_embeds=backbone.with_prompts(batch, vectors),
            attention_mask=batch.attention,
            return_dict=True,
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


def takes(backbone: Backbone, argument: str) -> bool:
    """Whether the model's `forward` has an argument."""
    return argument in inspect.signature(backbone.model.forward).parameters


def known_tokens(backbone: Backbone, logits: Tensor) -> Tensor:
    """(B, 1, V') -> (B, V): rows of the head beyond the tokenizer's tokens are untrained."""
    return logits[:, -1, : len(backbone.tokenizer)]
