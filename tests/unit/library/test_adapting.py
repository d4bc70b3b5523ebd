"""A prompt for a new task from what a library says: by hand, without labels, with a few."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from promptport.distillation.targets import DistillTargets
from promptport.errors import MismatchError, PromptPortError, TaskError, TuningError
from promptport.evaluation import prompted
from promptport.library import AdaptConfig, adapt
from promptport.library.adapting import LabelCheck
from promptport.library.opinion_pool import fit_to_others, information, log_answers, opinion, trust
from promptport.objective import Objective
from promptport.tuning import random_prompt

CONFIG = AdaptConfig(rows=12, steps=12, batch_size=6, relative_lr=1.0)
KINDS = ("bert", "gpt2", "t5")


def repeated(task, count=12):
    parts = {s: (task.load(s) * count)[:count] for s in ("train", "dev")}
    return task.with_rows(**parts, test=task.load("test"))


def answered(task, answers):
    rows = zip(task.load("train"), answers, strict=True)
    new = tuple(replace(row, answer=answer) for row, answer in rows)
    return task.with_rows(train=new, dev=new)


def relabelled(task, answer):
    return answered(task, [answer] * len(task.load("train")))


@pytest.fixture(params=["capitals", "films"])
def task(request):
    return repeated(request.getfixturevalue(request.param))


@pytest.fixture
def library(backbone):
    def get(kind):
        return {f"p{seed}": random_prompt(backbone(kind), 2, seed) for seed in (1, 2, 3)}

    return get


@pytest.mark.long
def test_labels_choose_the_start_and_whom_to_hear(backbone, films, library) -> None:
    model, prompts = backbone("bert"), library("bert")
    task = repeated(films)
    found = adapt(model, prompts, task, labelled=12, config=CONFIG)
    assert {v.trust for v in adapt(model, prompts, task, config=CONFIG).opinions} == {1.0}
    objective = Objective(model, task, length=2)
    questions = objective.prepare(task.load("train")).questions
    told = {
        n: log_answers(model, prompted(objective, questions), p.vectors) for n, p in prompts.items()
    }
    labels = torch.stack([torch.tensor(q.goal) for q in questions])
    calibrated = {n: (said - said.mean(0)).log_softmax(1) for n, said in told.items()}
    heard = [calibrated[n] * information(calibrated[n]) for n in prompts]
    factors = trust(heard, labels)
    assert [v.trust for v in found.opinions] == pytest.approx(factors, rel=1e-3)
    added = [h * f for h, f in zip(heard, factors, strict=True)]
    together = torch.stack(added).sum(0)
    right = {n: int((c.argmax(1) == labels.argmax(1)).sum()) for n, c in calibrated.items()}
    fits = {
        n: 16 * fit_to_others(told[n], together - own) + right[n]
        for n, own in zip(prompts, added, strict=True)
    }
    assert found.start == max(fits, key=lambda n: fits[n])


@pytest.mark.parametrize("kind", KINDS)
def test_what_all_say_together_is_learned(backbone, task, library, kind) -> None:
    found = adapt(backbone(kind), library(kind), task, config=CONFIG)
    assert found.after.divergence < found.before.divergence
    assert (found.labelled, found.right, found.rows, found.steps) == (0, None, 12, 12)
    assert found.to_dict()["after"]["rows"] == 12
    assert [v.name for v in found.opinions] == ["p1", "p2", "p3"]
    assert all(0 <= v.information <= 1 and 0 <= v.same <= 1 for v in found.opinions)
    start = library(kind)[found.start]
    assert found.prompt.provenance.task == task.name
    assert found.prompt.provenance.template == task.template.text
    assert found.prompt.provenance.origin == start.provenance.origin
    entry = found.prompt.provenance.history[-1]
    assert entry["labels_used"] is False
    assert entry["library"] == ["p1", "p2", "p3"]
    assert not torch.equal(found.prompt.vectors, start.vectors)


@pytest.mark.long
def test_labels_are_read_only_when_asked(backbone, task, library) -> None:
    model, prompts = backbone("bert"), library("bert")
    other = relabelled(task, task.load("train")[1].answer)
    blind, still_blind = (adapt(model, prompts, t, config=CONFIG) for t in (task, other))
    assert torch.equal(blind.prompt.vectors, still_blind.prompt.vectors)
    seen, seen_otherwise = (
        adapt(model, prompts, t, labelled=6, config=CONFIG) for t in (task, other)
    )
    assert not torch.allclose(seen.prompt.vectors, seen_otherwise.prompt.vectors, atol=1e-3)
    assert (seen.labelled, seen.steps) == (6, 24)
    assert seen.prompt.provenance.history[-1]["labels_used"] is True


@pytest.mark.long
def test_a_consensus_that_is_wrong_counts_less(backbone, films, library) -> None:
    model, prompts = backbone("bert"), library("bert")
    task = repeated(films)
    objective = Objective(model, task, length=2)
    queries = prompted(objective, objective.prepare(task.load("train")).questions)
    told = [opinion(log_answers(model, queries, p.vectors))[0] for p in prompts.values()]
    said = torch.stack(told).sum(0)
    names = task.label_names

    def labelled(choice):
        return answered(task, [names[i] for i in choice.tolist()])

    def agreed(choice):
        """From 0 to 1, with two right rows added, once the rows have said whom to hear."""
        labels = torch.nn.functional.one_hot(choice, len(names)).float()
        heard = torch.stack(told) * torch.tensor(trust(told, labels))[:, None, None]
        right = (heard.sum(0).softmax(1) * labels).sum()
        return max(0.0, 2 * (float(right) + 2) / (len(labels) + 2) - 1)

    agreeing = adapt(model, prompts, labelled(said.argmax(1)), labelled=12, config=CONFIG)
    assert agreeing.right == pytest.approx(agreed(said.argmax(1)), abs=1e-4)
    opposed = adapt(model, prompts, labelled(said.argmin(1)), labelled=12, config=CONFIG)
    assert opposed.right == pytest.approx(agreed(said.argmin(1)), abs=1e-4)
    assert opposed.right < agreeing.right
    assert replace(agreeing, right=0.1).verdict.startswith("what the library says is hardly better")
    assert replace(agreeing, right=0.9).verdict.endswith(
        "agrees with the labels by 0.90 from 0 to 1"
    )
    loud = tuple(replace(v, information=0.9) for v in agreeing.opinions)
    assert replace(agreeing, right=None, opinions=loud).verdict.startswith("without labels nothing")
    quiet = tuple(replace(v, information=0.1) for v in agreeing.opinions)
    assert replace(agreeing, right=None, opinions=quiet).verdict.endswith("label some rows")


def answers_of(model, task, prompt):
    """Scores (rows, classes) of the training rows, and the classes of their labels."""
    objective = Objective(model, task, length=prompt.length)
    questions = objective.prepare(task.load("train")).questions
    said = log_answers(model, prompted(objective, questions), prompt.vectors)
    return said, torch.tensor([q.goal for q in questions]).argmax(1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_labels_that_are_all_right_teach_nothing_more(backbone, films, library, kind) -> None:
    model, prompts = backbone(kind), {"p1": library(kind)["p1"]}
    task = repeated(films)
    blind = adapt(model, prompts, task, config=CONFIG).prompt
    said, _ = answers_of(model, task, blind)
    known = answered(task, [task.label_names[i] for i in said.argmax(1).tolist()])
    found = adapt(model, prompts, known, labelled=12, config=CONFIG)
    own, gold = answers_of(model, known, found.prompt)
    assert 12 <= found.steps < 24
    assert bool((own.argmax(1) == gold).all())
    # One and the same text with both labels: never all right, so no step is left out.
    torn = answered(task, [task.label_names[i % 2] for i in range(12)])
    rows = tuple(replace(row, fields=torn.load("train")[0].fields) for row in torn.load("train"))
    torn = torn.with_rows(train=rows, dev=rows)
    assert adapt(model, prompts, torn, labelled=12, config=CONFIG).steps == 24


@pytest.mark.slow
def test_an_exam_over_many_rows(backbone, films) -> None:
    """The unsure rows come first the next time, and no wrong one is overlooked."""
    model = backbone("gpt2")
    task = repeated(films, 40)
    prompts = [random_prompt(model, 2, seed) for seed in range(8)]
    said, _ = answers_of(model, task, prompts[0])
    for row in (None, 0, 20, 39):
        classes = said.argmax(1)
        if row is not None:
            classes[row] = 1 - classes[row]
        labelled = answered(task, [task.label_names[i] for i in classes.tolist()])
        objective = Objective(model, labelled, length=2)
        questions = objective.prepare(labelled.load("train")).questions
        answers = torch.tensor([q.goal for q in questions])
        check = LabelCheck(DistillTargets(objective, questions, answers, None))
        for prompt in (*prompts, *prompts[::-1]):
            own, gold = answers_of(model, labelled, prompt)
            assert check.passed(prompt.vectors) == bool((own.argmax(1) == gold).all())


@pytest.mark.long
def test_order_and_seed(backbone, films, library) -> None:
    model, prompts = backbone("bert"), library("bert")
    task = repeated(films)
    forward = adapt(model, prompts, task, config=CONFIG)
    backward = adapt(model, dict(reversed(prompts.items())), task, config=CONFIG)
    assert forward.start == backward.start
    torch.testing.assert_close(
        forward.prompt.vectors, backward.prompt.vectors, rtol=1e-3, atol=1e-4
    )
    again = adapt(model, prompts, task, config=CONFIG)
    assert torch.equal(forward.prompt.vectors, again.prompt.vectors)
    calls = []
    adapt(model, prompts, task, labelled=6, config=CONFIG, progress=lambda *c: calls.append(c))
    assert calls[-1] == (24, 24)


def test_prompts_of_several_lengths(backbone, films, library) -> None:
    model = backbone("gpt2")
    prompts = {**library("gpt2"), "long": random_prompt(model, 5, 9)}
    found = adapt(model, prompts, repeated(films), config=CONFIG)
    assert found.prompt.length == prompts[found.start].length


def test_bad_input(backbone, films, library) -> None:
    model, prompts = backbone("bert"), library("bert")
    task = repeated(films)
    with pytest.raises(PromptPortError, match="library: expected one prompt or more"):
        adapt(model, {}, task)
    with pytest.raises(MismatchError):
        adapt(backbone("gpt2"), prompts, task)
    with pytest.raises(TaskError, match="at least 8 rows of text"):
        adapt(model, prompts, films)
    with pytest.raises(TuningError, match="expected 0 to 12"):
        adapt(model, prompts, task, labelled=13)
    with pytest.raises(TuningError, match="expected 0 to 12"):
        adapt(model, prompts, task, labelled=-1)
    free = replace(task, kind="text2text", metric="exact-match", labels=None)
    with pytest.raises(TaskError, match="a probe or a classification"):
        adapt(model, prompts, free)
    with pytest.raises(PromptPortError, match="prompt 'broken' of the library"):
        broken = replace(prompts["p1"], vectors=torch.full((2, model.width), 1e38))
        adapt(model, {"broken": broken}, task, config=CONFIG)


@pytest.mark.parametrize(
    ("name", "value"), [("rows", 4), ("steps", 0), ("batch_size", 0), ("relative_lr", -1.0)]
)
def test_bad_settings(name, value) -> None:
    with pytest.raises(TuningError, match=f"{name}: expected"):
        AdaptConfig(**{name: value})
