"""Few-shot curves: what is tuned, what is kept, and the numbers that come out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from promptport.errors import (
    FileFormatError,
    MismatchError,
    PromptPortError,
    StorageError,
    TaskError,
    TuningError,
)
from promptport.evaluation import evaluate
from promptport.experiments import Curve, Curves, CurvesConfig, few_shot_curves, write_curves
from promptport.experiments.few_shot import curves_of, few_shot_config
from promptport.experiments.few_shot import measuring as room
from promptport.experiments.result_store import ResultStore, packed
from promptport.library import AdaptConfig, adapt, rank
from promptport.library.starts import WAYS, with_few_labels
from promptport.parameters import OriginSpec
from promptport.tasks import Row, Score
from promptport.tuning import TuneJob, random_prompt, start_attention

LENGTH = 2
QUICK = CurvesConfig(rows=(0, 4), starts=("random", "picked"), steps=2)


@pytest.fixture
def model(backbone):
    return backbone("bert")


@pytest.fixture
def task(films):
    """Twelve training rows, six test rows, no dev rows."""
    rows = films.load("train")
    parts = {"train": (*rows, *rows), "test": rows}
    return films.with_rows(**parts)


def prompt(model, seed, *, origin=True, length=LENGTH):
    """Random words, moved away from an origin that all of one length share."""
    start = random_prompt(model, length, 9).vectors
    noise = torch.randn(start.shape, generator=torch.Generator().manual_seed(seed))
    # In a template of its own, which is not that of the new task.
    made = random_prompt(model, length, 0).with_provenance(template="It was {answer} {text} {soft}")
    return replace(made, vectors=start + noise, origin=start if origin else None)


@pytest.fixture
def library(model):
    return {name: prompt(model, seed) for name, seed in (("a", 1), ("b", 2))}


@pytest.fixture
def tuned(monkeypatch):
    """The jobs of every call of tune."""
    calls = []

    def counted(backbone, jobs, config):
        calls.append(jobs)
        return tune(backbone, jobs, config)

    tune = room.tune
    monkeypatch.setattr(room, "tune", counted)
    return calls


@pytest.fixture
def asked(monkeypatch):
    """Vectors and template of every prompt that is scored."""
    calls = []

    def noted(backbone, task, prompt, **options):
        calls.append((prompt.vectors, options["template"].text))
        return evaluate(backbone, task, prompt, **options)

    monkeypatch.setattr(room, "evaluate", noted)
    return calls


def scores(found, start):
    (curve,) = (c for c in found.curves if c.start == start)
    return {count: list(values) for count, values in curve.scores.items()}


def cell(right, chosen=None, metric=True):
    bits = [letter == "1" for letter in right]
    return {
        "score": sum(bits) / len(bits),
        "right": packed(bits) if metric else None,
        "chosen": chosen,
    }


def test_areas_and_differences() -> None:
    cells = {
        "random": {0: [cell("0000")], 5: [cell("1111")]},
        "picked": {0: [cell("1100", "a")], 5: [cell("1111", "b")]},
    }
    (random, picked), over = curves_of(cells, dict.fromkeys(cells, "nothing"), "random")
    assert (random.area, picked.area, picked.gain, picked.ahead) == (0.5, 0.75, 0.25, 1)
    assert random.comparison is None
    assert random.gain is None
    assert over == "test rows"
    assert picked.chosen == {0: ("a",), 5: ("b",)}
    # Per test row 0.5, 0.5, 0, 0: signs of two differences, so p is one half.
    found = picked.comparison
    assert (found.difference.value, found.p, found.pairs) == (0.25, 0.5, 4)
    assert (found.difference.low, found.difference.high) == (0, 0.5)


def test_seeds_share_their_rows() -> None:
    cells = {
        "random": {5: [cell("0" * 40), cell("0" * 40)]},
        "picked": {5: [cell("1" * 20 + "0" * 20), cell("0" * 40)]},
        "ranked": {5: [cell("1" * 40), cell("1" * 40)]},
    }
    curves, over = curves_of(cells, dict.fromkeys(cells, ""), "random")
    _, picked, ranked = curves
    assert over == "seeds and test rows"
    assert picked.scores == {5: (0.5, 0.0)}
    assert picked.means == {5: 0.25}
    assert picked.comparison.pairs == 40
    assert (picked.ahead, ranked.ahead) == (1, 2)
    assert ranked.comparison.difference.value == 1
    # Holm: the smaller p counts twice.
    assert ranked.comparison.adjusted == pytest.approx(2 * ranked.comparison.p)
    # Of two draws one was ahead: the forty rows alone would be sure of it.
    assert picked.comparison.p > 0.2
    assert picked.comparison.difference.low < 0


def test_a_metric_that_is_no_share_of_rows_is_compared_over_seeds() -> None:
    one = {name: {5: [cell(right, metric=False)]} for name, right in (("r", "01"), ("x", "11"))}
    curves, over = curves_of(one, dict.fromkeys(one, ""), "r")
    assert over is None
    assert curves[1].gain == 0.5
    assert curves[1].comparison is None
    two = {name: {5: own[5] * 2} for name, own in one.items()}
    curves, over = curves_of(two, dict.fromkeys(two, ""), "r")
    assert over == "seeds"
    assert (curves[1].comparison.pairs, curves[1].comparison.p) == (2, 0.5)


def summed(*columns, seeds=(0,), over="test rows"):
    """Curves with the right answers of each start to forty rows with every seed."""
    rights = {f"start{i}": "1" * right + "0" * (40 - right) for i, right in enumerate(columns)}
    cells = {n: {5: [cell(r, metric=over == "test rows")] * len(seeds)} for n, r in rights.items()}
    curves, found = curves_of(cells, dict.fromkeys(cells, ""), "start0")
    score = Score("accuracy", 0.2, 0.1, 0.3, 40)
    return Curves("t", "accuracy", (5,), seeds, "start0", curves, score, 40, found)


def test_the_verdict_says_who_leads_and_what_is_not_known() -> None:
    several = summed(20, 40, 0, 21, seeds=(0, 1, 2))
    assert several.verdict == (
        "ahead of start0 beyond noise: start1; behind start0 beyond noise: start2; "
        "level with start0 as far as noise lets tell: start3"
    )
    one = summed(20, 40).verdict
    assert one.startswith("ahead of start0 beyond the noise of the test rows: start1; ")
    assert one.endswith("another draw of the few rows would give: take several")
    assert summed(20, 40, seeds=(0, 1)).verdict.endswith(
        "; two seeds hardly tell how much draws differ: take more"
    )
    assert summed(20, 40, over="seeds").verdict == (
        "accuracy is no share of rows, so with one seed nothing tells a difference from noise: "
        "take several"
    )
    few = summed(20, 40, 30, seeds=(0, 1, 2), over="seeds").verdict
    assert "level with start0" in few
    assert few.endswith("over 3 seeds p cannot go below 0.5: take more")  # two comparisons
    assert "nothing to compare it with" in summed(20).verdict
    untuned = replace(summed(20, 40), rows=(0,))
    ahead = "ahead of start0 beyond the noise of the test rows: start1"
    assert untuned.verdict == ahead, "nothing is drawn"
    words = replace(untuned, curves=(untuned.curves[0], replace(untuned.curves[1], start="random")))
    assert "what another draw of words and texts would give" in words.verdict


@pytest.mark.slow
def test_equal_starts_are_seldom_told_apart_beyond_noise() -> None:
    """Seeds move all rows of a start together: rows alone would call half of these different."""
    rng = np.random.default_rng(0)

    def draws(seeds):
        return [
            cell("".join(map(str, (rng.random(100) < rng.uniform(0.4, 0.8)) * 1)))
            for _ in range(seeds)
        ]

    alarms = 0
    for _ in range(60):
        curves, _ = curves_of({"a": {5: draws(4)}, "b": {5: draws(4)}}, {"a": "", "b": ""}, "a")
        alarms += curves[1].comparison.adjusted <= 0.05
    assert alarms <= 6


@pytest.mark.parametrize(
    ("rows", "steps", "epochs", "size"),
    [(5, 32, 16, 4), (25, 32, 5, 4), (26, 32, 8, 8), (1000, 32, 1, 8), (1, 1, 1, 4)],
)
def test_updates_of_a_few_shot_run(rows, steps, epochs, size) -> None:
    config = few_shot_config(rows, steps)
    assert (config.epochs, config.batch_size, config.patience) == (epochs, size, 0)


def test_text_counts_like_sixteen_labelled_rows(model, library, task) -> None:
    labels = rank(model, library, task, labelled=8)
    fits = {entry.name: entry.measures["fit"] for entry in labels.entries}
    found = with_few_labels({"a": 0.25, "b": 0.5}, labels, 8)
    assert found["a"] == pytest.approx((16 * 0.25 + 8 * fits["a"]) / 24)


def test_without_rows_a_start_is_scored_as_it_is(model, library, task, asked) -> None:
    config = replace(QUICK, rows=(0,), starts=("random", "single", "sum", "attention", "adapt"))
    found = few_shot_curves(model, task, library, config)

    def score(start):
        return evaluate(model, task, start, template=task.template).score.value

    first, second = library.values()
    assert scores(found, "random") == {0: [score(random_prompt(model, LENGTH, 0))]}
    assert scores(found, "single a") == {0: [score(first)]}
    both = first.vectors + second.vectors - first.origin  # on the origin that they share
    assert any(torch.allclose(vectors, both) for vectors, _ in asked)
    assert {template for _, template in asked} == {task.template.text}
    assert scores(found, "sum") == {0: [score(replace(first, vectors=both))]}
    blind = adapt(model, {"a": first, "b": second}, task, config=AdaptConfig(steps=2))
    assert scores(found, "adapt") == {0: [score(blind.prompt)]}
    job = TuneJob(task, OriginSpec("vocabulary", 0), LENGTH)
    heard = start_attention(model, job, [first, second]).evaluate()
    assert scores(found, "attention") == {0: [heard.score.value]}


@pytest.mark.long
@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_every_kind_of_backbone_and_every_start(backbone, task, kind) -> None:
    model = backbone(kind)
    known = {name: prompt(model, seed) for name, seed in (("a", 1), ("b", 2))}
    found = few_shot_curves(model, task, known, replace(QUICK, starts=WAYS))
    names = ["random", "single a", "single b", *WAYS[2:]]
    assert [curve.start for curve in found.curves] == names
    assert all(0 <= mean <= 1 for curve in found.curves for mean in curve.means.values())


@pytest.mark.slow
def test_free_answers_have_curves_of_starts_that_compare_none(backbone, task) -> None:
    model = backbone("t5")
    free = replace(task, kind="text2text", metric="exact-match", labels=None)
    config = replace(QUICK, rows=(2,), starts=("random", "sum"), steps=1)
    found = few_shot_curves(model, free, {"a": prompt(model, 1)}, config)
    assert found.over == "test rows"
    assert [curve.start for curve in found.curves] == ["random", "sum"]


def test_vectors_of_several_origins_stand_on_random_words(model, library, task, asked) -> None:
    a, b = library.values()
    moved = replace(b, origin=b.origin + 1)
    config = replace(QUICK, rows=(0,), starts=("mean",), reference="mean", seeds=(3,))
    few_shot_curves(model, task, {"a": a, "b": moved}, config)
    delta = (a.vectors - a.origin + moved.vectors - moved.origin) / 2
    ((vectors, _),) = asked
    torch.testing.assert_close(vectors, random_prompt(model, LENGTH, 3).vectors + delta)


def test_zero_shot_starts_read_no_labels(model, library, task) -> None:
    starts = ("random", "single", "picked", "ranked", "mean", "attention", "adapt")
    config = replace(QUICK, rows=(0,), starts=starts)
    turned = tuple(
        replace(row, answer="bad" if row.answer == "good" else "good") for row in task.load("train")
    )
    parts = {"train": turned, "test": task.load("test")}
    lies = task.with_rows(**parts)
    told, lied = (few_shot_curves(model, each, library, config) for each in (task, lies))
    assert told.curves == lied.curves
    touched = {curve.start: curve.touched for curve in told.curves}
    assert touched["picked"] == "the text of 12 rows of train, no labels"
    assert touched["ranked"] == "the text of 12 rows of train, and the labels of the few rows"
    assert {touched[name] for name in ("random", "single a", "mean", "attention")} == {"nothing"}


def test_starts_of_one_count_are_tuned_together_and_equal_ones_once(
    model, library, task, tuned
) -> None:
    config = replace(QUICK, starts=("random", "single", "picked", "ranked"), seeds=(0, 1))
    found = few_shot_curves(model, task, library, config, prompts={"c": library["a"]})
    assert [len(jobs) for jobs in tuned] == [3, 3]  # two prompts and random words, per seed
    for jobs in tuned:
        assert len({id(job.task) for job in jobs}) == 1
        few = jobs[0].task
        assert few.load("train") == few.load("dev")
        assert len(few.load("train")) == 4
    (picked,) = (c for c in found.curves if c.start == "picked")
    for count in (0, 4):
        for place, chosen in enumerate(picked.chosen[count]):
            assert picked.scores[count][place] == scores(found, f"single {chosen}")[count][place]
    assert scores(found, "c") == scores(found, "single a")


def test_counts_above_the_rows_are_measured_once(model, library, task, tuned) -> None:
    config = replace(QUICK, rows=(100, 4, 50, 12))
    found = few_shot_curves(model, task, library, config)
    assert found.rows == (4, 12)
    assert found.notes == ("films has 12 training rows: 50, 100 became 12",)
    assert [len(jobs[0].task.load("train")) for jobs in tuned] == [4, 12]
    fewer = few_shot_curves(model, task, library, replace(config, max_train_rows=8))
    assert fewer.rows == (4, 8)


def test_a_second_run_tunes_nothing(model, library, task, tuned, tmp_path) -> None:
    first = few_shot_curves(model, task, library, QUICK, out=tmp_path / "new")
    assert len(tuned) == 1
    assert few_shot_curves(model, task, library, QUICK, out=tmp_path / "new") == first
    assert len(tuned) == 1
    assert few_shot_curves(model, task, library, QUICK) == first  # nothing is rounded on disk
    # More of everything measures only what is new.
    more = replace(QUICK, rows=(0, 4, 6), starts=("random", "picked", "single"), seeds=(0, 1))
    few_shot_curves(model, task, library, more, out=tmp_path / "new")
    sizes = [[len(job.task.load("train")) for job in jobs] for jobs in tuned[2:]]
    assert sizes == [[4], [6, 6, 6], [4, 4, 4], [6, 6, 6]]  # of seed 0, 4 rows: the other prompt


@pytest.mark.long
def test_what_a_cell_depends_on_is_measured_anew(
    model, library, task, tuned, tmp_path, monkeypatch
) -> None:
    given = {"own": prompt(model, 5)}

    def again(library=library, task=task, prompts=given, **changes):
        del tuned[:]
        config = replace(QUICK, rows=(4,), **changes)
        few_shot_curves(model, task, library, config, prompts=prompts, out=tmp_path)
        return sum(map(len, tuned))

    assert again() == 3
    assert again() == 0
    assert again(steps=5) == 3
    other = {"a": library["a"], "b": prompt(model, 7)}
    assert again(other) == 1, "random words and the prompt of its own need no library"
    assert again(prompts={"own": prompt(model, 6)}) == 1
    assert again(task=task.with_template("{soft} {text} {answer} .")) == 3
    rows = {"train": task.load("train")[:-1], "test": task.load("test")}
    assert again(task=task.with_rows(**rows)) == 3
    assert again() == 0, "what was measured before is still known"
    monkeypatch.setattr(type(model), "weights_hash", lambda self: "other")
    assert again() == 3


def test_a_run_goes_on_between_two_cells(
    model, library, task, tuned, tmp_path, monkeypatch
) -> None:
    config = replace(QUICK, starts=("random", "single"), rows=(0, 4))
    whole = few_shot_curves(model, task, library, config)
    del tuned[:]
    add, left = ResultStore.add, [4]

    def killed(self, found, **place):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        add(self, found, **place)

    monkeypatch.setattr(ResultStore, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        few_shot_curves(model, task, library, config, out=tmp_path)
    monkeypatch.setattr(ResultStore, "add", add)
    assert [len(jobs) for jobs in tuned] == [3]
    told = []
    found = few_shot_curves(
        model, task, library, config, out=tmp_path, progress=lambda *where: told.append(where)
    )
    assert [len(jobs) for jobs in tuned] == [3, 2]
    assert [done for done, _, _ in told] == [4, 4, 6]
    assert {total for _, total, _ in told} == {6}
    assert found == whole


def test_starts_that_a_library_cannot_give_are_left_out(model, library, task) -> None:
    bare = {"a": library["a"], "b": prompt(model, 2, origin=False)}
    config = replace(QUICK, rows=(0,), starts=("random", "mean", "sum"))
    found = few_shot_curves(model, task, bare, config)
    assert [c.start for c in found.curves] == ["random"]
    assert found.notes == (
        "left out mean, sum: b without an origin (give it one with vector make, or widen)",
    )
    long = {"a": library["a"], "long": prompt(model, 2, length=3)}
    config = replace(config, starts=("random", "single", "picked", "attention", "sum"))
    found = few_shot_curves(model, task, long, replace(config, rows=(0, 4)))
    assert [c.start for c in found.curves] == ["random", "single a", "single long", "picked"]
    assert found.notes == (
        "left out attention, sum: the library's prompts have 2 and 3 virtual tokens",
    )
    with pytest.raises(PromptPortError, match="reference: expected one of the starts .*'sum', lef"):
        few_shot_curves(model, task, bare, replace(config, starts=("sum",), reference="sum"))


def test_only_training_rows_that_can_be_asked_are_drawn(model, library, capitals) -> None:
    rows = (*capitals.load("train"), Row({"subject": "Oslo"}, "xyz"))
    parts = {"train": rows, "test": rows}
    probe = capitals.with_rows(**parts)
    found = few_shot_curves(model, probe, library, replace(QUICK, rows=(0, 7)))
    assert found.rows == (0, 6)
    assert found.test_rows == 6
    assert found.notes == (
        "left out 1 training rows: their object is several tokens",
        "capitals has 6 training rows: 7 became 6",
        "left out 1 test rows: their object is several tokens",
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": ()}, "rows: expected one number or more, each 0 or more, got ()"),
        ({"rows": (5, -1)}, "rows: expected one number or more, each 0 or more, got (5, -1)"),
        ({"starts": ("luck",)}, "starts: expected some of random, single, .*, each once"),
        ({"starts": ("sum", "sum")}, "starts: .* each once"),
        ({"seeds": ()}, "seeds: expected one seed or more"),
        ({"seeds": (1, 1)}, "seeds: expected one seed or more, each once"),
        ({"seeds": (-1,)}, "seed: expected a number from 0"),
        ({"steps": 0}, "steps: expected 1 or more"),
        ({"max_train_rows": -1}, "max_train_rows: expected 0 or more"),
    ],
)
def test_settings_out_of_their_range(values, message) -> None:
    with pytest.raises(PromptPortError, match=message.replace("(", r"\(").replace(")", r"\)")):
        CurvesConfig(**values)


def test_what_does_not_belong_together_is_refused(
    model, backbone, library, task, films, tmp_path
) -> None:
    def refused(error, match, task=task, library=library, config=QUICK, **more):
        with pytest.raises(error, match=match):
            few_shot_curves(model, task, library, config, **more)

    refused(PromptPortError, "library: expected one prompt or more", library={})
    refused(PromptPortError, "reference: .*random, picked", config=replace(QUICK, reference="b"))
    refused(PromptPortError, "starts: .*got 'mean'. Rename", prompts={"mean": library["a"]})
    single = replace(QUICK, starts=("random", "single"))
    twice = {"single a": library["a"]}
    refused(PromptPortError, "starts: .*got 'single a'", config=single, prompts=twice)
    none = replace(QUICK, starts=())
    refused(PromptPortError, r"reference: expected one of the starts \(none\)", config=none)
    other = replace(library["a"].provenance, fingerprint="0" * 32)
    foreign = replace(library["a"], provenance=other)
    refused(MismatchError, "embedding matrix", library={"a": foreign})
    refused(MismatchError, "embedding matrix", prompts={"x": foreign})
    free = replace(task, kind="text2text", metric="exact-match", labels=None)
    refused(TaskError, "probe or a classification.*Leave out picked: they compare", task=free)
    (tmp_path / "file").write_text("")
    refused(StorageError, "expected a folder that can be written", out=tmp_path / "file")
    (tmp_path / room.CELLS_FILE).write_text("{}\n")
    refused(FileFormatError, "line 1: expected a finished measurement", out=tmp_path)


def test_a_start_that_cannot_be_tuned_is_told(model, library, task, monkeypatch) -> None:
    def failed(backbone, jobs, config):
        found = tune(backbone, jobs, config)
        return [replace(result, prompt=None, error="step 3") for result in found]

    tune = room.tune
    monkeypatch.setattr(room, "tune", failed)
    with pytest.raises(TuningError, match="films, 4 rows: expected a finite loss .* got step 3"):
        few_shot_curves(model, task, library, QUICK)


@pytest.mark.long
def test_curves_are_written_as_json_and_as_a_page(model, library, task, tmp_path) -> None:
    strange = replace(task, name="a<b & c")
    found = few_shot_curves(model, strange, library, QUICK)
    write_curves(found, tmp_path / "out")
    kept = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert kept == json.loads(json.dumps(found.to_dict()))
    assert kept["curves"][1]["means"]["4"] == found.curves[1].means[4]
    page = (tmp_path / "out" / "curves.html").read_text()
    assert "<svg" in page
    assert "a&lt;b &amp; c" in page
    assert "a<b" not in page
    assert f"<p>{found.verdict[0].upper()}{found.verdict[1:]}.</p>" in page
    write_curves(found, tmp_path / "again")
    assert page == (tmp_path / "again" / "curves.html").read_text()
    alone = few_shot_curves(model, task, library, replace(QUICK, rows=(0,), starts=("random",)))
    write_curves(alone, tmp_path / "out")
    assert "nothing to compare it with" in (tmp_path / "out" / "curves.html").read_text()
    write_curves(summed(20, 40), tmp_path / "out")
    assert "<td>&lt;0.001</td>" in (tmp_path / "out" / "curves.html").read_text()


def test_a_curve_without_comparison_is_plain_json() -> None:
    told = Curve("x", "nothing", {0: (0.25, 0.75)}, {}).to_dict()
    assert (told["means"], told["area"], told["comparison"]) == ({0: 0.5}, 0.5, None)
