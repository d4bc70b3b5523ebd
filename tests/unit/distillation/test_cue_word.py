"""The word in front of the answer: chosen by agreement, for causal targets alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptport.distillation import (
    DistillConfig,
    Teacher,
    agreement,
    choose_cue_word,
    move_by_answers,
)
from promptport.tasks import Template
from promptport.tuning import random_prompt

CONFIG = DistillConfig(texts="words", rows=12, epochs=2, batch_size=4)
WORDS = ("the", "nowhere")


@pytest.fixture
def task(capitals):
    rows = {s: (capitals.load(s) * 12)[:12] for s in ("train", "dev")}
    return capitals.with_rows(**rows)


def prompt_of(model, task, seed):
    prompt = random_prompt(model, 3, seed)
    return replace(prompt, provenance=replace(prompt.provenance, template=task.template.text))


def test_the_word_that_agrees_most_is_taken(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    teachers = [Teacher(source, prompt_of(source, task, 0))]
    chosen = set()
    for seed in range(6):
        ported = prompt_of(goal, task, seed)
        found = choose_cue_word(ported, goal, teachers, task, config=CONFIG, words=WORDS)
        assert set(found.divergences) == {"", *(w for w in WORDS if w in goal.space.words)}
        for word, divergence in found.divergences.items():
            template = task.template.with_cue_word(word) if word else task.template
            told = replace(ported.provenance, template=template.text)
            there = replace(ported, provenance=told)
            alike = agreement(there, goal, teachers, task, config=CONFIG)
            assert divergence == pytest.approx(alike.divergence, rel=1e-4)
        best = min(found.divergences, key=lambda w: found.divergences[w])
        assert (found.word or "") == best
        chosen.add(best)
        text = found.prompt.provenance.template
        assert text == (task.template.with_cue_word(best).text if best else task.template.text)
        steps = [entry["step"] for entry in found.prompt.provenance.history]
        assert steps == (["cue_word"] if best else [])
    assert len(chosen) > 1, "the choice must depend on the prompt"


@pytest.mark.parametrize("name", ["roberta", "t5"])
def test_other_kinds_need_none(backbone, task, name) -> None:
    source, goal = backbone("bert"), backbone(name)
    teachers = [Teacher(source, prompt_of(source, task, 0))]
    ported = prompt_of(goal, task, 1)
    found = choose_cue_word(ported, goal, teachers, task, config=CONFIG)
    assert found.prompt is ported
    assert (found.word, found.divergences) == (None, {})


def test_a_word_that_is_there_already_stays(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    there = replace(task, template=Template.parse("{subject} {soft} the {answer} ."))
    found = choose_cue_word(
        prompt_of(goal, there, 1),
        goal,
        [Teacher(source, prompt_of(source, there, 0))],
        there,
        config=CONFIG,
    )
    assert found.divergences == {}


def test_move_tells_the_word(backbone, task) -> None:
    source, goal = backbone("bert"), backbone("gpt2")
    teacher = Teacher(source, prompt_of(source, task, 0))
    found = move_by_answers([teacher], goal, task, config=CONFIG)
    words = [e["word"] for e in found.prompt.provenance.history if e["step"] == "cue_word"]
    assert words == ([] if found.cue_word is None else [found.cue_word])
    assert found.to_dict()["cue_word"] == found.cue_word
    template = Template.parse(found.prompt.provenance.template)
    assert template.answers_from_soft == (found.cue_word is None)
