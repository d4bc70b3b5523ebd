"""What the pages show of a prompt, without loading it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from promptport.app.facts import fitting, free_name, one_model, text_fields
from promptport.app.filters import Filters
from promptport.catalog import Catalog
from promptport.catalog.showing import curve_of, history_sentences, score_facts
from promptport.catalog.tags import write_tags
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt
from promptport.tuning.runs import written_curve

TUNED = {
    "dev_score": 0.75,
    "dev_rows": 64,
    "metric": "accuracy",
    "steps": 40,
    "train_rows": 200,
    "best_epoch": 2,
    "curve": [[1, 0.9, 0.8, 0.5], [2, 0.5, 0.6, 0.75], [3, 0.4, 0.7, 0.7]],
}


def made(length=2, width=4, seed=0, **provenance):
    vectors = torch.randn(length, width, generator=torch.Generator().manual_seed(seed))
    source = {"backbone": "nano-bert", "template": "{soft} {text} {answer}", "task": "sentiment"}
    return SoftPrompt(vectors, Provenance(**{**source, **provenance}), vectors.clone())


@pytest.fixture
def catalog(tmp_path):
    place = tmp_path / "lib"
    save_prompt(made(tuning=TUNED, origin={"kind": "vocabulary", "seed": 3}), place / "warm")
    save_prompt(made(seed=1, task="topic"), place / "news")
    save_prompt(made(seed=2, length=3, tuning={"dev_score": 0.5}), place / "long")
    save_prompt(made(seed=3, width=6, backbone="nano-gpt2"), place / "<img src=x>")
    write_tags(place / "news", ["good"])
    return Catalog.open(place, index=False)


def test_a_score_has_the_interval_of_its_rows(catalog) -> None:
    (fact,) = score_facts(catalog.show("warm"))
    assert (fact.value, fact.rows, fact.metric) == (0.75, 64, "accuracy")
    assert fact.low == pytest.approx(0.6318, abs=1e-3)  # Wilson, 48 of 64
    assert fact.high == pytest.approx(0.8399, abs=1e-3)
    assert fact.text == "0.75 (0.63 to 0.84), accuracy on 64 dev rows"


def test_without_rows_there_is_no_interval_and_without_a_score_no_fact(catalog) -> None:
    (fact,) = score_facts(catalog.show("long"))
    assert (fact.low, fact.text) == (None, "0.50, score on dev rows")
    assert score_facts(catalog.show("news")) == []


def test_a_moved_prompt_has_the_score_and_the_curve_of_its_source(tmp_path) -> None:
    step = {"step": "begin", "source": "nano-bert", "target": "nano-gpt2", "tuning": TUNED}
    save_prompt(made(backbone="nano-gpt2", history=(step,)), tmp_path / "lib" / "moved")
    entry = Catalog.open(tmp_path / "lib", index=False).show("moved")
    assert [fact.whose for fact in score_facts(entry)] == ["before, on nano-bert"]
    assert curve_of(entry).dev == (0.8, 0.6, 0.7)
    assert history_sentences(entry)[0].startswith("Begun anew on nano-gpt2")


def test_history_begins_with_the_tuning(catalog) -> None:
    assert history_sentences(catalog.show("warm")) == [
        "Tuned on nano-bert for the task sentiment, from rows of random words, seed 3: 40 updates "
        "on 200 labelled rows."
    ]


def test_a_curve_is_read_back_as_it_was_written(catalog) -> None:
    curve = curve_of(catalog.show("warm"))
    assert (curve.epochs, curve.train, curve.best) == ((1, 2, 3), (0.9, 0.5, 0.4), 2)
    assert curve_of(catalog.show("long")) is None


@pytest.mark.parametrize(
    "curve",
    [7, [[1, 2, 3, 4]], [[1, 2, 3], [4, 5, 6]], [["<b>", 1, 1, 1]] * 2, [[1, 1, 1, 1e99]] * 2],
)
def test_a_curve_of_another_form_is_none(tmp_path, curve) -> None:
    save_prompt(made(tuning={"curve": curve}), tmp_path / "lib" / "a")
    assert curve_of(Catalog.open(tmp_path / "lib", index=False).show("a")) is None


def test_a_long_curve_is_thinned_with_both_ends_and_what_is_not_finite_is_left_out() -> None:
    kept = written_curve([(1 / (i + 1), 2.0, i / 200) for i in range(200)])
    assert len(kept) == 40
    assert (kept[0], kept[-1]) == ([1, 1.0, 2.0, 0.0], [200, 0.005, 2.0, 0.995])
    assert written_curve([(1.0, 2.0, 0.5), (float("nan"), float("inf"), 0.5)]) == [
        [1, 1.0, 2.0, 0.5]
    ]
    assert written_curve([]) == []


def test_prompts_of_one_model_and_one_length_fit(catalog) -> None:
    warm = catalog.show("warm")
    assert [entry.name for entry in fitting(catalog, warm)] == ["news"]
    assert one_model(catalog, [warm, catalog.show("long")])
    assert not one_model(catalog, [warm, catalog.show("<img src=x>")])


def test_fields_of_all_templates_are_asked_once(tmp_path) -> None:
    pair = "{soft} {premise} {hypothesis} {answer}"
    save_prompt(made(template=pair, task="entailment"), tmp_path / "lib" / "pair")
    save_prompt(made(), tmp_path / "lib" / "one")
    entries = Catalog.open(tmp_path / "lib", index=False).sort("name").entries
    assert text_fields(entries) == ["text", "premise", "hypothesis"]
    assert text_fields([]) == ["text"]


def test_a_free_name_has_no_slash_and_is_not_taken(catalog) -> None:
    assert free_name(catalog, "warm") == "warm-2"
    assert free_name(catalog, "../a/b") == "a-b"
    assert free_name(catalog, "...") == "prompt"


def test_filters_search_narrow_and_sort(catalog) -> None:
    def names(**given):
        return [entry.name for entry in Filters(**given).apply(catalog)]

    assert names(q="topic") == ["news"]
    assert names(q="img src") == ["<img src=x>"]
    assert names(q="  ") == names()
    assert names(q="?!") == []
    assert names(task="sentiment", model="nano-bert", sort="score") == ["warm", "long"]
    assert names(task="sentiment", model="nano-bert", sort="-score") == ["long", "warm"]
    assert names(label="good") == ["news"]
    assert names(kind="mixture") == []
    assert names(kind="<script>", sort="<script>") == names()  # of a broken address


def test_the_server_of_the_page_reads_a_library_without_torch() -> None:
    code = (
        "import sys; import promptport.app.facts, promptport.app.filters, promptport.app.guard,"
        " promptport.app.jobs, promptport.app.running, promptport.app.state;"
        "print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
