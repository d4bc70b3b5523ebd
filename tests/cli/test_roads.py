"""Joint tuning, several sources, and the roads of `move`, as a user types them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from shutil import copytree, rmtree

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tests.conftest import CAPITALS

from promptport.parameters import OriginSpec, make_origin
from promptport.parameters.mixtures import starting_mixture
from promptport.storage import load_prompt, load_vector, save_prompt
from promptport.transfers import transfer_word_vector

FAST = ("--device", "cpu", "--dtype", "float32", "--json")


@pytest.fixture
def task(task_file):
    """The same task with enough rows to read."""
    values = yaml.safe_load(task_file.read_text())
    rows = [json.dumps({"subject": s, "object": o}) for s, o in CAPITALS.items()] * 2
    (task_file.parent / "train.jsonl").write_text("\n".join(rows))
    assert values["data"]["train"] == "train.jsonl"
    return task_file


def run_json(run_cli, *arguments):
    code, out, err = run_cli(*arguments)
    assert code == 0, err
    return json.loads(out)


def tune(run_cli, model, task, out, *more):
    return run_json(
        run_cli,
        *("tune", "--backbone", model, "--task", task, "--out", out),
        *("--epochs", 2, "--length", 3, *FAST, *more),
    )


@pytest.mark.long
def test_joint_tuning_writes_one_mixture_per_backbone(
    run_cli, model_folder, task, tmp_path
) -> None:
    names = [model_folder("bert"), model_folder("gpt2")]
    target = model_folder("t5")
    result = tune(run_cli, names[0], task, tmp_path / "J", "--with", names[1], "--words-of", target)
    folders = [Path(folder) for folder in result["prompts"][0]["folders"]]
    assert len(folders) == 2
    assert set(result["prompts"][0]["dev_scores"]) == {str(name) for name in names}
    reports = [
        run_json(run_cli, "transfer", f, "--to", target, "--out", tmp_path / f"Q{i}", "--json")
        for i, f in enumerate(folders)
    ]
    # All words are known to the target, so nothing of the mixture is lost on the way.
    assert [report["kept_weight"] for report in reports] == pytest.approx([1, 1])


@pytest.mark.long
def test_two_prompts_become_one(run_cli, model_folder, task, tmp_path) -> None:
    for name in ("bert", "gpt2"):
        tune(run_cli, model_folder(name), task, tmp_path / name)
    for order in (("bert", "gpt2"), ("gpt2", "bert")):
        report = run_json(
            run_cli,
            *("transfer", *(tmp_path / name for name in order), "--to", model_folder("t5")),
            *("--out", tmp_path / "-".join(order), "--json"),
        )
        assert report["source"].count(" + ") == 1
    files = [
        tmp_path / folder / "adapter_model.safetensors" for folder in ("bert-gpt2", "gpt2-bert")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    code, _, err = run_cli(
        *("transfer", tmp_path / "bert", tmp_path / "gpt2", "--to", model_folder("t5")),
        *("--out", tmp_path / "Q", "--weight", 1),
    )
    assert code == 1
    assert "one per prompt (2), got 1" in err


@pytest.mark.long
def test_the_stages_one_by_one(run_cli, model_folder, task, tmp_path) -> None:
    target = model_folder("gpt2")
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    mixture = run_json(
        run_cli,
        *("move", tmp_path / "P", "--only", "mixture", "--task", task, "--out", tmp_path / "A"),
        *("--epochs", 3, "--words-of", target, *FAST),
    )
    assert mixture["after"] <= mixture["before"]
    report = run_json(
        run_cli, "transfer", tmp_path / "A", "--to", target, "--out", tmp_path / "Q", "--json"
    )
    assert (report["method"], report["kept_weight"]) == ("mixture.v1", pytest.approx(1))
    aligned = run_json(
        run_cli,
        *("move", tmp_path / "P", "--only", "align", "--start", tmp_path / "Q", "--task", task),
        *("--out", tmp_path / "C", "--epochs", 3, *FAST),
    )
    assert aligned["floor"] - 1e-5 <= aligned["after"] <= aligned["before"]
    assert aligned["check"]["texts"] == "task"
    score = run_json(run_cli, "eval", tmp_path / "C", "--task", task, "--json")
    assert score["rows"] == 6


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tuned", "fitted afterwards"])
def test_the_words_of_a_vector_start_tuning_elsewhere(
    run_cli, run_printed, model_folder, backbone, task, tmp_path, way
) -> None:
    source, target = backbone("bert"), backbone("gpt2")
    free, place, moved, start = (tmp_path / name for name in ("F", "A", "V", "P"))
    tune(run_cli, model_folder("bert"), task, free)
    if way == "tuned":
        tune(run_cli, model_folder("bert"), task, place, "--mixture")
    else:
        run_json(
            run_cli,
            *("move", free, "--only", "mixture", "--task", task, "--out", place),
            *("--epochs", 3, "--seed", 4),
            *("--words-of", model_folder("gpt2"), *FAST),
        )
    carry = ("--to", model_folder("gpt2"), "--vector", "--out", moved)
    told = run_json(run_cli, "transfer", place, *carry, "--json")
    prompt = load_prompt(place)
    wanted = transfer_word_vector(prompt, starting_mixture(prompt, source.space), target.space)
    found = load_vector(moved)
    assert torch.equal(found.delta, wanted.delta)
    assert (told["method"], told["anchors"]) == (
        "mixture.v1",
        wanted.provenance.history[-1]["anchors"],
    )
    assert told["norm_before"] == pytest.approx(float((prompt.vectors - prompt.origin).norm()))
    assert found.provenance.origin is None
    native = ("--origin", "mixture", "--seed", 100, "--out", start, "--json")
    run_json(run_cli, "vector", "combine", "v", "--load", f"v={moved}", *native)
    origin = make_origin(OriginSpec("mixture", 100), target, prompt.length)
    assert torch.equal(load_prompt(start).vectors, wanted.apply(origin).vectors)
    tune(run_cli, model_folder("gpt2"), task, tmp_path / "T", "--origin", start)
    assert load_prompt(tmp_path / "T").provenance.origin["kind"] == "prompt"
    code, out, err = run_cli("transfer", place, *carry)
    assert code == 0, out
    assert "--origin mixture" in err
    run_printed(err)


def test_the_words_of_a_vector_need_a_mixture_prompt(run_cli, model_folder, task, tmp_path) -> None:
    def refused(*arguments) -> str:
        common = ("--to", model_folder("gpt2"), "--vector", "--out", tmp_path / "V")
        code, _, err = run_cli("transfer", *arguments, *common)
        assert (code, err.count("\n")) == (1, 1)
        return err

    free, mixed = tmp_path / "F", tmp_path / "A"
    tune(run_cli, model_folder("bert"), task, free)
    tune(run_cli, model_folder("bert"), task, mixed, "--mixture")
    assert "expected a mixture prompt, got one of free vectors" in refused(free)
    assert "expected no --method" in refused(mixed, "--method", "omp")
    assert "expected no --magnitude" in refused(mixed, "--magnitude", "keep")
    assert "expected one vector" in refused(mixed, mixed)
    assert "wide" in refused(mixed, "--backbone", model_folder("albert"))
    prompt = load_prompt(mixed)
    save_prompt(replace(prompt, origin=None), mixed)
    assert "promptport move --only mixture" in refused(mixed)


def test_words_of_needs_a_mixture_prompt(run_cli, model_folder, task, tmp_path) -> None:
    code, _, err = run_cli(
        *("tune", "--backbone", model_folder("bert"), "--task", task, "--out", tmp_path / "P"),
        *("--words-of", model_folder("t5"), *FAST),
    )
    assert code == 1
    assert "Add --mixture" in err


@pytest.mark.long
@pytest.mark.parametrize("by", ["roundtrip", "agreement"])
def test_the_best_of_several_ways(run_cli, model_folder, task, tmp_path, by) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    ways = ["least_squares", "omp:k=4", "least_squares:ridge=0.1,dimension"]
    report = run_json(
        run_cli,
        *("transfer", tmp_path / "P", "--to", model_folder("gpt2"), "--out", tmp_path / "Q"),
        *(part for way in ways for part in ("--try", way)),
        *("--by", by, "--json", *(("--task", task) if by == "agreement" else ())),
    )
    selection = report["selection"]
    assert list(selection["scores"]) == ways
    assert selection["chosen"] in ways
    assert selection["touched"] == ("unlabelled text" if by == "agreement" else "nothing")


@pytest.mark.long
def test_auto_takes_the_answers_and_says_why(
    run_cli, run_printed, model_folder, task, tmp_path
) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    fast = (*FAST[:-1], "--rows", 12, "--epochs", 2)
    ask = ("move", tmp_path / "P", "--to", model_folder("gpt2"), "--out", tmp_path / "my prompt")
    code, out, err = run_cli(*ask, "--task", task, *fast, "--score")
    assert code == 0, err
    assert err.startswith(
        "road: answers, since the prompt is free and both models are at hand; both are asked "
        "unlabelled texts of capitals (train), no label is read\n"
    )
    assert "of 12" not in out
    assert "possible answers, random guessing gets" in out
    assert "labels are read for this table alone" in out
    # The task is a file, and the folder has a space: what is printed runs all the same.
    run_printed(err)
    found = run_json(run_cli, *ask, "--task", task, *fast, "--score", "--texts", "words", "--json")
    assert found["plan"]["method"] == "answers"
    assert (found["plan"]["texts"], found["texts"]) == ("words", "words")
    assert {"same", "chance", "verdict"} - found["check"].keys() == {"chance"}
    assert list(found["scores"]) == [
        f"source on {model_folder('bert')}",
        f"moved to {model_folder('gpt2')}",
    ]


@pytest.mark.long
def test_a_free_prompt_by_its_tables_is_warned_of(
    run_cli, run_printed, model_folder, task, tmp_path
) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    ask = ("transfer", tmp_path / "P", "--to", model_folder("gpt2"), "--out", tmp_path / "Q")
    code, out, err = run_cli(*ask, "--task", task)
    assert code == 0, err
    assert "warning: The embedding tables say next to nothing about a free prompt" in err
    assert "0.36" in err
    assert "--method answers" in err
    assert "it answers like its source on" in out
    run_printed(err.replace(" --baselines", ""), "--device", "cpu")
    told = run_json(run_cli, *ask, "--task", task, "--json")
    assert "0.36" in told["warnings"][0]
    assert told["check"]["rows"] == 12
    blind = run_json(run_cli, *ask, "--task", task, "--no-check", "--json")
    assert blind["check"] is None
    # The same prompt as ever: looking at its answers changes nothing.
    assert blind["matching"] == told["matching"]


def test_a_free_prompt_without_a_task_is_refused_or_warned_of(
    run_cli, model_folder, task, tmp_path
) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    prompt = load_prompt(tmp_path / "P").with_provenance(task=None)
    save_prompt(prompt, tmp_path / "bare")
    ask = ("move", tmp_path / "bare", "--to", model_folder("gpt2"), "--out", tmp_path / "Q")
    code, out, err = run_cli(*ask)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--task: expected a task, to ask both models about it, got none" in err
    code, _, err = run_cli(*ask, "--method", "embeddings")
    assert code == 0
    assert "(promptport move, with the task as --task)" in err
    assert "promptport inspect" in err


@pytest.mark.parametrize("gone", ["source", "target"])
def test_tables_alone_will_do_for_a_mixture(run_cli, model_folder, task, tmp_path, gone) -> None:
    places = {"source": tmp_path / "S", "target": tmp_path / "T"}
    for side, name in (("source", "bert"), ("target", "gpt2")):
        copytree(model_folder(name), places[side])
    tune(run_cli, places["source"], task, tmp_path / "P", "--mixture")
    weights = places[gone] / "model.safetensors"
    tables = {k: v for k, v in load_file(weights).items() if "embed" in k or "wte" in k}
    save_file(tables, weights, metadata={"format": "pt"})
    code, out, err = run_cli(
        *("move", tmp_path / "P", "--to", places["target"], "--out", tmp_path / "Q"),
        *("--task", task),
    )
    assert code == 0, err
    assert err.startswith(f"road: embeddings, since {places[gone]} has the weights of ")
    assert "mixture.v1" in out
    assert "next to nothing" not in err
    assert "0.76 with a cue word" in err, "gpt2 answers from a virtual token"


def test_a_stale_backbone_says_which_file_names_it(run_cli, model_folder, task, tmp_path) -> None:
    home = tmp_path / "old" / "base"
    copytree(model_folder("bert"), home)
    tune(run_cli, home, task, tmp_path / "P")
    (tmp_path / "P" / "promptport.json").unlink()  # as PEFT leaves it
    rmtree(home)
    ask = ("move", tmp_path / "P", "--to", model_folder("gpt2"), "--out", tmp_path / "Q")
    code, out, err = run_cli(*ask, "--task", task)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"error: {tmp_path / 'P' / 'adapter_config.json'}: expected the name of a model" in err
    assert f"got {str(home)!r} (" in err
    assert "--backbone" in err
    again = (*ask, "--task", task, "--method", "embeddings", "--backbone", model_folder("bert"))
    code, _, err = run_cli(*again)
    assert code == 0, err
    assert "note: the prompt names no template" in err


@pytest.mark.long
def test_options_of_one_road_only(run_cli, model_folder, task, tmp_path) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    ask = ("move", tmp_path / "P", "--to", model_folder("gpt2"), "--out", tmp_path / "Q")
    task_too = ("--task", task)

    def refused(*more) -> str:
        code, out, err = run_cli(*ask, *task_too, *more)
        assert (code, out, err.count("\n")) == (1, "", 1), err
        return err

    assert "--method answers: expected no --magnitude" in refused(
        "--method", "answers", "--magnitude", "keep"
    )
    assert "--method embeddings: expected no --texts" in refused(
        "--method", "embeddings", "--rows", 12
    )
    assert "--words-of: expected --only mixture" in refused("--words-of", model_folder("t5"))
    for only in ((), ("--only", "align")):
        assert "--about: expected --texts write with it" in refused("--about", "films", *only)
    assert "got --start. Leave" in refused("--method", "embeddings", "--start", "vocabulary")
    assert "start of a move: expected auto, mixture, port" in refused("--start", "nowhere")
    assert "--only: expected mixture or align" in refused("--only", "both")
    assert "--only align: expected --start PORTED" in refused("--only", "align")
    assert "--only mixture: expected no --magnitude" in refused(
        "--only", "mixture", "--by", "matching"
    )
    assert "Did you mean 'least_squares'" in refused("--method", "least_square")
    code, _, err = run_cli("move", tmp_path / "P", "--out", tmp_path / "Q")
    assert code == 1
    assert "--to: expected a target model" in err
    code, _, err = run_cli(*ask, *task_too, "--magnitude", "keep")
    assert code == 0
    assert err.startswith("road: embeddings, since --magnitude is given, of this road alone\n")


@pytest.mark.long
def test_a_move_that_starts_from_random_rows_of_the_target(
    run_cli, model_folder, task, tmp_path
) -> None:
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    target = model_folder("t5")
    ask = ("move", tmp_path / "P", "--to", target, "--task", task, "--start", "vocabulary")
    few = ("--rows", 12, "--steps", 7)
    code, out, err = run_cli(*ask, *few, "--out", tmp_path / "Q")
    assert code == 0, err
    assert "random rows of the target's vocabulary" in out
    assert "fitting a mixture" not in err
    told = run_json(run_cli, *ask, *few, "--out", tmp_path / "R", "--json")
    assert (told["began"], told["mixtures"], told["transfers"]) == ("vocabulary", [], [])
    assert told["aligned"]["steps"] == 7
    assert "from rows of random words, seed 0" in (tmp_path / "Q" / "README.md").read_text()


def test_an_interrupted_move_says_that_nothing_is_kept(
    run_cli, model_folder, task, tmp_path, monkeypatch
) -> None:
    import promptport.moving.front as front

    def stop(*_, **__):
        raise KeyboardInterrupt

    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    monkeypatch.setattr(front, "move_by_answers", stop)
    code, out, err = run_cli(
        *("move", tmp_path / "P", "--to", model_folder("gpt2"), "--task", task),
        *("--out", tmp_path / "Q"),
    )
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == ("interrupted: nothing was saved, the same command begins anew")
    assert not (tmp_path / "Q").exists()


@pytest.mark.long
def test_an_interrupted_alignment_goes_on(
    run_cli, model_folder, task, tmp_path, monkeypatch
) -> None:
    from promptport.distillation import recipes
    from promptport.distillation.trainer import Distillation

    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    move = ("move", tmp_path / "P", "--to", model_folder("t5"), "--task", task, "--rows", 12)
    move = (*move, "--start", "vocabulary", "--steps", 9)
    whole = run_json(run_cli, *move, "--out", tmp_path / "Q", "--json")
    step, taken = Distillation.step, []

    def interrupted(self, rows):
        if self.done == 6 and len(taken) == 6:
            raise KeyboardInterrupt
        taken.append(self.done)
        step(self, rows)

    monkeypatch.setattr(recipes, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(Distillation, "step", interrupted)
    taken.clear()
    code, out, err = run_cli(*move, "--out", tmp_path / "R")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted: the same command goes on from where it was"
    taken.clear()
    again = run_json(run_cli, *move, "--out", tmp_path / "R", "--json")
    assert taken == [6, 7, 8]
    assert again["aligned"] == whole["aligned"]
    assert [p.name for p in (tmp_path / "R").glob(".*")] == []


def test_transfer_has_the_options_of_move() -> None:
    from inspect import signature

    from promptport.cli import move, transfer

    ours = signature(move.command, eval_str=True).parameters
    theirs = signature(transfer.command, eval_str=True).parameters
    assert list(ours) == list(theirs)
    other = [name for name in ours if ours[name] != theirs[name]]
    assert other == ["method"]
    assert theirs["method"].default == "embeddings"


@pytest.mark.long
def test_a_free_prompt_becomes_a_mixture_first_where_the_target_has_tables_alone(
    run_cli, run_printed, model_folder, task, tmp_path
) -> None:
    target = tmp_path / "T"
    copytree(model_folder("t5"), target)
    tables = {k: v for k, v in load_file(target / "model.safetensors").items() if "shared" in k}
    save_file(tables, target / "model.safetensors", metadata={"format": "pt"})
    tune(run_cli, model_folder("bert"), task, tmp_path / "P")
    ask = (tmp_path / "P", "--to", target, "--task", task, "--out", tmp_path / "Q")
    code, out, err = run_cli("move", *ask)
    assert code == 0, err
    first = err.splitlines()[0]
    assert first.startswith(f"road: embeddings, since {target} has the weights of ")
    assert "the free prompt becomes a mixture of words first" in first
    assert "mixture.v1" in out
    assert "0.36" not in err
    code, _, err = run_cli("transfer", *ask)
    assert code == 0
    assert "0.36" in err
    # The command that does better needs no model of the target either.
    hint = err.partition("What does better:\n")[2].splitlines()[0]
    assert "--method" not in hint
    run_printed(hint)
