"""What PEFT writes and reads of a prompt folder: its configuration and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from promptport.catalog.layout import (
    CONFIG_FILE,
    LEGACY_WEIGHTS_FILE,
    PROMPT_KEY,
    WEIGHTS_FILE,
)
from promptport.catalog.peft import (
    TASK_TYPES,
    TensorShape,
    check_rows,
    checked_length,
    provenance_from_peft,
)
from promptport.errors import FileFormatError
from promptport.files import describe_foreign, read_tensors, storage_error
from promptport.prompt import SoftPrompt
from promptport.storage.pickles import BROKEN_PICKLE, load_tensors_alone

__all__ = [
    "CONFIG_FILE",
    "PROMPT_KEY",
    "WEIGHTS_FILE",
    "checked_length",
    "peft_config",
    "provenance_from_peft",
    "read_rows",
]


def peft_config(prompt: SoftPrompt) -> dict[str, Any]:
    """The configuration with which PEFT loads a prompt."""
    source = prompt.provenance
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": TASK_TYPES.get(source.kind or "causal"),
        "num_virtual_tokens": prompt.length,
        "token_dim": prompt.width,
        # One set of rows also for encoder-decoders: PEFT would store a second, inert one.
        "num_transformer_submodules": 1,
        # Needed by PEFT for architectures that name them otherwise; prompt tuning never uses them.
        "num_layers": 1,
        "num_attention_heads": 1,
        "base_model_name_or_path": source.backbone,
        "revision": source.revision,
        "inference_mode": True,
        "prompt_tuning_init": "RANDOM",
    }


def read_rows(place: Path, file: str, length: int, config: dict[str, Any]) -> Tensor:
    """Rows (length, d) of a file of an adapter.

    Args:
        place: the folder.
        file: in it; of the weights, the file that older versions of PEFT wrote will do.
        length: number of virtual tokens.
        config: of the adapter.

    Raises:
        StorageError: it cannot be read.
        FileFormatError: a damaged or foreign file, or other rows than the configuration says.
    """
    path = place / file
    if file == WEIGHTS_FILE and not path.is_file() and (place / LEGACY_WEIGHTS_FILE).is_file():
        path = place / LEGACY_WEIGHTS_FILE
        tensors = _read_legacy(path)
    else:
        tensors = read_tensors(path)
    shown = {name: TensorShape(str(t.dtype), tuple(t.shape)) for name, t in tensors.items()}
    check_rows(path, shown, length, config)
    return tensors[PROMPT_KEY][:length]


def _read_legacy(path: Path) -> dict[str, Tensor]:
    try:
        values = load_tensors_alone(path)
    except OSError as error:
        raise storage_error(path, error, "a readable file") from error
    except BROKEN_PICKLE as error:
        raise FileFormatError(
            str(path),
            expected="tensors only (read with weights_only)",
            got=describe_foreign(path, (str(error).splitlines() or [type(error).__name__])[0]),
            fix="Save the adapter again as safetensors",
        ) from error
    if not isinstance(values, dict):
        raise FileFormatError(
            str(path),
            expected="tensors by name",
            got=type(values).__name__,
            fix="Save the adapter again as safetensors",
        )
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}
