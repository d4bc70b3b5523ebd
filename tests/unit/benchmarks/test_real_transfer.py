"""Figures of moved prompts, from the cells of a run."""

from __future__ import annotations

import pytest
from benchmarks.real_transfer.summary import (
    DEVELOPED,
    detours_of,
    means,
    moves_of,
    summarise,
    table,
)

A, B, TASK = "smollm2-135m", "qwen2.5-coder-0.5b", "nlu:subj"


def values(score: float, **more) -> dict:
    return {"score": score, "low": score - 0.05, "high": score + 0.05, "rows": 500, **more}


def cells(source: str = A, target: str = B, task: str = TASK, moved: float = 0.8) -> list:
    own = {"task": task, "seed": 0}
    move = {**own, "source": source, "target": target}
    return [
        ({**own, "backbone": source, "method": "free"}, values(0.9, dev=0.9, cost=70.0)),
        ({**own, "backbone": target, "method": "free"}, values(0.85, dev=0.8, cost=100.0)),
        ({**own, "backbone": target, "method": "manual_prior"}, values(0.6)),
        ({**own, "backbone": source, "method": "manual_prior"}, values(0.1)),
        ({**move, "method": "move"}, values(moved, same=0.9, cost=50.0)),
        ({**move, "method": "move_words"}, values(0.5, same=0.9, cost=20.0)),
    ]


def test_a_move_is_compared_with_what_is_on_its_target() -> None:
    figures = summarise(moves_of(cells()), 160)
    assert figures["move.retention"] == figures["retention_move_task"] == 0.9412
    assert figures["move.gain_kept"] == 0.8  # (0.8 - 0.6) / (0.85 - 0.6)
    assert figures["move.above_source"] == -0.1
    assert figures["move.short_of_both_share"] == 1.0  # 0.8 of 0.9 and 0.85
    assert "move.above_source_where_better_share" not in figures
    assert figures["move.cost_ratio"] == figures["move_cost_ratio"] == 0.5
    assert figures["move.beats_manual_prior_share"] == 1.0
    assert figures["move_words.beats_manual_prior_share"] == 0.0
    assert figures["retention_move_words"] == 0.5882
    assert (figures["cells"], figures["pairs"], figures["tasks"]) == (2, 1, 1)
    assert "retention_paper" not in figures


@pytest.mark.parametrize(("moved", "within"), [(0.85, 1.0), (0.4, 0.0)])
def test_a_score_that_was_told_is_looked_for(moved, within) -> None:
    figures = summarise(moves_of(cells(moved=moved)), 160)
    assert figures["predicted_within"] == within
    assert "move_words.predicted_within" not in figures  # no text of the task was asked


def test_intervals_are_also_those_that_other_tasks_give() -> None:
    many = [cell for i in range(12) for cell in cells(task=f"nlu:{i}", moved=0.8)]
    many += cells("a", task="nlu:0", moved=0.8) + cells("a", task="nlu:1", moved=0.3)
    assert "move.predicted_within_other_tasks" not in summarise(moves_of(many), 160)  # too few
    for i in range(12):
        many += cells("b", task=f"nlu:{i}", moved=0.78)
    figures = summarise(moves_of(many), 160)
    assert figures["move.predicted_within_other_tasks"] == round(25 / 26, 4)
    assert 0.05 < figures["move.predicted_width_other_tasks"] < 0.4
    assert 0 <= figures["move.fitted_lost"] <= 1


def test_moves_that_settings_were_chosen_on_are_told_apart() -> None:
    source, target, task = sorted(DEVELOPED)[0]
    moves = moves_of([*cells(), *cells(source, target, task, moved=0.3)])
    figures = summarise(moves, 160)
    assert figures["move.score"] == 0.8
    assert figures["developed.move.score"] == 0.3
    text = table(moves)
    assert text.index(f"{A}, {B}, subj") < text.index("chosen on")
    assert text.index("chosen on") < text.index(f"{source}, {target}, {task[4:]}")


def test_what_is_not_measured_is_left_out() -> None:
    only = [cells()[0], cells()[4]]
    figures = summarise(moves_of(only), 160)
    assert figures["move.score"] == 0.8
    assert "move.retention" not in figures
    both = table(moves_of([*only, *cells(task="nlu:trec")]))
    assert "| 0.900 [0.85, 0.95] |  |  | 0.800 [0.75, 0.85] |  |" in both
    assert "majority" not in both


def test_seeds_of_a_prompt_go_with_those_of_its_moves() -> None:
    other = ({"backbone": A, "task": TASK, "method": "free", "seed": 1}, values(0.1, dev=0.1))
    assert summarise(moves_of([*cells(), other]), 160)["move.above_source"] == -0.1


def test_prompts_in_front_of_short_texts_count_like_the_others() -> None:
    names = {"free": "front", "move": "move_front"}
    front = [({**p, "method": names.get(p["method"], p["method"])}, v) for p, v in cells()]
    assert summarise(moves_of(front), 160) == summarise(moves_of(cells()), 160)


def test_tasks_whose_answers_are_written_are_told_apart() -> None:
    written = cells(task="pocket:dates", moved=0.4)
    manual = ({"backbone": B, "task": "pocket:dates", "method": "manual", "seed": 0}, values(0.0))
    kept = [
        ({**place, "method": "move_short"} if place["method"] == "move" else place, said)
        for place, said in written
        if place["method"] != "manual_prior"
    ]
    moves = moves_of([*cells(), *kept, manual])
    figures = summarise(moves, 160)
    assert figures["move.score"] == 0.8
    assert figures["generation.move_short.score"] == 0.4
    assert figures["generation_retention"] == round(0.4 / 0.85, 4)
    assert figures["generation.move_short.gain_kept"] == round(0.4 / 0.85, 4)
    assert "Tasks whose answers are written" in table(moves)


def test_chains_and_two_sources_are_compared_with_one_move() -> None:
    place = {"task": TASK, "seed": 0, "target": B, "method": "move"}
    more = [
        ({**place, "source": A, "through": ("gemma3-270m",)}, values(0.75, same=0.9)),
        ({**place, "source": (A, "gemma3-270m")}, values(0.84, same=0.9)),  # as a run is read
    ]
    other = cells("gemma3-270m", B, moved=0.82)[4:5]
    everything = [*cells(), *other, *more]
    moves, detours = moves_of(everything), detours_of(everything)
    figures = summarise(moves, 160, detours)
    assert figures["move.score"] == 0.81
    assert (figures["chain.cells"], figures["chain.above_move"]) == (1, -0.05)
    assert figures["chain.retention"] == round(0.75 / 0.85, 4)
    assert figures["two_sources.above_move"] == 0.02  # the better of 0.8 and 0.82
    text = table(moves, detours)
    assert f"| {A} > gemma3-270m > {B}, subj | 0.750" in text
    assert f"| {A} + gemma3-270m > {B}, subj | 0.840" in text


def test_pairs_and_tasks_have_means() -> None:
    source, target, task = sorted(DEVELOPED)[0]
    everything = [*cells(), *cells(task="nlu:trec", moved=0.6), *cells(source, target, task)]
    moves = moves_of(everything)
    lines = means(moves, "from, to", lambda move: ", ".join(move[:2])).splitlines()
    assert len(lines) == 3
    kept, least = (0.8 / 0.85 + 0.6 / 0.85) / 2, 0.6 / 0.85
    figures = f"| 2 | 0.900 | 0.600 | 0.700 | 0.850 | {kept:.3f} | {least:.3f} |"
    assert lines[2] == f"| {A}, {B} {figures}"
    text = table(moves)
    assert f"| trec | 1 | 0.900 | 0.600 | 0.600 | 0.850 | {least:.3f} | {least:.3f} |" in text
    assert means({}, "task", lambda move: move[2]) == ""


def test_a_better_target_is_one_where_tuning_gives_two_points_more() -> None:
    moves = moves_of([*cells(B, A), *cells(B, A, "nlu:trec", moved=0.86)])
    for ways in moves.values():
        for own in (ways["source"][0], ways["tuned there"][0]):
            own["score"] = 0.85 if own is ways["source"][0] else 0.9
    figures = summarise(moves, 160)
    assert figures["move.above_source_where_better_share"] == 0.5  # 0.8 and 0.86
    assert figures["move.short_of_both_share"] == 0.5
