"""library list, search, report, add, remove, restore, tag, verify and so on, as they are typed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cli.conftest import fails, printed_commands
from tests.unit.catalog.conftest import made, word_mixture

from promptport import Catalog
from promptport.cli.console import tables
from promptport.storage import load_prompt, save_prompt
from promptport.tuning import random_prompt


@pytest.fixture
def lib(tmp_path, monkeypatch):
    """Three prompts of nano-bert in `lib`, one of them deeper."""
    monkeypatch.chdir(tmp_path)
    save_prompt(made(1, task="topic", tuning={"dev_score": 0.75}), "lib/a")
    save_prompt(made(2, task="emotion", tuning={"dev_score": 0.5}), "lib/deep/b")
    save_prompt(made(3, mixture=word_mixture()), "lib/c")
    return Path("lib")


def listed(run_cli, *words):
    code, out, _ = run_cli("library", "list", "lib", "--json", *words)
    assert code == 0
    return [prompt["name"] for prompt in json.loads(out)["prompts"]]


def test_list_filters_and_sorts_as_python_does(run_cli, run_printed, lib) -> None:
    assert listed(run_cli) == ["a", "c", "b"]
    told = json.loads(run_cli("library", "list", "lib", "--json")[1])
    assert told["prompts"] == [entry.to_dict() for entry in Catalog.open("lib").entries]
    assert told["backbones"] == {"nano-bert": ["a", "c", "b"]}
    assert (told["notes"], told["damaged"], told["found"]) == ([], [], 3)
    assert listed(run_cli, "--kind", "mixture") == ["c"]
    assert listed(run_cli, "--min-score", 0.6) == ["a"]
    assert listed(run_cli, "--since", "2999-01-01") == []
    assert listed(run_cli, "--sort", "score") == ["a", "b", "c"]
    assert listed(run_cli, "--sort", "name", "--reverse", "--limit", 2) == ["c", "b"]
    run_printed(run_cli("library", "tag", "a", "lib", "--add", "good one")[2])
    assert listed(run_cli, "--tag", "good one") == ["a"]
    code, out, err = run_cli("library", "list", "lib", "--sort", "score", "--limit", 1)
    assert (code, err) == (0, "")
    assert "good one" in out
    assert "2 more are not shown (--limit)." in out
    out = run_cli("library", "list", "lib", "--tag", "no", "--kind", "free")[1]
    assert out == (
        "No prompt of kind free and tag no. Tasks: topic, not known, emotion. "
        "Backbones: nano-bert.\n"
    )
    fails(run_cli("library", "list", "lib", "--reverse"), "--reverse: expected --sort with it")
    fails(run_cli("library", "list", "lib", "--kind", "fre"), "Did you mean 'free'")
    fails(run_cli("library", "list", "lib", "--since", "now"), "since: expected a day")


def test_a_hint_runs_or_is_not_given(run_cli, run_printed, lib) -> None:
    (command,) = printed_commands(run_cli("library", "list", "lib")[2])
    told = json.loads(run_cli(*command, "--json")[1])
    assert told["names"] == listed(run_cli), "also those that lie deep"
    Path("lib/c/promptport.json").write_text("{")
    assert "similarity" not in run_cli("library", "list", "lib")[2], "it refuses damaged ones"


def test_show_tells_all_and_what_to_do_next(run_cli, run_printed, lib) -> None:
    save_prompt(made(5, history=({"step": "align", "rows": 8},)), "lib/d")
    code, out, err = run_cli("library", "show", "d", "lib")
    assert code == 0
    assert "Aligned: learned the answers of its source" in out
    assert "2 x 4" in out
    assert ["library", "tag", "d", "lib", "--add", "good"] in printed_commands(err)
    assert "a, b, c, d" in run_cli("library", "show", "c", "lib")[1]
    told = json.loads(run_cli("library", "show", "b", "lib", "--json")[1])
    assert told["provenance"] == load_prompt("lib/deep/b").provenance.to_dict() | {"history": []}
    fails(run_cli("library", "show", "dd", "lib"), "Did you mean 'd'?")
    Path("lib/a/promptport.json").write_text("{")
    code, out, err = run_cli("library", "show", "a", "lib")
    assert (code, out) == (0, "")
    assert err.startswith("note: damaged: lib/a/promptport.json: expected a JSON object")


def test_a_prompt_goes_in_out_and_back(run_cli, run_printed, lib) -> None:
    save_prompt(made(1, task="topic"), "mine")
    code, out, err = run_cli("library", "add", "mine", "lib")
    assert (code, out) == (0, "")
    assert "note: the same values are there as a" in err
    run_printed(err)
    before = {file: file.read_bytes() for file in Path("lib/mine").iterdir()}
    assert run_cli("library", "add", "mine", "lib")[0] == 0  # the same once more: nothing to do
    assert {file: file.read_bytes() for file in Path("lib/mine").iterdir()} == before
    save_prompt(made(2, task="topic"), "other/mine")
    fails(run_cli("library", "add", "other/mine", "lib"), "one that is free in lib", "--name")
    code, out, err = run_cli("library", "remove", "mine", "lib")
    assert (code, out) == (0, "")
    assert not Path("lib/mine").exists()
    run_printed(err)
    assert listed(run_cli) == ["a", "c", "b", "mine"]
    fails(run_cli("library", "restore", "mine", "lib"), "got an empty trash")
    told = json.loads(run_cli("library", "remove", "mine", "lib", "--json")[1])
    assert Path(told["trash"]).is_dir()
    fails(run_cli("library", "remove", "mine", "lib"), "the name of one of its prompts")
    fails(run_cli("library", "remove", "a", "lib/a"), "a prompt folder itself")
    fails(run_cli("library", "remove", "a", "nowhere"), "got no such folder")


def test_the_trash_is_emptied_when_it_is_said(run_cli, run_printed, lib) -> None:
    assert run_cli("library", "empty-trash", "lib")[:2] == (0, "Nothing to delete.\n")
    run_cli("library", "remove", "a", "lib")
    assert run_cli("library", "empty-trash", "lib", "--older-than", "1")[1] == (
        "Nothing to delete.\n"
    )
    code, out, err = run_cli("library", "empty-trash", "lib", "--dry-run")
    assert (code, "would be deleted" in out) == (0, True)
    assert len(list(Path("lib/.trash").iterdir())) == 1
    run_printed(err)
    assert list(Path("lib/.trash").iterdir()) == []
    run_cli("library", "remove", "b", "lib")
    told = json.loads(run_cli("library", "empty-trash", "lib", "--json")[1])
    assert [gone["place"] for gone in told["deleted"]] == ["deep/b"]
    fails(run_cli("library", "restore", "b", "lib"), "got an empty trash")
    fails(run_cli("library", "empty-trash", "lib", "--older-than", "-1"), "days, 0 or more")
    fails(run_cli("library", "empty-trash", "nowhere"), "got no such folder")


def test_equal_prompts_are_told_then_removed(run_cli, run_printed, lib) -> None:
    assert run_cli("library", "dedupe", "lib")[1] == "No two prompts are equal.\n"
    shutil.copytree("lib/a", "lib/again")
    out = run_cli("library", "dedupe", "lib", "--json")[1]
    told = json.loads(out)
    assert told["removed"] is False
    assert {told["equal"][0]["oldest"], *told["equal"][0]["others"]} == {"a", "again"}
    (removed,) = run_printed(run_cli("library", "dedupe", "lib")[2])
    assert len(listed(run_cli)) == 3
    run_printed(removed[2])
    assert len(listed(run_cli)) == 4


@pytest.mark.long
def test_verify_ends_with_1_and_changes_nothing(run_cli, run_printed, lib) -> None:
    code, out, err = run_cli("library", "verify", "lib")
    assert (code, err) == (0, "")
    assert "3 looked at; 0 wrong." in out
    weights = Path("lib/a/adapter_model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    code, out, err = run_cli("library", "verify", "lib")
    assert code == 1
    assert "a: lib/a/adapter_model.safetensors: expected the values that were saved" in out
    run_printed(err)
    Path("lib/c/adapter_config.json").write_text("")
    told = run_cli("library", "verify", "lib", "--json")
    assert told[0] == 1
    assert [wrong["name"] for wrong in json.loads(told[1])["wrong"]] == ["c"]


def test_names_that_are_no_text_are_shown_as_escapes(run_cli, lib) -> None:
    shutil.copytree("lib/a", "lib/\x1b[2J\nx")
    code, out, _ = run_cli("library", "list", "lib")
    assert code == 0
    assert "\x1b" not in out
    assert r"\x1b[2J\nx" in out
    assert "\x1b[2J\nx" in listed(run_cli)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_peft_loads_a_folder_with_tags(run_cli, backbone, model_folder, tmp_path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from promptport.tuning import random_prompt

    prompt = random_prompt(backbone("gpt2"), 2, 0)
    save_prompt(prompt, tmp_path / "lib/p")
    assert run_cli("library", "tag", "p", tmp_path / "lib", "--add", "good")[0] == 0
    base = AutoModelForCausalLM.from_pretrained(model_folder("gpt2"))
    model = PeftModel.from_pretrained(base, tmp_path / "lib/p")
    assert model.active_peft_config.num_virtual_tokens == 2
    assert load_prompt(tmp_path / "lib/p") == prompt


def test_a_long_table_is_written_as_a_short_one(monkeypatch, capsys) -> None:
    rows = [["a/b c", 1, 0.5, None], ["ünï 漢字", 20, float("nan"), True], ["", 3, 1.0, ["x", "y"]]]
    rows += [[f"a-name-that-is-long/{i} and folded/in several/lines" * 3, i, i / 7, "x y" * 30]
             for i in range(4)]  # fmt: skip
    for width in (140, 100, 60):
        for title in ("a title of some words", ""):
            for columns in (["name", "n", "a long heading of words", "more"], [""] * 4):
                monkeypatch.setattr(tables, "_PIPE_WIDTH", width)
                monkeypatch.setattr(tables, "_MANY", 200)
                tables.show_table(title, columns, rows)
                by_rich = capsys.readouterr().out
                monkeypatch.setattr(tables, "_MANY", 0)
                tables.show_table(title, columns, rows)
                assert capsys.readouterr().out == by_rich


@pytest.fixture
def strong(backbone, tmp_path, monkeypatch):
    """A library of four prompts of a tiny model that stands in a folder, and a task file."""
    monkeypatch.chdir(tmp_path)
    model = backbone("bert")
    for seed in range(4):
        start = random_prompt(model, 2, seed)
        loud = replace(start, vectors=start.vectors * 4).with_provenance(task="topic")
        save_prompt(loud, Path("lib") / f"p{seed}")
    Path("new.yaml").write_text(
        "schema: 1\nname: new\nkind: classification\nmetric: accuracy\n"
        "template: '{text} {soft} {answer} .'\nlabels:\n  good: [good]\n  bad: [bad]\n"
        "data:\n  train: rows.jsonl\n"
    )
    texts = ("a great film", "a bad story", "the old river", "red and blue")
    rows = [json.dumps({"text": text, "label": "good"}) for text in texts]
    Path("rows.jsonl").write_text("\n".join(rows))
    return model


def test_search_by_a_task(run_cli, strong) -> None:
    code, out, err = run_cli("library", "search", "lib", "--task", "new.yaml", "--shortlist", "2")
    assert code == 0, err
    assert "Asked now: 6; kept from earlier searches: 0." in out
    tune = printed_commands(err)[-1]
    assert tune[:2] == ["tune", "--backbone"]
    asked = ("library", "search", "topic", "lib", "--task", "new.yaml", "--shortlist", "2")
    told = json.loads(run_cli(*asked, "--json")[1])
    assert (told["asked"], told["reused"], told["texts"]) == (0, 6, 4)
    assert [own["by"] for own in told["entries"]] == ["texts"] * 2 + ["probes"] * 2
    assert tune[tune.index("--origin") + 1] == f"lib/{told['best']}"
    told = json.loads(run_cli("library", "search", "p2", "lib", "--task", "new.yaml", "--json")[1])
    assert [own["name"] for own in told["entries"]] == ["p2"], "words narrow what is ranked"
    assert (
        "No prompt holds 'zebra'"
        in run_cli("library", "search", "zebra", "lib", "--task", "new.yaml")[1]
    )


def test_search_refuses_in_a_line(run_cli, strong) -> None:
    fails(run_cli("library", "search", "lib"), "search: expected words and the folder")
    fails(run_cli("library", "search", "a", "lib", "--rows", "3"), "expected --task with it")
    fails(run_cli("library", "search", "lib", "--task", "no.yaml"), "no.yaml")
    save_prompt(made(1, length=2), "lib/other")
    fails(run_cli("library", "search", "lib", "--task", "new.yaml"), "prompts of one backbone")


def test_search_of_what_prompts_read_like(run_cli, strong) -> None:
    river = strong.space.rows([strong.space.words["river"]] * 2)
    save_prompt(replace(random_prompt(strong, 2, 9), vectors=river), "lib/q")
    assert "No prompt holds 'river'" in run_cli("library", "search", "river", "lib")[1]
    told = json.loads(run_cli("library", "search", "river", "lib", "--near", "--json")[1])
    found = {hit["name"]: hit["where"] for hit in told["hits"]}
    assert found["q"] == {"near words": ["river"]}


def test_a_report_is_written_and_written_again(run_cli, strong) -> None:
    assert run_cli("library", "report", "lib", "--out", "lib.html")[:2] == (0, "")
    first = Path("lib.html").read_text()
    assert first.count("<details") == 4
    told = json.loads(
        run_cli("library", "report", "lib", "--out", "lib.html", "--limit", "2", "--json")[1]
    )
    assert (told["prompts"], told["found"]) == (2, 4)
    assert told["notes"] == ["2 more prompts are not shown"]
    assert Path("lib.html").read_text().count("<details") == 2
    Path("mine.html").write_text("<p>mine</p>")
    fails(run_cli("library", "report", "lib", "--out", "mine.html"), "mine.html")
    fails(run_cli("library", "report", "lib", "--out", "x.html", "--task", "no"), "none that fits")
