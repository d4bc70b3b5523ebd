"""promptport similarity and forecast, as a user types them."""

from __future__ import annotations

import json
import shutil

import pytest
from tests.cli.conftest import fails

from promptport.analysis.forecast import PAIRS
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, save_prompt, save_vector
from promptport.vector import TaskPromptVector

N = 3


@pytest.fixture
def library(backbone, tmp_path, monkeypatch):
    """Folders a0, a1, b0.prompt (deltas 1, 1, -1) and bare (no origin) in the current folder."""
    monkeypatch.chdir(tmp_path)
    model = backbone("bert")
    for folder, task, seed, delta in (
        ("a0", "a", 0, 1),
        ("a1", "a", 1, 1),
        ("b0.prompt", "b", 0, -1),
    ):
        spec = OriginSpec("vocabulary", seed)
        start = make_origin(spec, model, N)
        provenance = Provenance(
            model.name,
            model.kind,
            fingerprint=model.space.fingerprint,
            task=task,
            origin=spec.to_dict(),
        )
        save_prompt(SoftPrompt(start + delta, provenance, start), folder)
    bare = Provenance(model.name, model.kind, fingerprint=model.space.fingerprint)
    save_prompt(SoftPrompt(start, bare), "bare")
    return model


@pytest.mark.long
def test_similarity_of_vectors(run_cli, library, tmp_path) -> None:
    arguments = ("library", "similarity", "a0", "a1", "b0.prompt", "--of", "vectors")
    code, out, _ = run_cli(*arguments, "--out", "heat.html", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["names"] == ["a0", "a1", "b0"]
    signs = [[1, 1, -1], [1, 1, -1], [-1, -1, 1]]
    for name in ("cosine", "token_cosine"):
        for row, wanted in zip(found[name], signs, strict=True):
            assert row == pytest.approx(wanted, abs=1e-5)
    assert found["sign_conflict"][0] == pytest.approx([0, 0, 1])
    assert found["norm_ratio"][2] == pytest.approx([1, 1, 1], abs=1e-5)
    assert found["subspace_overlap"][0][2] == pytest.approx(1, abs=1e-5)
    assert found["groups"]["same task, other origin"]["cosine"] == pytest.approx(1, abs=1e-5)
    assert found["groups"]["other task, same origin"]["cosine"] == pytest.approx(-1, abs=1e-5)
    assert "a0" in (tmp_path / "heat.html").read_text()
    code, out, err = run_cli(*arguments)
    assert (code, err) == (0, "")
    for part in (
        "Cosine: 1 the same direction",
        "cosine of vectors",
        "1. a0",
        "a0, b0",
        "same task, other origin",
    ):
        assert part in out, out


def test_similarity_of_prompts_and_of_vector_folders(run_cli, library) -> None:
    code, out, _ = run_cli("library", "similarity", "a0", "bare", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["of"] == "prompts"
    assert found["cosine"][0][0] == pytest.approx(1)
    assert found["groups"] == {}
    save_vector(TaskPromptVector.of(load_prompt("a0")), "x/a0")
    code, out, _ = run_cli("library", "similarity", "a0", "x/a0", "--of", "vectors", "--json")
    found = json.loads(out)
    assert found["names"] == ["a0", "x/a0"]
    assert found["cosine"][0][1] == pytest.approx(1)


def test_similarity_of_what_does_not_fit(run_cli, library, backbone) -> None:
    fails(
        run_cli("library", "similarity", "a0", "a1", "--of", "tasks"),
        "--of: expected prompts or vectors",
    )
    fails(run_cli("library", "similarity", "a0"), "expected two prompts or more")
    fails(run_cli("library", "similarity", "a0", "bare", "--of", "vectors"), "expected an origin")
    other = backbone("roberta")
    start = make_origin(OriginSpec(), other, N)
    save_prompt(SoftPrompt(start, Provenance(other.name, other.kind)), "other")
    fails(
        run_cli("library", "similarity", "a0", "other"),
        "expected prompts of one backbone",
        "a0; ",
        ": other",
    )


def test_forecast(run_cli, run_printed, library, task_file) -> None:
    arguments = (
        "library",
        "forecast",
        "a0",
        "b0.prompt",
        "--task",
        task_file,
        "--task",
        task_file,
    )
    code, out, err = run_cli(*arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert [task["task"] for task in found["tasks"]] == ["capitals", "capitals"]
    for task in found["tasks"]:
        assert task["verdict"] in ("kept", "at risk", "lost")
        assert (task["confidence"] is None) == (task["verdict"] == "at risk")
        assert 0 <= task["probability"] <= 1
        assert task["rows"] == 6
        assert 0 <= task["agreement"]["low"] <= task["agreement"]["value"] <= 1
    assert found["similarity"]["cosine"] == pytest.approx(-1, abs=1e-5)
    assert found["label_overlap"] is None
    code, out, err = run_cli(*arguments, "--rows", 3)
    assert code == 0
    assert err.splitlines()[0] == "note: a0 was made for a, its task is given as capitals"
    run_printed(err, *(("--steps", "2", "--rows", "4") if "Keep both" in err else ()))
    for part in (
        "verdict",
        "a0 + b0",
        "subspace overlap",
        "P(kept)",
        f"{PAIRS} sums of two tasks",
    ):
        assert part in out, out


def test_forecast_of_a_combination(run_cli, library, task_file) -> None:
    tasks = ("--task", task_file, "--task", task_file, "--json")
    assert run_cli("vector", "combine", "a0 + b0", "--out", "both")[0] == 0
    plain = json.loads(run_cli("library", "forecast", "a0", "b0.prompt", *tasks)[1])
    given = json.loads(
        run_cli("library", "forecast", "a0", "b0.prompt", "--combined", "both", *tasks)[1]
    )
    assert given == plain
    same = json.loads(
        run_cli("library", "forecast", "a0", "b0.prompt", "--combined", "a0", *tasks)[1]
    )
    assert same["tasks"][0]["verdict"] == "kept"
    assert same["tasks"][0]["agreement"]["value"] == 1
    assert same["reliability"] is None
    out = run_cli("library", "forecast", "a0", "b0.prompt", "--combined", "a0", *tasks[:4])[1]
    assert "of such a combination come true was not measured" in out
    assert "sums of two tasks" not in out


def test_forecast_of_a_library(run_cli, library, task_file, tmp_path) -> None:
    save_vector(TaskPromptVector.of(load_prompt("b0.prompt")), "more/minus")
    tasks = ("--task", task_file) * 3
    prompts = ("a0", "a1", "more")
    code, out, err = run_cli("library", "forecast", *prompts, *tasks, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["prompts"] == ["a0", "a1", "minus"]
    assert {(p["a"], p["b"]) for p in found["pairs"]} == {
        ("a0", "a1"),
        ("a0", "minus"),
        ("a1", "minus"),
    }
    danger = [p["probability"] for p in found["pairs"]]
    assert danger == sorted(danger)
    assert found["reliability"]["way"] == "sum"
    # The same as of the two alone, the vector on the origin that is named.
    other = run_cli("library", "forecast", *prompts, *tasks, "--json", "--origin", "seed:1")[1]
    pair = ("library", "forecast", "a1", "more/minus", "--task", task_file, "--task", task_file)
    alone = json.loads(run_cli(*pair, "--origin", "seed:1", "--json")[1])
    (told,) = (p for p in json.loads(other)["pairs"] if (p["a"], p["b"]) == ("a1", "minus"))
    assert {name: alone[name] for name in told if name not in "ab"} == {
        name: value for name, value in told.items() if name not in "ab"
    }
    code, out, err = run_cli("library", "forecast", *prompts, *tasks)
    assert code == 0
    assert "promptport" not in err, "a vector has no answers to keep"
    for part in ("3 pairs", "in greatest danger first", "a0 + minus", f"{PAIRS} sums of two tasks"):
        assert part in out, out


def test_forecast_of_a_library_that_does_not_fit(run_cli, library, task_file) -> None:
    three = ("library", "forecast", "a0", "a1", "b0.prompt")
    fails(run_cli("library", "forecast", "a0"), "expected two prompts or more, got 1")
    fails(run_cli(*three), "task of a0: expected one that can be opened", "'a'", "--task")
    fails(run_cli(*three, "--task", task_file), "one per folder (3), got capitals")
    fails(
        run_cli(*three, "--combined", "a0"),
        "3 prompts: expected no --combined with it, got --combined",
    )


def test_equal_prompts_are_forecast_once(run_cli, library, task_file) -> None:
    shutil.copytree("a0", "again")
    tasks = [item for _ in range(3) for item in ("--task", task_file)]
    code, out, err = run_cli("library", "forecast", "a0", "again", "b0.prompt", *tasks, "--json")
    assert code == 0
    assert err.splitlines()[0] == "note: the same prompts again are left out: again (as a0)"
    found = json.loads(out)
    assert (found["a"], found["b"]) == ("a0", "b0.prompt")
    code, out, err = run_cli("library", "forecast", "a0", "again", *tasks[:4])
    assert (code, out) == (1, "")
    assert "error: forecast: expected two prompts or more, got 1" in err


def test_forecast_of_recorded_tasks(run_cli, library, task_file) -> None:
    for folder in ("a0", "a1"):
        prompt = load_prompt(folder).with_provenance(task="country-capital")
        save_prompt(prompt, folder)
    arguments = ("library", "forecast", "a0", "a1", "--rows", 4, "--split", "dev", "--truncate")
    result = run_cli(*arguments, "--json")
    # Its objects are unknown to the toy tokenizer, but they are not read.
    assert result[0] == 0, result
    assert [t["task"] for t in json.loads(result[1])["tasks"]] == ["country-capital"] * 2


def test_forecast_of_what_does_not_fit(run_cli, library, task_file) -> None:
    fails(
        run_cli("library", "forecast", "a0", "a1"),
        "task of a0: expected one that can be opened",
        "only the recorded name 'a'",
    )
    fails(
        run_cli("library", "forecast", "a0", "a1", "--task", "nonsense", "--task", task_file),
        "task: expected an embedded task",
    )
    tasks = ("--task", task_file, "--task", task_file)
    code, out, err = run_cli("library", "forecast", "a0", "bare", *tasks)
    assert (code, out) == (1, "")
    assert "expected an origin" in err


def test_the_measured_reliability_is_shown(run_cli, library, task_file, monkeypatch) -> None:
    from promptport.analysis import forecast

    tasks = ("--task", task_file, "--task", task_file)
    measured = {"kept": forecast.Record(210, 0.93, 0.9, 0.95)}
    monkeypatch.setattr(forecast, "RELIABILITY", {"sum": measured})
    monkeypatch.setattr(forecast, "PAIRS", 120)
    code, out, _ = run_cli("library", "forecast", "a0", "b0.prompt", *tasks)
    assert code == 0
    told = " ".join(out.split())
    assert "120 sums of two tasks" in told
    assert "had not seen: kept: 93% of 210 right [90%, 95%]." in told
    found = json.loads(run_cli("library", "forecast", "a0", "b0.prompt", *tasks, "--json")[1])
    assert found["reliability"] == {
        "way": "sum",
        "pairs": 120,
        "verdicts": {"kept": {"said": 210, "right": 0.93, "low": 0.9, "high": 0.95}},
    }
