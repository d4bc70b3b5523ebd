"""Writes docs/licences.md: what licences the packages have that promptport works with.

Run from the root of the repository: python -m tools.packaging.licences [--check]
It reads the metadata of the packages in this environment, which `make` installs as locked.
"""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, metadata, requires

from tools.packaging.lock import ROOT, pins

PAGE = ROOT / "docs" / "licences.md"
_HEAD = """\
# Licences of other packages

promptport is Apache-2.0 and contains none of these packages.
They are what `make` installs, in the versions of `requirements.lock`; licences are as each package
states them.
*needed* marks what `pip install promptport` brings; the others come with extras or with the tests.
`python -m tools.packaging.licences` writes this page.

| package | version | licence | |
|---|---|---|---|
"""
_LONGEST = 60
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def page() -> str:
    """The page as it has to be.

    Raises:
        PackageNotFoundError: a locked package is not installed.
    """
    versions = locked()
    needed = _closure(versions)
    lines = [
        f"| {name} | {version} | {licence(name)} | {'needed' if plain(name) in needed else ''} |"
        for name, version in sorted(versions.items(), key=lambda item: item[0].lower())
    ]
    return _HEAD + "\n".join(lines) + "\n"


def locked() -> dict[str, str]:
    """Name -> version of the lock file, and of torch, which the Makefile names."""
    versions = pins((ROOT / "requirements.lock").read_text())
    torch = re.search(r'"torch==([\w.]+)"', (ROOT / "Makefile").read_text())
    assert torch is not None
    return {**versions, "torch": torch[1]}


def plain(name: str) -> str:
    """A name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(name: str) -> str:
    """What a package says of its licence, in a few words.

    Args:
        name: of an installed package.
    """
    told = metadata(name)
    said = told.get("License-Expression") or told.get("License") or ""
    short = " ".join(said.split())
    if short and len(short) <= _LONGEST and short.lower() not in ("unknown", "license.txt"):
        return short.replace("|", "/")
    classes = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or [] if "License" in c]
    if classes:
        return ", ".join(dict.fromkeys(classes))
    first = said.strip().splitlines()
    return first[0][:_LONGEST] if first else "not stated"


def _closure(versions: dict[str, str]) -> set[str]:
    """Names of the packages that `pip install promptport` brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {plain(name): name for name in versions}
    waiting = [_name(line) for line in project["dependencies"]]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found or name not in names:
            continue
        found.add(name)
        for line in requires(names[name]) or []:
            if "extra ==" not in line:
                waiting.append(_name(line))
    return found


def _name(requirement: str) -> str:
    found = _NAME.match(requirement)
    assert found is not None
    return plain(found[0])


def listed(text: str) -> dict[str, str]:
    """Name -> version of the page."""
    rows = re.findall(r"^\| ([\w.-]+) \| ([\w.+!]+) \|", text, re.MULTILINE)
    return {name: version for name, version in rows if name != "package"}


def main(arguments: list[str]) -> int:
    """Write the page, or with --check say whether it is as it has to be."""
    try:
        wanted = page()
    except PackageNotFoundError as error:
        print(f"{error.name}: expected it installed as locked. Run make test", file=sys.stderr)
        return 2
    if arguments == ["--check"]:
        same = PAGE.is_file() and PAGE.read_text() == wanted
        print("docs/licences.md is " + ("up to date" if same else "old"))
        return 0 if same else 1
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
