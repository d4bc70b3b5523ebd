"""Names and texts that somebody else wrote, in Markdown: shown as they are, never as markup."""

from __future__ import annotations

import html
import re

_PLAIN = re.compile(r"[\w./ :@+-]*")
_MARKS = re.compile(r"([\\`*\[\]|])")


def prose(text: str) -> str:
    """A text within a sentence: no link, no HTML, no line of its own.

    Args:
        text: a name or a sentence that has one in it.
    """
    return _MARKS.sub(r"\\\1", html.escape(_one_line(text), quote=False))


def code(text: str) -> str:
    """A text in the letters of code, also one that has backticks.

    Args:
        text: a name, a template.
    """
    line = _one_line(text)
    longest = max((len(run) for run in re.findall(r"`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def python_text(text: object) -> str:
    """A text as a literal of Python, for lines that are copied and run.

    Args:
        text: a name or path.
    """
    value = str(text)
    return f'"{value}"' if value.isascii() and _PLAIN.fullmatch(value) else repr(value)


def _one_line(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
