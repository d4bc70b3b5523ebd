"""Commands in children of a process that has imported everything, killed where one likes.

A child begins in a few milliseconds. It counts what it writes: every time that Python is about to
open a file for writing, to rename, link or remove something, or to make a folder. So a command can
be killed right before its n-th change of the disk, and every such place can be met.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

_CHANGES = frozenset(
    (
        *("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir"),
        *("os.truncate", "os.chmod", "os.utime", "shutil.rmtree", "shutil.copyfile"),
        *("shutil.move", "sqlite3.connect", "tempfile.mkstemp", "tempfile.mkdtemp"),
    )
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_WARM = (
    *("torch", "transformers", "tokenizers", "safetensors.torch", "filelock", "gguf", "numpy"),
    *("transformers.models.bert.modeling_bert", "transformers.models.gpt2.modeling_gpt2"),
    *("transformers.models.roberta.modeling_roberta", "transformers.models.t5.modeling_t5"),
    *("transformers.models.llama.modeling_llama", "transformers.modeling_gguf_pytorch_utils"),
    *("transformers.models.gpt2.tokenization_gpt2", "transformers.models.bert.tokenization_bert"),
)
_PATIENCE = 120.0  # seconds for a command
_COUNTED = 60  # descriptor on which a child tells how many changes it made


@dataclass(frozen=True)
class Kill:
    """When a command is killed, and how.

    Attributes:
        number: of the signal.
        change: before which change of the disk, 1 or more; 0: by time.
        seconds: after which it is killed, where it is by time.
    """

    number: int
    change: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: exit code, or minus the number of the signal that it died of.
        changes: of the disk that it was about to make.
        seconds: that it took.
        out: standard output.
        err: standard error.
    """

    code: int
    changes: int
    seconds: float
    out: str
    err: str

    @property
    def is_clean(self) -> bool:
        """Success, or one clear line."""
        return self.code == 0 or ("Traceback" not in self.err and self.code in (1, 130, 143))


def warm_up() -> None:
    """Import all that commands import, once for all children."""
    import promptport

    for found in pkgutil.walk_packages(promptport.__path__, "promptport."):
        if not any(part in found.name for part in ("runners", "clients", "__main__", "on_ray")):
            with contextlib.suppress(ImportError):
                importlib.import_module(found.name)
    for name in _WARM:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    from promptport.backbone import silence_libraries

    silence_libraries()
    import torch

    torch.set_num_threads(1)
    gc.freeze()  # what is shared with children is not written to


def run_command(
    arguments: Sequence[str],
    place: Path,
    kill: Kill | None = None,
    prepare: Callable[[], Any] | None = None,
) -> Ended:
    """Run a command line of promptport in a child.

    Args:
        arguments: behind `promptport`.
        place: folder that it runs in, with `cache` and `tmp` of its own.
        kill: when it is killed; None: never.
        prepare: called in the child before the command.

    Returns:
        How it ended; the exit code of one that hangs is that of a timeout, -14.
    """
    (place / "tmp").mkdir(exist_ok=True)
    told, tell = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        child = os.fork()
        if child == 0:
            os.close(told)
            os.dup2(tell, _COUNTED)
            _live(arguments, place, kill, (out.fileno(), err.fileno()), prepare)
        os.close(tell)
        code = _watched(child, kill, began)
        seconds = time.perf_counter() - began
        with os.fdopen(told, "rb") as stream:
            counted = stream.read()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return Ended(code, len(counted), seconds, *texts)


def _watched(child: int, kill: Kill | None, began: float) -> int:
    """Wait for a child, and kill it when it is time."""
    waiting = kill is not None and kill.change == 0
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        passed = time.perf_counter() - began
        if waiting and kill is not None and passed >= kill.seconds:
            os.kill(child, kill.number)
            waiting = False
        if passed > _PATIENCE:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return -signal.SIGALRM
        time.sleep(0.002)


def _live(
    arguments: Sequence[str],
    place: Path,
    kill: Kill | None,
    streams: tuple[int, int],
    prepare: Callable[[], Any] | None,
) -> NoReturn:
    """The life of a child."""
    import torch

    code, began = 1, False
    try:
        # Torch makes its pool anew after a fork, and two threads must not do that at once.
        torch.set_num_threads(1)
        for target, stream in zip((1, 2), streams, strict=True):
            os.dup2(stream, target)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.chdir(place)
        os.environ["PROMPTPORT_CACHE"] = str(place / "cache")
        os.environ["TMPDIR"] = str(place / "tmp")
        # Named here: Python would try the folder with a file of its own, which a kill leaves.
        tempfile.tempdir = str(place / "tmp")
        if prepare is not None:
            prepare()
        sys.addaudithook(_counting(kill))
        from promptport.cli import main

        began = True
        main(list(arguments))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:
        if began:
            traceback.print_exc()
        else:  # Ctrl-C before there is a command
            code = 130
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _counting(kill: Kill | None) -> Callable[[str, tuple[Any, ...]], None]:
    counted = 0
    own = os.getpid()

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal counted
        if os.getpid() != own:  # what a command starts itself is not counted
            return
        if event == "open":
            flags = arguments[2]
            if not (isinstance(flags, int) and flags & _WRITING) or arguments[0] == "/dev/null":
                return
        elif event not in _CHANGES:
            return
        counted += 1
        os.write(_COUNTED, b".")
        if kill is not None and counted == kill.change:
            os.kill(own, kill.number)

    return hook
