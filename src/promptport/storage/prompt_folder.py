"""Prompt folders: a PEFT prompt-tuning adapter plus what PEFT does not keep (origin, provenance).

PEFT loads such a folder as it is; a bare PEFT folder is valid input. See docs/file-format.md.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.errors import FileFormatError, ShapeError, StorageError
from promptport.files import (
    atomic_folder,
    check_schema,
    describe_foreign,
    json_bytes,
    read_json,
    read_metadata,
    read_tensors,
    tensor_bytes,
    what_is_at,
)
from promptport.mixture import Mixture
from promptport.prompt import SCHEMA_VERSION, Provenance, SoftPrompt

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
LEGACY_WEIGHTS_FILE = "adapter_model.bin"
PROVENANCE_FILE = "promptport.json"
ORIGIN_FILE = "origin.safetensors"
MIXTURE_FILE = "mixture.safetensors"
MIXTURE_KEY = "weights"
PROMPT_KEY = "prompt_embeddings"
VECTOR_FILES = ("vector.safetensors", "vector.json")
_PARTS = (ORIGIN_FILE, MIXTURE_FILE, *VECTOR_FILES)  # that not every prompt folder has
_HEADS = ("classifier", "score.", "qa_outputs")  # of models that do not answer in words

# PEFT has no masked-LM type; feature extraction on a *ForMaskedLM is the one that works.
_TASK_TYPES = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}
_KINDS = {task_type: kind for kind, task_type in _TASK_TYPES.items()}


def save_prompt(prompt: SoftPrompt, folder: str | Path) -> Path:
    """Write a prompt folder, whole or not at all.

    Args:
        prompt: the prompt.
        folder: made if missing; files of an older prompt in it are replaced or removed, those of
            its vector as well.

    Returns:
        The folder.

    Raises:
        StorageError: the place cannot be written.
    """
    target = Path(folder)
    with atomic_folder(target, _PARTS) as staging:
        weights = tensor_bytes({PROMPT_KEY: prompt.vectors})
        (staging / WEIGHTS_FILE).write_bytes(weights)
        (staging / CONFIG_FILE).write_bytes(json_bytes(_peft_config(prompt)))
        if prompt.origin is not None:
            (staging / ORIGIN_FILE).write_bytes(tensor_bytes({PROMPT_KEY: prompt.origin}))
        if prompt.mixture is not None:
            words = {"words": json.dumps(prompt.mixture.words, ensure_ascii=False)}
            weights = tensor_bytes({MIXTURE_KEY: prompt.mixture.weights}, words)
            (staging / MIXTURE_FILE).write_bytes(weights)
        record = {
            "schema": SCHEMA_VERSION,
            "written_by": f"promptport {__version__}",
            "has_origin": prompt.origin is not None,
            "has_mixture": prompt.mixture is not None,
            "checksum": checksum(prompt),
            "prompt": prompt.provenance.to_dict(),
        }
        (staging / PROVENANCE_FILE).write_bytes(json_bytes(record))
    return target


def _peft_config(prompt: SoftPrompt) -> dict[str, Any]:
    source = prompt.provenance
    return {
        "peft_type": "PROMPT_TUNING",
        "task_type": _TASK_TYPES.get(source.kind or "causal"),
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


def load_prompt(folder: str | Path) -> SoftPrompt:
    """Read a prompt folder, ours or a bare PEFT one.

    Rows beyond `num_virtual_tokens` (PEFT's second, inert half of encoder-decoder prompts) are
    dropped: they never reach the model.

    Raises:
        StorageError: no such folder, or it cannot be read.
        FileFormatError: another kind of adapter, a damaged or foreign file, a newer schema.
    """
    place = Path(folder)
    if not (place / CONFIG_FILE).is_file():
        vector = (place / VECTOR_FILES[1]).is_file()
        raise StorageError(
            str(place),
            expected=f"a prompt folder with {CONFIG_FILE}",
            got=what_is_at(place, "a vector folder" if vector else "no such file"),
            fix=f"Put it on an origin: promptport combine a --load a={place} --origin seed:3"
            if vector
            else "Check the path",
        )
    config = read_json(place / CONFIG_FILE)
    length = _checked_length(config, place)
    vectors = _read_rows(place, WEIGHTS_FILE, length, config)
    record = _read_record(place)
    origin, mixture = None, None
    if record is None:
        provenance = _provenance_from_peft(config, place)
    else:
        provenance = Provenance.from_dict(record["prompt"], str(place / PROVENANCE_FILE))
        if record.get("has_origin"):
            origin = _read_rows(place, ORIGIN_FILE, length, config)
        if record.get("has_mixture"):
            mixture = _read_mixture(place / MIXTURE_FILE)
    try:
        prompt = SoftPrompt(vectors, provenance, origin, mixture)
    except ShapeError as error:
        raise FileFormatError(
            str(place / WEIGHTS_FILE),
            expected="finite vectors and an origin of the same shape",
            got=str(error),
            fix="Restore the file from its source",
        ) from error
    _compare_checksum(prompt, record, place)
    return prompt


def _read_mixture(path: Path) -> Mixture:
    weights = read_tensors(path).get(MIXTURE_KEY)
    try:
        words = json.loads(read_metadata(path).get("words", "null"))
    except ValueError:
        words = None
    good = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if weights is None or not good:
        raise FileFormatError(
            str(path),
            expected=f"a tensor {MIXTURE_KEY!r} and its words",
            got="something else",
            fix="Restore the file from its source",
        )
    try:
        return Mixture(tuple(words), weights)
    except ShapeError as error:
        raise FileFormatError(
            str(path),
            expected="weights (n, k) over k words, none negative, rows that sum to 1",
            got=str(error),
            fix="Restore the file from its source",
        ) from error


def checksum(prompt: SoftPrompt) -> str:
    """Hash of a prompt, its origin and its mixture: safetensors does not protect values."""
    digest = hashlib.sha256(prompt.vectors.numpy().tobytes())
    if prompt.origin is not None:
        digest.update(prompt.origin.numpy().tobytes())
    if prompt.mixture is not None:
        digest.update(prompt.mixture.weights.numpy().tobytes())
        digest.update("|".join(prompt.mixture.words).encode())
    return digest.hexdigest()


def _compare_checksum(prompt: SoftPrompt, record: dict[str, Any] | None, place: Path) -> None:
    wanted = None if record is None else record.get("checksum")
    if wanted is not None and wanted != checksum(prompt):
        raise FileFormatError(
            str(place / WEIGHTS_FILE),
            expected="the values that were saved",
            got="others (a damaged file, or vectors that other software changed)",
            fix=f"Restore the folder, or delete {PROVENANCE_FILE} to use it as a bare PEFT adapter",
        )


def _checked_length(config: dict[str, Any], place: Path) -> int:
    where = str(place / CONFIG_FILE)
    kind = config.get("peft_type")
    if kind != "PROMPT_TUNING":
        raise FileFormatError(
            where,
            expected="peft_type PROMPT_TUNING",
            got=repr(kind),
            fix="Give the folder of a prompt-tuning adapter",
        )
    length = config.get("num_virtual_tokens")
    if not isinstance(length, int) or isinstance(length, bool) or length < 1:
        raise FileFormatError(
            where,
            expected="num_virtual_tokens >= 1",
            got=repr(length),
            fix="Restore the file from its source",
        )
    return length


def _read_rows(place: Path, file: str, length: int, config: dict[str, Any]) -> Tensor:
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
            fix="Give the folder of a prompt-tuning adapter",
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


def _read_record(place: Path) -> dict[str, Any] | None:
    path = place / PROVENANCE_FILE
    if not path.is_file():
        return None
    record = read_json(path)
    check_schema(
        record,
        SCHEMA_VERSION,
        path,
        "Restore the file, or delete it to use the folder as a bare PEFT adapter",
    )
    if not isinstance(record.get("prompt"), dict):
        raise FileFormatError(
            str(path),
            expected="a field 'prompt' with an object",
            got=type(record.get("prompt")).__name__,
            fix="Restore the file from its source",
        )
    return record


def _provenance_from_peft(config: dict[str, Any], place: Path) -> Provenance:
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
