"""Write the generated pages of the site into docs/generated."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tools.docs.api import api_pages
from tools.docs.cards import card_pages
from tools.docs.commands import command_pages
from tools.docs.kinds import kind_pages

GENERATED = Path(__file__).parents[2] / "docs" / "generated"


def generate() -> None:
    """Make all pages anew; what no longer exists leaves no page behind."""
    pages = {
        "commands": command_pages(),
        "api": api_pages(),
        "methods": card_pages(),
        "recipes": kind_pages(),
    }
    for folder, texts in pages.items():
        _write(GENERATED / folder, texts)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    if folder.exists():
        for page in folder.iterdir():
            if page.name not in texts:
                shutil.rmtree(page) if page.is_dir() else page.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")  # unchanged pages are not built again


if __name__ == "__main__":
    generate()
