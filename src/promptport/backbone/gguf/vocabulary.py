"""The vocabulary of a GGUF file as it is needed for its space, kept in the cache.

Building a tokenizer of 262k pieces takes seconds, reading this a fraction of one.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from promptport.cache import mark_used
from promptport.errors import PromptPortError
from promptport.files import read_json, write_atomic

_FILE = "vocabulary.json"


@dataclass(frozen=True)
class Vocabulary:
    """What a space needs beside its table.

    Attributes:
        kind: of the model.
        tokens: by id, as the tokenizer writes them.
        words: word -> id.
        dropped: reason -> number of tokens that are no words.
        unspaced: word -> id, of scripts without spaces.
        scale: factor between weights and input rows.
        outer_scale: the part of it outside the embedding module.
    """

    kind: str
    tokens: list[str]
    words: dict[str, int]
    dropped: dict[str, int]
    unspaced: dict[str, int]
    scale: float
    outer_scale: float


def kept_vocabulary(entry: Path, rule: int) -> Vocabulary | None:
    """What was kept in an entry of the cache, by the same rule of what a word is."""
    file = entry / _FILE
    if not os.path.isfile(file):  # also where it may not be looked for
        return None
    mark_used(entry)
    try:
        kept = read_json(file)
        return Vocabulary(**kept["vocabulary"]) if kept.get("rule") == rule else None
    except (PromptPortError, KeyError, TypeError):  # damaged: made again
        return None


def keep_vocabulary(entry: Path, rule: int, vocabulary: Vocabulary) -> None:
    """Keep it; a cache that cannot be written is no error."""
    body = json.dumps({"rule": rule, "vocabulary": asdict(vocabulary)})
    with contextlib.suppress(PromptPortError):
        write_atomic(entry / _FILE, body.encode())
