"""Which tasks survive together: kept shares, lost tasks, what is measured again and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.distillation import INTO_MERGE, distill_merge
from promptport.errors import MismatchError, PromptPortError, ShapeError, TaskError
from promptport.evaluation import Evaluation
from promptport.experiments import PairsConfig, pairs, score_pairs
from promptport.experiments.retention import is_lost, retention_of
from promptport.library import TaskPrompt
from promptport.merging import SearchConfig, merge, search_coefficients
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Score
from promptport.vector import TaskPromptVector

ROWS = 100


def evaluation(right: int | None, rows: int = ROWS) -> Evaluation:
    value = 0.6 if right is None else right / rows
    told = None if right is None else tuple(i < right for i in range(rows))
    score = Score("accuracy", value, max(0.0, value - 0.1), min(1.0, value + 0.1), rows, 0.95)
    return Evaluation(score, 0.5, 0, "", (), told)


@pytest.fixture
def parts(backbone, capitals, films):
    """Prompts a, b and c of three tasks, from one origin; deltas 1, 2 and 4."""
    model = backbone("bert")
    tasks = [capitals, films, replace(films, name="plays")]
    start = torch.zeros(2, model.width)
    known = Provenance(model.name, model.kind, fingerprint=model.space.fingerprint)
    return {
        name: TaskPrompt(SoftPrompt(start + 2**i, replace(known, task=task.name), start), task)
        for i, (name, task) in enumerate(zip("abc", tasks, strict=True))
    }


@pytest.fixture
def rows_right(monkeypatch):
    """Scores by the value of a prompt's first number and the task; every call is noted."""
    calls = []
    table: dict[tuple[float, str], int | None] = {}

    def score_prompts(backbone, prompts, tasks, **settings):
        calls.append(([float(p.vectors[0, 0]) for p in prompts], settings))
        return [
            [evaluation(table.get((float(p.vectors[0, 0]), t.name), 80)) for t in tasks]
            for p in prompts
        ]

    monkeypatch.setattr(pairs, "score_prompts", score_prompts)
    return table, calls


def test_what_is_kept_of_every_task(backbone, parts, rows_right) -> None:
    table, calls = rows_right
    table |= {(3.0, "capitals"): 40, (3.0, "films"): 72, (5.0, "plays"): 60, (6.0, "plays"): 96}
    config = PairsConfig(ways=("sum", "mean"), rows=7, truncate=True)
    found = score_pairs(backbone("bert"), parts, config)
    assert found.alone == {"a": 0.8, "b": 0.8, "c": 0.8}
    assert not found.left_out
    sums = {each.prompts: each for each in found.sets if each.way == "sum"}
    assert list(sums) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [k.retention for k in sums["a", "b"].tasks] == pytest.approx([0.5, 0.9])
    assert [k.retention for k in sums["a", "c"].tasks] == pytest.approx([1.0, 0.75])
    assert [k.retention for k in sums["b", "c"].tasks] == pytest.approx([1.0, 1.2])
    assert sums["a", "b"].weakest.prompt == "a"
    assert [(k.lost, k.beyond_noise) for k in sums["a", "b"].tasks] == [
        (True, True),
        (False, False),
    ]
    one, other = found.ways
    assert (one.way, one.size, one.sets, one.lost, one.worst) == ("sum", 2, 3, 2, 0.5)
    assert one.retention == pytest.approx((0.7 + 0.875 + 1.1) / 3)
    assert one.weakest == pytest.approx((0.5 + 0.75 + 1.0) / 3)
    assert one.interval.low <= one.retention <= one.interval.high
    assert one.gain is None
    assert (other.way, other.lost) == ("mean", 0)
    assert other.weakest == pytest.approx((1 + 1 + 0.9) / 3)  # the mean of b and c is a + b
    assert other.gain.value == pytest.approx(other.weakest - one.weakest)
    # Both ways of a set in one call, the single prompts in one each.
    assert [seen for seen, _ in calls] == [[1], [2], [4], [3, 1.5], [5, 2.5], [6, 3]]
    assert all(s == {"split": "test", "rows": 7, "truncate": True} for _, s in calls)


def test_a_loss_within_the_noise_of_few_rows() -> None:
    assert retention_of(0.3, 0.5) == pytest.approx(0.6)
    assert retention_of(0.3, 0.0) == 0
    assert retention_of(-0.3, 0.5) == 0  # a correlation
    assert is_lost([0, 0, 0, 0, 0, 0, 1, 1], [1] * 8)
    assert not is_lost([0, 0, 1, 1], [0, 1, 1, 1])  # 2 of 3 are kept, of four rows


def test_scores_that_are_no_share_of_rows_have_no_noise(backbone, parts, rows_right) -> None:
    table, _ = rows_right
    table |= {(1.0, "capitals"): None, (3.0, "capitals"): None}
    found = score_pairs(backbone("bert"), parts, PairsConfig(ways=("sum",)))
    assert found.sets[0].tasks[0].beyond_noise is None
    assert found.ways[0].beyond_noise == 0, "of the tasks where that is known"
    del parts["c"]
    table[3.0, "films"] = None
    found = score_pairs(backbone("bert"), parts, PairsConfig(ways=("sum",)))
    assert found.ways[0].beyond_noise is None


def test_prompts_that_have_learned_nothing_are_left_out(backbone, parts, rows_right) -> None:
    table, _ = rows_right
    table[2.0, "films"] = 59  # its interval begins below the majority's 0.5
    found = score_pairs(backbone("bert"), parts, PairsConfig(ways=("sum",)))
    assert list(found.left_out) == ["b"]
    assert "0.590 does not beat the majority answer (0.500)" in found.left_out["b"]
    assert [each.prompts for each in found.sets] == [("a", "c")]
    assert found.ways[0].interval is None  # of one set


def test_what_is_kept_in_a_file_is_not_measured_again(
    backbone, parts, rows_right, tmp_path
) -> None:
    _, calls = rows_right
    model, out = backbone("bert"), str(tmp_path)
    config = PairsConfig(ways=("sum",))

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_pairs(model, parts, config, out=out, progress=stop)
    assert len(calls) == 5
    found = score_pairs(model, parts, config, out=out)
    assert len(calls) == 6
    assert score_pairs(model, parts, config, out=out) == found
    assert len(calls) == 6
    # Another way is measured beside it, other rows and another prompt anew.
    score_pairs(model, parts, replace(config, ways=("sum", "mean")), out=out)
    assert [seen for seen, _ in calls[6:]] == [[1.5], [2.5], [3]]
    score_pairs(model, parts, replace(config, rows=3), out=out)
    assert len(calls) == 15
    other = replace(parts["a"].prompt, vectors=parts["a"].prompt.vectors + 8)
    score_pairs(model, {**parts, "a": TaskPrompt(other, parts["a"].task)}, config, out=out)
    assert [seen for seen, _ in calls[15:]] == [[9], [11], [13]]
    assert score_pairs(model, parts, config, out=out) == found
    assert len(calls) == 18


def test_cells_of_another_command_are_left_alone(backbone, parts, rows_right, tmp_path) -> None:
    keep = tmp_path / "cells.jsonl"
    cell = '{"task": "t", "start": "random", "seed": 0, "rows": 5, "weights": "w", "score": 1.0}'
    keep.write_text(f"{cell}\n")
    found = score_pairs(backbone("bert"), parts, PairsConfig(ways=("sum",)), out=tmp_path)
    assert len(found.sets) == 3
    assert keep.read_text().splitlines()[0] == cell


def test_larger_sets_are_drawn(backbone, parts, rows_right) -> None:
    model = backbone("bert")
    config = PairsConfig(ways=("sum",), sizes=(2, 3), most=2, seed=1)
    found = score_pairs(model, parts, config)
    assert [len(each.prompts) for each in found.sets] == [2, 2, 3]
    assert [(r.size, r.sets) for r in found.ways] == [(2, 2), (3, 1)]
    assert score_pairs(model, parts, config).sets == found.sets
    drawn = {score_pairs(model, parts, replace(config, seed=s)).sets[0].prompts for s in range(6)}
    assert len(drawn) > 1
    with pytest.raises(
        PromptPortError, match=r"expected 4 or more .* got a \(capitals\); b \(films"
    ):
        score_pairs(model, parts, replace(config, sizes=(2, 4)))


def test_prompts_of_one_task_are_not_combined(backbone, parts, rows_right) -> None:
    model = backbone("bert")
    twin = replace(parts["a"].prompt, vectors=parts["a"].prompt.vectors + 8)
    library = {"a": parts["a"], "twin": TaskPrompt(twin, parts["a"].task), "b": parts["b"]}
    found = score_pairs(model, library, PairsConfig(ways=("sum",)))
    assert [each.prompts for each in found.sets] == [("a", "b"), ("twin", "b")]
    # Tasks are drawn, not prompts: what two prompts of a task say is not independent.
    more = {
        **library,
        "third": TaskPrompt(replace(twin, vectors=twin.vectors + 8), parts["a"].task),
    }
    found = score_pairs(model, more, PairsConfig(ways=("sum", "mean")))
    assert [(record.sets, record.interval, record.gain) for record in found.ways] == [
        (3, None, None),
        (3, None, None),
    ]
    with pytest.raises(PromptPortError, match=r"2 or more of different tasks .*a \(capitals\)"):
        del library["b"]
        score_pairs(model, library, PairsConfig(ways=("sum",)))


@pytest.mark.parametrize("way", ["sum", "ties", "select", "dare"])
def test_merged_as_combine_does(backbone, parts, way) -> None:
    comparison = pairs._Comparison(backbone("bert"), parts, PairsConfig(ways=(way,), seed=5), None)
    combination = comparison._combine(way, ("a", "b"))
    prompt, coefficients = combination.prompt, combination.coefficients
    vectors = [TaskPromptVector.of(parts[name].prompt, name) for name in "ab"]
    asked = merge(vectors, method=way, seed=5).apply(parts["a"].prompt.origin)
    assert torch.equal(prompt.vectors, asked.vectors)
    assert coefficients is None


@pytest.mark.long
def test_searched_concatenated_and_distilled_as_combine_does(backbone, parts) -> None:
    model, learning = backbone("bert"), replace(INTO_MERGE, texts="words", steps=4, check=2, rows=8)
    config = PairsConfig(distill=learning, dev_rows=4, seed=3)
    comparison = pairs._Comparison(model, parts, config, None)
    prompts, tasks = [parts[n].prompt for n in "ab"], [parts[n].task for n in "ab"]
    vectors = [TaskPromptVector.of(p, n) for n, p in zip("ab", prompts, strict=True)]
    made = {way: comparison._combine(way, ("a", "b")) for way in ("paper", "separate")}
    for way, search in (
        ("paper", SearchConfig(rows=4)),
        ("separate", SearchConfig("min", "separate", ties="loss", rows=4)),
    ):
        found = search_coefficients(model, vectors, tasks, prompts[0].origin, search)
        assert torch.equal(made[way].prompt.vectors, found.prompt.vectors)
        assert made[way].coefficients == tuple(found.coefficients)
    whole = comparison._combine("concatenate", ("a", "b")).prompt
    assert torch.equal(whole.vectors, torch.cat([p.vectors for p in prompts]))
    starts = [merge(vectors).apply(prompts[0].origin), whole]
    asked = distill_merge(
        starts, model, list(zip(prompts, tasks, strict=True)), config=replace(learning, seed=3)
    )
    distilled = comparison._combine("distill", ("a", "b"))
    assert torch.equal(distilled.prompt.vectors, asked.prompt.vectors)
    assert distilled.distilled.start == asked.start
    assert not torch.equal(distilled.prompt.vectors, starts[asked.start].vectors)


def test_forecasts_are_counted_against_what_became_of_the_tasks(
    backbone, parts, rows_right
) -> None:
    table, _ = rows_right
    del parts["c"]
    config = PairsConfig(ways=("sum", "ties"), forecast_rows=6)
    found = score_pairs(backbone("bert"), parts, config)
    said = [kept.forecast for each in found.sets if each.way == "sum" for kept in each.tasks]
    assert set(said) <= {"kept", "at risk", "lost"}
    assert all(k.forecast is None for each in found.sets if each.way == "ties" for k in each.tasks)
    assert sum(count for count, _ in found.forecasts.values()) == 2
    assert all(kept == count for count, kept in found.forecasts.values())
    table |= {(3.0, "capitals"): 0, (3.0, "films"): 0}
    found = score_pairs(backbone("bert"), parts, config)
    assert all(kept == 0 for _, kept in found.forecasts.values())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"ways": ()}, r"ways: expected one or more, each once, got \(\)"),
        ({"ways": ("sum", "sum")}, "each once, got ..sum., .sum"),
        ({"ways": ("plus",)}, "way 'plus': expected one of paper, separate, concatenate"),
        ({"sizes": ()}, "sizes: expected one or more"),
        ({"sizes": (1,)}, "of 2 tasks or more, got .1"),
        ({"rows": -1}, "rows: expected 0 or more, got -1"),
        ({"most": -1}, "most: expected 0 or more"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_be(settings, said) -> None:
    with pytest.raises(PromptPortError, match=said):
        PairsConfig(**settings)


def test_what_would_end_a_comparison_is_refused_at_once(backbone, parts, rows_right) -> None:
    _, calls = rows_right
    model, prompt = backbone("bert"), parts["b"].prompt
    short = replace(prompt, vectors=prompt.vectors[:1], origin=prompt.origin[:1])
    longer = {**parts, "b": TaskPrompt(short, parts["b"].task)}
    with pytest.raises(ShapeError, match="as many for all, .* got a 2, b 1, c 2"):
        score_pairs(model, longer)
    bare = {**parts, "b": TaskPrompt(replace(prompt, origin=None), parts["b"].task)}
    with pytest.raises(MismatchError, match="prompt of films: expected an origin"):
        score_pairs(model, bare)
    free = replace(parts["b"].task, kind="text2text", metric="exact-match", labels=None)
    told = {**parts, "b": TaskPrompt(prompt, free)}
    for settings in ({"forecast_rows": 4}, {"ways": ("sum", "distill")}):
        with pytest.raises(TaskError, match="text to text. Leave out forecasts and distill"):
            score_pairs(model, told, PairsConfig(**settings))
    assert not calls
    for others in (longer, bare):
        score_pairs(model, others, PairsConfig(ways=("concatenate",)))


def test_what_cannot_be_combined(backbone, parts) -> None:
    model = backbone("bert")
    with pytest.raises(PromptPortError, match="prompts to combine: expected 2 or more"):
        score_pairs(model, {}, PairsConfig(ways=("sum",)))
    with pytest.raises(PromptPortError, match="a: 0.* does not beat the majority answer"):
        score_pairs(model, {"a": parts["a"]}, PairsConfig(ways=("sum",)))
    with pytest.raises(MismatchError, match="expected virtual tokens|embedding matrix"):
        score_pairs(backbone("gpt2"), parts, PairsConfig(ways=("sum",)))
