"""Reading nothing but the embedding tensor and the tokenizer of a checkpoint.

Memory and time depend on the size of the embedding table, not on the size of the model: the model
is built on the meta device to learn the tensor's name, then that one tensor is read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from promptport.backbone.gguf import (
    Vocabulary,
    entry_of,
    file_facts,
    keep_vocabulary,
    kept_dtype,
    kept_vocabulary,
    read_header,
    read_table,
)
from promptport.backbone.hub import open_hub_file, whole_hub_file
from promptport.backbone.kinds import Kind, detect_kind, model_class
from promptport.backbone.loading import (
    Checkpoint,
    find_checkpoint,
    load_config,
    load_tokenizer,
    one_line,
    trusts_code,
)
from promptport.backbone.trusting import checked_shards
from promptport.backbone.words import WORD_RULE, word_table
from promptport.errors import BackboneError, FileFormatError
from promptport.files import read_json
from promptport.memory import is_out_of_memory, memory_error
from promptport.progress import stage
from promptport.space import EmbeddingSpace

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_MAX_HEADER = 100_000_000


def open_space(
    name: str | Path, revision: str | None = None, kind: Kind | None = None
) -> EmbeddingSpace:
    """The embedding space of a backbone, without loading the backbone.

    Args:
        name: embedded name, local folder, GGUF file or Hub id.
        revision: Hub revision.
        kind: `masked`, `causal` or `seq2seq`; found from the configuration if None.

    Raises:
        BackboneError: no such checkpoint, or no embedding tensor in it.
        FileFormatError: the file that holds the tensor is damaged.
    """
    name = str(name)  # goes into files
    checkpoint = find_checkpoint(name, revision)
    if checkpoint.gguf is not None:
        return _gguf_space(checkpoint, kind)
    config = load_config(checkpoint)
    kind = kind or detect_kind(config, name)
    target = locate_embedding(config, kind, name)
    with stage(f"reading the words of {name}"):
        matrix = _read_embedding(checkpoint, target)
        tokenizer = load_tokenizer(checkpoint)
        return make_space(
            name,
            matrix,
            tokenizer,
            scale=target.scale,
            outer_scale=target.outer_scale,
            kind=kind,
            revision=revision,
        )


def table_names(name: str, revision: str | None = None) -> tuple[str, ...]:
    """Names that the embedding tensor may have in the files of a checkpoint, best first.

    Raises:
        BackboneError: no such checkpoint.
    """
    config = load_config(find_checkpoint(name, revision))
    return locate_embedding(config, detect_kind(config, name), name).keys


def make_space(
    name: str,
    matrix: Tensor,
    tokenizer: Any,
    *,
    scale: float,
    outer_scale: float,
    kind: Kind,
    revision: str | None = None,
    file: Mapping[str, str] | None = None,
) -> EmbeddingSpace:
    """Join an embedding matrix and a tokenizer to a space."""
    found = word_table(tokenizer)
    return EmbeddingSpace(
        name,
        matrix,
        token_names(tokenizer),
        _with_rows(found.words, matrix.shape[0]),
        found.dropped,
        scale,
        kind,
        revision,
        outer_scale,
        file,
        _with_rows(found.unspaced, matrix.shape[0]),
    )


def _with_rows(words: Mapping[str, int], rows: int) -> dict[str, int]:
    return {word: i for word, i in words.items() if i < rows}


def token_names(tokenizer: Any) -> tuple[str, ...]:
    """The tokens by id, as the tokenizer writes them."""
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    return tuple(by_id.get(i, f"<{i}>") for i in range(len(tokenizer)))


def _gguf_space(checkpoint: Checkpoint, kind: Kind | None) -> EmbeddingSpace:
    """The space of a GGUF file: its vocabulary is kept, its table is unpacked, no layer is.

    The table is rounded as that of the unpacked model is, so that both are the same space.
    """
    path = checkpoint.gguf
    assert path is not None
    header = read_header(path)
    words = kept_vocabulary(entry_of(header), WORD_RULE)
    if words is None or kind not in (None, words.kind):
        words = _vocabulary(checkpoint, kind)
        keep_vocabulary(entry_of(header), WORD_RULE, words)
    rows, dtype = header.embedding, kept_dtype(header)
    return EmbeddingSpace(
        checkpoint.name,
        read_table(header, rows, dtype),
        tuple(words.tokens),
        _with_rows(words.words, rows.shape[0]),
        words.dropped,
        words.scale,
        words.kind,
        checkpoint.revision,
        words.outer_scale,
        file_facts(path),
        _with_rows(words.unspaced, rows.shape[0]),
    )


def _vocabulary(checkpoint: Checkpoint, kind: Kind | None) -> Vocabulary:
    config = load_config(checkpoint)
    kind = kind or detect_kind(config, checkpoint.name)
    target = locate_embedding(config, kind, checkpoint.name)
    tokenizer = load_tokenizer(checkpoint)
    words, dropped, unspaced = word_table(tokenizer)
    tokens = list(token_names(tokenizer))
    return Vocabulary(kind, tokens, words, dropped, unspaced, target.scale, target.outer_scale)


@dataclass(frozen=True)
class EmbeddingTarget:
    """What to look for in a checkpoint.

    Attributes:
        keys: candidate tensor names, best first.
        shape: (V, d) of the tensor.
        scale, outer_scale: of the input rows.
        rename: a checkpoint's name of a tensor -> the name under which transformers loads it.
    """

    keys: tuple[str, ...]
    shape: tuple[int, int]
    scale: float
    outer_scale: float
    rename: Callable[[str], str]

    def renamed(self, names: Iterable[str]) -> list[str]:
        """Names of a checkpoint that transformers loads as one of ours, best first."""
        found = {name: self.rename(name) for name in names}
        ours = [name for name, loaded in found.items() if loaded in self.keys]
        return sorted(ours, key=lambda name: self.keys.index(found[name]))


def locate_embedding(config: Any, kind: Kind, name: str) -> EmbeddingTarget:
    """Find name, shape and scale of the input embedding from a model on the meta device."""
    with one_line(name), torch.device("meta"):
        model = model_class(kind).from_config(config, trust_remote_code=trusts_code())
    module = model.get_input_embeddings()
    path = next(path for path, candidate in model.named_modules() if candidate is module)
    prefix = model.base_model_prefix
    key = f"{path}.weight"
    keys = [key, key.removeprefix(f"{prefix}."), f"{prefix}.{key}", *_tied_names(model, key)]
    rows, width = module.weight.shape
    scale = input_scale(model, module)
    outer = outer_scale(module, scale)
    unique = tuple(dict.fromkeys(keys))
    return EmbeddingTarget(unique, (rows, width), scale, outer, _renaming(model))


def _renaming(model: Any) -> Callable[[str], str]:
    """How transformers renames the tensors of a checkpoint: older names, parts of other models."""

    @cache
    def steps() -> list[Any]:
        from transformers.conversion_mapping import get_model_conversion_mapping
        from transformers.core_model_loading import WeightRenaming

        found = get_model_conversion_mapping(model)
        return [step for step in found if isinstance(step, WeightRenaming)]

    def rename(name: str) -> str:
        for step in steps():
            name = step.rename_source_key(name)[0]
        return name

    return rename


def _tied_names(model: Any, key: str) -> list[str]:
    tied = getattr(model, "_tied_weights_keys", None) or {}
    names = {*tied, *tied.values()} if isinstance(tied, dict) else set(tied)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    shape = parameters[key].shape
    return sorted(n for n in names if n in parameters and parameters[n].shape == shape)


def input_scale(model: nn.Module, module: nn.Module) -> float:
    """Factor between embedding weights and what the first layer is fed.

    Gemma and BART scale inside the embedding module; Pegasus scales in the encoder instead.
    """
    for attribute in ("scalar_embed_scale", "embed_scale"):
        value = getattr(module, attribute, None)
        if isinstance(value, float | int):
            return float(value)
    if type(module) is not nn.Embedding:
        return 1.0
    for part in model.modules():
        value, table = getattr(part, "embed_scale", None), getattr(part, "embed_tokens", None)
        # A tied table may be a module of its own; scaled embedding modules were dealt with above.
        if isinstance(value, float | int) and type(table) is nn.Embedding:
            return float(value)
    return 1.0


def outer_scale(module: nn.Module, scale: float) -> float:
    """The part of the factor that stands outside the embedding module (Pegasus), else 1."""
    return scale if type(module) is nn.Embedding else 1.0


def _read_embedding(checkpoint: Checkpoint, target: EmbeddingTarget) -> Tensor:
    with one_line(checkpoint.name):
        for file in _files_to_try(checkpoint, target):
            tensor = _read_from(checkpoint, file, target)
            if tensor is not None:
                return tensor
    raise BackboneError(
        checkpoint.name,
        expected=f"an embedding tensor named {target.keys[0]!r} of shape {target.shape}",
        got="no such tensor",
        fix="Name a whole checkpoint whose config.json fits its weights",
    )


def _read_from(checkpoint: Checkpoint, file: str, target: EmbeddingTarget) -> Tensor | None:
    if file.endswith(".bin"):  # cannot be read in part
        path = _whole_file(checkpoint, file)
        return None if path is None else _from_pickle_file(path, target)
    stream = _open(checkpoint, file)
    if stream is None:
        return None
    with stream:
        return tensor_from_stream(stream, target.keys, target.shape, file, target.renamed)


def _open(checkpoint: Checkpoint, file: str) -> BinaryIO | None:
    if not checkpoint.local:
        return open_hub_file(checkpoint.location, file, checkpoint.revision)
    path = checkpoint.folder / file
    return path.open("rb") if path.is_file() else None


def _whole_file(checkpoint: Checkpoint, file: str) -> Path | None:
    if not checkpoint.local:
        return whole_hub_file(checkpoint.location, file, checkpoint.revision)
    path = checkpoint.folder / file
    return path if path.is_file() else None


def _files_to_try(checkpoint: Checkpoint, target: EmbeddingTarget) -> Iterator[str]:
    """Files that may exist and hold the tensor: single file, then shards."""
    for single, index in (
        ("model.safetensors", "model.safetensors.index.json"),
        ("pytorch_model.bin", "pytorch_model.bin.index.json"),
    ):
        yield single
        path = _whole_file(checkpoint, index)
        if path is not None:
            weight_map = checked_shards(read_json(path).get("weight_map"), str(path))
            named = [key for key in target.keys if key in weight_map]
            yield from dict.fromkeys(weight_map[key] for key in named)
            yield from dict.fromkeys(weight_map[key] for key in target.renamed(weight_map))


def tensor_from_stream(
    stream: BinaryIO,
    keys: tuple[str, ...],
    shape: tuple[int, int],
    where: str,
    others: Callable[[Iterable[str]], list[str]] | None = None,
) -> Tensor | None:
    """Read one tensor of a safetensors file by seeking, so that nothing else is fetched.

    Args:
        stream: seekable binary stream of the file.
        keys: names to look for, best first.
        shape: shape that the tensor must have.
        where: file name for messages.
        others: finds further names to look for among those of the file; None for no others.

    Returns:
        The tensor in the file's dtype, or None if no key is there.

    Raises:
        FileFormatError: the header or the data are damaged or cut off.
    """
    header, start = _read_header(stream, where)
    alias = header.pop("__metadata__", None) or {}
    names = [*keys, *(alias[key] for key in keys if key in alias)]
    for name in _then(names, header, others):
        entry = header.get(name)
        if entry is None or tuple(entry["shape"]) != shape or entry["dtype"] not in _DTYPES:
            continue
        begin, end = entry["data_offsets"]
        tensor = torch.empty(shape, dtype=_DTYPES[entry["dtype"]])
        stream.seek(start + begin)
        # Read into its place: a table of gigabytes is not to be there twice.
        done = _fill(stream, tensor.view(torch.uint8).numpy().data.cast("B"))
        if done != tensor.nbytes or done != end - begin:
            raise _damaged(where, f"{min(done, end - begin)} bytes for {name!r}")
        return tensor
    return None


def _then(
    names: Iterable[str],
    there: Iterable[str],
    others: Callable[[Iterable[str]], list[str]] | None,
) -> Iterator[str]:
    """Names, then others of those that are there, which are asked for only if they are needed."""
    yield from names
    yield from others(there) if others is not None else ()


def _fill(stream: BinaryIO, view: memoryview) -> int:
    """Read until the view is full or the stream is at its end: bytes read."""
    done = 0
    while done < len(view):
        count = stream.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            break
        done += count
    return done


def _read(stream: BinaryIO, count: int) -> bytes:
    data = bytearray(count)
    return bytes(data[: _fill(stream, memoryview(data))])


def _read_header(stream: BinaryIO, where: str) -> tuple[dict[str, Any], int]:
    head = _read(stream, 8)
    length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
    if not 2 <= length <= _MAX_HEADER:
        raise _damaged(where, "a header length that makes no sense")
    try:
        header = json.loads(_read(stream, length))
    except ValueError as error:
        raise _damaged(where, "a header that does not parse") from error
    if not isinstance(header, dict):
        raise _damaged(where, "a header that is no object")
    return header, 8 + length


def _damaged(where: str, got: str) -> FileFormatError:
    return FileFormatError(
        where, expected="a whole safetensors file", got=got, fix="Restore the file from its source"
    )


def _from_pickle_file(path: Path, target: EmbeddingTarget) -> Tensor | None:
    import pickle

    options: dict[str, Any] = {"weights_only": True, "map_location": "cpu"}
    try:
        try:
            state = torch.load(path, mmap=True, **options)
        except RuntimeError:  # legacy (non-zip) files refuse mmap
            state = torch.load(path, **options)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise memory_error(error) from error
        raise FileFormatError(
            str(path),
            expected="tensors only (torch.load with weights_only)",
            got=str(error).splitlines()[0],
            fix="Convert the checkpoint to safetensors",
        ) from error
    for key in _then(target.keys, state, target.renamed):
        tensor = state.get(key)
        if isinstance(tensor, Tensor) and tuple(tensor.shape) == target.shape:
            return tensor.clone()
    return None
