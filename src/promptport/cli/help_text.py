"""How help is laid out: usage, what a command does, examples, then options in panels."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from promptport.cli.panels import COMMANDS, PANELS

_WIDEST = 100  # lines longer than this are hard to read
_NARROWEST = 60
_NAMES = 30  # most columns for names in front of their explanation

FIRST_SCREEN = """\
promptport carries soft prompts (learned prompt vectors) from one frozen language model to another.

  promptport demo      see the whole road on small models that come with it
  promptport tune      learn a prompt for a task
  promptport eval      score a prompt, beside the baselines
  promptport predict   answer sentences of your own
  promptport move      carry a prompt to another model, without labels

For example:

  promptport tune --backbone nano-bert --task country-capital --out capital
  promptport predict capital "France"
  promptport move capital --to nano-roberta --out capital-roberta

All commands: promptport --help. One of them: promptport COMMAND --help.
"""


@dataclass(frozen=True)
class Section:
    """A panel of a help text.

    Attributes:
        title: its heading.
        rows: names, each with its explanation.
    """

    title: str
    rows: tuple[tuple[str, str], ...]


def root_sections() -> list[Section]:
    """All commands by panel, those of groups by their whole names."""
    sections = []
    for panel in PANELS:
        rows: list[tuple[str, str]] = []
        for name, entry in COMMANDS.items():
            if entry.panel != panel:
                continue
            if entry.module is not None:
                rows.append((name, entry.summary))
            rows += [(f"{name} {sub}", inner.summary) for sub, inner in entry.commands.items()]
        sections.append(Section(panel, tuple(rows)))
    return sections


def examples(text: str) -> list[str]:
    """The commands of the example section of a help text, one a line, continued lines joined."""
    _, blocks = split_examples(text)
    joined = "\n".join(blocks).replace("\\\n", " ")
    return [" ".join(line.split()) for line in joined.splitlines() if line.strip()]


def split_examples(text: str) -> tuple[str, list[str]]:
    """A docstring without its example section, and the lines of that section."""
    kept: list[str] = []
    shown: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.strip() in ("Example:", "Examples:"):
            inside = True
        elif inside and (not line.strip() or line.startswith("    ")):
            shown.append(line.strip())
        else:
            inside = False
            kept.append(line)
    return "\n".join(kept).strip(), [line for line in shown if line]


def render(usage: str, text: str, sections: Sequence[Section]) -> str:
    """A help text.

    Args:
        usage: the line of click.
        text: what a command does; paragraphs are wrapped, the example section is not.
        sections: its arguments and options, or its commands.
    """
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    prose, shown = split_examples(text)
    blocks = [usage, *(_wrapped(paragraph, width) for paragraph in prose.split("\n\n"))]
    if shown:
        blocks.append("\n".join([_heading("Example"), *(f"  {line}" for line in shown)]))
    names = [len(name) for section in sections for name, _ in section.rows]
    column = min(max(names, default=0), _NAMES)
    blocks += [_panel(section, column, width) for section in sections if section.rows]
    return "\n\n".join(blocks) + "\n"


def _wrapped(paragraph: str, width: int) -> str:
    return textwrap.fill(" ".join(paragraph.split()), width - 2, break_on_hyphens=False)


def _panel(section: Section, column: int, width: int) -> str:
    lines = [_heading(section.title)]
    indent = " " * (column + 4)
    for name, text in section.rows:
        first = f"  {_name(name)}{' ' * (column - len(name))}  "
        if len(name) > column:
            lines.append(f"  {_name(name)}")
            first = indent
        pieces = textwrap.wrap(text, width - len(indent), break_on_hyphens=False) or [""]
        lines.append(f"{first}{pieces[0]}".rstrip())
        lines += [f"{indent}{piece}" for piece in pieces[1:]]
    return "\n".join(lines)


def _heading(text: str) -> str:
    return _styled(f"{text}:", "1")


def _name(text: str) -> str:
    return _styled(text, "36")


def _styled(text: str, code: str) -> str:
    """Text in a terminal's style, where standard output is a terminal that has any."""
    plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain or not sys.stdout.isatty() else f"\033[{code}m{text}\033[0m"
