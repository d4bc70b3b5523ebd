"""Finished cells are told to a tracker once, and a tracker that fails stops nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.small_recipe import changed

from promptport.errors import MissingPackageError, PromptPortError, RecipeError
from promptport.recipes import tracking
from promptport.recipes.recipe import Recipe, recipe_of
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.running import RunConfig, RunResult, run_recipe
from promptport.recipes.tracking import Tracking


def record(cell: str, **changes: object) -> dict[str, object]:
    return {
        **{"id": cell, "kind": "tune", "stamp": "s1", "finished": "2026-01-01", "seconds": 2.5},
        "place": {"task": "topic", "sources": ["a", "b"]},
        "settings": {"tune": {"lr": 0.3}},
        "values": {"score": 0.5, "low": 0.25, "right": "0101", "good": True, "of": {"x": 3}},
        **changes,
    }


class Heard:
    """A tracker that remembers, and fails as often as it is told to."""

    def __init__(self, recipe: str) -> None:
        self.recipe = recipe
        self.cells: list[str] = []
        self.last: tuple[Mapping[str, object], Mapping[str, float]] = ({}, {})
        self.fails_at = 10**6

    def log(
        self, name: str, told: Mapping[str, str | int | float], values: Mapping[str, float]
    ) -> None:
        if len(self.cells) >= self.fails_at:
            raise ConnectionError("nobody\nthere")
        self.cells.append(name)
        self.last = told, values


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Heard]:
    made: list[Heard] = []

    def make(recipe: str) -> Heard:
        made.append(Heard(recipe))
        return made[-1]

    monkeypatch.setitem(tracking.TRACKERS, "heard", make)
    return made


def test_each_cell_is_told_once_and_again_when_it_was_measured_anew(
    tmp_path: Path, heard: list[Heard]
) -> None:
    folder = RunFolder(tmp_path)
    for cell in ("a", "b"):
        folder.add(record(cell))
    first = Tracking("heard", "papers/small", folder)
    first.tell(["a", "b", "not there"])
    assert (first.told, heard[0].cells, heard[0].recipe) == (2, ["a", "b"], "papers/small")
    told, values = heard[0].last
    assert told == {"kind": "tune", "task": "topic", "sources": "a,b", "settings.tune.lr": 0.3}
    assert values == {"score": 0.5, "low": 0.25, "of.x": 3.0, "seconds": 2.5}
    folder.add(record("b", stamp="s2"))
    folder.add(record("c"))
    second = Tracking("heard", "papers/small", folder)
    second.tell(["a", "b", "c"])
    assert (second.told, heard[1].cells) == (2, ["b", "c"])


def test_one_that_fails_is_told_no_more_and_the_rest_later(
    tmp_path: Path, heard: list[Heard]
) -> None:
    folder = RunFolder(tmp_path)
    for cell in "abc":
        folder.add(record(cell))
    first = Tracking("heard", "small", folder)
    heard[0].fails_at = 1
    first.tell("abc")
    assert (first.told, first.error) == (1, "ConnectionError: nobody there")
    second = Tracking("heard", "small", folder)
    second.tell("abc")
    assert (second.told, second.error, heard[1].cells) == (2, "", ["b", "c"])


GRID = [{"kind": "baseline", "backbone": "nano-bert", "task": "topic", "method": "majority"}]


@pytest.fixture
def recipe() -> Recipe:
    settings = {"rows": {"train": 8, "dev": 8, "test": 8}}
    return recipe_of(changed(settings=settings, grid=GRID, report={}), "small")


def ran(recipe: Recipe, folder: Path, track: str) -> RunResult:
    return run_recipe(recipe, folder, RunConfig(workers=1, track=track))


@pytest.mark.long
def test_a_run_tells_its_cells_and_those_of_before(
    recipe: Recipe, tmp_path: Path, heard: list[Heard]
) -> None:
    assert ran(recipe, tmp_path / "run", "").tracked == 0
    again = ran(recipe, tmp_path / "run", "heard")
    assert (again.measured, again.tracked, len(heard[0].cells)) == (0, 1, 1)
    fresh = ran(recipe, tmp_path / "other", "heard")
    assert (fresh.measured, fresh.tracked) == (1, 1)
    assert ran(recipe, tmp_path / "other", "heard").tracked == 0


def test_bad_names_and_missing_packages(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecipeError, match="Did you mean .trackio"):
        ran(recipe, tmp_path, "trackoi")
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'promptport\[trackio\]'"):
        ran(recipe, tmp_path, "trackio")

    def unreachable(recipe: str) -> Heard:
        raise ConnectionError("refused")

    monkeypatch.setitem(tracking.TRACKERS, "heard", unreachable)
    with pytest.raises(PromptPortError, match="can be reached, got ConnectionError: refused"):
        ran(recipe, tmp_path, "heard")
    assert not (tmp_path / "cells").exists()


@pytest.mark.long
def test_trackio_has_a_run_for_each_cell(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio", reason="not installed: pip install 'promptport[trackio]'")
    import sqlite3

    from trackio import sqlite_storage, utils

    monkeypatch.setattr(utils, "TRACKIO_DIR", tmp_path / "kept")
    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "kept", raising=False)
    assert ran(recipe, tmp_path / "run", "trackio").tracked == 1
    assert ran(recipe, tmp_path / "run", "trackio").tracked == 0
    (file,) = (tmp_path / "kept").glob("*.db")
    with sqlite3.connect(file) as store:
        rows = store.execute("select run_name, metrics from metrics").fetchall()
    (cell,) = (path.stem for path in (tmp_path / "run" / "cells").iterdir())
    assert [name for name, _ in rows] == [cell]
    metrics = rows[0][1]
    assert '"score"' in (metrics.decode() if isinstance(metrics, bytes) else metrics)


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # those of its own libraries
def test_mlflow_has_a_run_for_each_cell(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="not installed: pip install mlflow")
    pytest.importorskip("sqlalchemy", reason="mlflow-skinny has no store of its own")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert ran(recipe, tmp_path / "run", "mlflow").tracked == 1
    assert ran(recipe, tmp_path / "run", "mlflow").tracked == 0
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("small")
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.data.params["task"] == "topic"
    assert 0 <= found.data.metrics["score"] <= 1
    assert found.info.status == "FINISHED"
