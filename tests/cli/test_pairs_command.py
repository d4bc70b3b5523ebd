"""promptport pairs, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import fails

from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt, save_vector
from promptport.vector import TaskPromptVector


@pytest.fixture
def library(backbone, tmp_path, monkeypatch):
    """lib/a (animal-class), lib/c (country-capital), and a vector v, of an untrained backbone."""
    monkeypatch.chdir(tmp_path)
    model = backbone("bert")
    for name, task, delta in (("a", "animal-class", 1), ("c", "country-capital", -1)):
        spec = OriginSpec("vocabulary", 0)
        start = make_origin(spec, model, 2)
        made = {"fingerprint": model.space.fingerprint, "task": task, "origin": spec.to_dict()}
        prompt = SoftPrompt(start + delta, Provenance(model.name, model.kind, **made), start)
        save_prompt(prompt, Path("lib", name))
        if name == "a":
            save_vector(TaskPromptVector.of(prompt), "v")
    return model


def test_a_prompt_under_another_task_is_noted(run_cli, library) -> None:
    _, _, err = run_cli("library", "pairs", "lib", "--task", "animal-class", "--task", "topic")
    note = "note: c was made for country-capital, its task is given as topic"
    assert err.splitlines()[0] == note


def test_prompts_that_learned_nothing(run_cli, library) -> None:
    fails(
        run_cli("library", "pairs", "lib"),
        "prompts to combine: expected 2 or more of different tasks that beat the majority answer",
        "does not beat the majority answer",
        "Tune those longer, or add others",
    )


def test_long_names_leave_room_for_what_is_kept(library, capsys) -> None:
    from promptport.cli.library.pairs import _show
    from promptport.experiments.retention import Combined, Pairs, TaskRetention

    names = [f"a-prompt-with-a-name-of-eighty-characters-and-then-some-more-{i}" for i in "abc"]
    kept = [
        TaskRetention(n, 0.5, 0.5 + i / 5, True, (True, False, None)[i])
        for i, n in enumerate(names)
    ]
    _show("nano-bert", ("sum",), Pairs({}, {}, (Combined("sum", tuple(kept), None),), ()))
    out, err = capsys.readouterr()
    for part in (*names, "0.50**, 0.70*, 0.90*"):
        assert part in out
    assert err == f"note: no share of rows, so nothing tells losses from noise: {names[2]}\n"


def test_what_cannot_be_asked(run_cli, library, task_file) -> None:
    fails(
        run_cli("library", "pairs", "lib", "--way", "plus"),
        "way 'plus'",
        "paper, separate, concatenate",
    )
    fails(
        run_cli("library", "pairs", "lib", "--size", "1"),
        "sizes: expected one or more, each once, of 2 tasks",
        "got (1,)",
    )
    fails(run_cli("library", "pairs", "lib", "--steps", "9"), "no --way distill", "--steps")
    fails(
        run_cli("library", "pairs", "lib", "--way", "sum", "--max-dev-rows", "9"),
        "without a search",
    )
    fails(run_cli("library", "pairs", "lib", "--task", "topic"), "--task", "one per folder (2)")
    fails(run_cli("library", "pairs", "lib", "--origin", "seed:1"), "a library with vectors")
    fails(run_cli("library", "pairs", "nowhere"), "nowhere", "no such folder")
    fails(run_cli("library", "pairs", "lib", "--forecast", "-1"), "forecast_rows")
    unasked = "no pairs by sum, mean, select: expected no --forecast with it"
    fails(run_cli("library", "pairs", "lib", "--way", "ties", "--forecast", "9"), unasked)
    fails(run_cli("library", "pairs", "lib", "--size", "3", "--forecast", "9"), unasked)
    for out in ("lib", "lib/a"):
        fails(
            run_cli("library", "pairs", "lib", "--out", out),
            "--out: expected another folder than the one",
        )
    fails(
        run_cli("library", "pairs", "lib/a", "lib/c", "--out", "lib"),
        "--out",
        "holds no prompt folders",
    )
    Path("file").write_text("")
    fails(
        run_cli("library", "pairs", "lib", "--out", "file"),
        "file: expected a folder that can be written",
    )


def test_an_interrupted_run_says_how_to_go_on(run_cli, library, monkeypatch) -> None:
    from promptport.experiments import pairs as room

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(room, "score_prompts", stopped)
    code, out, err = run_cli("library", "pairs", "lib")
    assert (code, out) == (130, "")
    assert "goes on" not in err
    said = "interrupted: the same command goes on from what is finished\n"
    assert run_cli("library", "pairs", "lib", "--out", "found") == (130, "", said)
    assert not list(Path("found").iterdir())


@pytest.mark.slow
def test_a_library_that_knows_its_tasks(run_cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tune = ("tune", "--backbone", "nano-bert", "--task", "country-capital", "--task", "topic")
    assert run_cli(*tune, "--epochs", 4, "--max-train-rows", 200, "--out", "lib")[0] == 0
    # In bfloat16 a row's rounding depends on what shares its batch.
    pairs = ("library", "pairs", "lib", "--dtype", "float32", "--out", "found")
    few = ("--rows", 60, "--max-dev-rows", 20, "--forecast", 40, "--way", "paper")
    code, out, err = run_cli(*pairs, *few, "--way", "sum", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert json.loads(Path("found/pairs.json").read_text()) == found
    names = ["country-capital-seed0", "topic-seed0"]
    assert list(found["alone"]) == names
    paper, plain = found["sets"]
    assert [k["prompt"] for k in plain["tasks"]] == names
    assert (plain["way"], plain["coefficients"]) == ("sum", None)
    assert len(set(paper["coefficients"])) == 1
    assert sum(count for count, _ in found["forecasts"].values()) == 2
    # The sum is what combine makes, and its shares are those of eval.
    load = ("--load", f"c=lib/{names[0]}", "--load", f"t=lib/{names[1]}")
    assert run_cli("vector", "combine", "c + t", *load, "--out", "both")[0] == 0
    lines = len(Path("found/cells.jsonl").read_text().splitlines())
    _, again, _ = run_cli(*pairs, "--way", "sum", "--json")  # all rows
    (whole,) = json.loads(again)["sets"]
    for kept, task in zip(whole["tasks"], ("country-capital", "topic"), strict=True):
        _, told, _ = run_cli("eval", "both", "--task", task, "--dtype", "float32", "--json")
        assert kept["score"] == json.loads(told)["value"]
        alone = json.loads(again)["alone"][kept["prompt"]]
        assert kept["retention"] == pytest.approx(kept["score"] / alone)
    assert len(Path("found/cells.jsonl").read_text().splitlines()) == lines + 3
    code, shown, _ = run_cli(*pairs, "--way", "sum")
    assert code == 0
    assert "country-capital-seed0 + topic-seed0" in shown
    assert "lose a task" in shown
    assert len(Path("found/cells.jsonl").read_text().splitlines()) == lines + 3
