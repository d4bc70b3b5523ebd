"""Agreement with the source, and what it is compared with."""

from __future__ import annotations

import math

import pytest
import torch

from promptport.distillation import DistillConfig, Teacher, agreement
from promptport.moving import AnswerCheck, check_answers
from promptport.objective import Objective
from promptport.parameters import OriginSpec
from promptport.prediction import predict
from promptport.transfers import transfer
from promptport.tuning import TuneConfig, TuneJob, random_prompt, tune
from promptport.tuning.label_prior import label_scores, without_prior


@pytest.fixture(scope="module")
def rows(capitals):
    return capitals.with_rows(**{s: (capitals.load(s) * 4)[:16] for s in ("train", "dev")})


def prompt_of(model, task):
    job = TuneJob(task, OriginSpec("vocabulary", 1), 3)
    return tune(model, [job], TuneConfig(epochs=2, batch_size=4, patience=0))[0].prompt


@pytest.mark.parametrize("texts", ["task", "words"])
def test_numbers_are_those_of_agreement(backbone, rows, texts) -> None:
    source, target = backbone("bert"), backbone("gpt2")
    teacher = Teacher(source, prompt_of(source, rows))
    moved = transfer(teacher.prompt, source.space, target.space, minimum_anchors=2).prompt
    config = DistillConfig(texts=texts, rows=16)
    check = check_answers(moved, target, [teacher], rows, config=config)
    wanted = agreement(moved, target, [teacher], rows, config=config)
    assert (check.same, check.divergence, check.rows) == (
        wanted.same,
        pytest.approx(wanted.divergence),
        16,
    )
    other = random_prompt(target, 3, 0).vectors
    replaced = moved.with_provenance()
    object.__setattr__(replaced, "vectors", other)
    assert check.random == agreement(replaced, target, [teacher], rows, config=config).same
    assert check.answers == len(set(source.space.words) & set(target.space.words))
    assert 1 / 16 <= check.commonest <= 1


def test_a_prompt_agrees_with_itself(backbone, rows) -> None:
    source = backbone("bert")
    prompt = prompt_of(source, rows)
    config = DistillConfig(rows=16)
    check = check_answers(prompt, source, [Teacher(source, prompt)], rows, config=config)
    assert check.same == 1
    held = check_answers(
        prompt, source, [Teacher(source, prompt)], rows, config=config, held_back=True
    )
    assert held.rows == round(config.held_back * 16)


@pytest.mark.parametrize(
    ("same", "texts", "verdict"),
    [
        (0.10, "task", "at chance"),
        (0.20, "task", "weak"),
        (0.49, "task", "weak"),
        (0.50, "task", "good"),
        (0.10, "words", "at chance"),
        (0.90, "words", None),
    ],
)
def test_verdicts(same, texts, verdict) -> None:
    check = AnswerCheck(same, 1.0, 64, 5000, commonest=0.05, random=0.03, texts=texts)
    assert check.chance == 0.05
    assert check.chance + 2 * math.sqrt(0.05 * 0.95 / 64) == pytest.approx(0.1045, abs=1e-4)
    assert check.verdict == verdict
    told, compare, _ = check.lines
    assert f"on {same:.0%} of 64" in told
    assert "of 5,000 possible answers" in compare
    assert check.to_dict()["verdict"] == verdict


def test_a_few_rows_tell_nothing() -> None:
    check = AnswerCheck(1.0, 0.1, 2, 2, commonest=1.0, random=0.0, texts="task")
    assert check.verdict is None
    assert check.lines[2] == "2 rows tell nothing: give more unlabelled texts"


def test_two_labels_are_guessed_half_of_the_time() -> None:
    check = AnswerCheck(0.55, 0.1, 64, 2, commonest=0.5, random=0.5, texts="task")
    assert check.verdict == "at chance"


def test_no_gradient_is_kept(backbone, rows) -> None:
    source = backbone("bert")
    prompt = prompt_of(source, rows)
    with torch.enable_grad():
        check_answers(prompt, source, [Teacher(source, prompt)], rows)
    assert all(p.grad is None for p in source.model.parameters())


def test_label_shares_and_the_manual_template_are_those_of_the_same_rows(backbone, films) -> None:
    many = films.with_rows(train=films.load("train") * 4, dev=films.load("dev"))
    source, target = backbone("bert"), backbone("gpt2")
    teacher = Teacher(source, prompt_of(source, many))
    moved = random_prompt(target, 3, 3)
    config = DistillConfig(rows=24)
    check = check_answers(moved, target, [teacher], many, config=config)
    assert set(check.labels) == {"good", "bad"}
    for side in (0, 1):
        assert sum(shares[side] for shares in check.labels.values()) == pytest.approx(1)
    assert max(shares[0] for shares in check.labels.values()) == check.commonest
    answered = predict(moved, many.texts("train"), backbone=target, task=many)
    wanted = sum(own.answer == "good" for own in answered) / len(answered)
    assert check.labels["good"][1] == pytest.approx(wanted)
    own = predict(teacher.prompt, many.texts("train"), backbone=source, task=many)
    objective = Objective(target, many, many.manual)
    scores = label_scores(objective, many.load("train"))
    freed = without_prior(scores, scores.softmax(1).mean(0)).argmax(1)
    same = [many.label_names[i] == o.answer for i, o in zip(freed.tolist(), own, strict=True)]
    assert check.manual == pytest.approx(sum(same) / len(same))
    assert f"its label prior off {check.manual:.0%}" in check.lines[1]
    words = check_answers(
        moved, target, [teacher], many, config=DistillConfig(texts="words", rows=24)
    )
    assert words.manual is None
