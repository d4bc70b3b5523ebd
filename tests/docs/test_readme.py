"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch

from promptport.storage import load_prompt
from promptport.zoo import embedded_folder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # PEFT's
def test_the_python_example_runs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    code, serving = _blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    assert "Score(metric='p@1'" in capsys.readouterr().out
    found: dict[str, Any] = {}
    exec(compile(_with_ours(serving), "README.md", "exec"), found)
    served = found["model"].get_prompt(batch_size=1, task_ids=None)[0]
    torch.testing.assert_close(served, load_prompt("capital-roberta").vectors)


def _with_ours(text: str) -> str:
    """With embedded things in place of what the reader has."""
    ours = {
        '"./my-model"': f'"{embedded_folder("nano-roberta")}"',
        "./my-model": "nano-roberta",
        "my-prompt": "capital-roberta",
        "reviews.yaml": "country-capital",
    }
    for theirs, own in ours.items():
        text = text.replace(theirs, own)
    return text


def test_the_commands_run(run_cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [
        line
        for block in _blocks("sh")
        for line in block.splitlines()
        if line.startswith("promptport")
    ]
    assert len(commands) == 7
    for command in commands:
        code, out, err = run_cli(*shlex.split(_with_ours(command), comments=True)[1:])
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
    from promptport.cli.panels import COMMANDS
    from promptport.transfers import MAGNITUDES, list_methods

    for name in COMMANDS:
        assert f"`{name}`" in README
    methods = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for method in list_methods():
        assert method.name in methods
    for rule in MAGNITUDES:
        assert f"`{rule}`" in methods
