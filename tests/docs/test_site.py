"""The generated pages name everything that is public."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from tools.docs import api, cards, commands

import promptport

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_in_the_api_reference() -> None:
    page = api.api_pages()["promptport.md"]
    headed = set(re.findall(r"^## (\w+)$", page, flags=re.MULTILINE))
    assert headed == {name for name in promptport.__all__ if not name.startswith("__")}


def test_every_command_has_a_page_with_all_of_its_options() -> None:
    pages = commands.command_pages()
    root = commands.root_command()
    for name in root.list_commands(typer.Context(root)):
        command = root.get_command(typer.Context(root), name)
        if command.hidden:
            continue
        assert f"]({name}.md)" in pages["index.md"]
        for option in getattr(command, "params", []):
            for spelled in option.opts if option.opts[0].startswith("-") else []:
                assert f"`{spelled}`" in pages[f"{name}.md"], (name, spelled)


def test_every_method_has_a_card_and_every_card_a_method(tmp_path, monkeypatch) -> None:
    pages = cards.card_pages()
    assert "## `least_squares.v1`" in pages["transfer.md"]
    assert "| `density` | `0.2` |" in pages["merge.md"]
    monkeypatch.setattr(cards, "CARDS", tmp_path)
    with pytest.raises(SystemExit, match="expected a card for each method"):
        cards.card_pages()


def test_the_architecture_names_every_room_in_the_order_of_its_layers() -> None:
    import tomllib

    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?`) \|", text, flags=re.MULTILINE)
    written = [
        {name.removesuffix("/").removesuffix(".py") for name in re.findall(r"`([\w./]+)`", row)}
        for row in rows
        if "/" in row or ".py" in row
    ]
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    rooms = [
        {name.strip().removeprefix("promptport.") for name in layer.split("|")} for layer in layers
    ]
    assert written[: len(rooms)] == rooms
    there = {path.stem for path in (ROOT / "src" / "promptport").iterdir() if path.stem[0] != "_"}
    assert there == set().union(*rooms)
