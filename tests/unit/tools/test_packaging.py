"""Lock files have hashes, licences are listed, and what pip-audit answers is read right."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version

import pytest
from tools.packaging.audit import summary
from tools.packaging.compat import cases, minimums, versions_tested
from tools.packaging.licences import PAGE, licence, listed, locked, plain
from tools.packaging.lock import FILES, ROOT, hashes, pins


@pytest.mark.parametrize("name", FILES)
def test_every_locked_version_has_hashes(name) -> None:
    text = (ROOT / name).read_text()
    versions, found = pins(text), hashes(text)
    assert len(versions) > 50
    assert set(found) == set(versions)
    assert min(map(len, found.values())) >= 1
    loose = [
        line for line in text.splitlines() if not re.match(r"#|\S+==\S+ \\$|    --hash=", line)
    ]
    assert loose == []


def test_make_installs_no_file_without_its_hash() -> None:
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if ".lock" in line]
    installs = [line for line in lines if "install" in line]
    assert len(installs) == len(FILES)
    assert all("--require-hashes" in line and "--no-deps" in line for line in installs)


def test_the_page_of_licences_has_every_locked_version() -> None:
    page = {plain(name): version for name, version in listed(PAGE.read_text()).items()}
    assert page == {plain(name): version for name, version in locked().items()}
    assert "not stated" not in PAGE.read_text()


def test_licences_are_those_of_the_installed_packages() -> None:
    rows = dict(re.findall(r"^\| ([\w.-]+) \| \S+ \| (.*?) \|", PAGE.read_text(), re.MULTILINE))
    compared = 0
    for name, locked_version in locked().items():
        try:
            if version(name).partition("+")[0] != locked_version:
                continue
        except PackageNotFoundError:
            continue
        assert rows[name] == licence(name)
        compared += 1
    assert compared > 50


def test_faults_and_what_could_not_be_asked_are_counted_apart() -> None:
    answer = {
        "dependencies": [
            {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
            {"name": "b", "version": "1", "vulns": []},
            {"name": "c", "skip_reason": "not found"},
        ]
    }
    assert summary(answer) == (2, ["a 1: CVE-1, mended in 2"])


def test_the_lowest_versions_are_those_of_pyproject() -> None:
    low = minimums()
    text = (ROOT / "pyproject.toml").read_text()
    assert set(low) == {"torch", "transformers", "peft"}
    for name, lowest in low.items():
        assert f'"{name}>={lowest.removesuffix(".0")}' in text
    assert cases()["lowest"] == [
        f"{name}=={low[name]}" for name in ("torch", "transformers", "peft")
    ]


def test_a_case_that_failed_tests_no_version() -> None:
    found = {
        "a": {"ok": True, "versions": {"torch": "2.9.0", "transformers": "5.2.0", "peft": "0.9.0"}},
        "b": {"ok": True, "versions": {"torch": "2.13.0", "transformers": "5.2.0", "peft": "0.20"}},
        "c": {"ok": False, "versions": {"torch": "2.99", "transformers": "9", "peft": "9"}},
    }
    assert versions_tested(found) == {
        "torch": ["2.9.0", "2.13.0"],
        "transformers": ["5.2.0"],
        "peft": ["0.9.0", "0.20"],
    }
