"""Too little memory is one line that says what to lower."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from promptport.backbone.loading import one_line
from promptport.errors import OutOfMemoryError, PromptPortError
from promptport.memory import is_out_of_memory, memory_error

CUDA = (
    "CUDA out of memory. Tried to allocate 12.50 GiB. GPU 1 has a total capacity of 23.6 GiB of "
    "which 3.1 GiB is free."
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried "
    "to allocate 5368709120 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (torch.OutOfMemoryError(CUDA), "expected room for 12.50 GiB on cuda:1, got too little"),
        (RuntimeError(CPU), "expected room for 5 GiB, got too little"),
        (MemoryError(), "expected room for what was asked for, got too little"),
    ],
)
def test_the_line_says_how_much_and_what_to_lower(error, line) -> None:
    assert is_out_of_memory(error)
    made = memory_error(error)
    assert isinstance(made, OutOfMemoryError)
    assert isinstance(made, PromptPortError)
    assert line in str(made)
    assert str(made).endswith("--dtype bfloat16 or --device-map auto.")
    assert memory_error(made) is made


def test_other_errors_are_left_alone() -> None:
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_what_torch_and_numpy_raise_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**46)
    assert is_out_of_memory(caught.value)
    with pytest.raises(MemoryError) as raised:
        np.empty(2**46)
    assert is_out_of_memory(raised.value)


def test_a_model_that_does_not_fit_is_not_called_broken() -> None:
    with pytest.raises(OutOfMemoryError, match="room for 5 GiB"), one_line("big"):
        raise RuntimeError(CPU)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(CUDA), RuntimeError(CPU), MemoryError()])
def test_a_command_ends_in_one_line(error, run_cli, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("promptport.backbone.open_space", fail)
    code, out, err = run_cli("compat", "nano-bert", "nano-gpt2")
    assert (code, out) == (1, "")
    (line,) = [each for each in err.splitlines() if each.startswith("error: ")]
    assert line.startswith("error: memory: expected room for ")
    assert "Traceback" not in err


def test_another_failure_of_torch_is_no_matter_of_memory(run_cli, monkeypatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("promptport.backbone.open_space", fail)
    with pytest.raises(RuntimeError, match="something else"):
        run_cli("compat", "nano-bert", "nano-gpt2")


LIMITED = """
import contextlib, io, resource, sys
from pathlib import Path
import promptport.cli
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    promptport.cli.main(["compat", "nano-bert", "nano-gpt2"])  # loads every library first
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + (128 << 20), resource.RLIM_INFINITY))
promptport.cli.main(["compat", "nano-bert", sys.argv[1]])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits address space")
def test_a_table_that_does_not_fit_into_the_address_space(tmp_path) -> None:
    from benchmarks.trust.limits_inputs import save_sharded

    save_sharded(tmp_path / "model", rows=120_000, width=1024, layers=1)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "model")],
        capture_output=True,
        text=True,
        # Other threads would be refused memory of theirs, and end the process in C++.
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"},
    )
    assert done.returncode == 1, done.stderr[-500:]
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: memory: expected room for ")
