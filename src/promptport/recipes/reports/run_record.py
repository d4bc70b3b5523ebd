"""Reading the folder of a run: what was asked, what is finished, what failed, all of it checked."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any, Literal

from promptport.errors import FileFormatError, StorageError
from promptport.files import read_json, what_is_at
from promptport.recipes.reports.specs import ReportSpec, read_report_spec
from promptport.records import OBJECT, Field, is_number, is_packed

RECIPE_FILE, ENVIRONMENT_FILE = "recipe.json", "environment.json"
CELLS_FOLDER, FAILED_FOLDER = "cells", "failed"
SCORE, RIGHT = "score", "right"  # values of a cell that are more than numbers with a name

State = Literal["finished", "failed", "missing", "left out"]
Word = str | int | float | bool | None
Value = Word | tuple[Word, ...]  # of a place

_CHANGED = "data or weights have changed since it was measured"
_RESTORE = "Run the recipe again: finished cells stay, damaged ones are made anew once deleted"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")  # becomes the name of a file
# Of recipe.json, what a report says in a place of its own.
_SAID_ELSEWHERE = frozenset(
    (
        *("name", "question", "command", "expected", "time", "reference"),
        *("cells", "report", "left_out", "resolved"),
    )
)


@dataclass(frozen=True)
class MeasuredCell:
    """One cell that was asked for.

    Attributes:
        id: name of its file.
        kind: what was done, for instance `transfer`.
        place: what it was asked for: source, task, seed, ...
        state: finished, left out (it cannot be measured, as where data is not there), failed, or
            missing (never run, stopped in it, or measured with other data or weights).
        values: what was measured; empty unless it is finished.
        seconds: that it took; None if not told.
        processor_seconds: of all its threads; None if not told.
        worker: who made it.
        attempts: how often it was tried; None if not told.
        finished: when, as in the file.
        error: why it failed, is left out or counts no longer, one line.
    """

    id: str
    kind: str
    place: Mapping[str, Value]
    state: State
    values: Mapping[str, Any]
    seconds: float | None = None
    processor_seconds: float | None = None
    worker: str | None = None
    attempts: int | None = None
    finished: str | None = None
    error: str | None = None

    def number(self, key: str) -> float | None:
        """A measured number; None where the cell has none of this name, or none that is finite."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            return None
        return float(value)


@dataclass(frozen=True)
class LeftOut:
    """A cell that cannot be, and that was not asked for either.

    Attributes:
        place: as of cells.
        why: one line.
    """

    place: Mapping[str, Value]
    why: str


@dataclass(frozen=True)
class RunRecord:
    """A run as its folder holds it.

    Attributes:
        folder: where it lies.
        recipe: the resolved recipe.
        environment: versions and machine, as they were noted.
        cells: all that were asked for, in the order of the recipe.
        left_out: what cannot be and is none of the cells, with the reasons.
        others: finished cells that this recipe does not ask for.
        report: its tables, figures and published numbers.
    """

    folder: Path
    recipe: Mapping[str, Any]
    environment: Mapping[str, Any]
    cells: tuple[MeasuredCell, ...]
    left_out: tuple[LeftOut, ...]
    others: int
    report: ReportSpec

    @property
    def name(self) -> str:
        """Of the recipe."""
        return str(self.recipe["name"])

    def told(self, key: str) -> str:
        """A text of the recipe (`question`, `command`, ...); empty if it has none."""
        value = self.recipe.get(key)
        return "" if value is None else str(value)

    def settings(self) -> dict[str, Any]:
        """What the recipe sets, by dotted name."""
        own = {k: v for k, v in self.recipe.items() if k not in _SAID_ELSEWHERE}
        whole = self.recipe.get("resolved") or {}
        more = {k: whole[k] for k in ("lists", "methods") if whole.get(k) and k not in own}
        return flattened({**own, **more})

    def counts(self) -> dict[str, int]:
        """How many cells were asked for, are finished, failed, missing, left out."""
        states = Counter(cell.state for cell in self.cells)
        return {
            "asked": len(self.cells),
            **{state: states[state] for state in ("finished", "failed", "missing")},
            "left_out": states["left out"] + len(self.left_out),
        }


def read_run(folder: str | Path) -> RunRecord:
    """Read the folder of a run; needs no model.

    Args:
        folder: with `recipe.json`, and cells if any are finished.

    Raises:
        StorageError: no such folder, or a file that cannot be read.
        FileFormatError: a file that is damaged.
    """
    place = Path(folder)
    path = place / RECIPE_FILE
    if not path.is_file():
        raise StorageError(
            str(place),
            expected=f"the folder of a run, with {RECIPE_FILE}",
            got=what_is_at(place, f"a folder without {RECIPE_FILE}"),
            fix="Name the folder that 'promptport run' made",
        )
    recipe = _clean(_checked(path, _RECIPE))
    environment = place / ENVIRONMENT_FILE
    finished, failed = (_ids(place / name) for name in (CELLS_FOLDER, FAILED_FOLDER))
    out = [
        _fields(each, _LEFT_OUT, f"{path}, left out {number}")
        for number, each in enumerate(recipe.get("left_out") or [], 1)
    ]
    why = {_place_key(each): each["why"] for each in out}
    cells = []
    for number, asked in enumerate(recipe["cells"], 1):
        where = f"{path}, cell {number}"
        record = _fields(asked, _ASKED, where)
        cells.append(_cell(place, record, finished, failed, why.get(_place_key(record))))
    ids = Counter(cell.id for cell in cells)
    if twice := [own for own, times in ids.items() if times > 1]:
        raise _damaged(str(path), "every cell once", f"{twice[0]!r} twice")
    known = {_place_key(each) for each in recipe["cells"]}
    left_out = [each for each in out if _place_key(each) not in known]
    return RunRecord(
        folder=place,
        recipe=recipe,
        environment=_clean(read_json(environment)) if environment.is_file() else {},
        cells=tuple(cells),
        left_out=tuple(LeftOut(_place(each["place"]), each["why"]) for each in left_out),
        others=len(finished - set(ids)),
        report=read_report_spec(recipe.get("report") or {}, str(path)),
    )


def _ids(folder: Path) -> set[str]:
    return {file.stem for file in folder.glob("*.json") if not file.name.startswith(".")}


def _place_key(record: Mapping[str, Any]) -> str:
    return json.dumps([record.get("kind"), record["place"]], sort_keys=True)


def _cell(
    folder: Path,
    asked: Mapping[str, Any],
    finished: set[str],
    failed: set[str],
    left_out: str | None,
) -> MeasuredCell:
    """A cell as its files have it; `left_out` says why it cannot be measured."""
    own = {"id": asked["id"], "kind": asked["kind"], "place": _place(asked["place"])}
    if asked["id"] in finished:
        path = folder / CELLS_FOLDER / f"{asked['id']}.json"
        told = _same(path, _clean(_checked(path, _FINISHED)), own)
        if asked.get("stamp") not in (None, told.get("stamp")):
            return MeasuredCell(**own, state="missing", values={}, error=_CHANGED)
        return MeasuredCell(
            **own,
            state="finished",
            values=told["values"],
            seconds=_float(told.get("seconds")),
            processor_seconds=_float(told.get("processor_seconds")),
            worker=told.get("worker"),
            attempts=told.get("attempt"),
            finished=told.get("finished"),
        )
    if left_out is not None:
        return MeasuredCell(**own, state="left out", values={}, error=left_out)
    if asked["id"] in failed:
        path = folder / FAILED_FOLDER / f"{asked['id']}.json"
        told = _same(path, _clean(_checked(path, _FAILED)), own)
        return MeasuredCell(
            **own, state="failed", values={}, attempts=told.get("attempts"), error=told["error"]
        )
    return MeasuredCell(**own, state="missing", values={})


def _same(path: Path, told: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The record, if it is of the cell that was asked for."""
    for key, wanted in own.items():
        got = _place(told[key]) if key == "place" else told[key]
        if got != wanted:
            raise _damaged(str(path), f"the {key} {_shown(wanted)}, as asked", _shown(got))
    return told


def _shown(value: Any) -> str:
    return repr(value)[:120]


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _place(place: Mapping[str, Any]) -> dict[str, Value]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in place.items()}


def flattened(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Mappings within mappings by dotted names; lists and all else as they are.

    Args:
        values: for instance a recipe.
        before: in front of every name.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{before}{key}.")
        else:
            flat[f"{before}{key}"] = value
    return flat


def _clean(value: Any) -> Any:
    """The same with every text on one line that can be shown and written.

    Texts of a run may be anything, and go to pages, tables and terminals.
    """
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    return value


def clean_text(text: str) -> str:
    """One line; what cannot be shown becomes an escape."""
    if text.isprintable():
        return text
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _is_word(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or is_number(value)


def _is_place(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_word(v) or (isinstance(v, list) and all(map(_is_word, v))) for v in value.values()
    )


def _is_measured(value: Any) -> bool:
    return isinstance(value, dict) and (value.get(RIGHT) is None or is_packed(value[RIGHT]))


def _is_when(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_TEXT = Field("a text", lambda value: isinstance(value, str))
_IS_ID = Field(
    "an id of letters and digits", lambda v: isinstance(v, str) and bool(_ID.fullmatch(v))
)
_PLACE = Field("an object of texts, numbers or lists of them", _is_place)
_SECONDS = Field(
    "seconds, 0 or more", lambda v: v is None or (is_number(v) and v >= 0), optional=True
)
_COUNT = Field("a whole number", lambda v: v is None or _is_count(v), optional=True)
_WHEN = Field(
    "a time with its zone, as 2026-01-31T12:00:00+00:00",
    lambda v: v is None or _is_when(v),
    optional=True,
)
_MAYBE_TEXT = Field("a text", lambda v: v is None or isinstance(v, str), optional=True)
_OBJECTS = Field("a list of objects", lambda v: isinstance(v, list) and all(map(OBJECT.fits, v)))

_RECIPE = {
    "name": _TEXT,
    "cells": _OBJECTS,
    "left_out": Field(_OBJECTS.expected, lambda v: v is None or _OBJECTS.fits(v), optional=True),
    **{
        name: Field("an object", lambda v: v is None or isinstance(v, dict), optional=True)
        for name in ("report", "resolved")
    },
}
_CELL = {"id": _IS_ID, "kind": _TEXT, "place": _PLACE}
_ASKED = {**_CELL, "stamp": _MAYBE_TEXT}
_LEFT_OUT = {"place": _PLACE, "why": _TEXT}
_FINISHED = {
    **_CELL,
    "stamp": _MAYBE_TEXT,
    "values": Field("an object whose 'right', if any, is 'ROWS:HEX'", _is_measured),
    "seconds": _SECONDS,
    "processor_seconds": _SECONDS,
    "worker": _MAYBE_TEXT,
    "attempt": _COUNT,
    "finished": _WHEN,
}
_FAILED = {**_CELL, "error": _TEXT, "attempts": _COUNT}


def _checked(path: Path, fields: Mapping[str, Field]) -> dict[str, Any]:
    return _fields(read_json(path), fields, str(path))


def _fields(record: Mapping[str, Any], fields: Mapping[str, Field], where: str) -> dict[str, Any]:
    for name, wanted in fields.items():
        value = record.get(name)
        if not ((name in record and wanted.fits(value)) or (wanted.optional and value is None)):
            got = _shown(value) if name in record else "none"
            raise _damaged(where, f"a field {name!r} with {wanted.expected}", got)
    return dict(record)


def _damaged(where: str, expected: str, got: str) -> FileFormatError:
    return FileFormatError(where, expected=expected, got=got, fix=_RESTORE)
