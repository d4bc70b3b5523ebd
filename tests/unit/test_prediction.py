"""Answers to texts of one's own."""

from __future__ import annotations

import pytest

from promptport.errors import MismatchError, TaskError, UnknownNameError
from promptport.evaluation import evaluate
from promptport.prediction import predict
from promptport.prompt import SoftPrompt
from promptport.tasks import MemorySource, Row, Task, Template
from promptport.tuning.baselines import random_prompt


@pytest.fixture
def prompt_for(backbone):
    def make(name: str, task: Task, length: int = 3) -> SoftPrompt:
        made = random_prompt(backbone(name), length, 0)
        return made.with_provenance(task=task.name, template=task.template.text)

    return make


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_labels_are_those_that_eval_counts(backbone, films, prompt_for, name) -> None:
    model, prompt = backbone(name), prompt_for(name, films)
    rows = films.load("test")
    answers = predict(prompt, rows, backbone=model, task=films)
    scored = evaluate(model, films, prompt)
    assert [a.answer for a in answers] == list(scored.predictions)
    for answer, row in zip(answers, rows, strict=True):
        assert answer.fields == row.fields
        assert next(iter(answer.probabilities)) == answer.answer
        assert set(answer.probabilities) == {"good", "bad"}
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert not answer.truncated


def test_the_best_word_of_a_probe_is_what_eval_counts(backbone, capitals, prompt_for) -> None:
    model, prompt = backbone("bert"), prompt_for("bert", capitals)
    rows = capitals.load("test")
    answers = predict(prompt, rows, backbone=model, task=capitals, top=3)
    right = evaluate(model, capitals, prompt).right
    assert [a.answer == r.answer for a, r in zip(answers, rows, strict=True)] == list(right)
    shares = [list(a.probabilities.values()) for a in answers]
    assert all(len(s) == 3 and s == sorted(s, reverse=True) and sum(s) < 1 for s in shares)


def test_neither_rows_nor_labels_are_read(backbone, films, prompt_for) -> None:
    bare = films.with_rows()
    answers = predict(
        prompt_for("bert", films), ["a great film", {"text": "bad"}], backbone=backbone("bert"),
        task=bare,
    )  # fmt: skip
    assert [dict(a.fields) for a in answers] == [{"text": "a great film"}, {"text": "bad"}]


def test_answers_do_not_depend_on_their_neighbours(backbone, films, prompt_for) -> None:
    model, prompt = backbone("gpt2"), prompt_for("gpt2", films)
    texts = ["a great film", "bad " * 9, "the old film was sad and short"]
    together = predict(prompt, texts, backbone=model, task=films)
    for text, answer in zip(texts, together, strict=True):
        (alone,) = predict(prompt, [text], backbone=model, task=films)
        assert alone.answer == answer.answer
        assert alone.probabilities == pytest.approx(answer.probabilities, abs=1e-5)


def test_long_texts_are_cut_and_marked(backbone, films, prompt_for) -> None:
    model, prompt = backbone("bert"), prompt_for("bert", films)
    assert model.max_tokens is not None
    word = min(model.space.words)  # one token
    long, nearly = f"{word} " * (2 * model.max_tokens), f"{word} " * (model.max_tokens - 20)
    answers = predict(prompt, ["short", long, nearly], backbone=model, task=films)
    assert [a.truncated for a in answers] == [False, True, False]


def test_a_text_is_written_for_text_to_text(backbone, prompt_for) -> None:
    task = Task(
        name="say",
        kind="text2text",
        template=Template.parse("{soft} {text} : {answer}"),
        metric="exact-match",
        source=MemorySource({}),
    )
    (answer,) = predict(prompt_for("gpt2", task), ["a film"], backbone=backbone("gpt2"), task=task)
    assert isinstance(answer.answer, str)
    assert answer.probabilities is None
    assert answer.to_dict()["probabilities"] is None


def test_a_regression_gives_the_mean_of_its_labels(backbone, prompt_for) -> None:
    task = Task(
        name="how good",
        kind="classification",
        template=Template.parse("{soft} {text} It was {answer} ."),
        metric="pearson",
        labels={"0": ("bad",), "5": ("good",)},
        source=MemorySource({}),
    )
    (answer,) = predict(prompt_for("bert", task), ["a film"], backbone=backbone("bert"), task=task)
    assert float(answer.answer) == pytest.approx(5 * answer.probabilities["5"], abs=0.01)


def test_a_manual_template_answers_without_a_prompt(backbone, films) -> None:
    (answer,) = predict(None, ["a great film"], backbone=backbone("bert"), task=films)
    assert answer.answer in ("good", "bad")


@pytest.mark.long
def test_the_prompt_names_task_and_backbone() -> None:
    from promptport.backbone import Backbone

    model = Backbone.load("nano-bert", dtype="float32")
    made = random_prompt(model, 2, 0).with_provenance(task="country-capital")
    named = predict(made, ["France"])
    given = predict(made, ["France"], backbone=model, task="country-capital")
    assert [a.answer for a in named] == [a.answer for a in given]
    with pytest.raises(TaskError, match="task: expected one, since no prompt names it"):
        predict(made.with_provenance(task=None), ["France"])
    with pytest.raises(UnknownNameError, match="'mine'"):
        predict(made.with_provenance(task="mine"), ["France"])


def test_what_cannot_be_answered_is_refused(backbone, films, prompt_for) -> None:
    model, prompt = backbone("bert"), prompt_for("bert", films)
    with pytest.raises(TaskError, match="texts: expected one or more, got none"):
        predict(prompt, [], backbone=model, task=films)
    with pytest.raises(TaskError, match="text 2: expected a text in 'text', got an empty one"):
        predict(prompt, ["a", " "], backbone=model, task=films)
    with pytest.raises(TaskError, match="got only sentence"):
        predict(prompt, [{"sentence": "a"}], backbone=model, task=films)
    with pytest.raises(MismatchError, match="expected the embedding matrix"):
        predict(prompt, ["a"], backbone=backbone("gpt2"), task=films)
    pair = films.with_template("{soft} {text} {text_b} It was {answer} .")
    with pytest.raises(TaskError, match="expected the fields text, text_b"):
        predict(prompt, ["a"], backbone=model, task=pair, template=pair.template)
    rows = [Row({"text": "a", "text_b": "b"}, "")]
    (answer,) = predict(prompt, rows, backbone=model, task=pair, template=pair.template)
    assert set(answer.fields) == {"text", "text_b"}


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_half_of_a_surrogate_pair_is_one_line(backbone, films, prompt_for, name) -> None:
    with pytest.raises(TaskError, match="written as UTF-8, got half of a surrogate pair"):
        predict(
            prompt_for(name, films), ["a film", "\ud800 film"], backbone=backbone(name), task=films
        )
