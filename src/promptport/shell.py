"""Words as a shell takes them, on one line: names may hold anything, printed commands must run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t", "\\": r"\\", "'": r"\'"}


def quoted(word: object) -> str:
    r"""A word that a shell takes as it is.

    A line break or another character that a terminal would act on becomes an escape (`$'a\nb'`,
    as bash, zsh and ksh read it), so a command stays one line that can be copied.

    Args:
        word: a name, path or text.
    """
    text = str(word)
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if character.isprintable():
        return character
    # The bytes of the name, also of one that is no text.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def joined(words: Iterable[object]) -> str:
    """A command of these words, quoted where a shell needs it."""
    return " ".join(map(quoted, words))
