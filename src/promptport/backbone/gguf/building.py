"""A GGUF file as an ordinary model folder, made once by transformers and kept in the cache.

An entry of the cache has two parts, each written whole or not at all: `front` (configuration and
tokenizer, a few seconds) and `model` (the same and the weights, unpacked).
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from promptport.backbone.gguf.header import GgufHeader, read_header
from promptport.backbone.gguf.identity import file_hash
from promptport.backbone.gguf.needs import check_package
from promptport.backbone.gguf.slim import write_shape, write_weights, write_words
from promptport.backbone.gguf.table import kept_dtype
from promptport.cache import (
    being_made,
    cache_folder,
    describe_entry,
    in_use,
    mark_used,
    model_entry,
    trim_cache,
    unwritable,
)
from promptport.errors import BackboneError, StorageError
from promptport.files import atomic_folder, storage_error
from promptport.progress import stage
from promptport.scratch import scratch_folder

_RULE = 1  # a new number whenever conversion changes, so that older folders are not found
_FRONT, _MODEL = "front", "model"
_ROOM = 1.05  # of the bytes that a conversion writes
_MEGABYTE = 1_000_000


def entry_of(header: GgufHeader) -> Path:
    """The folder of a file in the cache, which need not exist yet."""
    release = ".".join(version("transformers").split(".")[:2])
    return model_entry(f"{file_hash(header.path)[:32]}-{_RULE}-{release}")


@contextlib.contextmanager
def front_folder(path: Path) -> Iterator[Path]:
    """A folder with the configuration and the tokenizer of a GGUF file, while it is read.

    Raises:
        BackboneError: no package, or an architecture or tokenizer that transformers does not know.
        StorageError: the cache cannot be written.
    """
    header = read_header(path)
    place = entry_of(header)
    if not (place / _FRONT).is_dir() and not (place / _MODEL).is_dir():
        check_package(str(path))
        with being_made(place):
            if not (place / _FRONT).is_dir():
                with stage(f"reading the tokenizer of {path.name}, once"):
                    _made(place / _FRONT, header, lambda target: _write_front(header, target))
    mark_used(place)
    with in_use(place):
        yield place / _FRONT if (place / _FRONT).is_dir() else place / _MODEL


@contextlib.contextmanager
def model_folder(path: Path) -> Iterator[Path]:
    """An ordinary model folder with the unpacked weights of a GGUF file, while it is read.

    Raises:
        BackboneError: as `front_folder`, or weights that do not fit the architecture.
        StorageError: the cache cannot be written, or has no room.
    """
    header = read_header(path)
    place = entry_of(header)
    if not (place / _MODEL).is_dir():
        check_package(str(path))
        with front_folder(path) as front, being_made(place):
            if not (place / _MODEL).is_dir():
                _convert(header, place, front)
    mark_used(place)
    with in_use(place):
        trim_cache(place)
        yield place / _MODEL


def _made(target: Path, header: GgufHeader, write: Any) -> None:
    """Let a function fill a folder, which then appears whole."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        record = {
            "what": f"{header.path.name} ({header.quantisation})",
            "file": str(header.path.resolve()),
            "sha256": file_hash(header.path),
        }
        describe_entry(target.parent, record)
        with atomic_folder(target) as staging:
            write(staging)
    except StorageError as error:
        raise unwritable(error) from error
    except OSError as error:
        raise unwritable(storage_error(target, error, "a folder that can be written")) from error


def _write_front(header: GgufHeader, target: Path) -> None:
    config = _config(header)
    config.save_pretrained(target)
    _tokenizer(header, config).save_pretrained(target)


@contextlib.contextmanager
def _copy(header: GgufHeader, write: Any, folder: Path | None = None) -> Iterator[tuple[str, str]]:
    """Folder and name of a smaller copy of the file, alone there: what lies beside it is not read.

    transformers would take a `tokenizer.json` beside the file for that of the file.
    """
    with scratch_folder(folder, "copy") as scratch:
        write(header, scratch / "model.gguf")
        yield str(scratch), "model.gguf"


def _config(header: GgufHeader) -> Any:
    from transformers import AutoConfig

    try:
        with _copy(header, write_shape) as (folder, file):
            config = AutoConfig.from_pretrained(folder, gguf_file=file)
    except ValueError as error:
        if "not supported" not in str(error):
            raise
        raise BackboneError(
            str(header.path),
            expected=f"a GGUF architecture that transformers reads ({_architectures()})",
            got=repr(header.architecture),
            fix="Name another file, or the model's own folder or Hub id",
        ) from error
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        number = header.metadata.get(f"tokenizer.ggml.{key}_token_id")
        if isinstance(number, int):  # else that of the architecture's first model
            setattr(config, f"{name}_token_id", number)
    if hasattr(config, "vocab_size"):
        config.vocab_size = header.embedding.shape[0]
    config._name_or_path = ""
    return config


def _architectures() -> str:
    try:
        from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES
    except ImportError:
        return "see its documentation"
    known = set(GGUF_SUPPORTED_ARCHITECTURES) - {"general", "tokenizer"}
    return ", ".join(sorted(known))


def _tokenizer(header: GgufHeader, config: Any) -> Any:
    from transformers import TOKENIZER_MAPPING, PreTrainedTokenizerFast

    chosen = TOKENIZER_MAPPING.get(type(config), None) or PreTrainedTokenizerFast
    if chosen.__name__ == "MistralCommonBackend":  # reads files of its own kind only
        chosen = PreTrainedTokenizerFast
    try:
        with _copy(header, write_words) as (folder, file):
            return chosen.from_pretrained(folder, gguf_file=file)
    except (ValueError, KeyError) as error:
        raise BackboneError(
            str(header.path),
            expected="a tokenizer that transformers can build from a GGUF file",
            got=f"{header.metadata.get('tokenizer.ggml.model')!r} ({error})",
            fix="Name another file, or the model's own folder or Hub id",
        ) from error


def _convert(header: GgufHeader, place: Path, front: Path) -> None:
    dtype = kept_dtype(header)
    needed = header.parameters * dtype.itemsize
    _check_room(header, place, needed)
    size = f"{needed / _MEGABYTE:.0f} MB"

    def write(staging: Path) -> None:
        model = _unpacked(header, front, dtype, place)
        model.save_pretrained(staging)
        for file in front.iterdir():  # the tokenizer; the configuration is there
            if not (staging / file.name).exists():
                shutil.copy2(file, staging / file.name)

    with stage(f"unpacking {header.path.name} ({header.quantisation}) to {size}, once"):
        _made(place / _MODEL, header, write)


def _check_room(header: GgufHeader, place: Path, needed: int) -> None:
    free = shutil.disk_usage(place).free
    wanted = int(needed * _ROOM) + header.path.stat().st_size  # beside its copy
    if free < wanted:
        raise StorageError(
            str(cache_folder()),
            expected=f"{wanted / _MEGABYTE:.0f} MB for the unpacked {header.path.name}",
            got=f"{free / _MEGABYTE:.0f} MB free",
            fix="Set PROMPTPORT_CACHE to a folder with more room, or run promptport cache clear",
        )


def _unpacked(header: GgufHeader, front: Path, dtype: torch.dtype, scratch: Path) -> Any:
    """The model with ordinary weights."""
    import transformers
    from transformers import AutoConfig

    from promptport.backbone.kinds import detect_kind, model_class

    config = AutoConfig.from_pretrained(front)
    options: dict[str, Any] = {"config": config, "dtype": dtype, "output_loading_info": True}
    if hasattr(transformers, "GgufConfig"):  # newer ones keep some architectures packed
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    auto = model_class(detect_kind(config, str(header.path)))
    with _copy(header, write_weights, scratch) as (folder, file), _told(header):
        model, found = auto.from_pretrained(folder, gguf_file=file, **options)
    if missing := sorted(found["missing_keys"]):
        raise BackboneError(
            str(header.path),
            expected=f"weights for every part of a {header.architecture} model",
            got=f"none for {missing[0]} ({len(missing)} missing in all)",
            fix="Take a file that a current llama.cpp made of the whole model",
        )
    # Unpacked, it is an ordinary model; transformers refuses to save one that was packed.
    model.hf_quantizer, model.is_quantized = None, False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    return model


@contextlib.contextmanager
def _told(header: GgufHeader) -> Iterator[None]:
    """Say how far unpacking is; in place of a progress bar that cannot be turned off."""
    from transformers import modeling_gguf_pytorch_utils as reading

    bar = getattr(reading, "tqdm", None)
    if bar is None:
        yield
        return

    def tell(tensors: Iterable[Any], **_: Any) -> Iterator[Any]:
        with stage("") as told:
            for done, tensor in enumerate(tensors):
                told.at(done, len(header.tensors))
                yield tensor

    reading.tqdm = tell
    try:
        yield
    finally:
        reading.tqdm = bar
