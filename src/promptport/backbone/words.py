"""Which words are exactly one word-initial token of a tokenizer."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from promptport.cache import cache_folder
from promptport.errors import PromptPortError
from promptport.files import json_bytes, read_json, write_atomic

# Words that every English tokenizer knows; a candidate must survive behind both.
CONTEXTS = ("the", "of")
_BATCH = 8192
WORD_RULE = 2  # a new number whenever the rule changes, so that old tables are not found
_LARGE = 30_000  # smaller vocabularies are asked faster than a table is read and checked
_RESERVED = re.compile(r"^(\[unused\d+\]|<extra_id_\d+>|<0x[0-9A-Fa-f]{2}>|<unused\d+>)$")
_WORD = re.compile(r"^[^\W_]+(?:['’\-][^\W_]+)*$")
# Scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, kana and Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


class Words(NamedTuple):
    """The words of a tokenizer.

    Attributes:
        words: word -> id. Those of scripts without spaces are among them if they are most.
        dropped: why the other tokens are no words: reason -> count.
        unspaced: word -> id of all words of scripts without spaces, as they stand inside a text.
    """

    words: dict[str, int]
    dropped: dict[str, int]
    unspaced: dict[str, int]


def word_table(tokenizer: Any) -> Words:
    """As `single_token_words`; tables of large vocabularies are kept on disk.

    They lie in the folder `words` of the cache (`cache_folder`), under a SHA-256 of the whole
    tokenizer. A damaged table is made again, and a folder that cannot be
    written is no error.
    """
    if len(tokenizer) < _LARGE:
        return single_token_words(tokenizer)
    state = f"{WORD_RULE} {tokenizer.all_special_ids} {tokenizer.backend_tokenizer.to_str()}"
    name = hashlib.sha256(state.encode()).hexdigest()
    place = cache_folder() / "words" / f"{name}.json"
    found = _read_table(place)
    if found is None:
        found = single_token_words(tokenizer)
        body = found._asdict()
        with contextlib.suppress(PromptPortError):  # the next run asks the tokenizer again
            write_atomic(place, json_bytes({"checksum": _checksum(body), **body}))
    return found


def _read_table(place: Path) -> Words | None:
    if not os.path.isfile(place):  # also where it may not be looked for
        return None
    try:
        kept = read_json(place)
    except PromptPortError:
        return None
    checksum = kept.pop("checksum", None)
    return Words(**kept) if checksum == _checksum(kept) else None


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def single_token_words(tokenizer: Any) -> Words:
    """Find the words that are one token wherever they stand after a space.

    A token counts if `ids(context + " " + word) == ids(context) + [token]` for every context:
    looking at offsets or at the bare word is wrong for byte-level and SentencePiece tokenizers.
    Words of scripts without spaces are asked without one. A model that knows more of them than of
    other words is one of such a script: there they count as all words do.

    Args:
        tokenizer: a fast Hugging Face tokenizer.
    """
    dropped: Counter[str] = Counter()
    candidates: list[tuple[str, int]] = []
    bare: list[tuple[str, int]] = []
    reasons: dict[int, str] = {}
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    continuing = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        surface = _surface(tokenizer, token)
        if continuing and token.startswith(continuing) and token != continuing:
            reason: str | None = "continues a word"
        else:
            reason = _reject(token, surface, index in special)
            if reason in (None, "no letters") and _is_unspaced(surface):
                bare.append((surface, index))
        if reason:
            reasons[index] = reason
        else:
            candidates.append((surface, index))
    words: dict[str, int] = {}
    for (word, index), good in zip(
        candidates, _in_all_contexts(tokenizer, candidates, " "), strict=True
    ):
        if good:
            words[word] = index
        else:
            reasons[index] = "continues a word"
    unspaced = {
        word: index
        for (word, index), good in zip(bare, _in_all_contexts(tokenizer, bare, ""), strict=True)
        if good
    }
    if len(unspaced) > sum(not _is_unspaced(word) for word in words):
        words |= unspaced
    taken = set(words.values())
    dropped.update(reason for index, reason in reasons.items() if index not in taken)
    return Words(words, dict(dropped), unspaced)


def _is_unspaced(text: str) -> bool:
    return bool(_UNSPACED.fullmatch(text)) and any(c.isalpha() for c in text)


def _surface(tokenizer: Any, token: str) -> str:
    decoder = tokenizer.backend_tokenizer.decoder
    return (decoder.decode([token]) if decoder is not None else token).strip()


def _reject(token: str, surface: str, special: bool) -> str | None:
    if special:
        return "special token"
    if _RESERVED.match(token):
        return "reserved or byte token"
    if not _WORD.match(surface) or not any(c.isalpha() for c in surface):
        return "no letters"
    return None


def _in_all_contexts(tokenizer: Any, candidates: list[tuple[str, int]], between: str) -> list[bool]:
    accepted = [True] * len(candidates)
    for context in CONTEXTS:
        before = tokenizer(context, add_special_tokens=False)["input_ids"]
        for start in range(0, len(candidates), _BATCH):  # encodings take much memory
            part = candidates[start : start + _BATCH]
            texts = [f"{context}{between}{word}" for word, _ in part]
            encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
            for i, ((_, index), ids) in enumerate(zip(part, encoded, strict=True), start):
                accepted[i] = accepted[i] and ids == [*before, index]
    return accepted
