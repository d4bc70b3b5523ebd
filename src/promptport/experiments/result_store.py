"""Finished measurements on disk, so that a stopped comparison goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from promptport._version import __version__
from promptport.backbone import Backbone
from promptport.errors import FileFormatError
from promptport.files import storage_error, write_atomic
from promptport.records import digest, packed, unpacked
from promptport.tasks import Task, WritingConfig

__all__ = [
    "CELLS_FILE",
    "Cell",
    "ResultStore",
    "backbone_stamp",
    "packed",
    "rounded",
    "task_stamp",
    "unpacked",
]

Cell = dict[str, Any]
CELLS_FILE = "cells.jsonl"  # in the folder of a comparison


class ResultStore:
    """A file of cells, one JSON object a line.

    A cell is its *place* (what was measured: column, backbone, task, seed, ...), the weights that
    it depends on, and its *values*. Cells of other weights stay in the file and are not counted. A
    line that a killed run left unfinished is taken off.

    Args:
        path: the file; its folder is made at once. None: in memory alone.
        weights: a cell's place -> digest of the weights and settings that it depends on.
        values: the keys that are measured, not asked; all others are the place.
        exact: keep numbers as they are.

    Raises:
        StorageError: the folder cannot be made, or the file not be read or mended.
        FileFormatError: a finished line is no cell.
    """

    def __init__(
        self,
        path: Path | None,
        weights: Callable[[Mapping[str, Any]], str],
        *values: str,
        exact: bool = False,
    ) -> None:
        self.path, self.weights, self.values = path, weights, frozenset(values)
        self.exact = exact
        if path is not None:
            _make_folder(path.parent)
        cells = [] if path is None else _read(path)
        self.rows = [cell for cell in cells if cell["weights"] == weights(cell)]
        self._known = {self._key(cell): cell for cell in self.rows}

    def _key(self, cell: Mapping[str, Any]) -> str:
        place = {k: v for k, v in cell.items() if k not in self.values and k != "weights"}
        return json.dumps(place, sort_keys=True)

    def has(self, **place: Any) -> bool:
        """Whether a cell of this place is there."""
        return self._key(place) in self._known

    def get(self, **place: Any) -> Cell | None:
        """The cell of this place, place and values."""
        return self._known.get(self._key(place))

    def add(self, measured: Mapping[str, Any], **place: Any) -> None:
        """Write a cell, unless its place is there.

        Args:
            measured: its values; numbers are rounded to five digits, unless they are kept exact.
            place: all else.

        Raises:
            ValueError: `measured` has a key that is none of the values.
            StorageError: the file cannot be written.
        """
        if unknown := sorted(set(measured) - self.values):
            raise ValueError(f"cell: {unknown} is none of {sorted(self.values)}")
        if self.has(**place):
            return
        kept = measured if self.exact else rounded(measured)
        cell = {**place, "weights": self.weights(place), **kept}
        self.rows.append(cell)
        self._known[self._key(cell)] = cell
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(cell, ensure_ascii=False) + "\n")
        except OSError as error:
            raise storage_error(self.path, error, "a file that can be written") from error


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(path, error, "a folder that can be written") from error


def _read(path: Path) -> list[Cell]:
    if not path.is_file():
        return []
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise storage_error(path, error, "a readable file of cells") from error
    if lines.pop():
        write_atomic(path, b"".join(line + b"\n" for line in lines))
    cells = []
    for number, line in enumerate(lines, 1):
        try:
            cell = json.loads(line)
        except ValueError:
            cell = None
        if not isinstance(cell, dict) or "weights" not in cell:
            raise FileFormatError(
                f"{path}, line {number}",
                expected="a finished measurement",
                got=repr(line[:40].decode(errors="replace")),
                fix="Restore the file, or delete it to measure anew",
            )
        cells.append(cell)
    return cells


def rounded(value: Any) -> Any:
    """The same with every number in it rounded to five digits."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value


def backbone_stamp(backbone: Backbone) -> str:
    """Of all that scores of a backbone depend on, this version of promptport included."""
    space = backbone.space.fingerprint
    numbers = [str(backbone.dtype), backbone.device.type]
    return digest(__version__, backbone.weights_hash(), space, numbers)


def task_stamp(task: Task, split: str) -> str:
    """Of what a task asks in a split: templates, label words in their order, how answers are given
    and written, metric and rows."""
    labels = None if task.labels is None else list(task.labels.items())
    rows = [[sorted(row.fields.items()), row.answer] for row in task.load(split)]
    told = [task.name, task.kind, task.template.text, task.metric, labels, split, rows]
    # What is as usual is left out, so that stamps of before count where nothing else was set.
    more: dict[str, Any] = {}
    if task.manual is not None:
        more["manual"] = task.manual.text
    if task.paraphrases:
        more["paraphrases"] = [template.text for template in task.paraphrases]
    if task.writing != WritingConfig():
        more["writing"] = task.writing.to_dict()
    if not task.sentinel:
        more["sentinel"] = False
    return digest(*told, *([more] if more else []))
