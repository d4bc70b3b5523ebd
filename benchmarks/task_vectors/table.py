"""The tables of all parts in one Markdown file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promptport.files import write_atomic

TITLES = {
    "origins": "Origins",
    "pairs": "Pairs",
    "fewshot": "Starting points",
    "across": "Other models",
}


def write_tables(path: Path, texts: Mapping[str, str]) -> None:
    """Write the table of each part under its title."""
    parts = [f"## {TITLES[name]}\n\n{text}" for name, text in texts.items()]
    write_atomic(path, "\n".join(parts).encode())
