"""`promptport app` before there is a page: what is wrong is one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.util import find_spec

import pytest


def run(*arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-m", "promptport", "app", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )
    return done.returncode, done.stdout, done.stderr


def test_without_nicegui_one_line_says_what_to_install(tmp_path) -> None:
    (tmp_path / "nicegui.py").write_text("raise ImportError('no', name='nicegui')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    assert run(str(tmp_path), PYTHONPATH=path) == (
        1,
        "",
        "error: app: expected the package of the page, NiceGUI, got no nicegui. Install it: pip "
        "install 'promptport[app]'.\n",
    )


@pytest.mark.skipif(find_spec("nicegui") is None, reason="NiceGUI is not installed")
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{empty}"], "expected a prompt or vector folder, or a folder of such"),
        (["{empty}/none"], "none: expected"),
        (["{empty}", "--host", "0.0.0.0"], "--host 0.0.0.0: expected a token"),
        (["{empty}", "--port", "{taken}"], "expected an address of this machine with a free port"),
        (["{empty}", "--token-file", "{empty}/t"], "expected a readable file"),
    ],
)
def test_what_cannot_be_shown_is_one_line(tmp_path, arguments, told) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        places = {"empty": tmp_path, "taken": taken.getsockname()[1]}
        code, out, err = run(*(text.format(**places) for text in arguments))
    lines = [line for line in err.splitlines() if line != "reading the library ..."]
    assert (code, out, len(lines)) == (1, "", 1), err
    assert told in lines[0]
