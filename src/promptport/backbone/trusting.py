"""What the files of a model may not ask for: code of others, and files outside of its folder.

transformers refuses much of this itself, in its newest versions; a checkpoint is looked at before
it is asked, so that every supported version refuses the same, with a line that says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from promptport.errors import BackboneError, FileFormatError
from promptport.files import read_json

_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_CONFIGS = ("config.json", "tokenizer_config.json", "generation_config.json")
# Values of these are opened as they stand by some versions of transformers.
_FILES = ("vocab_file", "tokenizer_file", "merges_file", "spm_file", "transformers_weights")
_PLAIN_FILE = re.compile(r"'[\w. -]+(/[\w. -]+)*'")
_ADAPTER = "adapter_config.json"


def check_folder(folder: Path, name: str) -> None:
    """Refuse a model folder whose files ask for what lies elsewhere.

    Args:
        folder: of the model.
        name: of the backbone, for errors.

    Raises:
        BackboneError: an adapter beside the model.
        FileFormatError: a name of a file outside of the folder.
    """
    if (folder / _ADAPTER).is_file():
        raise BackboneError(
            name,
            expected="a model, or a prompt folder, and not both in one",
            got=f"a folder with config.json and {_ADAPTER}, which another model may lie behind",
            fix="Merge the adapter into the model with PEFT's merge_and_unload, or move it away",
        )
    for file in _CONFIGS:
        if (folder / file).is_file():
            _check_config(_read(folder / file), folder / file)
    for file in _INDEXES:
        if (folder / file).is_file():
            checked_shards(_read(folder / file).get("weight_map"), str(folder / file))


def _read(path: Path) -> dict[str, Any]:
    """The values of a file; none of one that is no JSON, which transformers tells of."""
    try:
        return read_json(path)
    except FileFormatError:
        return {}


def checked_shards(weight_map: Any, where: str) -> Mapping[str, str]:
    """The shards of an index: tensor -> file beside it.

    Args:
        weight_map: as the index has it.
        where: the index, for errors.

    Raises:
        FileFormatError: it is no table of names, or a file is outside of the folder.
    """
    if not isinstance(weight_map, Mapping):
        raise FileFormatError(
            where,
            expected="a table 'weight_map' of tensors and their files",
            got=type(weight_map).__name__,
            fix="Restore the file from its source",
        )
    for file in set(map(repr, weight_map.values())):
        _check_inside(file, "weight_map", where)
    return weight_map


def _check_inside(file: str, key: str, where: str) -> None:
    """Refuse what is no plain name of a file in the folder; `file` is its repr."""
    if not _PLAIN_FILE.fullmatch(file) or ".." in file[1:-1].split("/"):
        raise FileFormatError(
            f"{where}, key {key!r}",
            expected="files in the folder of the model",
            got=file[:120],
            fix="Do not use this model, or restore the file from its source",
        )


def _check_config(values: Mapping[str, Any], path: Path) -> None:
    for key, value in _pairs(values):
        if key in _FILES and isinstance(value, str):
            _check_inside(repr(value), key, str(path))


def _pairs(values: Mapping[str, Any], depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Keys and values of a configuration and of those within it."""
    for key, value in values.items():
        yield key, value
        if isinstance(value, Mapping) and depth < 8:
            yield from _pairs(value, depth + 1)


def check_attention(config: Any, name: str) -> None:
    """Refuse a configuration whose attention is a kernel of the Hub: compiled code of others.

    Args:
        config: of transformers.
        name: of the backbone, for errors.

    Raises:
        BackboneError: it, or a configuration within it, names one.
    """
    inner = [getattr(config, part, None) for part in getattr(config, "sub_configs", ())]
    for each in (config, *inner):
        named = getattr(each, "_attn_implementation", None)
        if isinstance(named, str) and "/" in named:
            raise BackboneError(
                f"config.json of {name}",
                expected="an attention that transformers has",
                got=f"{named!r}, which is code of the Hub",
                fix="Remove the key 'attn_implementation': the model runs without it",
            )


# What a record may say about how a text is cut into tokens. Others name files and places, or
# would let code of the Hub run.
_TOKENIZER_OPTIONS = frozenset(
    (
        *("add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "use_fast"),
        *(
            "do_lower_case",
            "strip_accents",
            "tokenize_chinese_chars",
            "clean_up_tokenization_spaces",
        ),
        *("model_max_length", "padding_side", "truncation_side", "split_special_tokens"),
        *("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token"),
        *("mask_token", "additional_special_tokens", "extra_special_tokens", "revision"),
    )
)


def tokenizer_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a tokenizer that a record of others may set.

    Args:
        given: as the record has them (PEFT's `tokenizer_kwargs`).
    """
    return {key: value for key, value in given.items() if key in _TOKENIZER_OPTIONS}
