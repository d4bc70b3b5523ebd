"""What a backbone is, told from its files: nothing is loaded but the embedding table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from promptport.backbone.checkpoint import open_space
from promptport.backbone.kinds import detect_kind, model_class, text_config
from promptport.backbone.loading import (
    Checkpoint,
    find_checkpoint,
    load_config,
    one_line,
    trusts_code,
)
from promptport.space import EmbeddingSpace

_MEGABYTE = 1_000_000
_WEIGHT_FILES = ("*.safetensors", "*.bin")


def describe_backbone(name: str, revision: str | None = None) -> dict[str, Any]:
    """Kind, sizes and embedding statistics of a backbone.

    Args:
        name: embedded name, local folder, GGUF file or Hub id.
        revision: Hub revision.

    Returns:
        Plain JSON values; `megabytes` are those of the weight files (None on the Hub),
        `megabytes_in_float32` what the weights take in memory.

    Raises:
        BackboneError: it cannot be found or read.
    """
    checkpoint = find_checkpoint(name, revision)
    config = load_config(checkpoint)
    kind = detect_kind(config, name)
    with one_line(name), torch.device("meta"):
        model = model_class(kind).from_config(config, trust_remote_code=trusts_code())
    parameters = sum(p.numel() for p in model.parameters())
    space = open_space(name, revision)
    statistics = space.statistics
    return {
        "kind": kind,
        "architecture": type(model).__name__,
        "width": space.width,
        "layers": getattr(text_config(config), "num_hidden_layers", None),
        "vocabulary": space.matrix.shape[0],
        "trained_rows": space.trained_rows,
        "tokens_without_row": len(space.tokens_without_row),
        "words": len(space.words),
        "dropped_tokens": dict(space.dropped),
        "parameters": parameters,
        "megabytes": _file_size(checkpoint),
        "megabytes_in_float32": parameters * 4 / _MEGABYTE,
        "embedding_std": statistics.std,
        "embedding_mean_norm": statistics.mean_norm,
        "embedding_centre_norm": float(statistics.centre.norm()),
        "embedding_scale": space.scale,
        "fingerprint": space.fingerprint,
        **(space.file or {}),
        "warnings": rowless_warnings([space]),
    }


def rowless_warnings(spaces: Sequence[EmbeddingSpace]) -> list[str]:
    """One line for each space whose tokenizer has more tokens than the embedding has rows."""
    lines = []
    for space in spaces:
        if missing := space.tokens_without_row:
            rows, more = space.matrix.shape[0], len(missing) - 1
            others = f" and {more} more" if more else ""
            lines.append(
                f"{space.backbone} has no embedding row for token {missing[0]!r} (id {rows}, "
                f"{rows} rows){others}: texts with it are refused. Resize the model to its "
                "tokenizer and save it: model.resize_token_embeddings(len(tokenizer))."
            )
    return lines


def _file_size(checkpoint: Checkpoint) -> float | None:
    if not checkpoint.local:
        return None
    if checkpoint.gguf is not None:
        return checkpoint.gguf.stat().st_size / _MEGABYTE
    files: list[Path] = [f for p in _WEIGHT_FILES for f in checkpoint.folder.glob(p)]
    return sum(file.stat().st_size for file in files) / _MEGABYTE
