"""The folder of a run: its recipe, finished and failed cells, prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptport.errors import FileFormatError, RecipeError
from promptport.files import atomic_folder, json_bytes, read_json, storage_error, write_atomic
from promptport.records import digest

_NEEDED = ("id", "kind", "place", "values", "stamp")


class RunFolder:
    """The files of one run. Every file is written whole or not at all.

    `recipe.json` is the recipe as it was resolved, `environment.json` where it ran. A finished cell
    is `cells/ID.json`, its prompt `prompts/ID/`, a cell that could not be measured
    `failed/ID.json`.

    Args:
        path: the folder; it is made when something is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / "unfinished"

    def prompt(self, cell: str) -> Path:
        """The prompt folder of a cell, by its id."""
        return self.path / "prompts" / cell

    def cell_file(self, cell: str) -> Path:
        """The file of a finished cell."""
        return self.path / "cells" / f"{cell}.json"

    def failure_file(self, cell: str) -> Path:
        """The file of a failed cell."""
        return self.path / "failed" / f"{cell}.json"

    def cell(self, cell: str) -> dict[str, Any] | None:
        """A finished cell, or None.

        Raises:
            FileFormatError: its file is damaged.
        """
        file = self.cell_file(cell)
        return _checked(file, _NEEDED) if file.is_file() else None

    def values(self, cell: str) -> dict[str, Any]:
        """The values of a finished cell.

        Raises:
            RecipeError: it is not there.
        """
        known = self.cell(cell)
        if known is None:
            raise RecipeError(
                str(self.cell_file(cell)),
                expected="a finished cell",
                got="nothing at this path",
                fix="Run the recipe again",
            )
        return dict(known["values"])

    def failure(self, cell: str) -> dict[str, Any] | None:
        """A failed cell, or None."""
        file = self.failure_file(cell)
        return _checked(file, ("id", "error")) if file.is_file() else None

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a finished cell; that it failed before is forgotten."""
        self._write(self.cell_file(record["id"]), record)
        self.failure_file(record["id"]).unlink(missing_ok=True)

    def add_failure(self, record: Mapping[str, Any]) -> None:
        """Write a failed cell."""
        self._write(self.failure_file(record["id"]), record)

    def take(self, other: RunFolder, cell: str) -> None:
        """Copy a finished cell of another run, and its prompt if it has one.

        Raises:
            StorageError: a file that cannot be read, or no place.
        """
        prompt, own = other.prompt(cell), self.prompt(cell)
        if prompt.is_dir():
            with atomic_folder(own) as made:
                try:
                    shutil.copytree(prompt, made, dirs_exist_ok=True)
                except shutil.Error as error:
                    why = OSError(5, "a file cannot be copied")
                    raise storage_error(prompt, why, "a prompt that can be read") from error
        self.add(read_json(other.cell_file(cell)))

    def forget(self, cell: str) -> None:
        """Remove what is known of a cell: it depends on what has changed."""
        self.cell_file(cell).unlink(missing_ok=True)
        shutil.rmtree(self.prompt(cell), ignore_errors=True)

    def state(self, cells: Sequence[str], stamps: Mapping[str, str]) -> Path:
        """Where an unfinished run of cells is kept: of the weights and rows that it was begun with.

        Args:
            cells: ids, in the order of the run.
            stamps: by id.
        """
        return self.unfinished / f"{digest(cells)}-{digest([stamps.get(c) for c in cells])}"

    def forget_states(self, cells: Sequence[str], stamps: Mapping[str, str]) -> None:
        """Remove unfinished runs of these cells that were begun with other weights or rows."""
        for file in self.unfinished.glob(f"{digest(cells)}*"):
            if file != self.state(cells, stamps):
                file.unlink(missing_ok=True)

    def write(self, name: str, record: Mapping[str, Any]) -> None:
        """Write `recipe.json` or `environment.json`."""
        self._write(self.path / name, record)

    def read(self, name: str) -> dict[str, Any]:
        """Read one of them.

        Raises:
            RecipeError: this is no folder of a run.
            FileFormatError: the file is damaged.
        """
        file = self.path / name
        if not file.is_file():
            raise RecipeError(
                str(self.path),
                expected=f"the folder of a run, with {name}",
                got="a folder without" if self.path.is_dir() else "nothing at this path",
                fix="Name the folder that promptport run wrote",
            )
        return read_json(file)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of this folder.

        Raises:
            RecipeError: another run is in it.
            StorageError: the folder cannot be made.
        """
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.path, error, "a folder that can be written") from error
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RecipeError(
                str(self.path),
                expected="a folder that no other run is using",
                got="one in use",
                fix="Wait for the other run, or give another folder with --out",
            ) from None
        try:
            yield
        finally:
            lock.release()

    @staticmethod
    def _write(file: Path, record: Mapping[str, Any]) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(file.parent, error, "a folder that can be written") from error
        write_atomic(file, json_bytes(record))


def _checked(file: Path, needed: tuple[str, ...]) -> dict[str, Any]:
    record = read_json(file)
    for name in needed:
        if name not in record:
            raise FileFormatError(
                str(file),
                expected=f"the key {name!r}",
                got=", ".join(sorted(map(json.dumps, record))) or "no keys",
                fix="Delete the file; the cell is then measured again",
            )
    return record
