"""Which words are exactly one word-initial token of a tokenizer."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

# Words that every English tokenizer knows; a candidate must survive behind both.
CONTEXTS = ("the", "of")
_BATCH = 8192
_RESERVED = re.compile(r"^(\[unused\d+\]|<extra_id_\d+>|<0x[0-9A-Fa-f]{2}>|<unused\d+>)$")
_WORD = re.compile(r"^[^\W_]+(?:['’\-][^\W_]+)*$")


def single_token_words(tokenizer: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Find the words that are one token wherever they stand after a space.

    A token counts if `ids(context + " " + word) == ids(context) + [token]` for every context:
    looking at offsets or at the bare word is wrong for byte-level and SentencePiece tokenizers.

    Args:
        tokenizer: a fast Hugging Face tokenizer.

    Returns:
        (word -> id, reason -> number of tokens dropped).
    """
    dropped: Counter[str] = Counter()
    candidates: list[tuple[str, int]] = []
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    continuing = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        surface = _surface(tokenizer, token)
        if continuing and token.startswith(continuing) and token != continuing:
            reason: str | None = "continues a word"
        else:
            reason = _reject(token, surface, index in special)
        if reason:
            dropped[reason] += 1
        else:
            candidates.append((surface, index))
    accepted = _in_all_contexts(tokenizer, candidates)
    words = {word: index for (word, index), good in zip(candidates, accepted, strict=True) if good}
    dropped["continues a word"] += accepted.count(False)
    return words, {reason: count for reason, count in dropped.items() if count}


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


def _in_all_contexts(tokenizer: Any, candidates: list[tuple[str, int]]) -> list[bool]:
    accepted = [True] * len(candidates)
    for context in CONTEXTS:
        before = tokenizer(context, add_special_tokens=False)["input_ids"]
        for start in range(0, len(candidates), _BATCH):  # encodings take much memory
            part = candidates[start : start + _BATCH]
            texts = [f"{context} {word}" for word, _ in part]
            encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
            for i, ((_, index), ids) in enumerate(zip(part, encoded, strict=True), start):
                accepted[i] = accepted[i] and ids == [*before, index]
    return accepted
