"""A command that is told to end, and an output that cannot be written."""

from __future__ import annotations

import errno
import os
import signal
import time

import pytest

from promptport.cli import console, main
from promptport.scratch import MARK


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_signals_end_a_command_in_one_line(run_cli, monkeypatch, tmp_path, number, code) -> None:
    from promptport.scratch import scratch_folder

    # Where the tests run in the background, or after nohup, a signal may be ignored.
    asked = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
    before = signal.signal(number, asked)

    def work(*_args, **_options) -> None:
        with scratch_folder(tmp_path):
            os.kill(os.getpid(), number)
            time.sleep(60)

    monkeypatch.setattr("promptport.zoo.embedded_names", work)
    try:
        ended, out, err = run_cli("models")
        assert signal.getsignal(number) == asked
    finally:
        signal.signal(number, before)
    assert (ended, out) == (code, "")
    assert err.splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in err
    assert not list(tmp_path.glob(f".*{MARK}"))


def test_what_ignores_a_signal_goes_on(run_cli, monkeypatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_cli("methods")[0] == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_interruption_that_a_command_answers_has_the_code_of_its_signal(monkeypatch) -> None:
    import typer

    from promptport.cli.stopping import ended_by_signals

    with (
        ended_by_signals(),
        pytest.raises(typer.Exit) as stop,
        console.goes_on(None),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    assert stop.value.exit_code == 143


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_whatever_the_system_refuses_is_one_line(run_cli, monkeypatch, number) -> None:
    def refuse(*_args, **_options) -> None:
        raise OSError(number, os.strerror(number), "/some/place")

    monkeypatch.setattr("promptport.zoo.embedded_names", refuse)
    code, out, err = run_cli("models")
    assert (code, out) == (1, "")
    lines = err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: /some/place: expected the system to do as asked, got ")
    assert os.strerror(number) in lines[0]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no such device")
def test_a_full_output(capfd, monkeypatch) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr("sys.stdout", full)
        with pytest.raises(SystemExit) as stop:
            main(["methods"])
    assert stop.value.code == 1
    err = capfd.readouterr().err
    assert err.startswith("error: this command: expected the system to do as asked")
    assert err.count("\n") == 1
