"""What may not stand in cards, pages, messages and printed commands, whatever names are like."""

from __future__ import annotations

import ast
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import yaml

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_OWN_COMMENT = re.compile(
    r"^<!-- model card written by promptport [\w.]+; a later save .* -->$", re.M
)
_IMPORTS = {"peft", "transformers", "promptport", "promptport.zoo"}
_HEADINGS = 5  # of a card, below its title
_COMMAND = re.compile(r"(?:^|: |\()\s*(promptport [a-z].*)$")
# A line break is what ends a line of ours; a tab is harmless.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def card_faults(card: str) -> list[str]:
    """What is wrong with a model card.

    Args:
        card: Markdown with its head.
    """
    faults = []
    head, _, body = card.removeprefix("---\n").partition("\n---\n")
    try:
        if not isinstance(yaml.safe_load(head), dict):
            faults.append("its head is no table")
    except yaml.YAMLError as error:
        faults.append(f"its head does not parse: {error}")
    for language, code in _FENCED.findall(body):
        if language == "python":
            faults += _python_faults(code)
    prose = _OWN_COMMENT.sub("", _FENCED.sub("", body))
    headings = len(re.findall(r"^#+ ", prose, re.M))
    if headings != _HEADINGS:
        faults.append(f"{headings} headings")
    prose = _SPAN.sub("", prose)
    if "<" in prose:
        faults.append(f"HTML: {prose[prose.index('<') :][:60]!r}")
    if re.search(r"(?<!\\)\]\(", prose):
        faults.append("a link")
    faults += control_faults(card)
    return faults


def _python_faults(code: str) -> list[str]:
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        return [f"Python that does not parse: {error.msg}"]
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(str(node.module))
    return [f"Python that imports {name}" for name in names if name not in _IMPORTS]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "img", "iframe", "object", "embed", "base", "form"):
            self.faults.append(f"<{tag}>")
        for name, value in attrs:
            if name.startswith("on") or str(value).strip().lower().startswith("javascript:"):
                self.faults.append(f"{name} of <{tag}>")


def page_faults(page: str) -> list[str]:
    """Scripts, pictures and handlers of a page; ours have none."""
    parser = _Page()
    parser.feed(page)
    return parser.faults


def control_faults(text: str) -> list[str]:
    """Characters that a terminal would act on."""
    found = _CONTROL.search(text)
    return [] if found is None else [f"a control character: {found[0]!r}"]


def printed_commands(text: str) -> list[str]:
    """Commands of promptport that a message or its hints say to run."""
    lines = (_COMMAND.search(line) for line in text.splitlines())
    return [line[1] for line in lines if line is not None]


def shell_arguments(command: str, folder: Path) -> list[str]:
    """What a shell would give the command, in place of which nothing is run.

    Args:
        command: as it was printed.
        folder: where it is run.
    """
    stub = 'promptport() { for word in "$@"; do printf \'%s\\0\' "$word"; done; }\n'
    done = subprocess.run(
        ["bash", "--norc", "-c", stub + command], cwd=folder, capture_output=True, timeout=30
    )
    return [word.decode("utf-8", "surrogateescape") for word in done.stdout.split(b"\0")[:-1]]
