"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_python_example_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = _blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert "Score(metric='p@1'" in capsys.readouterr().out


def test_the_commands_run(run_cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        line
        for block in _blocks("sh")
        for line in block.splitlines()
        if line.startswith("promptport")
    ]
    assert len(commands) == 3
    for command in commands:
        code, out, err = run_cli(*shlex.split(command)[1:])
        assert code == 0, err
        assert out


@pytest.mark.parametrize("page", sorted(p.name for p in (ROOT / "docs").glob("*.md")))
def test_links_of_the_docs_lead_somewhere(page) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert (ROOT / "docs" / target).exists(), target


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_every_command_and_method_is_documented() -> None:
    from promptport.cli import app
    from promptport.transfers import MAGNITUDES, list_methods

    for command in app.registered_commands:
        assert f"`{command.name}`" in README
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for method in list_methods():
        assert method.name in methods
    for rule in MAGNITUDES:
        assert f"`{rule}`" in methods
