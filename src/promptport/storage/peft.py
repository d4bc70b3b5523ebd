"""What PEFT writes and reads of a prompt folder: its configuration and its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport.errors import FileFormatError
from promptport.files import describe_foreign, read_tensors
from promptport.prompt import Provenance, SoftPrompt

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
LEGACY_WEIGHTS_FILE = "adapter_model.bin"
PROMPT_KEY = "prompt_embeddings"
_SHOWN = 60  # characters of a wrong value
_HEADS = ("classifier", "score.", "qa_outputs")  # of models that do not answer in words
_RESTORE = "Restore the file from its source"
_GIVE = "Give the folder of a prompt-tuning adapter"
_FINISH = "Save the adapter with PEFT's save_pretrained, which stores the finished rows"

# P-tuning learns its rows through a prompt encoder, but PEFT's save_pretrained stores the finished
# rows under the same name as prompt tuning, and runs them alike.
_WITH_ROWS = ("PROMPT_TUNING", "P_TUNING")

# PEFT has no masked-LM type; feature extraction on a *ForMaskedLM is the one that works.
TASK_TYPES = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
_KINDS = {task_type: kind for kind, task_type in TASK_TYPES.items()}


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


def checked_length(config: dict[str, Any], place: Path) -> int:
    """The number of virtual tokens of an adapter of prompt tuning or P-tuning.

    Raises:
        FileFormatError: another kind of adapter, or no number.
    """
    where = str(place / CONFIG_FILE)
    kind = config.get("peft_type")
    if kind not in _WITH_ROWS:
        expected = f"peft_type {' or '.join(_WITH_ROWS)}"
        raise FileFormatError(where, expected=expected, got=repr(kind), fix=_GIVE)
    length = config.get("num_virtual_tokens")
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise FileFormatError(
            where,
            expected="num_virtual_tokens >= 1",
            got=repr(length),
            fix="Restore the file from its source",
        )
    return length


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
    rows = tensors.get(PROMPT_KEY)
    if rows is None:
        raise FileFormatError(
            str(path),
            expected=f"a tensor {PROMPT_KEY!r}",
            got=", ".join(sorted(tensors)) or "none",
            fix=_GIVE if config.get("peft_type") != "P_TUNING" else _FINISH,
        )
    width = config.get("token_dim")
    if heads := [name for name in tensors if any(part in name for part in _HEADS)]:
        raise FileFormatError(
            str(path),
            expected="a prompt that was tuned without a head of its own",
            got=f"a trained head, {heads[0]}",
            fix="Tune it on the task's label words, or remove the head if it is not needed",
        )
    submodules = config.get("num_transformer_submodules")
    submodules = submodules or (2 if config.get("task_type") == "SEQ_2_SEQ_LM" else 1)
    if not isinstance(submodules, int):
        raise FileFormatError(
            str(place / CONFIG_FILE),
            expected="num_transformer_submodules 1 or 2",
            got=repr(submodules)[:_SHOWN],
            fix=_RESTORE,
        )
    counts = sorted({length, length * submodules})  # of two parts the second reaches no model
    fits = rows.ndim == 2 and rows.shape[0] in counts and width in (None, rows.shape[1])
    if not fits or not rows.is_floating_point():
        said = " or ".join(map(str, counts))
        raise FileFormatError(
            str(path),
            expected=f"floating-point rows ({said}, {width or 'd'}) as in {CONFIG_FILE}",
            got=f"{rows.dtype} {tuple(rows.shape)}",
            fix="Restore both files from the same source",
        )
    return rows[:length]


def _read_legacy(path: Path) -> dict[str, Tensor]:
    import pickle

    try:
        values = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise FileFormatError(
            str(path),
            expected="tensors only (read with weights_only)",
            got=describe_foreign(path, str(error).splitlines()[0]),
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


def provenance_from_peft(config: dict[str, Any], place: Path) -> Provenance:
    """What a configuration tells of where a prompt comes from.

    Raises:
        FileFormatError: it names no model.
    """
    backbone = config.get("base_model_name_or_path")
    if not isinstance(backbone, str) or not backbone:
        raise FileFormatError(
            str(place / CONFIG_FILE),
            expected="base_model_name_or_path",
            got=repr(backbone),
            fix="Add the id of the model that the prompt was tuned on",
        )
    origin = None
    if config.get("prompt_tuning_init") == "TEXT":
        origin = _text_origin(config, backbone)
    return Provenance(
        backbone=backbone,
        kind=_KINDS.get(str(config.get("task_type"))),
        revision=config.get("revision"),
        origin=origin,
    )


def _text_origin(config: dict[str, Any], backbone: str) -> dict[str, Any] | None:
    """How PEFT made an origin of a text, for `with_origin`; None if it is unclear."""
    text = config.get("prompt_tuning_init_text")
    tokenizer = config.get("tokenizer_name_or_path") or backbone
    options = config.get("tokenizer_kwargs") or {}
    clear = isinstance(text, str) and isinstance(tokenizer, str) and isinstance(options, dict)
    if not clear:
        return None
    more = {"tokenizer_kwargs": options} if options else {}
    return {"kind": "text", "text": text, "tokenizer": tokenizer, **more}
