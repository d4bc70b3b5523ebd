"""Planning, dispatch and the folder of a run, with an engine that needs no process."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.small_recipe import SMALL, changed

from promptport.errors import FileFormatError, RecipeError, StorageError
from promptport.recipes import runners, running
from promptport.recipes.planning import chosen, make_plan, units_of
from promptport.recipes.recipe import Recipe, recipe_of
from promptport.recipes.reports import make_report, read_run
from promptport.recipes.run_folder import RunFolder
from promptport.recipes.runners.base import Event, Order, RunnerSettings
from promptport.recipes.running import RunConfig, estimate_seconds, run_recipe

GRID = [
    {"kind": "tune", "backbone": "nano-bert", "task": ["sentiment", "topic"], "seed": [0, 1]},
    {
        "kind": "baseline",
        "backbone": ["nano-bert", "nano-gpt2"],
        "task": "sentiment",
        "method": ["majority", "manual"],
    },
]


class FakeRunner:
    """Writes made-up cells; misbehaves as told."""

    deaths: dict[str, int] = {}  # noqa: RUF012
    errors: dict[str, str] = {}  # noqa: RUF012
    stop_after = 99
    orders: list[Order] = []  # noqa: RUF012

    def __init__(self, settings: RunnerSettings) -> None:
        self.settings, self.waiting = settings, []

    def free(self) -> int:
        return 2 - len(self.waiting)

    def last_backbones(self) -> list[tuple[str, ...]]:
        return [("nano-gpt2",)]

    def submit(self, order: Order) -> None:
        self.waiting.append(order)
        type(self).orders.append(order)

    def events(self) -> Iterator[Event]:
        order = self.waiting.pop(0)
        for cell in order.unit.cells:
            if cell.id not in order.wanted:
                continue
            if self.deaths.get(cell.id, 0):
                self.deaths[cell.id] -= 1
                yield Event(order, "died", error="its worker ended with signal SIGKILL")
                return
            if cell.id in self.errors:
                yield Event(order, "failed", cell.id, self.errors[cell.id])
                continue
            if len(list((self.settings.folder.path / "cells").glob("*"))) >= self.stop_after:
                yield Event(order, "stop", error="/full: expected space, got none. Make some.")
            record = {**cell.to_dict(), "values": {"score": 0.5}, "processor_seconds": 2.0}
            self.settings.folder.add({**record, "stamp": order.stamps[cell.id]})
            if cell.kind == "tune":
                self.settings.folder.prompt(cell.id).mkdir(parents=True)
            yield Event(order, "done", cell.id)
        yield Event(order, "end")

    def close(self) -> None:
        pass


Runner = FakeRunner  # what an engine is found by


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeRunner]:
    monkeypatch.setattr(runners.base, "RUNNERS", {"local": __name__})
    monkeypatch.setattr(running, "RUNNERS", {"local": __name__})
    for name, value in (("deaths", {}), ("errors", {}), ("orders", []), ("stop_after", 99)):
        monkeypatch.setattr(FakeRunner, name, value)
    return FakeRunner


@pytest.fixture
def recipe() -> Recipe:
    return recipe_of(changed(grid=GRID), "small")


def test_all_cells_once_and_then_none(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    result = run_recipe(recipe, tmp_path / "run")
    assert (result.cells, result.measured, result.finished) == (8, 8, 8)
    assert result.complete
    orders = len(fake.orders)
    again = run_recipe(recipe, tmp_path / "run")
    assert (again.measured, again.finished) == (0, 8)
    assert len(fake.orders) == orders


def test_cells_of_another_run_are_copied(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run_recipe(recipe, first)
    tuned = recipe.cells()[0]
    (RunFolder(first).prompt(tuned.id) / "adapter_config.json").write_text("{}")
    other = recipe.cells()[1]
    RunFolder(first).prompt(other.id).rmdir()  # as in a run that was kept without its prompts
    changed_stamp = RunFolder(first).cell(recipe.cells()[2].id)
    assert changed_stamp is not None
    RunFolder(first).add({**changed_stamp, "stamp": "of other rows"})
    orders = len(fake.orders)
    result = run_recipe(recipe, second, RunConfig(reuse=(first,)))
    assert (result.measured, result.finished) == (2, 8)
    wanted = {cell for order in fake.orders[orders:] for cell in order.wanted}
    assert wanted == {other.id, recipe.cells()[2].id}
    assert (RunFolder(second).prompt(tuned.id) / "adapter_config.json").read_text() == "{}"
    assert RunFolder(second).cell(tuned.id) == RunFolder(first).cell(tuned.id)
    with pytest.raises(RecipeError, match="expected the folder of a run"):
        run_recipe(recipe, tmp_path / "third", RunConfig(reuse=(tmp_path / "none",)))


def test_what_is_open_already_comes_first(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    run_recipe(recipe, tmp_path / "run")
    assert fake.orders[0].unit.backbones == ("nano-gpt2",)


def test_a_worker_that_dies_is_tried_again(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    cells = recipe.cells()
    fake.deaths.update({cells[0].id: 2, cells[1].id: 9})
    result = run_recipe(recipe, tmp_path / "run")
    assert result.finished == 7
    assert list(result.failed) == [cells[1].id]
    failure = RunFolder(tmp_path / "run").failure(cells[1].id)
    assert failure is not None
    assert failure["attempts"] == 3
    assert "SIGKILL" in failure["error"]
    assert max(order.attempt for order in fake.orders) == 3
    fake.deaths.clear()
    again = run_recipe(recipe, tmp_path / "run")
    assert (again.measured, again.finished, again.failed) == (1, 8, {})
    assert RunFolder(tmp_path / "run").failure(cells[1].id) is None


def test_a_failed_cell_keeps_those_waiting_that_read_it(fake: Any, tmp_path: Path) -> None:
    recipe = recipe_of(SMALL, "small")
    tuned = next(c for c in recipe.with_needs(recipe.cells()) if c.kind == "tune")
    fake.errors[tuned.id] = "sentiment: expected rows, got none. Add some."
    result = run_recipe(recipe, tmp_path / "run")
    assert result.failed == {tuned.id: fake.errors[tuned.id]}
    assert result.waiting == 2
    assert not result.complete
    assert len([o for o in fake.orders if tuned.id in o.wanted]) == 1


def test_no_space_stops_at_once_and_loses_nothing(
    fake: Any, recipe: Recipe, tmp_path: Path
) -> None:
    fake.stop_after = 3
    with pytest.raises(StorageError, match="expected space"):
        run_recipe(recipe, tmp_path / "run")
    fake.stop_after = 99
    assert run_recipe(recipe, tmp_path / "run").measured == 5


def test_two_runs_of_one_folder(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked(), pytest.raises(RecipeError, match="in use"):
        run_recipe(recipe, tmp_path / "run")
    run_recipe(recipe, tmp_path / "run")
    with pytest.raises(RecipeError, match="a run of other, got one of small"):
        run_recipe(recipe_of(SMALL, "other"), tmp_path / "run")


def test_a_changed_setting_measures_what_depends_on_it(
    fake: Any, recipe: Recipe, tmp_path: Path
) -> None:
    run_recipe(recipe, tmp_path / "run")
    settings = {**SMALL["settings"], "tune": {"epochs": 3}}
    other = recipe_of(changed(grid=GRID, settings=settings), "small")
    assert run_recipe(other, tmp_path / "run").measured == 4  # the prompts


def test_other_rows_make_a_cell_stale(fake: Any, tmp_path: Path) -> None:
    rows = "\n".join(json.dumps({"text": f"w{i}", "label": "ab"[i % 2]}) for i in range(20))
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text(rows)
    task = tmp_path / "own.yaml"
    task.write_text(
        "schema: 1\nname: own\nkind: classification\nmetric: accuracy\n"
        "template: '{soft} {text} {answer}'\n"
        "labels: {a: good, b: bad}\n"
        "data: {train: train.jsonl, dev: dev.jsonl, test: test.jsonl}\n"
    )
    place = {"kind": "baseline", "backbone": "nano-bert", "method": "majority"}
    recipe = recipe_of(changed(grid=[{**place, "task": [str(task), "sentiment"]}]), "small")
    result = run_recipe(recipe, tmp_path / "run")
    assert result.measured == 2, result.left_out
    (tmp_path / "test.jsonl").write_text(rows.replace("w3", "changed"))
    assert run_recipe(recipe, tmp_path / "run").measured == 1


def test_a_run_in_which_nothing_can_be(fake: Any, tmp_path: Path) -> None:
    place = {"kind": "baseline", "backbone": "nano-bert", "method": "majority"}
    recipe = recipe_of(changed(grid=[{**place, "task": "nlu:sst2"}]), "small")
    with pytest.raises(RecipeError, match="Give --data FOLDER"):
        run_recipe(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "recipe.json").exists()
    both = recipe_of(changed(grid=[{**place, "task": ["nlu:sst2", "sentiment"]}]), "small")
    result = run_recipe(both, tmp_path / "run")
    assert result.finished == 1
    assert len(result.left_out) == 1
    told = RunFolder(tmp_path / "run").read("recipe.json")["left_out"]
    assert [(each["place"]["task"], "--data" in each["why"]) for each in told] == [
        ("nlu:sst2", True)
    ]


def test_units_do_not_depend_on_what_is_finished(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    before = units_of(make_plan(recipe, folder), recipe)
    tune = next(unit for unit in before if unit.cells[0].kind == "tune")
    assert len(tune.cells) == 4
    run_recipe(recipe, folder.path)
    folder.forget(tune.cells[0].id)
    again = make_plan(recipe, folder)
    assert [cell.id for cell in again.missing] == [tune.cells[0].id]
    (unit,) = units_of(again, recipe)
    assert unit.cells == tune.cells  # shared batches: measured as before
    fake.orders.clear()
    assert run_recipe(recipe, folder.path).measured == 1
    assert fake.orders[0].wanted == {tune.cells[0].id}


def test_only(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    result = run_recipe(recipe, tmp_path / "run", RunConfig(only={"task": ["topic"]}))
    assert result.cells == 2
    told = RunFolder(tmp_path / "run").read("recipe.json")["cells"]
    assert len(told) == 8  # the report says that the others are missing
    assert len(chosen(recipe.cells(), {"kind": ["baseline"], "method": ["manual"]})) == 2
    pairs = {"kind": "sum", "backbone": "nano-bert", "method": "sum"}
    tasks = {"choose": 2, "of": ["sentiment", "topic", "question"]}
    sums = recipe_of(changed(grid=[{**pairs, "tasks": tasks}]), "small").cells()
    assert len(chosen(sums, {"tasks": ["sentiment", "topic"]})) == 1
    with pytest.raises(RecipeError, match="got tasks=sentiment,nothing, which none has"):
        chosen(sums, {"tasks": ["sentiment", "nothing"]})
    with pytest.raises(RecipeError, match="Did you mean 'task'"):
        chosen(recipe.cells(), {"tsk": ["topic"]})


def test_estimates(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    folder, cells = RunFolder(tmp_path / "run"), recipe.cells()
    assert estimate_seconds(recipe, folder, cells) is None
    told = recipe_of(changed(grid=GRID, seconds={"tune": 5, "baseline": 1}), "small")
    assert estimate_seconds(told, folder, cells) == 4 * 5 + 4 * 1
    run_recipe(recipe, folder.path, RunConfig(only={"kind": ["tune"]}))
    assert estimate_seconds(told, folder, cells) == 4 * 2 + 4 * 1  # as measured here
    for file in (folder.path / "cells").iterdir():  # what does not say how long it took
        cell = {k: v for k, v in json.loads(file.read_text()).items() if k != "processor_seconds"}
        file.write_text(json.dumps(cell))
    assert estimate_seconds(told, folder, cells) == 4 * 5 + 4 * 1


def test_a_damaged_cell_is_named(fake: Any, recipe: Recipe, tmp_path: Path) -> None:
    run_recipe(recipe, tmp_path / "run")
    file = sorted((tmp_path / "run" / "cells").glob("*.json"))[0]
    file.write_text('{"id": "x"}')
    with pytest.raises(FileFormatError, match=r"expected the key 'kind'.*measured again"):
        run_recipe(recipe, tmp_path / "run")
    file.unlink()
    assert run_recipe(recipe, tmp_path / "run").measured == 1


def test_unknown_engine(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Did you mean 'local'"):
        run_recipe(recipe, tmp_path / "run", RunConfig(engine="locl"))


def _own_task(folder: Path) -> Path:
    """The file of a task with data beside it."""
    rows = "\n".join(json.dumps({"text": f"w{i}", "label": "ab"[i % 2]}) for i in range(20))
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").write_text(rows)
    task = folder / "own.yaml"
    task.write_text(
        "schema: 1\nname: own\nkind: classification\nmetric: accuracy\n"
        "template: '{soft} {text} {answer}'\nmanual: '{text} {answer}'\n"
        "labels: {a: good, b: bad}\n"
        "data: {train: train.jsonl, dev: dev.jsonl, test: test.jsonl}\n"
    )
    return task


def test_cells_of_other_data_count_no_longer_in_the_report(fake: Any, tmp_path: Path) -> None:
    place = {"kind": "baseline", "backbone": "nano-bert", "task": str(_own_task(tmp_path))}
    recipe = recipe_of(changed(grid=[{**place, "method": "random", "seed": [0, 1]}]), "small")
    run_recipe(recipe, tmp_path / "run")
    data = tmp_path / "test.jsonl"
    data.write_text(data.read_text().replace("w3", "changed"))
    run_recipe(recipe, tmp_path / "run", RunConfig(only={"seed": [1]}))
    cells = {cell.place["seed"]: cell for cell in read_run(tmp_path / "run").cells}
    assert (cells[0].state, cells[0].error) == (
        "missing",
        "data or weights have changed since it was measured",
    )
    assert cells[1].state == "finished"
    # A run of before says nothing of stamps: all its cells count.
    file = tmp_path / "run" / "recipe.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "cells": [
        {k: v for k, v in cell.items() if k != "stamp"} for cell in told["cells"]
    ]}))  # fmt: skip
    assert read_run(tmp_path / "run").counts()["finished"] == 2


def test_a_changed_manual_template_is_measured_again(fake: Any, tmp_path: Path) -> None:
    task = _own_task(tmp_path)
    place = {"kind": "baseline", "backbone": "nano-bert", "method": "manual"}
    recipe = recipe_of(changed(grid=[{**place, "task": str(task)}]), "small")
    run_recipe(recipe, tmp_path / "run")
    task.write_text(task.read_text().replace("manual: '", "manual: 'not "))
    assert run_recipe(recipe, tmp_path / "run").measured == 1


def test_a_cell_that_is_left_out_is_told_once(fake: Any, tmp_path: Path) -> None:
    place = {"kind": "baseline", "backbone": "nano-bert", "method": "majority"}
    report = {"tables": [{"name": "t", "title": "T", "rows": ["task"], "columns": "method"}]}
    grid = [{**place, "task": ["nlu:sst2", "sentiment"]}]
    run_recipe(recipe_of(changed(grid=grid, report=report), "small"), tmp_path / "run")
    made = make_report(read_run(tmp_path / "run"))
    assert made.run.counts() == {
        "asked": 2, "finished": 1, "failed": 0, "missing": 0, "left_out": 1
    }  # fmt: skip
    assert made.tables[0].entries[0][0].why == "left out"
    assert [line.state for line in made.not_run] == ["left out"]


def test_a_result_stays_when_its_data_goes_away(fake: Any, tmp_path: Path) -> None:
    task = _own_task(tmp_path)
    place = {"kind": "baseline", "backbone": "nano-bert", "method": "majority"}
    recipe = recipe_of(changed(grid=[{**place, "task": [str(task), "sentiment"]}]), "small")
    run_recipe(recipe, tmp_path / "run")
    task.unlink()
    assert len(run_recipe(recipe, tmp_path / "run").left_out) == 1
    counts = read_run(tmp_path / "run").counts()
    assert (counts["finished"], counts["left_out"]) == (2, 0)


def test_unfinished_runs_of_other_data_are_removed(fake: Any, tmp_path: Path) -> None:
    recipe = recipe_of(changed(grid=GRID[:1]), "small")
    folder = RunFolder(tmp_path / "run")
    plan = make_plan(recipe, folder)
    ids = [cell.id for cell in plan.cells]
    folder.unfinished.mkdir(parents=True)
    now = folder.state(ids, plan.stamps)
    before = [folder.state(some, {}) for some in (ids, ids[:1])]
    assert now != before[0]
    for file in (now, *before):
        file.write_text("")
    fake.stop_after = 0
    with pytest.raises(StorageError):
        run_recipe(recipe, folder.path)
    assert list(folder.unfinished.iterdir()) == [now]


@pytest.mark.parametrize(("other", "same"), [("here/small", True), ("small", True), ("big", False)])
def test_a_recipe_is_the_same_by_another_path(
    fake: Any, recipe: Recipe, tmp_path: Path, other: str, same: bool
) -> None:
    run_recipe(recipe, tmp_path / "run")
    again = recipe_of(changed(grid=GRID), other)
    if same:
        assert run_recipe(again, tmp_path / "run").measured == 0
    else:
        with pytest.raises(RecipeError, match="Give another folder"):
            run_recipe(again, tmp_path / "run")
