"""What a release is made of: the same bytes each time, and whole."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile

import pytest
from tools.packaging.reproducible import ROOT, build_twice

pytest.importorskip("hatchling", reason="of the dev extra")


@pytest.mark.slow
def test_built_twice_the_files_are_the_same(tmp_path) -> None:
    first, second = build_twice(tmp_path / "dist")
    assert sorted(first) == [f"promptport-0.1.0{end}" for end in ("-py3-none-any.whl", ".tar.gz")]
    assert first == second
    with zipfile.ZipFile(tmp_path / "dist" / sorted(first)[0]) as wheel:
        names = wheel.namelist()
    assert any(name.endswith("zoo/nano-bert/model.safetensors") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/", "tools/")) for name in names)
    with tarfile.open(tmp_path / "dist" / sorted(first)[1]) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "SECURITY.md", "pyproject.toml", "src/promptport/__init__.py"} <= inside


@pytest.mark.slow
def test_wheel_and_source_archive_work_where_nothing_else_of_ours_is(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.packaging.smoke", "--borrow", "--work", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"ok"') == 2
