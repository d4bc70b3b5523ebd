"""Facts of one prompt, vector, attention or portable file, from its JSON and its headers alone."""

from __future__ import annotations

import heapq
import json
from array import array
from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from sys import byteorder
from typing import Any, NamedTuple

from promptport.catalog.headers import Header, read_header
from promptport.catalog.layout import (
    ATTENTION_FILE,
    ATTENTION_FORMAT,
    ATTENTION_PARTS,
    ATTENTION_TENSORS_FILE,
    CHECKSUM_FIELD,
    CONFIG_FILE,
    DELTA_FILE,
    DELTA_KEY,
    LEGACY_WEIGHTS_FILE,
    MARKS,
    MIXTURE_FILE,
    MIXTURE_KEY,
    ORIGIN_FILE,
    PORTABLE_FIELD,
    PORTABLE_FORMAT,
    PROMPT_FORMAT,
    PROVENANCE_FILE,
    VECTOR_FILE,
    VECTOR_FORMAT,
    WEIGHTS_FILE,
)
from promptport.catalog.peft import check_rows, checked_length, provenance_from_peft
from promptport.catalog.tags import read_tags
from promptport.errors import FileFormatError, PromptPortError
from promptport.files import read_json
from promptport.provenance import Provenance

KINDS = ("free", "mixture", "vector", "attention", "portable")
_LARGEST = 64_000_000  # bytes of a JSON file; real ones have a few thousand
_EPOCH = date(1970, 1, 1)
_HIGHEST = 1e300  # a score
_TOP = 4  # heaviest words of each virtual token, by which a mixture prompt is found


class Facts(NamedTuple):
    """What is known of one thing of a library.

    Attributes:
        kind: `free`, `mixture`, `vector`, `attention` or `portable`.
        task: that it was tuned on; None if nobody knows, like all that follows.
        backbone: as it is recorded; empty for what cannot be read.
        revision: of the backbone.
        fingerprint: of the backbone's embedding matrix.
        length: virtual tokens.
        width: of the backbone's input rows.
        dev_score: at the end of tuning.
        written: seconds since the epoch at which its file was written.
        checksum: as it is recorded.
        tags: one a line.
        warning: what is wrong with its tags.
        more: JSON of the provenance and of what only some kinds have (`mixture_words`,
            `coefficients`, `sources`, `words`).
    """

    kind: str
    task: str | None
    backbone: str
    revision: str | None
    fingerprint: str | None
    length: int | None
    width: int | None
    dev_score: float | None
    written: float
    checksum: str | None
    tags: str
    warning: str | None
    more: str


def read_folder_facts(folder: Path) -> Facts:
    """Facts of a folder that holds one of `MARKS`.

    Raises:
        PromptPortError: it is damaged, so far as records and headers tell.
    """
    mark = next(name for name in MARKS if (folder / name).is_file())
    for name in (*MARKS, PROVENANCE_FILE):
        _refuse_large(folder / name)
    read = {CONFIG_FILE: _prompt, VECTOR_FILE: _vector, ATTENTION_FILE: _attention}[mark]
    return read(folder)._replace(**_tags(folder))


def read_portable_facts(file: Path) -> Facts | None:
    """Facts of a portable file; None for a safetensors file of another kind.

    Raises:
        PromptPortError: it is damaged.
    """
    header = read_header(file)
    if PORTABLE_FIELD not in header.metadata:
        return None
    try:
        record = json.loads(header.metadata[PORTABLE_FIELD])
        if not isinstance(record, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        expected = f"a header field {PORTABLE_FIELD!r} with a JSON object"
        raise PORTABLE_FORMAT.damaged(file, expected, str(error)) from error
    record = PORTABLE_FORMAT.checked(record, file)
    made = Provenance.from_dict(record["prompt"], str(file))
    rows, words = header.tensors.get("relative"), record.get("words")
    if rows is None or len(rows.shape) != 2 or not isinstance(words, list):
        raise PORTABLE_FORMAT.damaged(file, "a tensor 'relative' (n, k) and its words", "others")
    checksum = header.metadata.get(CHECKSUM_FIELD)
    more = {"words": len(words), "mixture": record.get("mixture_words") is not None}
    return _facts("portable", made, (rows.shape[0], None), file, checksum, more)


def _prompt(folder: Path) -> Facts:
    """As `storage.load_prompt`, without values."""
    config = read_json(folder / CONFIG_FILE)
    length = checked_length(config, folder)
    legacy = not (folder / WEIGHTS_FILE).is_file() and (folder / LEGACY_WEIGHTS_FILE).is_file()
    width = config.get("token_dim")
    if not legacy:  # old files of PEFT are pickles, which are never opened here
        width = check_rows(
            folder / WEIGHTS_FILE, read_header(folder / WEIGHTS_FILE).tensors, length, config
        )
        if not width:
            raise PROMPT_FORMAT.damaged(folder / WEIGHTS_FILE, "rows (n, d)", "rows of no width")
    if not (folder / PROVENANCE_FILE).is_file():
        made = provenance_from_peft(config, folder)
        return _facts("free", made, (length, width), folder / CONFIG_FILE, None, {"bare": True})
    record = PROMPT_FORMAT.read(folder / PROVENANCE_FILE)
    made = Provenance.from_dict(record["prompt"], str(folder / PROVENANCE_FILE))
    more: dict[str, Any] = {}
    if record.get("has_origin"):
        more["has_origin"] = True
        path = folder / ORIGIN_FILE
        other = check_rows(path, read_header(path).tensors, length, config)
        if width is not None and other != width:
            raise PROMPT_FORMAT.damaged(path, f"rows {width} wide", str(other))
    kind = "free"
    if record.get("has_mixture"):
        kind, more["mixture_words"] = "mixture", _mixture_words(folder / MIXTURE_FILE, length)
    checksum = record.get("checksum")
    return _facts(kind, made, (length, width), folder / CONFIG_FILE, checksum, more)


def _vector(folder: Path) -> Facts:
    """As `storage.load_vector`, without values."""
    record = VECTOR_FORMAT.read(folder / VECTOR_FILE)
    made = Provenance.from_dict(record["vector"], str(folder / VECTOR_FILE))
    delta = read_header(folder / DELTA_FILE).tensors.get(DELTA_KEY)
    if delta is None or len(delta.shape) != 2 or 0 in delta.shape or "float" not in delta.dtype:
        got = "none" if delta is None else f"{delta.dtype} {delta.shape}"
        raise VECTOR_FORMAT.damaged(folder / DELTA_FILE, f"a tensor {DELTA_KEY!r} (n, d)", got)
    more = {"coefficients": record["coefficients"]}
    shape = (delta.shape[0], delta.shape[1])
    return _facts("vector", made, shape, folder / VECTOR_FILE, record.get("checksum"), more)


def _attention(folder: Path) -> Facts:
    """As `storage.attention_folder.read_attention`, without values."""
    record = ATTENTION_FORMAT.read(folder / ATTENTION_FILE)
    made = Provenance.from_dict(record["prompt"], str(folder / ATTENTION_FILE))
    path = folder / ATTENTION_TENSORS_FILE
    tensors = read_header(path).tensors
    if set(tensors) != set(ATTENTION_PARTS) or len(tensors["sources"].shape) != 3:
        got = ", ".join(sorted(tensors)) or "none"
        raise ATTENTION_FORMAT.damaged(path, "the tensors that were saved", got)
    sources, length, width = tensors["sources"].shape
    more = {"sources": sources}
    checksum = record.get("checksum")
    return _facts("attention", made, (length, width), folder / ATTENTION_FILE, checksum, more)


def _facts(
    kind: str,
    made: Provenance,
    shape: tuple[int, int | None],
    file: Path,
    checksum: Any,
    more: Mapping[str, Any],
) -> Facts:
    return Facts(
        kind,
        made.task,
        made.backbone,
        made.revision if isinstance(made.revision, str) else None,
        made.fingerprint,
        shape[0],
        shape[1] if isinstance(shape[1], int) else None,
        finite((made.tuning or {}).get("dev_score")),
        file.stat().st_mtime,
        checksum if isinstance(checksum, str) else None,
        "",
        None,
        json.dumps({**more, "provenance": made.to_dict()}, ensure_ascii=True),
    )


def finite(value: Any) -> float | None:
    """A score that can be compared; JSON of others may hold NaN, or more digits than a float."""
    fits = isinstance(value, int | float) and -_HIGHEST <= value <= _HIGHEST
    return float(value) if fits else None


def _tags(folder: Path) -> dict[str, Any]:
    """Tags, and what is wrong with them: a prompt is whole without."""
    try:
        return {"tags": "\n".join(read_tags(folder))}
    except PromptPortError as error:
        return {"warning": str(error).partition(": ")[2] or str(error)}


def _refuse_large(path: Path) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size > _LARGEST:
        raise FileFormatError(
            str(path),
            expected=f"a JSON file of at most {_LARGEST // 1_000_000} MB",
            got=f"{size // 1_000_000} MB",
            fix="Restore the file from its source",
        )


def _mixture_words(path: Path, length: int) -> list[str]:
    """The heaviest words of each virtual token: the one thing for which values are read.

    Raises:
        PromptPortError: the file is damaged.
    """
    header = read_header(path)
    weights = header.tensors.get(MIXTURE_KEY)
    try:
        words = json.loads(header.metadata.get("words", "null"))
    except (ValueError, RecursionError):
        words = None
    named = isinstance(words, list) and all(isinstance(word, str) for word in words)
    if weights is None or not named:
        expected = f"a tensor {MIXTURE_KEY!r} and its words"
        raise PROMPT_FORMAT.damaged(path, expected, "something else")
    if weights.shape != (length, len(words)):
        expected = f"weights ({length}, {len(words)}) of its words"
        raise PROMPT_FORMAT.damaged(path, expected, str(weights.shape))
    heaviest: dict[str, None] = {}
    for row in _rows(path, header, len(words)):
        top = heapq.nlargest(_TOP, range(len(words)), key=row.__getitem__)
        heaviest |= dict.fromkeys(words[i] for i in top)
    return list(heaviest)


def _rows(path: Path, header: Header, count: int) -> list[array[float]]:
    """Rows of the weights; none where they are not written as float32, as promptport does."""
    if header.tensors[MIXTURE_KEY].dtype != "torch.float32" or not count:
        return []
    first, last = header.places[MIXTURE_KEY]
    with path.open("rb") as stream:
        stream.seek(first)
        values = array("f", stream.read(last - first))
    if byteorder == "big":
        values.byteswap()
    return [values[i : i + count] for i in range(0, len(values), count)]


def day(seconds: float) -> str:
    """A time, in seconds since the epoch, as its day in UTC, like 2026-03-31."""
    return _day(int(seconds // 86400))


@lru_cache(maxsize=4096)
def _day(number: int) -> str:
    try:
        return (_EPOCH + timedelta(days=number)).isoformat()
    except OverflowError:  # a file system can say any time
        return (date.max if number > 0 else date.min).isoformat()
