"""Finished cells, told to an experiment tracker: MLflow or trackio.

Cells are kept in the folder of the run; a tracker gets a copy. What it takes is remembered in
`tracked/NAME/`, so that a run that goes on tells each cell once.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from promptport.errors import MissingPackageError, PromptPortError
from promptport.files import write_atomic
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.settings import unknown

_MLFLOW_TEXT = 500  # characters of a parameter's value


class Tracker(Protocol):
    """Somebody who is told of finished cells."""

    def log(
        self, name: str, told: Mapping[str, str | int | float], values: Mapping[str, float]
    ) -> None:
        """Take one cell.

        Args:
            name: id of the cell.
            told: what it was: kind, place, settings.
            values: what was measured.
        """
        ...


class _MLflow:
    """An MLflow run for each cell, in an experiment named as the recipe."""

    def __init__(self, recipe: str) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient()
        known = self.client.get_experiment_by_name(recipe)
        self.experiment = known.experiment_id if known else self.client.create_experiment(recipe)

    def log(
        self, name: str, told: Mapping[str, str | int | float], values: Mapping[str, float]
    ) -> None:
        from mlflow.entities import Metric, Param

        run = self.client.create_run(self.experiment, run_name=name, tags={"promptport.cell": name})
        now = int(time.time() * 1000)
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(key, value, now, 0) for key, value in values.items()],
            params=[Param(key, str(value)[:_MLFLOW_TEXT]) for key, value in told.items()],
        )
        self.client.set_terminated(run.info.run_id)


class _Trackio:
    """A trackio run for each cell, in a project named as the recipe."""

    def __init__(self, recipe: str) -> None:
        import trackio

        self.trackio, self.project = trackio, recipe.replace("/", "-")

    def log(
        self, name: str, told: Mapping[str, str | int | float], values: Mapping[str, float]
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # results alone go there
            self.trackio.init(project=self.project, name=name, config=dict(told), embed=False)
            try:
                self.trackio.log(dict(values))
            finally:
                self.trackio.finish()


TRACKERS: dict[str, Callable[[str], Tracker]] = {"mlflow": _MLflow, "trackio": _Trackio}


class Tracking:
    """The cells of a run, told to a tracker, each once.

    A tracker that fails does not stop the run: it is told nothing more, and the next run tells what
    is missing.

    Args:
        name: of `TRACKERS`.
        recipe: name of the recipe.
        folder: of the run.

    Raises:
        RecipeError: no such tracker.
        MissingPackageError: its package is not installed.
        PromptPortError: it cannot be reached.
    """

    def __init__(self, name: str, recipe: str, folder: RunFolder) -> None:
        if name not in TRACKERS:
            raise unknown("--track", name, list(TRACKERS))
        self.name, self.folder = name, folder
        self.told, self.error = 0, ""
        try:
            self._tracker = TRACKERS[name](recipe)
        except ImportError as error:
            raise MissingPackageError(
                f"--track {name}",
                expected=name,
                got=f"no {error.name}",
                fix=f"Run: pip install 'promptport[{name}]'",
            ) from error
        except Exception as error:
            raise PromptPortError(
                f"--track {name}",
                expected="a tracker that can be reached",
                got=_line(error),
                fix="Look at its settings (MLFLOW_TRACKING_URI, TRACKIO_DIR), or leave --track out",
            ) from error

    def tell(self, cells: Iterable[str]) -> None:
        """Tell of finished cells that the tracker does not have.

        Args:
            cells: ids.
        """
        for cell in cells:
            record = None if self.error else self.folder.cell(cell)
            when = "" if record is None else f"{record['stamp']} {record.get('finished', '')}"
            if record is None or self._kept(cell) == when:
                continue
            told, values = _of_record(record)
            try:
                self._tracker.log(cell, told, values)
            except Exception as error:  # whatever a library of others raises
                self.error = _line(error)
                continue
            place = self._mark(cell)
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(place, when.encode())
            self.told += 1

    def _mark(self, cell: str) -> Path:
        return self.folder.path / "tracked" / self.name / cell

    def _kept(self, cell: str) -> str:
        """Of which weights and when the cell was that the tracker has; empty if it has none."""
        place = self._mark(cell)
        return place.read_text() if place.is_file() else ""


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _of_record(
    record: Mapping[str, Any],
) -> tuple[dict[str, str | int | float], dict[str, float]]:
    """What a cell was, and its numbers; nested values by dotted names."""
    told: dict[str, str | int | float] = {"kind": record["kind"]}
    told |= _flat(record["place"]) | _flat(record.get("settings", {}), "settings.")
    values = {
        key: float(value)
        for key, value in _flat(record["values"]).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return told, values | {"seconds": float(record.get("seconds", 0.0))}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float]:
    found: dict[str, str | int | float] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            found[prefix + key] = ",".join(map(str, value))
        else:
            found[prefix + key] = value if isinstance(value, int | float) else str(value)
    return found
