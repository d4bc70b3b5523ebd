"""Metrics of written answers, against the libraries' own calls and cases worked out by hand."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from promptport.errors import TaskError
from promptport.tasks import MemorySource, Row, Task, Template, bootstrap_score, majority_score
from promptport.tasks.text_metrics import TEXT_METRICS, token_f1

GOLD = [
    "The cat sat on the mat.",
    "Anna works as a doctor in Rome.",
    "2021-03-03",
    "a red stone and a blue bird",
    "Bonjour tout le monde",
]
SAID = [
    "the cat sat on a mat",
    "Anna works as a nurse in Rome.",
    "2021-03-04",
    "",
    "Bonjour le monde",
]


def test_token_f1_by_hand() -> None:
    assert token_f1("The cat!", "a cat") == 1.0, "articles, case and punctuation do not count"
    assert token_f1("red stone", "red bird stone stone") == pytest.approx(2 * 2 / (2 + 4))
    assert token_f1("red", "blue") == 0.0
    assert token_f1("the", "a") == 1.0, "nothing is left of both"
    assert token_f1("", "red") == 0.0
    found = bootstrap_score("token-f1", GOLD, SAID)
    by_hand = [1.0, 10 / 12, 0.0, 0.0, 2 * 3 / 7]
    assert found.value == pytest.approx(np.mean(by_hand))


@pytest.mark.long
@pytest.mark.parametrize("name", ["rouge-1", "rouge-2", "rouge-l"])
def test_rouge_is_the_mean_of_the_librarys(name) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    key = name.replace("rouge-l", "rougeL").replace("-", "")
    scorer = RougeScorer([key])
    theirs = [scorer.score(g, p)[key].fmeasure for g, p in zip(GOLD, SAID, strict=True)]
    assert bootstrap_score(name, GOLD, SAID).value == pytest.approx(np.mean(theirs))


def test_chrf_and_bleu_are_the_librarys_values_of_the_corpus() -> None:
    from sacrebleu.metrics import BLEU, CHRF

    chrf, bleu = (m.corpus_score(SAID, [GOLD]).score / 100 for m in (CHRF(), BLEU()))
    assert 0.3 < chrf < 1
    assert 0.2 < bleu < 1
    assert bootstrap_score("chrf", GOLD, SAID).value == pytest.approx(chrf)
    assert bootstrap_score("bleu", GOLD, SAID).value == pytest.approx(bleu)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_a_resample_is_the_metric_of_the_rows_that_were_drawn(name) -> None:
    counts = np.random.default_rng(7).multinomial(5, np.full(5, 0.2))
    drawn = [i for i, count in enumerate(counts) for _ in range(count)]
    assert len(set(drawn)) < 5
    again = bootstrap_score(name, [GOLD[i] for i in drawn], [SAID[i] for i in drawn]).value
    one = bootstrap_score(name, GOLD, SAID, seed=7, resamples=1)
    assert one.low == one.high == pytest.approx(again)


@pytest.mark.parametrize("name", TEXT_METRICS)
def test_the_same_text_scores_one_and_no_text_zero(name) -> None:
    texts = [text for text in GOLD if len(text.split()) > 3]
    same = bootstrap_score(name, texts, texts, resamples=20)
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1))
    none = bootstrap_score(name, texts, [""] * len(texts), resamples=20)
    assert (none.value, none.low, none.high) == (0, 0, 0)


def test_intervals_hold_the_value() -> None:
    for name in TEXT_METRICS:
        score = bootstrap_score(name, GOLD * 10, SAID * 10)
        assert score.low < score.value < score.high, name


def test_no_warning_of_points_that_stand_apart(caplog) -> None:
    texts = ["It was good ."] * 200
    assert bootstrap_score("bleu", texts, texts, resamples=2).value == pytest.approx(1)
    assert not caplog.records


def test_the_most_frequent_answer_is_scored() -> None:
    score = majority_score("token-f1", ["red stone", "red stone", "bird"], ["red", "red stone"])
    assert score.value == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("metric", "package"),
    [("rouge-l", "rouge-score"), ("rouge-1", "rouge-score"), ("chrf", "sacrebleu")],
)
def test_a_missing_package_is_one_line(monkeypatch, metric, package) -> None:
    monkeypatch.setattr("promptport.tasks.text_metrics.find_spec", lambda _name: None)
    line = f"expected the package {package}, got none. Run: pip install 'promptport\\[metrics\\]'"
    with pytest.raises(TaskError, match=line):
        bootstrap_score(metric, GOLD, SAID)
    with pytest.raises(TaskError, match=line):
        _task("exact-match").check_also(metric)
    assert bootstrap_score("token-f1", GOLD, SAID).value > 0
    assert importlib.util.find_spec("sacrebleu") is not None


def _task(metric: str, kind: str = "text2text") -> Task:
    labels = {"1": ("one",), "2": ("two",)} if kind == "classification" else None
    source = MemorySource({"test": (Row({"text": "a dog"}, "1"),)})
    template = Template.parse("{soft} {text} {answer}")
    return Task("t", kind, template, metric, labels=labels, source=source)


def test_other_metrics_must_suit_the_task() -> None:
    for metric in TEXT_METRICS:
        _task("exact-match").check_also(metric)
        assert _task(metric).metric == metric
    with pytest.raises(TaskError, match="metric: expected one of exact-match, token-f1"):
        _task("exact-match").check_also("accuracy")
    with pytest.raises(TaskError, match="metric: expected one of pearson, spearman"):
        _task("pearson", "classification").check_also("accuracy")
    with pytest.raises(TaskError, match="metric: expected one of accuracy, macro-f1, matthews"):
        _task("accuracy", "classification").check_also("spearman")
    with pytest.raises(TaskError, match="expected one of accuracy"):
        _task("chrf", "classification")
