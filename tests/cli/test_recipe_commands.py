"""promptport run, as a user types it."""

from __future__ import annotations

import json

import pytest
import yaml
from tests.small_recipe import SMALL, changed

GRID = [{"kind": "baseline", "backbone": ["nano-bert"], "task": ["sentiment", "topic"],
         "method": "majority"}]  # fmt: skip


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "small.yaml"
    report = {"tables": [{"name": "all", "title": "All", "of": {"kind": "baseline"},
                          "rows": ["task"], "columns": "method"}]}  # fmt: skip
    file.write_text(yaml.safe_dump(changed(grid=GRID, report=report)))
    return file


@pytest.mark.long
def test_a_recipe_is_run_and_shown(run_cli, recipe, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli("run", recipe, "--workers", 1, "--out", "runs/small")
    assert code == 0, err
    assert "sentiment" in out
    assert "2 of 2 cells are finished, 2 of them now" in err
    assert "Written to runs/small/report/index.html." in err
    cells = [json.loads(f.read_text()) for f in (tmp_path / "runs/small/cells").iterdir()]
    assert {cell["place"]["task"] for cell in cells} == {"sentiment", "topic"}
    assert (tmp_path / "runs/small/report/tables/all.csv").read_text().count("\n") >= 3

    told = run_cli("run", recipe, "--out", "runs/small", "--json", "--no-report")
    assert json.loads(told[1])["measured"] == 0
    status = run_cli("run", recipe, "--out", "runs/small", "--status")
    assert "0 of 2 cells are missing" in status[2]
    command = json.loads((tmp_path / "runs/small/recipe.json").read_text())["command"]
    assert command.startswith(f"promptport run {recipe} --out runs/small")

    # Another run takes what is the same.
    ask = ("run", recipe, "--out", "runs/other", "--reuse", "runs/small", "--no-report")
    assert "0 of 2 cells are missing" in run_cli(*ask, "--dry-run")[2]
    assert not (tmp_path / "runs/other").exists()
    assert json.loads(run_cli(*ask, "--json")[1])["measured"] == 0
    assert {f.name for f in (tmp_path / "runs/other/cells").iterdir()} == {
        f.name for f in (tmp_path / "runs/small/cells").iterdir()
    }

    # A run of a part leaves the command that makes all.
    run_cli("run", recipe, "--out", "runs/part", "--only", "task=topic", "--no-report")
    command = json.loads((tmp_path / "runs/part/recipe.json").read_text())["command"]
    assert command == f"promptport run {recipe} --out runs/part"


def test_dry_run_and_validate_write_nothing(run_cli, recipe, tmp_path) -> None:
    out = tmp_path / "run"
    code, _, err = run_cli("run", recipe, "--validate")
    assert code == 0
    assert "2 cells" in err
    code, shown, err = run_cli("run", recipe, "--out", out, "--dry-run", "--only", "task=topic")
    assert code == 0
    assert "topic" in shown
    assert "sentiment" not in shown
    assert "1 of 1 cells are missing: a second" in err
    assert not out.exists()


def test_backbones_and_settings_in_place_of_the_recipe(run_cli, tmp_path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    given = ("--backbones", "nano-t5", "--backbones", "nano-bert", "--set", "settings.words=5")
    code, out, _ = run_cli("run", file, *given, "--dry-run", "--json", "--out", tmp_path / "r")
    assert code == 0
    missing = json.loads(out)["missing"]
    assert {cell["place"].get("target") for cell in missing} == {"nano-t5", "nano-bert", None}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--set", "settings.stps=3"), "Did you mean 'steps'?"),
        (("--set", "steps"), "--set: expected NAME=VALUE, got 'steps'"),
        (("--set", "settings.steps=[1"), "--set: expected NAME=VALUE"),
        (("--only", "task"), "--only: expected KEY=VALUE[,VALUE], got 'task'"),
        (("--only", "tsk=a"), "Did you mean 'task'?"),
        (("--slurm", "partition"), "--slurm: expected KEY=VALUE, got 'partition'"),
        (("--track", "trakio"), "Did you mean 'trackio'?"),
        (("--reuse", "none"), "none: expected the folder of a run, with recipe.json, got nothing"),
        (("--engine", "slrum"), "--engine: expected one of local, ray, slurm, got 'slrum'"),
    ],
)
def test_refusals(run_cli, recipe, tmp_path, options, said) -> None:
    code, out, err = run_cli("run", recipe, "--out", tmp_path / "run", *options)
    assert code == 1
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "run" / "recipe.json").exists()


@pytest.mark.long
def test_a_failed_cell_is_told(run_cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(json.dumps({"text": f"w{i}", "label": "ab"[i % 2]}) for i in range(20))
    )
    (tmp_path / "own.yaml").write_text(
        "schema: 1\nname: own\nkind: classification\nmetric: accuracy\n"
        "template: '{soft} {text} {answer}'\nlabels: {a: good, b: bad}\n"
        "data: {train: rows.jsonl, dev: rows.jsonl, test: rows.jsonl}\n"
    )
    place = {"kind": "baseline", "backbone": "nano-bert", "task": "own.yaml"}
    grid = [{**place, "method": ["manual", "majority"]}]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(changed(grid=grid)))
    code, _, err = run_cli("run", "r.yaml", "--workers", 1, "--out", "run", "--no-report")
    assert code == 1
    assert "1 of 2 cells are finished" in err
    assert "1 failed: own, manual: expected a task with a manual template" in err
    (failed,) = (tmp_path / "run/failed").iterdir()
    assert json.loads(failed.read_text())["place"]["method"] == "manual"


def test_listing(run_cli, recipe, tmp_path) -> None:
    code, out, _ = run_cli("run", tmp_path, "--list", "--json")
    assert code == 0
    assert json.loads(out)["recipes"][0]["cells"] == 2
    (tmp_path / "none").mkdir()
    code, _, err = run_cli("run", tmp_path / "none", "--list")
    assert code == 1
    assert "expected a folder of recipes, got no .yaml" in err


def test_the_next_command_has_all_options_of_this_one(run_cli, tmp_path) -> None:
    file = tmp_path / "open.yaml"
    file.write_text(yaml.safe_dump(changed(lists={}, grid=[{**GRID[0], "backbone": "$backbones"}])))
    given = ("--backbones", "nano-bert", "--set", "settings.words=9", "--out", tmp_path / "run")
    code, _, err = run_cli("run", file, *given, "--validate")
    assert code == 0, err
    line = next(line for line in err.splitlines() if line.startswith("Next: "))
    assert "--dry-run" in line
    asked = line.removeprefix("Next: promptport ").split()
    code, _, err = run_cli(*asked)
    assert code == 0, err
    assert "2 of 2 cells are missing" in err


def test_the_command_of_a_run_names_its_cluster(run_cli, recipe, tmp_path, monkeypatch) -> None:
    from promptport.recipes import running

    told = {}

    def run(recipe, out, config, *, source):
        told["line"] = source
        return running.RunResult(out, 0, 0, 0, {}, 0, {}, 0.0)

    monkeypatch.setattr(running, "run_recipe", run)
    options = ("--engine", "ray", "--address", "ray://there", "--gpus", 0.5)
    run_cli("run", recipe, "--out", tmp_path / "run", *options, "--no-report")
    assert "--address ray://there --gpus 0.5" in told["line"]
