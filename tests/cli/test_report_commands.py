"""promptport report: what it prints, writes and refuses."""

from __future__ import annotations

import json

import pytest
from tests.cli.conftest import fails, printed_commands
from tests.runs import make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs")
    return make_run(place / "a"), make_run(place / "b", better={"paper": 0.2}, missing=0, failed=0)


@pytest.mark.long
def test_a_report_is_written_into_the_run(run_cli, runs) -> None:
    code, out, err = run_cli("report", "write", runs[0])
    assert code == 0
    page = runs[0] / "report" / "index.html"
    assert f"Written to {page}." in err
    assert page.read_bytes().startswith(b"<!doctype html>")
    assert "209 of 214" in out
    assert "published numbers beside ours" in out
    # What is missing is made by the command of the recipe.
    assert ["run", "recipes/zero-shot-transfer/example.yaml", "--engine", "local"] in (
        printed_commands(err)
    )


@pytest.mark.long
def test_a_whole_run_needs_no_more(run_cli, runs, tmp_path) -> None:
    code, _, err = run_cli("report", "write", runs[1], "--out", tmp_path / "r", "--watts", 30)
    assert code == 0
    assert "Make what is missing" not in err
    again = run_cli("report", "write", runs[1], "--out", tmp_path / "r", "--json", "--watts", 30)
    told = json.loads(again[1])
    assert (told["asked"], told["finished"], told["failed"]) == (214, 214, 0)
    cost = told["cost"]
    hours = cost["processor_seconds"] / 3600
    assert cost["energy_watt_hours_estimate"] == pytest.approx(30 * hours)
    assert told["tables"]["transfer"][0]["row"] == ["nano-bert", "nano-roberta"]


@pytest.mark.long
def test_two_runs_are_compared(run_cli, runs, tmp_path) -> None:
    code, out, err = run_cli("report", "diff", *runs, "--out", tmp_path / "d.md")
    assert code == 0
    assert out.startswith("36 numbers changed by more than noise, 0 within it")
    assert "over all shared cells, second minus first" in out
    assert "16 more lines; all are in the file of --out" in err
    assert (tmp_path / "d.md").read_text().count("| paired rows |") == 36
    code, out, err = run_cli("report", "diff", *runs)
    (command,) = printed_commands(err)
    assert command[:4] == ["report", "diff", *map(str, runs)]
    told = json.loads(run_cli("report", "diff", *runs, "--json")[1])
    assert (told["shared"], told["beyond_noise"]) == (209, 36)


def test_what_is_refused(run_cli, runs, tmp_path) -> None:
    fails(run_cli("report", "write", tmp_path), "a folder without recipe.json")
    fails(run_cli("report", "write", runs[0], "--watts", 0, "--out", tmp_path / "x"), "watts")
    fails(run_cli("report", "write", runs[0], "--out", runs[0]), "--out", str(runs[0] / "report"))
    (tmp_path / "index.html").write_text("mine")
    fails(run_cli("report", "write", runs[0], "--out", tmp_path), "--out", "which is another")
    (tmp_path / "d.md").write_text("mine")
    fails(run_cli("report", "diff", *runs, "--out", tmp_path / "d.md"), "which is another")
    fails(run_cli("report", "diff", runs[0], tmp_path / "none"), "no such folder")
    assert (tmp_path / "d.md").read_text() == "mine"
