"""A template with its label prior taken off, by hand and on embedded models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.backbone import Backbone
from promptport.evaluation import evaluate
from promptport.objective import Objective
from promptport.tasks import Row, open_task
from promptport.tuning import TuneConfig, baselines, score_baselines
from promptport.tuning.baselines import dev_baselines, manual_scores
from promptport.tuning.label_prior import (
    PRIOR_OFF,
    PRIOR_TEXTS,
    has_prior,
    label_prior,
    label_scores,
    score_prior_off,
    without_prior,
)


@pytest.fixture(scope="module")
def nano() -> Backbone:
    return Backbone.load("nano-bert", device="cpu")


@pytest.fixture(scope="module")
def biased():
    """Sentiment asked with `bad` and `good`: nano-bert likes to say `bad`, whatever it reads."""
    return replace(open_task("sentiment"), labels={"positive": ("good",), "negative": ("bad",)})


def test_the_prior_decides_where_the_texts_say_little() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.8, 0.2]])
    freed = without_prior(probabilities.log(), probabilities.mean(0))
    assert probabilities.argmax(1).tolist() == [0, 0, 0]
    assert freed.exp().flatten().tolist() == pytest.approx(
        [0.9 / 0.8, 0.1 / 0.2, 0.7 / 0.8, 0.3 / 0.2, 1, 1]
    )
    assert freed.argmax(1).tolist()[:2] == [0, 1]


def test_a_label_that_no_text_ever_has_stays_finite() -> None:
    freed = without_prior(torch.zeros(1, 2), torch.tensor([0.0, 1.0]))
    assert torch.isfinite(freed).all()


@pytest.mark.long
def test_taking_the_prior_off_repairs_a_biased_template(nano, biased) -> None:
    both = score_prior_off(nano, biased, biased.manual)
    assert both.prior["negative"] == pytest.approx(0.84, abs=0.01)
    assert both.plain.value == pytest.approx(0.59, abs=0.02)
    assert both.score.value == pytest.approx(0.91, abs=0.02)
    assert both.plain == evaluate(nano, biased).score


@pytest.mark.long
def test_the_prior_is_the_mean_over_training_texts_and_reads_no_label(nano, biased) -> None:
    objective = Objective(nano, biased, biased.manual)
    rows = biased.texts("train")[:20]
    assert {row.answer for row in rows} == {""}
    wanted = torch.stack(
        [label_scores(objective, biased.load("train")[i : i + 1])[0].softmax(0) for i in range(20)]
    ).mean(0)
    assert label_prior(objective, rows).tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    turned = [replace(row, answer="positive") for row in biased.load("train")]
    mislabelled = biased.with_rows(train=turned, test=biased.load("test"))
    assert score_prior_off(nano, mislabelled, biased.manual).score == (
        score_prior_off(nano, biased, biased.manual).score
    )


@pytest.mark.long
def test_the_order_of_labels_and_texts_that_come_twice_change_nothing(nano, biased) -> None:
    turned = replace(biased, labels=dict(reversed(biased.labels.items())))
    first, other = (score_prior_off(nano, task, task.manual) for task in (biased, turned))
    assert other.score == first.score
    assert other.prior == pytest.approx(first.prior, abs=1e-6)
    objective = Objective(nano, biased, biased.manual)
    rows = list(biased.texts("train")[:8])
    again = label_prior(objective, [*rows, *rows[:1] * 30])
    assert again.tolist() == pytest.approx(label_prior(objective, rows).tolist(), abs=1e-6)


def test_only_so_many_texts_are_asked(nano, biased, monkeypatch) -> None:
    objective, asked = Objective(nano, biased, biased.manual), []
    prepare = objective.prepare
    monkeypatch.setattr(objective, "prepare", lambda rows: asked.append(rows) or prepare(rows))
    rows = [Row({"text": f"a film of {number} hours"}, "") for number in range(200)]
    label_prior(objective, rows)
    label_prior(objective, rows, 5)
    assert [len({row.fields["text"] for row in chosen}) for chosen in asked] == [PRIOR_TEXTS, 5]


def test_words_of_several_tokens_and_causal_models(backbone, films) -> None:
    model = backbone("gpt2")
    both = score_prior_off(model, films, films.manual, split="dev")
    scores = label_scores(Objective(model, films, films.manual), films.load("dev"))
    prior = torch.tensor([both.prior[name] for name in films.label_names])
    chosen = (scores.log_softmax(1) - prior.log()).argmax(1)
    right = [
        films.label_names[int(i)] == row.answer
        for i, row in zip(chosen, films.load("dev"), strict=True)
    ]
    assert list(both.right) == right
    assert both.score.value == pytest.approx(sum(right) / len(right))


def test_probes_and_regressions_have_no_prior(backbone, films, capitals) -> None:
    numbers = replace(films, metric="pearson", labels={"1": ("bad",), "5": ("great",)})
    assert [has_prior(task) for task in (films, capitals, numbers)] == [True, False, False]
    rows = [replace(row, answer=str(1 + i % 5)) for i, row in enumerate(films.load("train"))]
    numbers = numbers.with_rows(train=rows, dev=rows, test=rows)
    assert set(manual_scores(backbone("gpt2"), numbers)) == {"manual"}
    assert set(manual_scores(backbone("gpt2"), capitals)) == {"manual"}
    assert manual_scores(backbone("gpt2"), replace(films, manual=None)) == {}


@pytest.mark.long
def test_it_is_among_the_baselines(nano, biased) -> None:
    few = biased.with_rows(**{s: biased.load(s)[:40] for s in ("train", "dev", "test")})
    both = score_prior_off(nano, few, biased.manual)
    scores = score_baselines(nano, few)
    assert scores[PRIOR_OFF] == both.score
    assert scores["manual"] == both.plain
    on_dev = dev_baselines(nano, few, TuneConfig(max_dev_rows=10))
    wanted = few.with_rows(train=few.load("train"), dev=few.load("dev")[:10])
    assert on_dev[PRIOR_OFF] == score_prior_off(nano, wanted, biased.manual, split="dev").score
    assert on_dev[PRIOR_OFF].rows == 10
    assert PRIOR_OFF not in dev_baselines(nano, few, TuneConfig(), manual=False)


def test_no_prompt_and_the_manual_template_are_asked_once_where_they_are_one(
    backbone, films, monkeypatch
) -> None:
    asked = []
    score = baselines.evaluate
    monkeypatch.setattr(
        baselines, "evaluate", lambda *a, **k: asked.append(k["template"].text) or score(*a, **k)
    )
    model = backbone("gpt2")
    scores = score_baselines(model, films)
    assert films.template.without_soft() == films.manual
    assert scores["no prompt"] == scores["manual"]
    assert set(asked) == {films.template.text}
    other = replace(films, manual=films.manual.parse("{text} All in all it was {answer} ."))
    assert score_baselines(model, other)["no prompt"] == scores["no prompt"]
    assert films.manual.text in asked
