"""Finished measurements on disk, so that a stopped benchmark goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Cell = dict[str, Any]


class Cells:
    """A file of cells, one JSON object a line.

    A cell is its *place* (what was measured: column, backbone, task, seed, ...), the weights that
    it depends on, and its *values*. Cells of other weights stay in the file and are not counted.

    Args:
        path: the file; made with its folder when the first cell is written.
        weights: a cell's place -> digest of the weights that it depends on.
        values: the keys that are found, not asked; all others are the place.
    """

    def __init__(
        self, path: Path, weights: Callable[[Mapping[str, Any]], str], *values: str
    ) -> None:
        self.path, self.weights, self.values = path, weights, frozenset(values)
        lines = path.read_text().splitlines() if path.is_file() else []
        cells: list[Cell] = [json.loads(line) for line in lines]
        self.rows = [cell for cell in cells if cell["weights"] == weights(cell)]
        self._known = {self._key(cell) for cell in self.rows}

    def _key(self, cell: Mapping[str, Any]) -> str:
        place = {k: v for k, v in cell.items() if k not in self.values and k != "weights"}
        return json.dumps(place, sort_keys=True)

    def has(self, **place: Any) -> bool:
        """Whether a cell of this place is there."""
        return self._key(place) in self._known

    def add(self, found: Mapping[str, Any], **place: Any) -> None:
        """Write a cell, unless its place is there.

        Args:
            found: its values; numbers are rounded to five digits.
            place: all else.

        Raises:
            ValueError: `found` has a key that is none of the values.
        """
        if unknown := sorted(set(found) - self.values):
            raise ValueError(f"{self.path.name}: {unknown} is none of {sorted(self.values)}")
        if self.has(**place):
            return
        cell = {**place, "weights": self.weights(place), **rounded(found)}
        self.rows.append(cell)
        self._known.add(self._key(cell))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(cell, ensure_ascii=False) + "\n")


def rounded(value: Any) -> Any:
    """The same with every number in it rounded to five digits."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    return round(value, 5) if isinstance(value, float) else value
