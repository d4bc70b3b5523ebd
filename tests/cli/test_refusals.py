"""What a user should be told before anything is lost or left without effect."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from tests.cli.conftest import fails
from tests.cli.test_bad_input import prompt  # noqa: F401
from tests.conftest import CAPITALS

from promptport.storage import load_prompt, save_prompt


@pytest.mark.parametrize(
    "command",
    [
        ("transfer", "--to", "nano-t5"),
        ("move", "--to", "nano-t5", "--task", "plural"),
        ("move", "--only", "mixture", "--task", "plural"),
        ("move", "--only", "align", "--start", "P", "--task", "plural"),
    ],
)
def test_a_source_is_not_overwritten(run_cli, prompt, tmp_path, command) -> None:  # noqa: F811
    before = load_prompt(prompt).vectors
    fails(run_cli(command[0], prompt, *command[1:], "--out", prompt), "--out: expected another")
    assert load_prompt(prompt).vectors.equal(before)


def test_a_part_of_a_combination_is_not_overwritten(run_cli, prompt) -> None:  # noqa: F811
    load = ("--load", f"a={prompt}")
    fails(
        run_cli("vector", "combine", "a", *load, "--out", prompt), "--out: expected another folder"
    )


def test_options_that_nothing_reads(run_cli, prompt, tmp_path) -> None:  # noqa: F811
    out = ("--out", tmp_path / "Q")
    fails(
        run_cli("transfer", prompt, "--to", "nano-t5", "--by", "labels", *out),
        "--by: expected --try",
    )
    load = ("--load", f"a={prompt}")
    fails(
        run_cli("vector", "combine", "a", *load, "--task", "plural", *out),
        "--task: expected --search or --distill with it",
    )
    fails(
        run_cli("vector", "combine", "a", *load, "--texts", "words", *out),
        "--texts: expected --distill with it",
    )
    fails(
        run_cli("vector", "combine", "a", *load, "--steps", 9, *out),
        "--steps: expected --distill with it",
    )
    fails(
        run_cli("vector", "combine", "a", *load, "--max-dev-rows", 4, *out),
        "--max-dev-rows: expected --search with it",
    )
    tune = ("tune", "--backbone", "nano-bert", "--task", "plural", *out)
    fails(run_cli(*tune, "--together", "one"), "--together: expected two tasks or more")
    fails(run_cli(*tune, "--mixture", "--origin", "vocabulary"), "expected no --origin with it")
    fails(run_cli("compat", "nano-bert"), "backbones: expected two or more")
    assert not (tmp_path / "Q").exists()


def test_a_slip_of_the_pen_does_not_ask_the_network(run_cli) -> None:
    fails(run_cli("inspect", "nano-brt"), "Did you mean 'nano-bert'?")


def test_a_prompt_without_template_is_told_where_it_stands(
    run_cli,
    prompt,  # noqa: F811
    task_file,
    tmp_path,
) -> None:
    from dataclasses import replace

    found = load_prompt(prompt)
    bare = replace(found, provenance=replace(found.provenance, template=None))
    save_prompt(bare, tmp_path / "bare")
    asked = ("--task", task_file, "--json")
    code, _, err = run_cli("eval", tmp_path / "bare", *asked)
    assert code == 0
    assert "names no template" in err
    assert "names no template" not in run_cli("eval", prompt, *asked)[2]


def test_a_cue_word_on_transfer(run_cli, prompt, model_folder, tmp_path) -> None:  # noqa: F811
    to = ("--to", model_folder("gpt2"), "--out", tmp_path / "Q")
    assert run_cli("transfer", prompt, *to, "--cue-word", "is", "--json")[0] == 0
    assert load_prompt(tmp_path / "Q").provenance.template == "{subject} {soft} is {answer} ."


@pytest.mark.long
def test_a_chosen_cue_word_needs_a_task_and_is_told(
    run_cli,
    prompt,  # noqa: F811
    model_folder,
    task_file,
    tmp_path,
) -> None:
    ask = ("transfer", prompt, "--to", model_folder("gpt2"), "--cue-word", "choose")
    fails(run_cli(*ask, "--out", tmp_path / "Q"), "--cue-word choose: expected --task with it")
    assert not (tmp_path / "Q").exists()
    bare = "\n".join(json.dumps({"subject": subject}) for subject in CAPITALS)
    (tmp_path / "bare.jsonl").write_text(bare)
    described = yaml.safe_load(task_file.read_text())
    task_file.write_text(yaml.safe_dump({**described, "data": {"train": "bare.jsonl"}}))
    code, out, err = run_cli(*ask, "--out", tmp_path / "Q", "--task", task_file, "--json")
    assert code == 0, "unlabelled rows will do"
    assert "score" not in json.loads(out)
    told = err.partition("cue word, in front of the answer: ")[2].split()[0]
    found = load_prompt(tmp_path / "Q").provenance
    middle = "" if told == "none" else f" {told}"
    assert found.template == f"{{subject}} {{soft}}{middle} {{answer}} ."
    assert [e.get("word") for e in found.history][-1] == (None if told == "none" else told)


def test_the_package_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "promptport", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("promptport ")


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        (("tune", "--lenght", 3), ("--lenght", "--length")),
        (("tune", "--length", "abc"), ("--length", "integer")),
        (("inspect", "--top", 0, "nano-bert"), ("--top", "equal to 1")),
        (("tune",), ("Missing option",)),
        (("tun",), ("No such command 'tun'",)),
    ],
)
def test_wrong_usage_is_one_line(run_cli, command, parts) -> None:
    code, out, err = run_cli(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert "--help." in err
    assert all(part in err for part in parts), err


def test_help_and_version_end_well(run_cli) -> None:
    code, out, _ = run_cli("tune", "--help")
    assert code == 0
    assert "--backbone" in out
    assert run_cli("--version")[0] == 0


def test_a_task_that_is_not_the_prompt_s_own_is_noted(
    run_cli,
    prompt,  # noqa: F811
    task_file,
    tmp_path,
) -> None:
    out = ("--rows", 12, "--out", tmp_path / "Q")
    _, _, err = run_cli("move", prompt, "--only", "mixture", "--task", "plural", *out)
    assert "note: the prompt was made for capitals, --task is plural" in err
    err = run_cli("move", prompt, "--only", "mixture", "--task", task_file, *out)[2]
    assert "note:" not in err


def test_a_vector_folder_or_a_file_in_place_of_a_prompt(run_cli, prompt, tmp_path) -> None:  # noqa: F811
    from promptport.storage import save_vector
    from promptport.vector import TaskPromptVector

    found = load_prompt(prompt)
    vector, file = tmp_path / "V", tmp_path / "heat.html"
    save_vector(TaskPromptVector(found.vectors, found.provenance, {"a": 1}), vector)
    file.write_text("<html>")
    said = (
        f"got a vector folder. Put it on an origin: promptport vector combine a --load a={vector} "
    )
    for command in (
        ("vector", "make", vector),
        ("vector", "widen", vector, "--out", tmp_path / "Q"),
        ("eval", vector, "--task", "plural"),
    ):
        fails(run_cli(*command), said)
    fails(run_cli("library", "rank", file, "--task", "plural"), "heat.html: expected", "got a file")
    fails(run_cli("vector", "make", file), "got a file")
    fails(
        run_cli("vector", "combine", "a", "--load", f"a={file}", "--out", tmp_path / "Q"),
        "got a file",
    )


SEEDED = (
    *("tune", "import", "demo", "move", "transfer"),
    *("library rank", "library adapt", "library forecast"),
    *("vector check", "vector combine", "vector widen"),
)


@pytest.mark.parametrize("command", SEEDED)
def test_every_seed_has_its_range(run_cli, command) -> None:
    code, out, err = run_cli(*command.split(), "--seed", 2**64)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'--seed'" in err
    assert "4294967295" in err


def test_the_seed_of_an_origin_has_the_same_range(run_cli, prompt, task_file, tmp_path) -> None:  # noqa: F811
    out = ("--origin", "seed:9" + "0" * 30, "--out", tmp_path / "Q")
    for command in (
        ("tune", "--backbone", "nano-bert", "--task", "plural"),
        ("vector", "make", prompt),
        ("vector", "widen", prompt, "--task", task_file),
    ):
        fails(run_cli(*command, *out), "seed: expected a number from 0 to 4294967295, got 9000")


def test_groups_of_tasks(run_cli, tmp_path) -> None:
    """A group is taken apart where prompts are tuned, and is no task elsewhere."""
    tuning = ("tune", "--backbone", "nano-bert", "--out", tmp_path / "P")
    fails(run_cli(*tuning, "--task", "glue:*"), "group 'glue:*': expected one that begins with")
    fails(run_cli(*tuning, "--task", "lama:*"), "Give --data FOLDER with relations.jsonl")
    fails(run_cli("tasks", "show", "pocket:*"), "task 'pocket:*': expected one task, got a group")
