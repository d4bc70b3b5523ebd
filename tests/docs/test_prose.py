"""The pages lead somewhere, name what exists, and read well."""

from __future__ import annotations

import importlib
import re

import pytest
import typer
from tests.docs.pages import ROOT, prose_files
from tools.docs.commands import root_command
from tools.docs.lint_prose import problems

PAGES = [str(path.relative_to(ROOT)) for path in prose_files()]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        if "generated/" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_names_of_python_exist(page) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in re.findall(r"`promptport((?:\.\w+)+)(?:\(|`)", text):
        if name == ".json":
            continue
        value = importlib.import_module("promptport")
        for part in name[1:].split("."):
            if not hasattr(value, part):
                importlib.import_module(f"{value.__name__}.{part}")
            value = getattr(value, part, None)
            assert value is not None, name


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("word " * 21, "105 characters"),
        ("One. Two.", "a second sentence"),
        ("An anchored prompt.", "'anchored' is a private word"),
        ("From 0.1, 0.2 and 0.3 to 0.4.", "more than 3 figures"),
        ("\n".join(["so it goes on"] * 11), "more than 40 words"),
    ],
)
def test_a_problem_is_named_with_its_line(text, what) -> None:
    ((number, said), *_) = problems(f"Title\n\n{text}\n")
    assert number >= 3
    assert what in said


@pytest.mark.parametrize(
    "text",
    [
        "| anchored | 0.1 | 0.2 | 0.3 | 0.4 |",
        "```sh\nanchored. Lesson\n```",
        "`anchored` stands in old files.",
        "1. First. \n2. Second.",
        "Wu et al. Compare Student's t.",
    ],
)
def test_code_tables_and_abbreviations_may_stay(text) -> None:
    assert list(problems(text)) == []


def _commands_shown() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        fenced = re.findall(r"^(promptport [^\n#]+)", text, flags=re.MULTILINE)
        inline = re.findall(r"`(promptport [^`]+)`", text)
        found += [(page, line) for line in [*fenced, *inline] if page != "CHANGELOG.md"]
    return found


@pytest.mark.long
def test_every_command_shown_has_the_options_that_it_shows() -> None:
    root = root_command()
    for page, line in _commands_shown():
        command, context = root, typer.Context(root, info_name="promptport")
        for word in line.split()[1:]:
            inner = (
                command.get_command(context, word) if hasattr(command, "list_commands") else None
            )
            if inner is None:
                break
            command, context = inner, typer.Context(inner, info_name=word, parent=context)
        known = {name for option in command.params for name in option.opts + option.secondary_opts}
        shown = set(re.findall(r"(?<=\s)--[\w-]+", line))
        assert shown <= {*known, "--help", "--version"}, f"{page}: {line}"
