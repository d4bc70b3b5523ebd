"""The commands as a user types them, on tiny random models and written data."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import yaml
from tests.conftest import CAPITALS


@pytest.fixture
def lama(tmp_path):
    """A folder in the layout of the LAMA data."""
    folder = tmp_path / "lama"
    (folder / "P36").mkdir(parents=True)
    relation = {
        "relation": "P36",
        "label": "capital",
        "template": "The capital of [X] is [Y] .",
        "type": "1-1",
        "paraphrases": [],
    }
    (folder / "relations.jsonl").write_text(json.dumps(relation) + "\n")
    rows = [json.dumps({"subject": s, "object": o}) for s, o in CAPITALS.items()]
    for split in ("train", "dev", "test"):
        (folder / "P36" / f"{split}.jsonl").write_text("\n".join(rows))
    return folder


def _tune(run_cli, model, task_file, out, *more):
    return run_cli(
        "tune",
        "--backbone",
        model,
        "--task",
        task_file,
        "--out",
        out,
        "--epochs",
        2,
        "--length",
        3,
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--json",
        *more,
    )


def test_tune_transfer_eval_as_in_the_issue(run_cli, model_folder, lama, tmp_path) -> None:
    source, target = model_folder("bert"), model_folder("roberta")
    common = ("--task", "lama:P36", "--data", lama)
    code, out, _ = run_cli(
        "tune", "--backbone", source, *common, "--out", tmp_path / "P", "--epochs", 2, "--json"
    )
    assert code == 0
    tuned = json.loads(out)
    assert tuned["prompts"][0]["folder"] == str(tmp_path / "P")
    code, out, _ = run_cli(
        "transfer", tmp_path / "P", "--to", target, "--out", tmp_path / "Q", "--json"
    )
    assert code == 0
    report = json.loads(out)
    assert report["anchors"] >= 32
    assert -1 <= report["matching"] <= 1
    assert report["method"] == "least_squares.v1"
    assert report["magnitude"] == "token"
    assert report["labels_used"] is False
    assert report["seconds"] > 0
    code, out, _ = run_cli("eval", tmp_path / "Q", *common, "--json")
    assert code == 0
    score = json.loads(out)
    assert score["metric"] == "p@1"
    assert score["rows"] == 6
    assert 0 <= score["low"] <= score["value"] <= score["high"] <= 1


@pytest.mark.parametrize("target", ["gpt2", "llama", "t5", "albert"])
def test_an_anchored_prompt_moves_to_every_kind(
    run_cli, model_folder, task_file, tmp_path, target
) -> None:
    assert _tune(run_cli, model_folder("bert"), task_file, tmp_path / "P", "--mixture")[0] == 0
    code, out, _ = run_cli(
        "transfer", tmp_path / "P", "--to", model_folder(target), "--out", tmp_path / "Q", "--json"
    )
    assert code == 0
    report = json.loads(out)
    assert (report["method"], report["magnitude"]) == ("mixture.v1", "keep")
    assert 0 < report["kept_weight"] <= 1
    code, out, _ = run_cli("eval", tmp_path / "Q", "--task", task_file, "--baselines", "--json")
    assert code == 0
    assert set(json.loads(out)["baselines"]) == {"majority", "no prompt", "manual", "random"}


def test_many_prompts_get_a_folder_each(run_cli, model_folder, task_file, tmp_path) -> None:
    code, out, _ = _tune(
        run_cli, model_folder("gpt2"), task_file, tmp_path / "all", "--seed", 1, "--seed", 2
    )
    assert code == 0
    folders = {p["folder"] for p in json.loads(out)["prompts"]}
    assert folders == {str(tmp_path / "all" / f"capitals-seed{i}") for i in (1, 2)}
    assert not list((tmp_path / "all").glob(".tuning*"))


def test_eval_without_a_prompt_scores_the_manual_template(run_cli, model_folder, task_file) -> None:
    code, out, _ = run_cli(
        "eval", "--backbone", model_folder("bert"), "--task", task_file, "--json"
    )
    assert code == 0
    assert json.loads(out)["template"] == "The capital of {subject} is {answer} ."


@pytest.mark.long
def test_inspect_compat_tasks_models(run_cli, model_folder, task_file, tmp_path) -> None:
    _tune(run_cli, model_folder("bert"), task_file, tmp_path / "P", "--mixture")
    code, out, _ = run_cli("inspect", tmp_path / "P", "--json")
    described = json.loads(out)
    assert code == 0
    assert (described["length"], described["width"]) == (3, 32)
    assert len(described["nearest"]) == len(described["mixture"]) == 3
    assert described["provenance"]["task"] == "capitals"
    code, out, _ = run_cli("inspect", model_folder("albert"), "--json")
    assert (json.loads(out)["kind"], json.loads(out)["width"]) == ("masked", 16)
    code, out, _ = run_cli(
        "compat", model_folder("bert"), model_folder("t5"), "--show", 5, "--json"
    )
    assert code == 0
    assert len(json.loads(out)["words"]) == 5
    code, out, _ = run_cli("tasks", "--json")
    assert {"pocket:country-capital"} <= {t["reference"] for t in json.loads(out)["tasks"]}
    code, out, _ = run_cli("models", "--json")
    assert {"nano-bert", "nano-roberta"} <= {b["name"] for b in json.loads(out)["backbones"]}


def test_a_task_without_labels_is_shown(run_cli, tmp_path) -> None:
    task = {
        **{"schema": 1, "name": "mine", "kind": "classification", "metric": "accuracy"},
        "template": "{soft} {text} It was {answer} .",
        "labels": {"good": ["good"], "bad": ["bad"]},
        "data": {"train": "train.jsonl", "test": "test.jsonl"},
    }
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(task))
    (tmp_path / "train.jsonl").write_text('{"text": "a fine day"}\n{"text": "a bad day"}\n')
    (tmp_path / "test.jsonl").write_text('{"text": "a good day", "label": "good"}\n')
    code, out, _ = run_cli("tasks", "show", tmp_path / "mine.yaml", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["rows"] == {"train": 2, "test": 1}
    assert found["without_labels"] == ["train"]
    assert [row["text"] for row in found["examples"]] == ["a fine day", "a bad day"]
    (tmp_path / "train.jsonl").write_text('{"words": "a fine day"}\n')
    code, _, err = run_cli("tasks", "show", tmp_path / "mine.yaml")
    assert (code, err.count("\n")) == (1, 1)
    assert "no 'text'" in err


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments",
    [
        ["models"],
        ["tasks", "show", "country-capital"],
        ["compat", "nano-bert", "nano-roberta"],
        ["inspect", "nano-bert"],
        ["methods"],
    ],
)
def test_tables_for_people(run_cli, arguments) -> None:
    code, out, err = run_cli(*arguments)
    assert code == 0
    assert err == ""
    assert "│" in out


def test_methods_are_listed_as_they_can_be_named(run_cli) -> None:
    found = json.loads(run_cli("methods", "--json")[1])
    assert {"transfer", "magnitude", "merge"} == set(found)
    options = {entry["name"]: entry["options"] for entry in found["transfer"]}
    assert options["gradient.v1"]["steps"] == 2000
    assert {"sum.v1", "concatenate"} <= {entry["name"] for entry in found["merge"]}
    one = json.loads(run_cli("methods", "ties", "--json")[1])
    assert [entry["name"] for entry in one["merge"]] == ["ties.v1"]
    assert set(json.loads(run_cli("methods", "magnitude", "--json")[1])) == {"magnitude"}
    code, _, err = run_cli("methods", "tie")
    assert code == 1
    assert err.count("\n") == 1
    assert "Did you mean 'ties'?" in err


def test_help_needs_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, promptport.cli as c\n"
        "try:\n    c.main(['--help'])\nexcept SystemExit as e:\n    assert not e.code\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'pydantic', 'matplotlib', 'rich'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "transfer" in done.stdout


def test_python_names_are_all_there() -> None:
    import promptport

    for name in promptport.__all__:
        assert getattr(promptport, name) is not None
    assert callable(promptport.transfer)
    assert callable(promptport.evaluate)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = promptport.nothing


@pytest.mark.slow
def test_an_interrupted_command_resumes(model_folder, task_file, tmp_path) -> None:
    """Kill a run from outside; the same command goes on and leaves no state behind."""
    command = [
        sys.executable,
        "-m",
        "promptport.cli",
        "tune",
        "--backbone",
        str(model_folder("bert")),
        "--task",
        str(task_file),
        "--out",
        str(tmp_path / "P"),
        "--epochs",
        "400",
        "--patience",
        "0",
        "--json",
    ]
    state = tmp_path / "P" / ".tuning-state.safetensors"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 120
        while not state.exists() and time.monotonic() < deadline and first.poll() is None:
            time.sleep(0.02)
        first.kill()
    assert state.exists(), "the run ended before it was killed"
    assert not (tmp_path / "P" / "adapter_config.json").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prompts"][0]["epochs"] == 400
    assert not state.exists()


def test_options_of_methods_are_numbers_where_they_look_like_numbers() -> None:
    from promptport.cli.parsing import parse_options

    given = ["ridge=1e-6", "topk=512", "absolute=true", "rule=token", "k=none"]
    wanted = {"ridge": 1e-6, "topk": 512, "absolute": True, "rule": "token", "k": None}
    assert parse_options(given) == wanted


@pytest.mark.parametrize(("name", "template", "said"), [
    ("gpt2", "{subject} {soft} {answer} .", True),
    ("gpt2", "The {subject} {soft} {answer} .", False),
    ("bert", "{subject} {soft} {answer} .", False),
    ("llama", "{subject} {soft} {answer} .", False),
])  # fmt: skip
def test_a_note_where_first_words_are_cut_differently(
    run_cli, model_folder, lama, tmp_path, name, template, said
) -> None:
    data = ("--data", lama, "--template", template, "--epochs", 1)
    code, _, err = run_cli(
        "tune", "--backbone", model_folder(name), "--task", "lama:P36", "--out", tmp_path, *data
    )
    assert code == 0
    assert ("cuts the first word" in err) == said
