"""Losses, scores and predictions, against sums done by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from promptport.errors import TaskError
from promptport.evaluation import evaluate
from promptport.objective import Objective
from promptport.tasks import MemorySource, Row, Task, Template, WritingConfig

KINDS = ["bert", "roberta", "gpt2", "llama", "t5", "bart"]


def _log_probs(backbone, text, answers):
    """Log-probabilities of token strings behind `text`, straight from the model (causal)."""
    ids = [
        *backbone.special.prefix,
        *backbone.tokenizer(text, add_special_tokens=False)["input_ids"],
    ]
    total = 0.0
    with torch.no_grad():
        for token in answers:
            logits = backbone.model(input_ids=torch.tensor([ids])).logits[0, -1]
            total += float(logits[: len(backbone.tokenizer)].log_softmax(-1)[token])
            ids.append(token)
    return total


@pytest.mark.parametrize("name", KINDS)
def test_probe_loss_is_cross_entropy_over_the_vocabulary(backbone, capitals, name) -> None:
    model = backbone(name)
    objective = Objective(model, capitals, capitals.manual)
    questions = objective.prepare(capitals.load("test")).questions
    logits = model.answer_logits(
        [q.inputs[0] for q in questions], torch.zeros(1, model.width), [0] * 6
    )
    losses = objective.losses(logits, questions)
    for i, question in enumerate(questions):
        gold = model.layout.answer_ids([question.row.answer])[0][0]
        wanted = -logits[i, 0].log_softmax(-1)[gold]
        torch.testing.assert_close(losses[i], wanted)
    ranks = objective.predictions(logits, questions)
    for i, question in enumerate(questions):
        order = logits[i, 0].argsort(descending=True).tolist()
        assert order[ranks[i]] == question.gold


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_long_label_words_follow_the_chain_rule(backbone, films, name) -> None:
    model = backbone(name)
    text = "a great film It was"
    objective = Objective(model, films, films.manual)
    questions = objective.prepare(films.load("test")[:1]).questions
    inputs = list(questions[0].inputs)
    logits = model.answer_logits(inputs, torch.zeros(1, model.width), [0] * len(inputs))
    scores = objective.scores(logits, questions)[0]
    words = {w: model.layout.answer_ids([w])[0] for w in ("great", "good", "terrible", "unhappy")}
    assert len(words["unhappy"]) > 1, "the test needs a word of several tokens"
    by_hand = {w: _log_probs(model, text, ids) for w, ids in words.items()}
    good = torch.tensor([by_hand["great"], by_hand["good"]]).exp().mean().log()
    bad = torch.tensor([by_hand["terrible"], by_hand["unhappy"]]).exp().mean().log()
    torch.testing.assert_close(scores, torch.stack([good, bad]), rtol=1e-4, atol=1e-4)


def test_long_label_words_of_masked_models_have_as_many_masks_as_tokens(backbone, films) -> None:
    model = backbone("bert")
    objective = Objective(model, films, films.manual)
    question = objective.prepare(films.load("test")[:1]).questions[0]
    long = len(model.layout.answer_ids(["unhappy"])[0])
    assert [len(i.scored) for i in question.inputs] == [1, long]
    assert question.inputs[1].ids.count(model.special.mask) == long


def test_rows_whose_object_is_several_tokens_are_counted(backbone, capitals) -> None:
    rows = (*capitals.load("test"), Row({"subject": "Atlantis"}, "Poseidonis"))
    task = Task(
        "more",
        "probe",
        capitals.template,
        "p@1",
        manual=capitals.manual,
        source=MemorySource({"test": rows}),
    )
    result = evaluate(backbone("bert"), task)
    assert (result.skipped, result.score.rows) == (1, 6)
    only = Task(
        "none",
        "probe",
        capitals.template,
        "p@1",
        manual=capitals.manual,
        source=MemorySource({"test": rows[-1:]}),
    )
    with pytest.raises(TaskError, match=r"objects that are a single token .* 'Poseidonis'"):
        evaluate(backbone("bert"), only)


def test_label_words_that_share_tokens_are_refused(backbone) -> None:
    task = Task(
        "clash",
        "classification",
        Template.parse("{text} {soft} {answer}"),
        "accuracy",
        manual=Template.parse("{text} {answer}"),
        labels={"a": ("good",), "b": ("ｇｏｏｄ",)},
        source=MemorySource({"test": (Row({"text": "dog"}, "a"),)}),
    )
    with pytest.raises(TaskError, match="different tokens for each label"):
        evaluate(backbone("t5"), task)


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "bart"])
def test_text_to_text_loss_and_exact_match(backbone, name) -> None:
    model = backbone(name)
    rows = (Row({"text": "a good dog"}, "un bon chien"), Row({"text": "the old river"}, "la"))
    task = Task(
        "fr",
        "text2text",
        Template.parse("{soft} {text} : {answer}"),
        "exact-match",
        manual=Template.parse("{text} : {answer}"),
        source=MemorySource({"test": rows}),
    )
    result = evaluate(model, task)
    assert result.score.metric == "exact-match"
    assert all(isinstance(text, str) for text in result.predictions)
    objective = Objective(model, task, task.manual)
    question = objective.prepare(rows[:1]).questions[0]
    encoded = question.inputs[0]
    logits = model.answer_logits([encoded], torch.zeros(1, model.width), [0])[0]
    by_hand = -logits.log_softmax(-1)[range(len(encoded.targets)), list(encoded.targets)].mean()
    torch.testing.assert_close(objective.losses(logits[None], [question])[0], by_hand)


def _writing(model, rows):
    """Inputs of a text to text task, three virtual tokens in front."""
    template = Template.parse("{soft} {text} : {answer}")
    source = MemorySource({"test": rows})
    task = Task("t", "text2text", template, "exact-match", source=source)
    return [q.inputs[0] for q in Objective(model, task, length=3).prepare(rows).questions]


def test_generation_of_a_row_does_not_depend_on_its_neighbours(backbone) -> None:
    """Left padding must not move positions (PEFT issue 1093)."""
    model = backbone("gpt2")
    vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(0)) * 3
    rows = (Row({"text": "the old river and the green hill"}, "x"), Row({"text": "a dog"}, "y"))
    inputs = _writing(model, rows)
    together = model.generate(inputs, vectors, [0, 0], WritingConfig(6))
    alone = [model.generate([i], vectors, [0], WritingConfig(6))[0] for i in inputs]
    assert together == alone


def test_a_full_row_is_continued_to_its_last_position_and_no_further(backbone) -> None:
    model = backbone("gpt2")
    assert model.max_tokens == 64
    vectors = torch.randn(3, model.width, generator=torch.Generator().manual_seed(0))
    texts = ["the old dog " * 15, "the old dog " * 17, "a dog"]
    rows = tuple(Row({"text": text.strip()}, "sad") for text in texts)
    inputs = _writing(model, rows)
    together = model.generate(inputs, vectors, [0] * 3, WritingConfig(40))
    alone = [model.generate([i], vectors, [0], WritingConfig(40))[0] for i in inputs]
    assert together == alone


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_targets_of_a_decoder_are_texts_of_their_own(backbone, name) -> None:
    model = backbone(name)
    answer = "river and good dog"
    task = Task(
        "t",
        "text2text",
        Template.parse("{text} {answer}"),
        "exact-match",
        source=MemorySource({"test": (Row({"text": "the old river"}, answer),)}),
    )
    targets = Objective(model, task).prepare(task.load("test")).questions[0].inputs[0].targets
    own = model.tokenizer(answer, add_special_tokens=False)["input_ids"]
    assert list(targets) == [*own, model.special.end]


def test_ties_go_to_the_lower_id(backbone, capitals) -> None:
    objective = Objective(backbone("bert"), capitals, capitals.manual)
    question = objective.prepare(capitals.load("test")[:1]).questions[0]
    logits = torch.zeros(1, 1, question.gold + 5)
    assert objective.predictions(logits, [question]) == [question.gold], "all before it are ahead"
    logits[0, 0, question.gold] = 1
    assert objective.predictions(logits, [question]) == [0]


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_a_label_that_begins_another_does_not_count_the_other_one(backbone, films, name) -> None:
    """P(great) holds P(great film), which could never be the likelier answer otherwise."""
    model = backbone(name)
    labels = {"positive": ["great"], "negative": ["great film", "great film great"]}
    task = replace(films, labels=labels)
    objective = Objective(model, task, task.manual)
    questions = objective.prepare(films.load("test")[:1]).questions
    inputs = list(questions[0].inputs)
    logits = model.answer_logits(inputs, torch.zeros(1, model.width), [0] * len(inputs))
    scores = objective.scores(logits, questions)[0]
    words = [model.layout.answer_ids([w])[0] for w in ("great", "great film", "great film great")]
    assert words[1][: len(words[0])] == words[0]
    short, middle, long = (_log_probs(model, "a great film It was", ids) for ids in words)
    wanted = torch.tensor(
        [
            math.log(math.exp(short) - math.exp(middle)),
            math.log((math.exp(middle) + math.exp(long)) / 2),
        ]
    )
    torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-4)
