"""The frame of the command line: first screen, help, suggestions, completion, output."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import pytest
import typer
from tests.cli.conftest import printed_commands

from promptport.cli import console, groups, help_text
from promptport.cli.console.tables import fold
from promptport.cli.panels import COMMANDS, OTHER_NAMES, PANELS


def _all(table=COMMANDS, prefix=""):
    for name, entry in table.items():
        if entry.module is not None:
            yield f"{prefix}{name}", entry
        yield from _all(entry.commands, f"{prefix}{name} ")


ALL = dict(_all())


def test_the_first_screen_names_five_commands(run_cli) -> None:
    code, out, err = run_cli()
    assert (code, err) == (0, "")
    firsts = [line.split()[1] for line in out.splitlines() if line.startswith("  promptport ")]
    assert firsts[:5] == ["demo", "tune", "eval", "predict", "move"]
    assert "promptport --help" in out


def test_the_help_of_the_root_has_every_command_with_its_whole_summary(run_cli) -> None:
    code, out, _ = run_cli("--help")
    assert code == 0
    said = " ".join(out.split())
    for name, entry in ALL.items():
        assert f"{name} {entry.summary}" in said
    assert [panel for panel in PANELS if f"{panel}:" in out] == list(PANELS)
    assert max(map(len, out.splitlines())) <= 100
    assert "--install-completion" in out


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        *((old, new) for old, new in OTHER_NAMES.items() if old not in COMMANDS),
        ("tun", "tune"),
        ("librery", "library"),
        ("vector chek", "vector check"),
        ("vector origins", "vector check"),
        ("library ranc", "library rank"),
    ],
)
def test_an_unknown_command_is_answered_with_one_that_is(run_cli, typed, meant) -> None:
    code, out, err = run_cli(*typed.split())
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"Did you mean 'promptport {meant}'" in err


def test_other_names_lead_to_commands() -> None:
    for meant in OTHER_NAMES.values():
        words = meant.split(" --")[0]
        assert words in ALL or meant.startswith("--"), meant


def test_a_shell_is_told_the_commands_and_no_command_is_imported() -> None:
    code = (
        "import sys, promptport.cli as c\n"
        "try:\n    c.main([])\nexcept SystemExit:\n    pass\n"
        "assert not {m for m in sys.modules if m.startswith('promptport.cli.library')}\n"
    )
    asked = {"_PROMPTPORT_COMPLETE": "complete_bash", "COMP_WORDS": "promptport li"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **asked, "COMP_CWORD": "1"},
    )
    assert done.stdout.split() == ["library"]


def test_examples_are_taken_from_the_docstring() -> None:
    text = "It does.\n\nMore of it.\n\nExample:\n    promptport a \\\n        b\n    promptport c"
    assert help_text.examples(text) == ["promptport a b", "promptport c"]
    prose, _ = help_text.split_examples(text)
    assert prose == "It does.\n\nMore of it."


def test_a_command_line_is_quoted_for_a_shell() -> None:
    made = console.command_line(
        "eval", "my prompt", task="it's.yaml", data=None, json=True, with_=["a", "b c"], force=False
    )
    assert printed_commands(made) == [
        ["eval", "my prompt", "--task", "it's.yaml", "--json", "--with", "a", "--with", "b c"]
    ]


def test_messages_go_to_standard_error(capsys) -> None:
    console.note("odd")
    console.written("P", "Score it", console.command_line("eval", "P"))
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "note: odd\nWritten to P.\nScore it:\n  promptport eval P\n"


def test_json_has_no_values_that_json_lacks(capsys) -> None:
    console.print_json({"a": float("nan"), "b": (1, float("inf"))})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, None]}


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("country-capital/seed0", 18, ["country-capital/", "seed0"]),
        ("country-capital", 5, ["country-capital"]),
        ("a b c", 3, ["a b", "c"]),
        ("one\ntwo", 9, ["one", "two"]),
        ("", 4, [""]),
    ],
)
def test_a_cell_is_folded_between_words_only(text, width, lines) -> None:
    assert fold(text, width) == lines


def test_a_table_for_80_columns_cuts_no_name(monkeypatch, capsys) -> None:
    monkeypatch.setattr("promptport.cli.console.tables._PIPE_WIDTH", 80)
    names = [f"library/country-capital-{i}/seed{i}" for i in range(4)]
    columns = ["prompt", *(f"a long heading {i}" for i in range(8))]
    console.print_table("wide", columns, [[name, *([0.5] * 8)] for name in names])
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert all(f"country-capital-{i}/" in out for i in range(4))
    assert out.count("country-capital-0/") > 1, "a part of a table repeats the names"
    assert out.count("0.500") == 32


def test_facts_have_no_heading_line(capsys) -> None:
    console.print_facts("what", [["name", "value"]])
    assert len(capsys.readouterr().out.splitlines()) == 4


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("Ġparis", "paris"),
        ("▁Paris", "Paris"),
        ("##ing", "ing"),
        ("##", "##"),
        ("cafÃ©", "cafÃ©"),  # no mark says that these are bytes
        ("ĠcafÃ©", "café"),
        ("Łódź", "Łódź"),
        ("Ġ", "' '"),
        ("▁", "' '"),
    ],
)
def test_tokens_are_shown_as_words(token, shown) -> None:
    assert console.readable(token) == shown


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (None, "the same command goes on from the last saved step"),
        (lambda: True, "the same command goes on from the last saved step"),
        (lambda: False, "nothing was saved, the same command begins anew"),
    ],
)
def test_an_interrupted_command_promises_what_is_kept(capsys, kept, told) -> None:
    with pytest.raises(typer.Exit) as stop, console.goes_on("the last saved step", kept):
        raise KeyboardInterrupt
    assert stop.value.exit_code == 130
    assert capsys.readouterr().err == f"interrupted: {told}\n"


def test_every_command_answers_an_interruption(run_cli, monkeypatch) -> None:
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("promptport.backbone.describe_backbone", interrupted)
    code, out, err = run_cli("models")
    assert (code, out) == (130, "")
    assert err == "interrupted: nothing was saved, the same command begins anew\n"


def test_only_the_root_offers_completion() -> None:
    names = [p.name for p in groups.build("library", COMMANDS["library"]).params]
    assert "install_completion" not in names


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_docstring_begins_with_the_summary(name) -> None:
    from importlib import import_module

    entry = ALL[name]
    function = getattr(import_module(entry.module), entry.function)
    assert (function.__doc__ or "").splitlines()[0] == f"{entry.summary}."


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_command_shows_an_example_of_itself(run_cli, name) -> None:
    code, out, err = run_cli(*name.split(), "--help")
    assert (code, err) == (0, "")
    assert out == run_cli("help", *name.split())[1]
    shown = out.partition("Example:\n")[2].partition("\n\n")[0]
    assert any(line.strip().startswith(f"promptport {name}") for line in shown.splitlines()), out


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_words_of_every_example_are_options_that_there_are(name) -> None:
    from importlib import import_module

    from promptport.cli import app

    entry = ALL[name]
    function = getattr(import_module(entry.module), entry.function)
    for line in help_text.examples(inspect.getdoc(function) or ""):
        words = printed_commands(line)[0]
        group = app()
        context = group.make_context("promptport", words, resilient_parsing=False)
        while context._protected_args:
            rest = [*context._protected_args, *context.args]
            found, command, rest = context.command.resolve_command(context, rest)
            context = command.make_context(found, rest, parent=context)
        assert context.command_path.removeprefix("promptport ").startswith(name), line


def test_an_option_without_its_value_is_told(run_cli) -> None:
    code, out, err = run_cli("tune", "--start", "--library", "x")
    assert (code, out) == (2, "")
    assert "Option '--start' needs a value, got the option '--library'" in err
