"""A combination of prompts with different templates answers each task in that task's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptport import load_prompt, save_prompt
from promptport.errors import FileFormatError
from promptport.evaluation import choose_template, evaluate, score_prompts
from promptport.library import AdaptConfig, adapt, rank
from promptport.merging import concatenate, merge
from promptport.provenance import Provenance
from promptport.storage import load_vector, save_vector
from promptport.tasks import Row, Template
from promptport.tuning import usual
from promptport.tuning.baselines import random_prompt
from promptport.tuning.usual import placed_like
from promptport.vector import TaskPromptVector

BEHIND = {"films": "{text} {soft} It was {answer} .", "capitals": "{subject} {soft} is {answer} ."}


@pytest.fixture
def parts(backbone, films, capitals):
    """A prompt of each task, tuned behind the text, where the tasks ask in front of it."""
    model = backbone("gpt2")
    made = {}
    for seed, task in enumerate((films, capitals)):
        task = task.with_template(task.template.with_soft_in_front().text)
        prompt = random_prompt(model, 3, seed).with_provenance(
            task=task.name, template=BEHIND[task.name]
        )
        origin = random_prompt(model, 3, 9).vectors
        made[task.name] = (task, type(prompt)(prompt.vectors, prompt.provenance, origin))
    return model, made


def test_each_task_is_asked_as_its_prompt_was(parts, tmp_path) -> None:
    model, made = parts
    tasks = [task for task, _ in made.values()]
    prompts = [prompt for _, prompt in made.values()]
    vectors = [TaskPromptVector.of(prompt) for prompt in prompts]
    total = merge(vectors)
    save_vector(total, tmp_path / "sum")
    applied = load_vector(tmp_path / "sum").apply(prompts[0].origin)
    save_prompt(applied, tmp_path / "prompt")
    for combined in (applied, load_prompt(tmp_path / "prompt"), concatenate(prompts)):
        assert combined.provenance.template is None
        assert combined.provenance.templates == BEHIND
        scored = score_prompts(model, [combined], tasks)[0]
        for task, found in zip(tasks, scored, strict=True):
            assert found.template == BEHIND[task.name]
            asked = evaluate(model, task, combined, template=Template.parse(BEHIND[task.name]))
            assert found.loss == pytest.approx(asked.loss, rel=1e-5)
            own = evaluate(model, task, combined, template=task.template)
            assert abs(own.loss - found.loss) > 1e-3
    assert (vectors[0] + vectors[1] + vectors[0]).provenance.templates == BEHIND
    alone = (2.0 * vectors[0]).provenance
    assert (alone.template, alone.templates) == (BEHIND["films"], None)


def test_a_task_that_is_none_of_them_is_asked_in_its_own(parts, films) -> None:
    _, made = parts
    combined = concatenate([prompt for _, prompt in made.values()])
    other = replace(films, name="other")
    assert choose_template(other, combined) == films.template


def test_most_prompts_of_a_large_model_say_where_a_new_task_is_asked(
    backbone, parts, monkeypatch
) -> None:
    model, made = parts
    front, _ = made["films"]
    most = [BEHIND["films"], "{soft} {text} {answer}", BEHIND["films"]]
    assert placed_like(front, model, most) is front
    monkeypatch.setattr(usual, "LARGE", 1000)
    assert placed_like(front, model, most).template.text == BEHIND["films"]
    assert placed_like(front, model, most[:2]) is front
    assert placed_like(front, model, []) is front


def test_a_new_task_is_asked_where_the_library_s_prompts_are(backbone, parts, films) -> None:
    model, made = parts
    front, prompt = made["films"]
    library = {"a": prompt, "b": replace(prompt, vectors=prompt.vectors.flip(0))}
    ranked = rank(model, library, front, rows=8)
    moved = placed_like(front, model, [BEHIND["films"]])
    assert not moved.template.leads_with_soft
    assert placed_like(front, model, [BEHIND["films"], "{broken"]) == moved
    assert placed_like(front, model, ["{broken"]) is front
    again = rank(model, library, moved, rows=8)
    assert again.to_dict() == ranked.to_dict()
    rows = [Row({"text": f"{word} film"}, "good") for word in "abcdefghi"]
    many = front.with_rows(train=rows)
    adapted = adapt(model, library, many, config=AdaptConfig(steps=1))
    assert adapted.prompt.provenance.template == moved.template.text
    for kept in (
        placed_like(front, model, []),
        placed_like(front, model, [BEHIND["films"], "{soft} {text} {answer}"]),
        placed_like(front, backbone("bert"), [BEHIND["films"]]),
    ):
        assert kept is front
    assert placed_like(moved, model, [BEHIND["films"]]) is moved


def test_templates_that_are_no_texts_are_refused() -> None:
    for wrong in ({"films": 3}, {"films": None}, ["x"]):
        with pytest.raises(FileFormatError, match="templates|template of 'films'"):
            Provenance.from_dict({"backbone": "x", "templates": wrong}, "file")
    whole = Provenance("x", templates=BEHIND)
    assert Provenance.from_dict(whole.to_dict(), "file") == whole
    assert "templates" not in Provenance("x").to_dict()
