"""Coefficients chosen on dev data: the criterion decides, and what is recorded is what was done."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from promptport.errors import MismatchError, TuningError
from promptport.evaluation import evaluate, score_prompts
from promptport.merging import SearchConfig, coefficient_search, search_coefficients
from promptport.merging.search_settings import PAPER_GRID
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Score
from promptport.vector import TaskPromptVector

HERE = Provenance("toy")
FIRST = TaskPromptVector(torch.tensor([[1.0, 0.0]]), HERE, {"a": 1.0})
SECOND = TaskPromptVector(torch.tensor([[0.0, 1.0]]), HERE, {"b": 1.0})
ORIGIN = torch.zeros(1, 2)
TASKS = [SimpleNamespace(name="a"), SimpleNamespace(name="b")]


@pytest.fixture
def scored(monkeypatch):
    """Scores as functions of the two entries of a prompt; returns the sizes of the passes."""
    passes = []
    for opens in ("as_backbone", "as_task"):  # nothing is loaded here
        monkeypatch.setattr(coefficient_search, opens, lambda value: value)

    def use(*functions, loss=lambda x, y: 0.0) -> list[int]:
        def fake(backbone, prompts, tasks, **settings):
            passes.append(len(prompts))
            found = []
            for prompt in prompts:
                x, y = prompt.vectors[0].tolist()
                values = [round(f(x, y), 6) for f in functions]
                found.append(
                    [
                        SimpleNamespace(score=Score("accuracy", v, v, v, 40), loss=loss(x, y))
                        for v in values
                    ]
                )
            return found

        monkeypatch.setattr(coefficient_search, "score_prompts", fake)
        return passes

    return use


def _search(**settings):
    return search_coefficients(None, [FIRST, SECOND], TASKS, ORIGIN, SearchConfig(**settings))


def test_the_paper_s_grid_by_the_mean_wipes_out_what_the_minimum_keeps(scored) -> None:
    # The first task rises with its entry, the second collapses where the first is above 0.5.
    passes = scored(lambda x, y: 0.2 + 0.8 * x, lambda x, y: 0.4 if x <= 0.5 and y > 0.1 else 0.1)
    paper = _search()
    assert paper.coefficients == (1.0, 1.0)
    assert [t.factors for t in paper.trials] == [(x,) for x in PAPER_GRID]
    assert passes == [21 + 2], "the whole grid and the single vectors in one pass"
    assert paper.kept == pytest.approx({"a": 1.0, "b": 0.25})
    careful = _search(criterion="min")
    assert careful.coefficients == (0.5, 0.5)
    assert careful.value == pytest.approx(0.6)
    assert careful.kept == pytest.approx({"a": 0.6, "b": 1.0})
    assert _search(criterion="harmonic").value == pytest.approx(2 / (1 / 0.6 + 1))


def test_ties_go_to_the_smallest_coefficient_or_to_the_lower_loss(scored) -> None:
    scored(lambda x, y: float(x > 0.42), lambda x, y: 1.0, loss=lambda x, y: (x - 0.7) ** 2)
    assert _search().coefficients == (0.45, 0.45)
    assert _search(ties="loss").coefficients == (0.7, 0.7)


def test_one_is_taken_where_everything_scores_nothing(scored) -> None:
    scored(lambda x, y: 0.0, lambda x, y: 0.0)
    assert _search().coefficients == (1.0, 1.0)
    assert _search(grid=(0.1, 0.2)).coefficients == (1.0, 1.0)


def test_zero_can_be_the_best_of_a_metric_below_zero(scored) -> None:
    scored(lambda x, y: -x, lambda x, y: -y)
    assert _search().coefficients == (0.0, 0.0)


def test_separate_coefficients_are_refined_beyond_the_coarse_grid(scored) -> None:
    scored(lambda x, y: 1 - abs(x - 0.9), lambda x, y: 1 - abs(y - 1.4) / 2)
    found = _search(criterion="harmonic", coefficients="separate")
    assert found.coefficients == (0.875, 1.375)
    assert len(found.trials) < 50


def test_a_precision_finds_what_lies_between_the_grid_s_numbers(scored) -> None:
    passes = scored(lambda x, y: 1 - abs(x - 0.37), lambda x, y: 1 - abs(y - 0.37))
    grid = _search()
    assert grid.coefficients == (0.35, 0.35)
    for precision in (0.1, 0.01, 0.001):
        passes.clear()
        found = _search(precision=precision)
        assert found.coefficients[0] == pytest.approx(0.37, abs=precision)
        assert found.value >= grid.value
        assert [t.factors for t in found.trials[:21]] == [(x,) for x in PAPER_GRID]
        assert all(size <= 2 for size in passes[1:]), "up and down in one pass"
    step = next(s for s in found.prompt.provenance.history if s["step"] == "search")
    assert step["precision"] == 0.001


def test_separate_coefficients_with_a_precision(scored) -> None:
    scored(lambda x, y: 1 - abs(x - 0.93) / 4, lambda x, y: 1 - abs(y - 1.41) / 2)
    coarse = _search(criterion="mean", coefficients="separate")
    found = _search(criterion="mean", coefficients="separate", precision=0.01)
    assert found.coefficients == pytest.approx((0.93, 1.41), abs=0.01)
    assert found.value > coarse.value
    assert [t.factors for t in found.trials[: len(coarse.trials)]] == [
        t.factors for t in coarse.trials
    ], "it goes on from where the coarse search ends"


def test_a_precision_follows_the_loss_where_scores_are_flat(scored) -> None:
    scored(lambda x, y: float(x > 0.2), lambda x, y: 1.0, loss=lambda x, y: (x - 0.37) ** 2)
    assert _search(precision=0.01).coefficients[0] == pytest.approx(0.37, abs=0.01)
    flat = _search(precision=0.01, ties="smallest").coefficients[0]
    assert flat == pytest.approx(0.2, abs=0.01)


def test_coefficients_have_no_sign_that_the_grid_has_not(scored) -> None:
    scored(lambda x, y: 1 - abs(x + 0.37), lambda x, y: 1 - abs(y + 0.37))
    for how in ("one", "separate"):
        found = _search(grid=(-1.0, -0.5, 0.0, 0.5), coefficients=how, precision=0.01)
        assert found.coefficients == pytest.approx((-0.37, -0.37), abs=0.01)
        assert min(_search(coefficients=how, precision=0.01).coefficients) >= 0
    scored(lambda x, y: 1 - abs(x - 1.37), lambda x, y: 1 - abs(y - 1.37))
    assert _search(precision=0.01).coefficients[0] == pytest.approx(1.37, abs=0.01)
    assert max(_search(grid=(-1.0, 0.0), precision=0.01).coefficients) == 0


def test_a_given_grid_gives_the_levels_of_separate_coefficients(scored) -> None:
    passes = scored(lambda x, y: 1 - abs(x + 0.5), lambda x, y: 1 - abs(y - 2))
    levels = tuple(0.25 * i - 2.0 for i in range(17))
    found = _search(grid=levels, coefficients="separate")
    assert found.coefficients == (-0.5, 2.0)
    assert passes[0] == 17 * 17 + 2
    alone = _search(grid=(1.0,), coefficients="separate", precision=0.01)
    assert alone.coefficients == pytest.approx((0, 2), abs=0.01)


@pytest.mark.slow
def test_a_search_that_always_gets_better_ends(scored) -> None:
    scored(lambda x, y: x, lambda x, y: y)
    for how in ("one", "separate"):
        assert 10 < _search(coefficients=how, precision=1e-300).coefficients[0] < 100


def test_a_term_that_is_taken_off_never_gets_minus_zero(scored) -> None:
    scored(lambda x, y: 1 + 10 * min(y, 0) - abs(x - 1), lambda x, y: 1.0)
    settings = SearchConfig(criterion="harmonic", coefficients="separate", ties="loss")
    found = search_coefficients(None, [FIRST, SECOND], TASKS, ORIGIN, settings, terms=[1.0, -1.0])
    assert [str(value) for value in found.coefficients] == ["1.0", "0.0"]
    assert str(found.vector.coefficients["b"]) == "0.0"


def test_the_record_says_what_was_read(scored) -> None:
    scored(lambda x, y: x, lambda x, y: y)
    found = search_coefficients(
        None, [FIRST, SECOND], TASKS, ORIGIN, SearchConfig(criterion="min"), terms=[1.0, 0.5]
    )
    assert found.coefficients == (1.0, 0.5)
    assert found.vector.coefficients == {"a": 1.0, "b": 0.5}
    step = next(s for s in found.prompt.provenance.history if s["step"] == "search")
    assert (step["split"], step["rows"], step["tried"]) == ("dev", {"a": 40, "b": 40}, 21)
    assert step["coefficients"] == [1.0, 0.5]
    torch.testing.assert_close(found.prompt.vectors, torch.tensor([[1.0, 0.5]]))


@pytest.mark.parametrize("method", ["mean", "weighted", "ties", "dare", "orthogonal", "select"])
@pytest.mark.parametrize("how", ["one", "separate"])
def test_every_method_that_takes_coefficients_can_be_searched(scored, method, how) -> None:
    scored(lambda x, y: 1 - (x - 0.4) ** 2, lambda x, y: 1 - (y - 0.2) ** 2)
    found = _search(criterion="min", coefficients=how, method=method)
    assert found.value == max(t.value for t in found.trials)
    assert f"{method}.v1" in [s.get("method") for s in found.prompt.provenance.history]


def test_bad_settings_are_refused(scored) -> None:
    with pytest.raises(TuningError, match="criterion of the search: expected mean, min, harmonic"):
        SearchConfig(criterion="median")
    with pytest.raises(TuningError, match="grid of one to 1,000 finite numbers, got none"):
        SearchConfig(grid=())
    with pytest.raises(TuningError, match="grid of one to 1,000 finite numbers, got 1001 numbers"):
        SearchConfig(grid=(0.0,) * 1_001)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(TuningError, match="grid of one to 1,000 finite numbers"):
            SearchConfig(grid=(0.0, wrong))
    for wrong in (-0.1, float("nan"), float("inf")):
        with pytest.raises(TuningError, match="precision of the search: expected 0, or a number"):
            SearchConfig(precision=wrong)
    with pytest.raises(TuningError, match="ties of the search: expected smallest, loss, got 'x'"):
        SearchConfig(ties="x")
    with pytest.raises(TuningError, match="rows of the search: expected 0 or more, got -3"):
        SearchConfig(rows=-3)
    with pytest.raises(TuningError, match="one or more, each once, got a, a"):
        search_coefficients(None, [FIRST], [TASKS[0]] * 2, ORIGIN)
    with pytest.raises(TuningError, match="got none"):
        search_coefficients(None, [FIRST], [], ORIGIN)


def test_many_prompts_on_many_tasks_score_as_each_alone(backbone, capitals, films) -> None:
    model = backbone("gpt2")
    generator = torch.Generator().manual_seed(0)
    own = Provenance(model.name, fingerprint=model.space.fingerprint)
    prompts = [SoftPrompt(torch.randn(n, model.width, generator=generator), own) for n in (2, 2, 5)]
    together = score_prompts(model, prompts, [capitals, films])
    for prompt, row in zip(prompts, together, strict=True):
        for task, found in zip((capitals, films), row, strict=True):
            alone = evaluate(model, task, prompt)
            assert found.score == alone.score
            assert found.predictions == alone.predictions
            assert found.loss == pytest.approx(alone.loss, rel=1e-4)
    first = score_prompts(model, prompts[:1], [films], rows=2)[0][0]
    assert first.predictions == together[0][1].predictions[:2]
    with pytest.raises(MismatchError):
        score_prompts(model, [SoftPrompt(torch.zeros(2, 3), HERE)], [films])


def test_a_search_on_a_backbone_agrees_with_evaluate(backbone, capitals, films) -> None:
    model = backbone("bert")
    own = Provenance(model.name, fingerprint=model.space.fingerprint)
    generator = torch.Generator().manual_seed(1)
    vectors = [
        TaskPromptVector(torch.randn(3, model.width, generator=generator), own, {name: 1.0})
        for name in ("capitals", "films")
    ]
    origin = torch.randn(3, model.width, generator=generator)
    config = SearchConfig(criterion="min", grid=(0.0, 0.5, 1.0))
    found = search_coefficients(model, vectors, [capitals, films], origin, config)
    for task in (capitals, films):
        assert found.scores[task.name] == evaluate(model, task, found.prompt, split="dev").score
        alone = [evaluate(model, task, v.apply(origin), split="dev").score.value for v in vectors]
        assert found.alone[task.name] == max(alone)
