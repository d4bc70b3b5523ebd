"""A checkpoint whose vocabulary holds soft prompts: new tokens, with the prompts as their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport.backbone.encoded import SpecialTokens
from promptport.backbone.kinds import Kind, text_config
from promptport.backbone.layout import Layout
from promptport.backbone.loading import (
    find_checkpoint,
    load_config,
    load_model,
    load_tokenizer,
    one_line,
)
from promptport.errors import BackboneError

# Added to the logits of new tokens where the head has biases; fits into float16.
_NEVER = -1e4


@dataclass(frozen=True)
class Baked:
    """What `bake_tokens` wrote.

    Attributes:
        ids: of the new tokens, in order.
        dtype: of the saved weights, that of the checkpoint.
        tied: whether the head shares the table of input rows, so that new tokens would be said
            if nothing barred them.
    """

    ids: tuple[int, ...]
    dtype: str
    tied: bool


def open_layout(name: str, kind: Kind, rows: int | None, revision: str | None = None) -> Layout:
    """How rows are laid out for a backbone, from its configuration and tokenizer alone.

    Args:
        name: as in `Backbone.load`.
        kind: of the backbone.
        rows: of its embedding, where known.
        revision: Hub revision.

    Raises:
        BackboneError: it cannot be found.
    """
    checkpoint = find_checkpoint(name, revision)
    config, tokenizer = load_config(checkpoint), load_tokenizer(checkpoint)
    special = SpecialTokens.read(tokenizer, text_config(config))
    return Layout(tokenizer, special, kind, None, name, rows)


def bake_tokens(
    name: str,
    kind: Kind,
    folder: Path,
    rows: Tensor,
    tokens: Sequence[str],
    *,
    revision: str | None = None,
    chat_prefix: str = "",
) -> Baked:
    """Write a model folder whose tokenizer has more tokens.

    Args:
        name: of the backbone, as in `Backbone.load`.
        kind: of the backbone.
        folder: an empty one that is there.
        rows: (n, d) float32 embedding weights of the new tokens, before any scale of the model.
        tokens: n new tokens as they are written.
        revision: Hub revision.
        chat_prefix: text that its chat template writes in front of everything.

    Returns:
        Their ids, which the model never writes by itself (`generation_config.json`).

    Raises:
        BackboneError: it cannot be loaded, or its vocabulary cannot grow.
    """
    checkpoint = find_checkpoint(name, revision)
    tokenizer: Any = load_tokenizer(checkpoint)
    model: Any = load_model(checkpoint, kind, dtype="auto")
    ids = _add_tokens(tokenizer, tokens, name)
    _add_rows(model, ids, rows)
    _bar(model, ids)
    if chat_prefix and isinstance(getattr(tokenizer, "chat_template", None), str):
        tokenizer.chat_template = chat_prefix + tokenizer.chat_template
    model.config._name_or_path = ""  # a folder of this machine, most likely
    tokenizer.name_or_path = ""
    with one_line(name):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    table = model.get_input_embeddings().weight
    return Baked(tuple(ids), str(table.dtype).removeprefix("torch."), _is_tied(model))


def _add_tokens(tokenizer: Any, tokens: Sequence[str], name: str) -> list[int]:
    from transformers import AddedToken

    taken = set(tokens) & set(tokenizer.get_vocab())
    if taken:
        raise BackboneError(
            name,
            expected="new names of tokens",
            got=f"{min(taken)!r}, which its tokenizer has",
            fix="Export from the model that the prompt was tuned on",
        )
    added = [AddedToken(token, special=True, normalized=False) for token in tokens]
    tokenizer.add_tokens(added, special_tokens=True)
    return [int(i) for i in tokenizer.convert_tokens_to_ids(list(tokens))]


@torch.no_grad()
def _add_rows(model: Any, ids: Sequence[int], rows: Tensor) -> None:
    before = model.get_input_embeddings().weight.shape[0]
    if max(ids) >= before:
        model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    index = torch.tensor(ids)
    table = model.get_input_embeddings().weight
    table[index] = rows.to(table.dtype)
    head = model.get_output_embeddings()
    if head is None:
        return
    if not _is_tied(model):
        head.weight[index] = 0
    if getattr(head, "bias", None) is not None:
        head.bias[index] = _NEVER
    bias = getattr(model, "final_logits_bias", None)  # BART's
    if bias is not None:
        bias[..., index] = _NEVER


def _is_tied(model: Any) -> bool:
    head = model.get_output_embeddings()
    table = model.get_input_embeddings().weight
    return head is not None and head.weight.data_ptr() == table.data_ptr()


def _bar(model: Any, ids: Sequence[int]) -> None:
    """Have the new tokens never written; masked models write nothing, and have no such file."""
    config = getattr(model, "generation_config", None)
    if config is not None:
        config.suppress_tokens = [*(config.suppress_tokens or ()), *ids]
