"""promptport rank, tune --start and --together, and transfer of vectors, as a user types them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from tests.cli.conftest import fails

from promptport.storage import load_prompt, load_vector, save_prompt

FILMS = {
    "schema": 1,
    "name": "films",
    "kind": "classification",
    "template": "{soft} {text} It was {answer} .",
    "metric": "accuracy",
    "labels": {"good": ["great", "good"], "bad": ["terrible", "unhappy"]},
    "data": {"train": "rows.jsonl", "dev": "rows.jsonl", "test": "rows.jsonl"},
}
ROWS = [("a great film", "good"), ("a terrible film", "bad"), ("a bad story", "bad")] * 2


@pytest.fixture
def library(model_folder, run_cli, tmp_path, monkeypatch):
    """Two prompts in runs/ and the vector of another in vectors/a; the task file of the films."""
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    other = {"name": "other", "labels": {"good": ["good"], "bad": ["unhappy"]}}
    (tmp_path / "films.yaml").write_text(yaml.safe_dump(FILMS))
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**FILMS, **other}))
    model = str(model_folder("bert"))
    code, out, err = run_cli(
        *("tune", "--backbone", model, "--task", "films.yaml", "--task", "other.yaml"),
        *("--length", 2, "--epochs", 1, "--seed", 4, "--seed", 5, "--out", "all"),
    )
    assert code == 0, out + err
    for name in ("films-seed4", "other-seed4"):
        Path("all", name).rename(Path("runs", name))
    assert run_cli("vector", "make", "all/films-seed5", "--out", "vectors/a")[0] == 0
    return model


@pytest.mark.long
def test_rank_without_and_with_labels(run_cli, run_printed, library) -> None:
    code, out, _ = run_cli("library", "rank", "runs", "vectors/a", "--task", "films.yaml", "--json")
    assert code == 0
    found = json.loads(out)
    assert {e["name"] for e in found["entries"]} == {"films-seed4", "other-seed4", "a"}
    assert found["touched"] == "the text of 6 rows of train, no labels"
    # What a killed run left is no prompt.
    shutil.copytree("all/films-seed5", "runs/.films-seed5.x1")
    again = json.loads(run_cli("library", "rank", "runs", "--task", "films.yaml", "--json")[1])
    assert {e["name"] for e in again["entries"]} == {"films-seed4", "other-seed4"}
    code, out, _ = run_cli(
        "library", "rank", "runs", "--task", "films.yaml", "--labelled", 4, "--json"
    )
    found = json.loads(out)
    assert found["touched"] == "4 labelled rows of train"
    losses = [e["measures"]["loss"] for e in found["entries"]]
    assert losses == sorted(losses)
    code, out, err = run_cli("library", "rank", "runs", "--task", "films.yaml")
    assert "best first (read: the text of 6 rows of train, no labels)" in out
    assert "near 1 is a good start" in out
    run_printed(err, "--epochs", "1")
    code, out, err = run_cli("library", "rank", "vectors", "--task", "films.yaml")
    assert code == 0
    assert "is the only prompt" in " ".join(out.split())
    run_printed(err, "--epochs", "1", "--out", "of-a-vector")


def test_a_library_of_vectors_reads_its_backbone_once(run_cli, library, monkeypatch) -> None:
    from promptport.backbone import Backbone

    assert run_cli("vector", "make", "all/other-seed5", "--out", "vectors/b")[0] == 0
    load, opened = Backbone.load, []

    def count(*arguments, **settings):
        opened.append(arguments or settings["name"])
        return load(*arguments, **settings)

    monkeypatch.setattr(Backbone, "load", count)
    code, out, _ = run_cli("library", "rank", "vectors", "--task", "films.yaml", "--json")
    assert (code, opened) == (0, [(library,)])
    assert {entry["name"] for entry in json.loads(out)["entries"]} == {"a", "b"}


@pytest.mark.long
def test_tune_from_the_best_and_from_the_vectors(run_cli, library) -> None:
    common = ("tune", "--backbone", library, "--task", "films.yaml", "--length", 2, "--epochs", 1)
    for way in ("text", "labels", "mean", "sum"):
        options = ("--start", way, "--library", "runs", "--out", way)
        code, out, err = run_cli(*common, *options)
        assert code == 0, out + err
        assert "starts from" in err
    parts = [load_prompt(f"runs/{name}-seed4") for name in ("films", "other")]
    deltas = [part.vectors - part.origin for part in parts]
    # The origin is that of --seed 0, not the library's.
    from promptport.backbone import Backbone
    from promptport.parameters import OriginSpec, make_origin

    model = Backbone.load(library, device="cpu", dtype="float32")
    start = make_origin(OriginSpec("vocabulary", 0), model, 2)
    for way, coefficient in (("mean", 0.5), ("sum", 1)):
        origin = load_prompt(way).origin
        assert (origin - start - coefficient * sum(deltas)).abs().max() < 1e-5
    # Sources may be chosen, and may be vectors.
    chosen = ("--start", "sum", "--library", "runs/other-seed4", "--library", "vectors/a")
    assert run_cli(*common, *chosen, "--out", "chosen")[0] == 0
    other = load_prompt("all/films-seed5")
    wanted = start + deltas[1] + (other.vectors - other.origin)
    assert (load_prompt("chosen").origin - wanted).abs().max() < 1e-5


@pytest.mark.long
def test_tune_with_attention_and_score_it(run_cli, library) -> None:
    common = ("tune", "--backbone", library, "--task", "films.yaml", "--length", 2, "--epochs", 2)
    attention = (*common, "--start", "attention", "--library", "runs", "--library", "vectors/a")
    code, out, err = run_cli(*attention, "--out", "found", "--json")
    assert code == 0, out + err
    (told,) = json.loads(out)["attentions"]
    assert list(told["attention"]) == ["films-seed4", "other-seed4", "a", "its own"]
    assert sum(told["attention"].values()) == pytest.approx(1, abs=1e-5)
    for place, score in (("found", told), ("found/averaged", told["averaged"])):
        assert score["folder"] == place
        code, out, err = run_cli("eval", place, "--task", "films.yaml", "--split", "dev", "--json")
        assert code == 0, err
        scored = json.loads(out)
        assert scored["value"] == score["dev_score"]
        assert scored["loss"] == pytest.approx(score["dev_loss"], rel=1e-5)
    assert load_prompt("found/averaged").length == 2
    code, out, err = run_cli("inspect", "found", "--json")
    held = json.loads(out)
    assert (code, err, held["sources"], held["length"]) == (0, "", 3, 2)
    assert held["provenance"]["task"] == "films"
    assert (held["checksum"], held["averaged"]) == ("verified", "found/averaged")
    assert held["mean_attention"] == pytest.approx(list(told["attention"].values()))
    assert held["provenance"]["backbone"] == str(library)
    code, out, _ = run_cli("inspect", "found")
    assert code == 0
    assert all(text in out for text in ("attention over sources", "verified", "films"))
    shutil.copytree("found", "damaged")
    shutil.rmtree("damaged/averaged")
    assert json.loads(run_cli("inspect", "damaged", "--json")[1])["averaged"] is None
    record = json.loads(Path("damaged/attention.json").read_text())
    Path("damaged/attention.json").write_text(json.dumps({**record, "temperature": 2.5}))
    fails(run_cli("inspect", "damaged"), "attention.safetensors: expected the tensors and numbers")
    code, out, err = run_cli(*attention, "--seed", 1, "--seed", 2, "--out", "several")
    assert code == 0
    assert "2 tuned with attention" in out
    assert "promptport eval several/films-seed1 --task films.yaml" in err
    code, out, _ = run_cli("eval", "several/films-seed2", "--task", "films.yaml")
    assert code == 0
    assert "accuracy" in out


@pytest.mark.long
def test_attention_goes_on_after_an_interruption(run_cli, library, monkeypatch) -> None:
    from promptport.storage import attention_folder as interop
    from promptport.tuning import attention_training as tuning

    common = ("tune", "--backbone", library, "--task", "films.yaml", "--length", 2, "--epochs", 2)
    both = (*common, "--start", "attention", "--library", "runs", "--seed", 1, "--seed", 2)
    save = interop.save_attention

    def interrupt(prompts, folder):
        if folder.name == "films-seed2":
            raise KeyboardInterrupt
        save(prompts, folder)

    with monkeypatch.context() as patch:
        patch.setattr(interop, "save_attention", interrupt)
        code, _, err = run_cli(*both, "--out", "P")
    assert code == 130
    assert "interrupted: the same command goes on" in err
    states = [Path(f"P/films-seed{seed}/.tuning-state.safetensors") for seed in (1, 2)]
    assert all(state.is_file() for state in states)
    assert run_cli(*both, "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.delattr(tuning._AttentionRun, "step")
        code, _, err = run_cli(*both, "--out", "P")
    assert code == 0, err
    assert not any(state.exists() for state in states)
    for seed in (1, 2):
        one, other = (Path(f"{out}/films-seed{seed}") for out in ("P", "whole"))
        name = "attention.safetensors"
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert run_cli(*both, "--out", "P")[0] == 0, "it may replace its own"
    one = (*common, "--library", "runs", "--start", "text", "--out", "P/films-seed1")
    fails(run_cli(*one), "--out: expected a folder that holds no prompt folders")
    endless = (*both, "--out", "Q", "--lr", 1e30)
    fails(run_cli(*endless), "expected a finite loss")
    assert not list(Path("Q").rglob("*.safetensors"))


@pytest.mark.long
def test_bad_attention(run_cli, library) -> None:
    common = ("tune", "--backbone", library, "--task", "films.yaml", "--start", "attention")
    runs = ("--library", "runs", "--out", "found")
    fails(
        run_cli(*common, *runs),
        "films-seed4, other-seed4: expected 5 virtual tokens, got 2",
        "--length",
    )
    two = (*common, *runs, "--length", 2)
    fails(run_cli(*two, "--origin-samples", 2), "origins: expected 1 with attention")
    fails(run_cli(*two, "--noise", 0.5), "noise: expected 0 with attention")
    fails(run_cli(*two, "--mixture"), "--start: expected free vectors")
    assert not Path("found").exists()
    # What another seed was about to finish stays where settings are refused.
    unfinished = Path("kept/films-seed2/.tuning-state.safetensors")
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(b"as it was")
    seeds = ("--seed", 1, "--seed", 2, "--out", "kept")
    fails(run_cli(*common, "--library", "runs", *seeds), "expected 5 virtual tokens, got 2")
    fails(
        run_cli(*common, "--library", "runs", *seeds, "--length", 2, "--origin-samples", 2),
        "origins",
    )
    assert unfinished.read_bytes() == b"as it was"
    assert run_cli(*two, "--epochs", 1)[0] == 0
    for option in (("--baselines",), ("--tuned",), ("--template", "{text} {soft} {answer}")):
        result = run_cli("eval", "found", "--task", "films.yaml", *option)
        fails(result, "attention folder: expected no --template, --baselines, --tuned", option[0])


def test_tune_together(run_cli, library) -> None:
    tasks = ("--task", "films.yaml", "--task", "other.yaml")
    common = ("tune", "--backbone", library, *tasks, "--length", 2, "--epochs", 2)
    for way in ("one", "factors"):
        code, out, err = run_cli(*common, "--together", way, "--out", way, "--json")
        assert code == 0, out + err
        told = json.loads(out)
        assert set(told["dev_scores"]) == {"films", "other"}
        prompt = load_prompt(way)
        assert prompt.provenance.tuning["way"] == way
        assert prompt.origin is not None


def test_bad_starts(run_cli, library) -> None:
    common = ("tune", "--backbone", library, "--task", "films.yaml", "--out", "x")
    fails(
        run_cli(*common, "--start", "luck", "--library", "runs"),
        "text, labels, mean, sum, attention",
    )
    fails(run_cli(*common, "--start", "text"), "--library with it")
    fails(run_cli(*common, "--start", "text", "--library", "nowhere"), "no such folder")
    fails(run_cli(*common, "--start", "text", "--library", "runs"), "--length")
    fails(run_cli(*common, "--together", "three"), "one or factors")
    fails(run_cli(*common, "--together", "one", "--mixture"), "free vectors")
    fails(run_cli("library", "rank", "nowhere", "--task", "films.yaml"), "no such folder")
    fails(
        run_cli("library", "rank", "runs", "--task", "films.yaml", "--split", "test"),
        "train or dev",
    )


def test_transfer_of_a_vector(run_cli, library, model_folder) -> None:
    target = str(model_folder("gpt2"))
    common = ("--to", target, "--minimum-anchors", 2, "--out", "moved")
    code, out, err = run_cli("transfer", "vectors/a", *common, "--json")
    assert code == 0, out + err
    told = json.loads(out)
    moved = load_vector("moved")
    assert told["method"] == "linear_map.v1"
    assert moved.provenance.backbone == target
    assert dict(moved.coefficients) == {"films": 1.0}
    assert moved.length == 2
    fails(run_cli("transfer", "vectors/a", *common, "--method", "omp"), "a linear method")
    fails(run_cli("transfer", "vectors/a", "runs/films-seed4", *common), "one vector")


@pytest.mark.long
def test_adapt_without_and_with_labels(run_cli, run_printed, library) -> None:
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS * 2]
    Path("rows.jsonl").write_text("\n".join(lines))
    common = ("library", "adapt", "runs", "vectors/a", "--task", "films.yaml", "--steps", 2)
    code, out, err = run_cli(*common, "--out", "blind", "--json")
    assert code == 0, out + err
    found = json.loads(out)
    assert {v["name"] for v in found["opinions"]} == {"films-seed4", "other-seed4", "a"}
    assert (found["rows"], found["labelled"], found["steps"]) == (12, 0, 2)
    assert found["after"]["rows"] == 12
    prompt = load_prompt("blind")
    assert prompt.provenance.task == "films"
    assert prompt.provenance.history[-1]["labels_used"] is False
    code, out, err = run_cli(*common, "--out", "few", "--labelled", 4)
    assert code == 0, out + err
    assert "all together against these labels" in out
    assert "Score it:\n  promptport eval few --task films.yaml\n" in err
    run_printed(err)
    code, out, _ = run_cli(*common, "--out", "blind")
    assert "The texts hardly decide what any prompt of the library answers" in out
    assert run_cli("eval", "few", "--task", "films.yaml")[0] == 0


def test_adapt_refuses(run_cli, library) -> None:
    common = ("library", "adapt", "runs", "--task", "films.yaml")
    fails(run_cli(*common, "--out", "new"), "at least 8 rows of text", "got 6")
    fails(run_cli(*common, "--out", "runs/films-seed4"), "--out", "another folder")
    fails(run_cli(*common, "--out", "new", "--labelled", 99), "expected 0 to 6", "got 99")
    fails(run_cli(*common, "--out", "new", "--steps", 0), "steps: expected 1 or more")
    fails(run_cli("library", "adapt", "nowhere", "--task", "films.yaml", "--out", "new"), "nowhere")
    assert not Path("new").exists()


def test_a_library_stays_a_library(run_cli, library) -> None:
    tune = ("tune", "--backbone", library, "--task", "films.yaml", "--length", 2, "--epochs", 1)
    holds = "--out: expected a folder that holds no prompt folders, got runs, which holds films-se"
    fails(run_cli(*tune, "--out", "runs"), holds)
    fails(run_cli("vector", "combine", "a", "--load", "a=runs/films-seed4", "--out", "runs"), holds)
    fails(run_cli("vector", "make", "runs/films-seed4", "--out", "runs"), holds)
    adapt = ("library", "adapt", "runs/films-seed4", "--task", "films.yaml")
    fails(run_cli(*adapt, "--out", "runs"), holds)
    read = "--out: expected another folder than the one that is read"
    fails(run_cli("library", "adapt", "runs", "--task", "films.yaml", "--out", "runs"), read)
    both = (*adapt, "vectors/a", "--origin", "runs/other-seed4")
    fails(run_cli(*both, "--out", "runs/other-seed4"), read)
    text = ("--start", "text", "--library", "runs")
    fails(run_cli(*tune, *text, "--out", "runs/films-seed4"), read)
    fails(run_cli(*tune, "--origin", "runs/other-seed4", "--out", "runs/other-seed4"), read)
    # Where a prompt was written into such a folder before, both are read.
    save_prompt(load_prompt("all/films-seed5"), "runs")
    found = json.loads(run_cli("library", "rank", "runs", "--task", "films.yaml", "--json")[1])
    assert {e["name"] for e in found["entries"]} == {"runs", "films-seed4", "other-seed4"}


@pytest.mark.long
def test_equal_prompts_count_once(run_cli, library) -> None:
    assert run_cli("vector", "make", "runs/films-seed4", "--out", "vectors/b")[0] == 0
    ranked = (
        "library",
        "rank",
        "vectors",
        "runs",
        "runs/../runs",
        "--task",
        "films.yaml",
        "--json",
    )
    code, out, err = run_cli(*ranked)
    assert code == 0, err
    assert [e["name"] for e in json.loads(out)["entries"]].count("b") == 0
    assert {e["name"] for e in json.loads(out)["entries"]} == {"films-seed4", "other-seed4", "a"}
    assert err == "note: the same prompts again are left out: b (as films-seed4)\n"
    alone = run_cli("library", "rank", "runs", "vectors/a", "--task", "films.yaml", "--json")[1]
    assert json.loads(alone) == json.loads(out)


@pytest.mark.long
def test_options_of_rank_that_nothing_reads(run_cli, library) -> None:
    ranked = ("library", "rank", "runs", "--task", "films.yaml")
    fails(run_cli(*ranked, "--labelled", 4, "--rows", 5), "--labelled: expected no --rows with it")
    fails(run_cli(*ranked, "--origin", "normal"), "origin: expected a library with vectors")
    assert run_cli(*ranked, "vectors", "--origin", "normal")[0] == 0
    for number in (-1, 7):
        wrong = f"labelled: expected 0 to 6, the rows of films, train, got {number}"
        fails(run_cli(*ranked, "--labelled", number), wrong)
    start = ("tune", "--backbone", library, "--task", "films.yaml", "--library", "runs")
    for way in ("text", "labels"):
        options = ("--start", way, "--origin", "normal", "--out", "x")
        fails(run_cli(*start, *options), f"--start {way}: expected no --origin with it")


def test_list_shows_all_and_filters(run_cli, library, backbone) -> None:
    from promptport.tuning import random_prompt

    other = random_prompt(backbone("gpt2"), 2, 0).with_provenance(task="films")
    save_prompt(other, "runs/elsewhere")
    code, out, err = run_cli("library", "list", "runs", "vectors", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [p["name"] for p in found["prompts"]] == ["elsewhere", "films-seed4", "other-seed4", "a"]
    assert [p["kind"] for p in found["prompts"]] == ["free"] * 3 + ["vector"]
    assert found["prompts"][1]["task"] == "films"
    assert 0 <= found["prompts"][1]["dev_score"] <= 1
    assert found["prompts"][1]["length"] == 2
    assert found["prompts"][1]["folder"] == "runs/films-seed4"
    assert found["backbones"][library] == ["films-seed4", "other-seed4", "a"]
    told = json.loads(run_cli("library", "list", "runs", "--task", "other", "--json")[1])
    assert [p["name"] for p in told["prompts"]] == ["other-seed4"]
    told = json.loads(run_cli("library", "list", "runs", "--backbone", library, "--json")[1])
    assert [p["name"] for p in told["prompts"]] == ["films-seed4", "other-seed4"]
    code, out, _ = run_cli("library", "list", "runs", "vectors")
    assert code == 0
    assert all(part in out for part in ("films-seed4", "elsewhere", "dev score", "tokens"))
    code, out, _ = run_cli("library", "list", "runs", "--task", "nothing")
    assert (code, out.split(".")[0]) == (0, "No prompt of task nothing")


def test_a_damaged_folder_is_named_by_list_and_refused_by_the_others(run_cli, library) -> None:
    weights = Path("runs/films-seed4/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-8])
    code, out, err = run_cli("library", "list", "runs")
    assert code == 0
    assert err.startswith(f"note: left out, damaged: {weights}")
    assert "other-seed4" in out
    fails(run_cli("library", "rank", "runs", "--task", "films.yaml"), str(weights))


def test_mixed_backbones_need_a_choice(run_cli, library, backbone) -> None:
    from promptport.tuning import random_prompt

    save_prompt(random_prompt(backbone("gpt2"), 2, 0), "runs/elsewhere")
    ranked = ("library", "rank", "runs", "--task", "films.yaml")
    fails(run_cli(*ranked), "expected prompts of one backbone", "elsewhere; ", "--backbone ")
    code, out, err = run_cli(*ranked, "--backbone", library, "--json")
    assert (code, err) == (0, f"note: left out, of another backbone than {library}: elsewhere\n")
    assert {e["name"] for e in json.loads(out)["entries"]} == {"films-seed4", "other-seed4"}
    fails(run_cli("library", "similarity", "runs"), "expected prompts of one backbone")
    code, out, _ = run_cli("library", "similarity", "runs", "--backbone", library, "--json")
    assert json.loads(out)["names"] == ["films-seed4", "other-seed4"]


def test_search_by_words(run_cli, run_printed, library) -> None:
    code, out, err = run_cli("library", "search", "films", "runs", "vectors")
    assert code == 0
    assert "films-seed4" in out
    assert "other-seed4" not in out
    run_printed(err)
    hits = json.loads(run_cli("library", "search", "OTHER seed4", "runs", "--json")[1])["hits"]
    assert [hit["name"] for hit in hits] == ["other-seed4", "films-seed4"]
    assert hits[0]["where"]["name"] == ["other", "seed4"]
    code, out, err = run_cli("library", "search", "zebra", "runs")
    assert (code, out) == (0, "No prompt holds 'zebra'.\n")
    run_printed(err)
    fails(run_cli("library", "search", "-", "runs"), "search: expected one word or more")


def test_every_library_command_takes_the_folder_of_the_library(run_cli, library) -> None:
    for command in ("list", "similarity"):
        assert run_cli("library", command, "runs", "--json")[0] == 0
    assert run_cli("library", "similarity", "runs", "vectors", "--of", "vectors")[0] == 0
    fails(run_cli("library", "similarity", "runs", "vectors"), "the vector of a", "--of vectors")
    shorter = load_prompt("runs/films-seed4")
    from dataclasses import replace

    save_prompt(replace(shorter, vectors=shorter.vectors[:1], origin=None), "runs/short")
    fails(run_cli("library", "similarity", "runs"), "films-seed4, other-seed4; (1, ", ": short")
