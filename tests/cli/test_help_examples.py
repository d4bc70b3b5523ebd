"""The examples of every command's help run as they stand, one after the other."""

from __future__ import annotations

import inspect
import io
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from tests.cli.conftest import printed_commands
from tests.runs import make_run

from promptport.cli.help_text import examples
from promptport.cli.panels import COMMANDS

pytestmark = pytest.mark.slow

# What makes a run shorter and changes nothing else.
FASTER = {
    "demo": ["--epochs", "1", "--task", "opposite"],
    "tune": ["--epochs", "2"],
    "move": ["--rows", "16"],
    "library adapt": ["--steps", "4"],
    "library curves": ["--steps", "4"],
    "vector widen": ["--steps", "4"],
}
# In an order in which one makes what the next reads.
ORDER = (
    *("tune", "tasks", "tasks show", "tasks init", "tasks check", "eval", "predict"),
    *("move", "transfer", "export", "import", "vector make", "vector combine", "vector widen"),
    *("vector check", "library list", "library search", "library show", "library add"),
    *("library tag", "library remove", "library restore", "library verify", "library dedupe"),
    *("library report", "library empty-trash"),
    *("library rank", "library similarity"),
    *("library forecast", "library pairs", "library curves", "library adapt"),
    *("report write", "report diff"),
    *("run", "inspect", "methods", "compat", "models", "help", "demo", "cache", "cache clear"),
)
ELSEWHERE = {"app", "serve", "push", "pull"}  # need a port or the Hub: tests/integration, tests/cli


@pytest.fixture
def workspace(tmp_path):
    place = tmp_path
    rows = [f"{word} film number {i},{word}" for word in ("good", "bad") for i in range(20)]
    (place / "reviews.csv").write_text("\n".join(["review,stars", *rows]) + "\n")
    shutil.copytree(Path(__file__).parents[2] / "recipes", place / "recipes")
    make_run(place / "run")
    make_run(place / "other-run", better={"paper": 0.2})
    return place


def _entry(name):
    entry = COMMANDS[name.split()[0]]
    for word in name.split()[1:]:
        entry = entry.commands[word]
    return entry


def test_the_order_has_every_command() -> None:
    named = {n for n, e in COMMANDS.items() if e.module is not None}
    named |= {f"{n} {sub}" for n, e in COMMANDS.items() for sub in e.commands}
    assert set(ORDER) | ELSEWHERE == named
    assert not set(ORDER) & ELSEWHERE


def test_examples_run(run_cli, workspace, monkeypatch) -> None:
    """One test for all of them: each reads what those before it made."""
    monkeypatch.chdir(workspace)
    for name in ORDER:
        if name == "vector combine":
            made = run_cli("tune", "--backbone", "nano-bert", "--task", "country-currency",
                           "--epochs", 2, "--out", "currency")  # fmt: skip
            assert made[0] == 0
        entry = _entry(name)
        function = getattr(import_module(entry.module), entry.function)
        for line in examples(inspect.getdoc(function) or ""):
            monkeypatch.setattr("sys.stdin", io.StringIO("France\nPeru\n"))
            words = printed_commands(line)[0]
            code, _, err = run_cli(*words, *FASTER.get(name, []))
            assert code == 0, f"{line}: {err}"
