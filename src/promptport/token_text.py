"""Tokens as people write them."""

from __future__ import annotations

import re

_SPACE_MARKS = ("Ġ", "▁")
# What a terminal acts on (all but line breaks and tabs), what turns the direction of the text
# behind it, and what is no text.
_ACTED_ON = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def harmless(text: str) -> str:
    """A text that others may have written, with escapes for what a terminal would act on.

    Args:
        text: of any number of lines, which it keeps.
    """
    return _ACTED_ON.sub(lambda found: ascii(found[0])[1:-1], text)


def readable(token: str) -> str:
    """A token as people write it: without the marks of tokenizers, bytes put together.

    Args:
        token: as the tokenizer writes it, `Ġparis`, `▁paris` or `##is`.
    """
    text = _decoded(token)
    for mark in _SPACE_MARKS:
        text = text.replace(mark, " ")
    if text.startswith("##") and len(text) > len("##"):
        text = text.removeprefix("##")
    return text.strip() or repr(text)


def _decoded(token: str) -> str:
    """Characters that stand for bytes, as the text of these bytes."""
    table = _byte_characters()
    if not any(ord(c) > 255 for c in token) or any(c not in table for c in token):
        return token
    try:
        text = bytes(table[c] for c in token).decode("utf-8")
    except UnicodeDecodeError:
        return token
    return text if text.strip().isprintable() else token


def _byte_characters() -> dict[str, int]:
    """The characters that byte-level tokenizers write bytes by.

    Printable ones stand for themselves, the others are U+0100 and on.
    """
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(b): b for b in own} | {chr(256 + i): b for i, b in enumerate(others)}
