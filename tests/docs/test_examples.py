"""What the documentation shows works as it stands there, in the order in which it stands."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import sys
import warnings
from importlib.util import find_spec

import pytest
from tests.docs.pages import SETUPS, blocks

QUICK = ("README.md",)
LONG = (
    "docs/howto/peft-folder.md",
    "docs/tutorial.md",
    "docs/howto/csv.md",
    "docs/howto/gguf.md",
    "docs/howto/text-to-text.md",
    "docs/howto/hub.md",
    "docs/howto/app.md",
    "docs/howto/library.md",
    "docs/howto/many-prompts.md",
    "docs/howto/paper-data.md",
    "docs/howto/serve.md",
    "docs/howto/server.md",
    "docs/howto/recipes.md",
    "docs/howto/reports.md",
    "docs/howto/upgraded-model.md",
    "docs/concepts/curves.md",
    "docs/concepts/encode-decode.md",
    "docs/concepts/forecast.md",
    "docs/concepts/merging.md",
    "docs/concepts/mixtures.md",
    "docs/concepts/moving.md",
    "docs/concepts/opinion-pool.md",
    "docs/concepts/origins.md",
    "docs/concepts/task-vectors.md",
)
_LEFT_OUT = pytest.mark.filterwarnings("default:.* left out, needs")
_PEFT = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


def _run(page, folder, monkeypatch, run_cli) -> int:
    """Run all blocks of a page in a folder; the number of commands and programs that ran."""
    monkeypatch.chdir(folder)
    SETUPS.get(page, lambda _folder: None)(folder)
    with contextlib.ExitStack() as servers:
        return _run_blocks(page, folder, run_cli, servers)


def _run_blocks(page, folder, run_cli, servers) -> int:
    ran = 0
    for block in blocks(page):
        if block.needs is not None and find_spec(block.needs) is None:
            # pytest lists it at its end
            warnings.warn(f"{page}: left out, needs {block.needs}", stacklevel=1)
        elif block.file is not None:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, page, "exec"), {})
            ran += 1
        elif block.language == "sh":
            for line in block.text.splitlines():
                if line.startswith(("promptport serve ", "promptport app ")):
                    servers.enter_context(_serving(line))
                    ran += 1
                elif line.startswith("curl "):
                    done = subprocess.run(shlex.split(line), capture_output=True, text=True)
                    assert done.returncode == 0, f"{line}\n{done.stderr}"
                    assert "error" not in json.loads(done.stdout), line
                    ran += 1
                elif line.startswith("promptport "):
                    code, out, err = run_cli(*shlex.split(line, comments=True)[1:])
                    assert code == 0, f"{page}: {line}\n{err}"
                    assert out or err, f"{page}: {line}"
                    ran += 1
    return ran


@contextlib.contextmanager
def _serving(line):
    """A server in the background, from when it is ready."""
    command = [sys.executable, "-m", "promptport", *shlex.split(line, comments=True)[1:]]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "/v1/models" not in said and "Open http://" not in said:
            told = process.stderr.readline()
            assert told, f"{line}\n{said}"
            said += told
        try:
            yield
        finally:
            process.terminate()
            process.communicate(timeout=60)


@_PEFT
@_LEFT_OUT
@pytest.mark.slow
@pytest.mark.parametrize("page", QUICK)
def test_the_examples_of_a_page_run(page, tmp_path, monkeypatch, run_cli) -> None:
    assert _run(page, tmp_path, monkeypatch, run_cli) >= 4


@_PEFT
@_LEFT_OUT
@pytest.mark.slow
@pytest.mark.parametrize("page", LONG)
def test_the_examples_of_a_long_page_run(page, tmp_path, monkeypatch, run_cli) -> None:
    assert _run(page, tmp_path, monkeypatch, run_cli) >= 2


def test_every_page_with_commands_is_run() -> None:
    from tests.docs.pages import ROOT, prose_files

    pages = {
        str(path.relative_to(ROOT))
        for path in prose_files()
        if any(b.language == "sh" and "promptport " in b.text for b in blocks(str(path)))
    }
    assert pages <= {*QUICK, *LONG}
