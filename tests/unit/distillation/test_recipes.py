"""The recipes: answers are learned from teachers, labels are never read."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from promptport.distillation import (
    DistillConfig,
    Teacher,
    align,
    distill_merge,
    fit_mixture,
    questions,
    targets,
    trainer,
)
from promptport.distillation.starts import learning_settings
from promptport.distillation.synthetic_text import spread, swapped_rows, synthetic_rows
from promptport.errors import MismatchError, TaskError, TuningError
from promptport.merging import concatenate
from promptport.parameters import OriginSpec
from promptport.parameters.mixtures import starting_mixture
from promptport.parameters.parametrisation import FreeVectors
from promptport.tasks import Row
from promptport.transfers import transfer
from promptport.tuning import TuneConfig, TuneJob, random_prompt, tune
from promptport.vector import TaskPromptVector

CONFIG = DistillConfig(rows=8, epochs=6, batch_size=4, relative_lr=0.1)


def tuned(model, task, length=3):
    job = TuneJob(task, OriginSpec("vocabulary", 1), length)
    return tune(model, [job], TuneConfig(epochs=4, batch_size=4, patience=0))[0].prompt


def repeated(task, count=12):
    """Enough rows for the smallest budget."""
    parts = {s: (task.load(s) * count)[:count] for s in ("train", "dev")}
    return task.with_rows(**parts)


def with_other_answers(task, answer):
    parts = {s: tuple(replace(r, answer=answer) for r in task.load(s)) for s in ("train", "dev")}
    return task.with_rows(**parts)


@pytest.fixture(params=["capitals", "films"])
def task(request):
    return repeated(request.getfixturevalue(request.param))


@pytest.mark.long
@pytest.mark.parametrize(("source", "target"), [("bert", "gpt2"), ("gpt2", "t5"), ("t5", "bert")])
def test_aligning_comes_nearer_to_the_teacher(backbone, task, source, target) -> None:
    source, target = backbone(source), backbone(target)
    prompt = tuned(source, task)
    ported = transfer(prompt, source.space, target.space, minimum_anchors=2).prompt
    result = align(ported, target, [Teacher(source, prompt)], task, config=CONFIG)
    assert result.floor - 1e-5 <= result.after < result.before
    assert result.prompt.length == prompt.length
    target.check_prompt(result.prompt)
    entry = result.prompt.provenance.history[-1]
    assert (entry["step"], entry["labels_used"]) == ("align", False)


def test_a_run_tells_that_it_was_still_getting_closer(backbone, films) -> None:
    task, model = repeated(films), backbone("gpt2")
    prompt = tuned(model, task)
    start = random_prompt(model, prompt.length, 5)
    start = start.with_provenance(template=task.template.text)

    def aligned(**changes):
        config = replace(CONFIG, epochs=0, check=2, **changes)
        return align(start, model, [Teacher(model, prompt)], task, config=config)

    before, after = aligned(steps=2, patience=9), aligned(steps=4, patience=9)
    missed = [result.after - result.floor for result in (before, after)]
    assert after.steps == 4
    assert after.falling == pytest.approx(1 - missed[1] / missed[0], abs=1e-3)
    assert after.falling > 0
    assert aligned(steps=40, patience=1, relative_lr=1e-12).falling == 0  # nothing came closer


@pytest.mark.long
def test_labels_are_never_read(backbone, task) -> None:
    source, target = backbone("bert"), backbone("gpt2")
    prompt = tuned(source, task)
    ported = transfer(prompt, source.space, target.space, minimum_anchors=2).prompt
    wrong = "Rome" if task.kind == "probe" else task.label_names[-1]
    results = [
        align(ported, target, [Teacher(source, prompt)], each, config=CONFIG)
        for each in (task, with_other_answers(task, wrong))
    ]
    assert torch.equal(results[0].prompt.vectors, results[1].prompt.vectors)


@pytest.mark.long
def test_two_teachers_are_averaged(backbone, task) -> None:
    source, target = backbone("bert"), backbone("gpt2")
    prompt = tuned(source, task)
    ported = transfer(prompt, source.space, target.space, minimum_anchors=2).prompt
    once = [Teacher(source, prompt)]
    twice = [Teacher(source, prompt, 1.0), Teacher(source, prompt, 3.0)]
    one, two = (align(ported, target, t, task, config=CONFIG) for t in (once, twice))
    torch.testing.assert_close(one.prompt.vectors, two.prompt.vectors, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_anchoring_finds_a_mixture_that_answers_alike(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    config = replace(CONFIG, epochs=20, patience=20, noise=0.0)
    result = fit_mixture(prompt, model, task, config=config)
    assert result.floor - 1e-5 <= result.after < result.before
    mixture = result.prompt.mixture
    torch.testing.assert_close(
        mixture.vectors(model.space), result.prompt.vectors, rtol=1e-4, atol=1e-4
    )
    start = starting_mixture(result.prompt, model.space)
    torch.testing.assert_close(start.vectors(model.space), result.prompt.origin)
    few = sorted(model.space.words)[:7]
    found = fit_mixture(prompt, model, task, words=few, config=CONFIG).prompt
    assert found.mixture.words == tuple(few)
    assert found.provenance.origin == {"kind": "mixture", "seed": CONFIG.seed, "words": 7}


def test_bad_input(backbone, capitals) -> None:
    model, other = backbone("bert"), backbone("gpt2")
    task = repeated(capitals)
    prompt = tuned(model, task)
    with pytest.raises(MismatchError):
        fit_mixture(prompt, other, task)
    with pytest.raises(TuningError, match="teachers"):
        align(prompt, model, [], task)
    few = task.with_rows(train=task.load("train")[:5])
    with pytest.raises(TaskError, match="at least 8 rows"):
        fit_mixture(prompt, model, few)
    for wrong in (
        {"texts": "web"},
        {"rows": 3},
        {"held_back": 1.0},
        {"epochs": 0},
        {"relative_lr": float("nan")},
    ):
        with pytest.raises(TuningError, match=next(iter(wrong))):
            DistillConfig(**wrong)


@pytest.mark.parametrize("texts", ["task", "words"])
def test_both_kinds_of_text_teach(backbone, task, texts) -> None:
    source, target = backbone("bert"), backbone("t5")
    prompt = tuned(source, task)
    ported = transfer(prompt, source.space, target.space, minimum_anchors=2).prompt
    config = replace(CONFIG, texts=texts)
    result = align(ported, target, [Teacher(source, prompt)], task, config=config)
    assert result.after < result.before
    assert result.rows <= config.rows
    assert result.prompt.provenance.history[-1]["texts"] == texts


def test_random_words_need_no_rows(backbone, task) -> None:
    """Nothing but templates and label words is read, so a task without data will do."""
    empty = task.with_rows()
    source = backbone("bert")
    prompt = tuned(source, task)
    config = replace(CONFIG, texts="words")
    once, again = (fit_mixture(prompt, source, each, config=config) for each in (task, empty))
    assert torch.equal(once.prompt.vectors, again.prompt.vectors)


def test_made_texts_are_spread_over_the_answers() -> None:
    answers = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
    assert spread(answers, 2) == [0, 3]
    assert spread(answers, 4) == [0, 1, 2, 3]
    assert spread(answers, 9) == [0, 1, 2, 3, 4]


def test_made_rows_fill_every_field(films) -> None:
    words = ("red", "green")
    rows = synthetic_rows(films, words, 30, seed=1)
    assert (
        rows == synthetic_rows(films, words, 30, seed=1) != synthetic_rows(films, words, 30, seed=2)
    )
    assert {tuple(row.fields) for row in rows} == {films.fields}
    drawn = [row.fields[name].split() for row in rows for name in films.fields]
    assert {word for text in drawn for word in text} == set(words)
    assert {len(text) for text in drawn} <= set(range(4, 17))


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_swapped_rows_are_new_and_near(backbone, films, name) -> None:
    model = backbone(name)
    rows = films.load("train")
    made = swapped_rows(rows, model, 12, seed=1)
    assert made == swapped_rows(rows, model, 12, seed=1) != swapped_rows(rows, model, 12, seed=2)
    assert not [m for m in made if m in swapped_rows(rows, model, 12, seed=1, but=made)]
    texts = [row.fields["text"] for row in made]
    assert len(set(texts)) == len(made) == 12
    assert not {row.fields["text"] for row in rows} & set(texts)
    for row in made:
        # One of its own texts, with a quarter of the words swapped, one at least.
        said = row.fields["text"].split()
        alike = [o.fields["text"].split() for o in rows if o.answer == row.answer]
        apart = [
            sum(a != b for a, b in zip(own, said, strict=True))
            for own in alike
            if len(own) == len(said)
        ]
        assert 1 <= min(apart) <= max(1, round(0.25 * len(said)))
    word = rows[0].fields["text"].split()[0]
    (single,) = swapped_rows([Row({"text": word}, "good")], model, 1, seed=0)
    vectors = model.space.matrix.float()
    ids = model.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
    cosines = torch.cosine_similarity(vectors, vectors[ids].mean(0, keepdim=True))
    order = cosines.argsort(descending=True).tolist()
    assert order.index(model.space.words[single.fields["text"]]) < 60


def test_few_texts_allow_few_swaps(backbone) -> None:
    model = backbone("bert")
    rows = [Row({"text": "film"}, "good")]
    made = swapped_rows(rows, model, 500, seed=0)
    assert 1 <= len(made) <= 10
    assert all(row.fields["text"] != "film" for row in made)


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_filled_up_rows_are_only_learned_from(backbone, capitals, films, monkeypatch, name) -> None:
    model, task = backbone(name), repeated(capitals)
    goal = Teacher(model, tuned(model, task))
    swap, asked = questions.swapped_rows, []

    def noted(rows, *rest, but):
        asked.append((list(rows), list(but)))
        return swap(rows, *rest, but=but)

    monkeypatch.setattr(questions, "swapped_rows", noted)

    def made(**settings):
        config = replace(CONFIG, **{"rows": 40, **settings})
        return targets.DistillTargets.make(
            model, goal.prompt, [goal], task, "train", config
        ), config

    (plain, _), (filled, config) = made(), made(fill=30)
    count = len(plain.questions)
    assert count == 12
    assert len(filled.questions) == len(filled.answers) == 30
    assert filled.made == 30 - count
    assert [q.row for q in filled.questions[:count]] == [q.row for q in plain.questions]
    held = filled.held_back(config)
    assert held == plain.held_back(config) == 2
    texts = [[q.row.fields for q in part] for part in (plain.questions[:held], plain.questions)]
    learned = [row.fields for row in asked[0][0]]
    assert ([row.fields for row in asked[0][1]], learned) == (texts[0], texts[1][held:])
    assert filled.unit == pytest.approx(plain.unit)
    alike = filled.agreement(goal.prompt.vectors)
    assert (alike.rows, alike.same) == (count, 1.0)
    assert len(made(rows=20, fill=30)[0].questions) == 20, "rows are the limit"
    assert made(fill=count)[0].made == made(fill=30, texts="words")[0].made == 0
    with pytest.raises(TuningError, match="fill: expected 0 or more"):
        replace(CONFIG, fill=-1)


def test_made_rows_that_do_not_fit_are_left_out(backbone, capitals, monkeypatch) -> None:
    model, task = backbone("bert"), repeated(capitals)
    goal = Teacher(model, tuned(model, task))
    monkeypatch.setattr(
        questions,
        "swapped_rows",
        lambda rows, *_, but: [replace(rows[0], fields={"subject": "film " * 500}), rows[0]],
    )
    config = replace(CONFIG, rows=40, fill=14)
    assert targets.DistillTargets.make(model, goal.prompt, [goal], task, "train", config).made == 1


def test_words_are_swapped_without_their_punctuation(backbone) -> None:
    model = backbone("bert")
    rows = [Row({"text": "(film), \u8fd9\u90e8"}, "good")]
    texts = {row.fields["text"] for row in swapped_rows(rows, model, 5, seed=0)}
    plain = {r.fields["text"] for r in swapped_rows([Row({"text": "film"}, "good")], model, 5, 0)}
    assert texts == {f"({word}), \u8fd9\u90e8" for word in plain}


@pytest.mark.parametrize("several", [False, True])
def test_losses_that_are_no_numbers_are_refused(backbone, films, monkeypatch, several) -> None:
    model, task = backbone("bert"), repeated(films)
    start, part = random_prompt(model, 3, 2), (tuned(model, task), task)
    plain = trainer.losses_of

    def broken(scored, targets, rows):
        number, losses = plain(scored, targets, rows)
        return number, losses * float("nan")

    monkeypatch.setattr(trainer, "losses_of", broken)
    with pytest.raises(TuningError, match="loss: expected a finite number, got nan"):
        distill_merge([start, part[0]] if several else start, model, [part], config=CONFIG)


def test_labels_need_not_be_there(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    blank = with_other_answers(task, "")
    found = align(prompt, model, [Teacher(model, prompt)], blank, config=CONFIG)
    same = align(prompt, model, [Teacher(model, prompt)], task, config=CONFIG)
    assert torch.equal(found.prompt.vectors, same.prompt.vectors)


def test_rare_words_are_left_out_not_late_ones(backbone, monkeypatch) -> None:
    model = backbone("bert")
    teacher = Teacher(model, random_prompt(model, 2, 0))
    every = questions.shared_words(model, [teacher])
    monkeypatch.setattr(questions, "_MOST_WORDS", 5)
    few = questions.shared_words(model, [teacher])
    assert sorted(few) == list(few)
    assert set(few) == set(sorted(every, key=lambda word: model.space.words[word])[:5])


def test_calibrating_a_prompt_where_it_was_tuned_leaves_its_origin_behind(backbone, task) -> None:
    model = backbone("bert")
    prompt = tuned(model, task)
    found = align(prompt, model, [Teacher(model, prompt)], task, config=CONFIG).prompt
    assert (found.origin, found.provenance.origin, found.provenance.tuning) == (None, None, None)
    assert found.provenance.history[-1]["tuning"] == prompt.provenance.tuning


@pytest.mark.long
def test_a_combination_is_brought_back_to_both_of_its_prompts(backbone, capitals, films) -> None:
    model = backbone("bert")
    tasks = [repeated(capitals), repeated(films)]
    singles = [tuned(model, task) for task in tasks]
    vectors = [TaskPromptVector.of(prompt) for prompt in singles]
    whole = (vectors[0] + vectors[1]).apply(singles[0].origin)
    parts = list(zip(singles, tasks, strict=True))
    found = distill_merge(whole, model, parts, config=replace(CONFIG, epochs=12, patience=12))
    assert found.floor - 1e-5 <= found.after < found.before
    assert found.rows == 16
    assert torch.equal(found.prompt.origin, singles[0].origin)
    entry = found.prompt.provenance.history[-1]
    assert (entry["step"], entry["labels_used"]) == ("distill_merge", False)
    assert entry["tasks"] == [task.name for task in tasks]
    blank = [(prompt, with_other_answers(task, "")) for prompt, task in parts]
    same = distill_merge(whole, model, blank, config=replace(CONFIG, epochs=12, patience=12))
    assert torch.equal(found.prompt.vectors, same.prompt.vectors)


def test_tasks_take_turns_and_short_ones_begin_again() -> None:
    pools = [[(0, i) for i in range(7)], [(1, i) for i in range(3)]]
    order = trainer._in_turn(pools, seed=4)
    assert [number for number, _ in order] == [0, 1] * 7
    assert sorted(place for place in order if place[0] == 0) == pools[0]
    shorter = [i for number, i in order if number == 1]
    assert sorted(shorter[:3]) == sorted(shorter[3:6]) == [0, 1, 2]
    assert order != trainer._in_turn(pools, seed=5)


def test_targets_are_measured_by_what_tells_their_texts_apart(backbone, films) -> None:
    model, task = backbone("bert"), repeated(films)
    goal = Teacher(model, tuned(model, task))
    made = targets.DistillTargets.make(model, goal.prompt, [goal], task, "train", CONFIG)
    sure = replace(made, answers=torch.eye(2).repeat(4, 1))
    assert sure.unit == pytest.approx(math.log(2))
    mixed = replace(made, answers=torch.tensor([[0.9, 0.1], [0.1, 0.9]]))
    heard = math.log(2) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)
    assert mixed.unit == pytest.approx(heard)
    alike = replace(made, answers=torch.tensor([[0.9, 0.1]]).repeat(8, 1))
    assert alike.unit == 0.05


@pytest.mark.slow
def test_losses_of_several_tasks_are_in_their_own_units(
    backbone, capitals, films, monkeypatch
) -> None:
    model = backbone("gpt2")
    config = replace(CONFIG, rows=48, epochs=2, batch_size=3)
    made = [
        targets.DistillTargets.make(model, own, [Teacher(model, own)], task, "train", config)
        for task in (repeated(films, 48), repeated(films, 10))
        for own in [tuned(model, task)]
    ]
    sure, unsure = torch.eye(2), torch.tensor([[0.7, 0.3], [0.3, 0.7]])
    both = [
        replace(one, answers=rows.repeat(len(one.questions) // 2, 1))
        for one, rows in zip(made, (sure, unsure), strict=True)
    ]
    vectors = FreeVectors(random_prompt(model, 3, 2).vectors.clone())
    asked = []
    gradient = trainer.Distillation._gradient

    def noted(self, prompt, rows):
        found = gradient(self, prompt, rows)
        units, self._units = self._units, [1.0, 1.0]
        parts = [
            gradient(self, prompt, own) * len(own) / unit
            for n, unit in enumerate(units)
            if (own := [row for row in rows if row[0] == n])
        ]
        self._units = units
        assert torch.allclose(found, sum(parts) / len(rows), rtol=1e-3, atol=1e-7)
        asked.append((list(units), [number for number, _ in rows]))
        return found

    monkeypatch.setattr(trainer.Distillation, "_gradient", noted)
    learning = trainer.Distillation(vectors, both, config, rate=0.1)
    learning.go_on(learning.total, lambda: None)
    record = learning.record()
    units = [one.unit for one in both]
    assert units[0] == pytest.approx(math.log(2))
    assert units[1] < 0.1
    assert all(used == units for used, _ in asked)
    numbers = [number for _, numbers in asked for number in numbers]
    assert numbers == [0, 1] * (2 * 38), "38 of 48 rows are learned from, in two passes"
    assert record["steps"] == len(asked) == 2 * 26
    assert len(record["missed"]) == 2


def test_some_rows_are_always_left_to_learn_from(backbone, films) -> None:
    model, task = backbone("bert"), repeated(films, 8)
    config = replace(CONFIG, held_back=0.95, epochs=1)
    found = distill_merge(
        random_prompt(model, 3, 2), model, [(tuned(model, task), task)], config=config
    )
    assert (found.rows, found.steps) == (8, 1)


def test_steps_end_it(backbone, capitals) -> None:
    model, task = backbone("bert"), repeated(capitals)
    part = (tuned(model, task), task)
    start = random_prompt(model, 3, 2)
    seen = []
    config = replace(CONFIG, steps=3, epochs=50, patience=50)
    found = distill_merge(start, model, [part], config=config, progress=lambda *s: seen.append(s))
    assert found.steps == 3
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert distill_merge(start, model, [part], config=replace(config, epochs=0)).steps == 3
    with pytest.raises(TuningError, match="steps: expected 0 or more"):
        replace(CONFIG, steps=-1)
    with pytest.raises(TuningError, match="epochs: expected 1 or more, or 0 with a limit of steps"):
        replace(CONFIG, epochs=0)


def test_looks_at_held_back_rows_are_counted_in_updates_of_each_task(
    backbone, capitals, films, monkeypatch
) -> None:
    model = backbone("bert")
    parts = [(tuned(model, task), task) for task in (repeated(capitals), repeated(films))]
    looks = []
    found = trainer.Distillation._look

    def noted(*given):
        looks.append(given[0].done)
        return found(*given)

    monkeypatch.setattr(trainer.Distillation, "_look", noted)
    config = replace(CONFIG, epochs=0, steps=7, check=3, patience=50)
    distill_merge(parts[0][0], model, parts, config=config)
    assert looks == [0, 6, 12, 14]


@pytest.mark.parametrize(
    ("missed", "steps"),
    [
        ([1.0, 0.99, 0.98, 0.5, 0.45, 0.1], 8),  # 1 and 1% gone, which do not count yet; 49, 10
        ([1.0, 0.5, 0.6, 0.7, 0.1], 6),  # further off
        ([1.0, 0.8, 0.6, 0.45, 0.3, 0.2], 10),  # a quarter and more each time: all steps
    ],
)
def test_it_goes_on_while_looks_find_much_gone(backbone, films, monkeypatch, missed, steps) -> None:
    model = backbone("bert")
    start, goal = random_prompt(model, 3, 2), Teacher(model, tuned(model, films))
    seen = iter(missed)

    def found(self, vectors):
        self._same = [0.5]
        return [self._floors[0] + next(seen)]

    monkeypatch.setattr(trainer.Distillation, "_look", found)
    config = replace(CONFIG, epochs=0, steps=10, check=2, patience=3, least_gain=0.15)
    learned = align(start, model, [goal], repeated(films), config=config)
    assert learned.steps == steps
    assert learned.after == pytest.approx(learned.floor + min(missed[: steps // 2 + 1]))
    for wrong in (-0.1, 1.0):
        with pytest.raises(TuningError, match="least_gain: expected 0 or more, and below 1"):
            replace(CONFIG, least_gain=wrong)


@pytest.mark.parametrize(("same", "steps"), [([0.9, 0.8], 6), ([0.9, 0.7], 10)])
def test_enough_equal_answers_of_every_task_end_it(
    backbone, capitals, films, monkeypatch, same, steps
) -> None:
    model = backbone("bert")
    parts = [(tuned(model, task), task) for task in (repeated(capitals), repeated(films))]
    look = trainer.Distillation._look

    def found(self, vectors):
        losses = look(self, vectors)
        self._same = same
        return losses

    monkeypatch.setattr(targets.DistillTargets, "commonest", lambda *_: 0.5)
    monkeypatch.setattr(trainer.Distillation, "_look", found)
    config = replace(CONFIG, epochs=0, steps=10, check=2, patience=50, enough_same=0.8)
    assert distill_merge(parts[0][0], model, parts, config=config).steps == 2 * steps
    with pytest.raises(TuningError, match="enough_same: expected 0 to 1"):
        replace(CONFIG, enough_same=1.1)


@pytest.mark.parametrize(("commonest", "steps"), [(0.6, 6), (0.7, 10), (0.9, 10)])
def test_answers_that_are_equal_by_chance_do_not_end_it(
    backbone, films, monkeypatch, commonest, steps
) -> None:
    model, task = backbone("bert"), repeated(films)
    start, goal = random_prompt(model, 3, 2), Teacher(model, tuned(model, task))
    config = replace(CONFIG, epochs=0, steps=10, check=2, patience=50, enough_same=0.8)
    made = targets.DistillTargets.make(model, start, [goal], task, "train", config)
    monkeypatch.setattr(targets.DistillTargets, "commonest", lambda *_: commonest)
    learning = trainer.Distillation(FreeVectors(start.vectors.clone()), [made], config, rate=0.03)
    look = learning._look

    def found(vectors):
        losses = look(vectors)
        learning._same = [0.8]
        return losses

    monkeypatch.setattr(learning, "_look", found)
    learning.go_on(10, lambda: None)
    assert learning.done == steps


def test_updates_that_are_given_are_all_taken() -> None:
    usual = replace(CONFIG, least_gain=0.1, enough_same=0.8)
    for given in ({"steps": 60}, {"epochs": 3}):
        changed = learning_settings(usual, given)
        assert (changed.least_gain, changed.enough_same) == (0, 0)
    kept = learning_settings(usual, {"rows": 64})
    assert (kept.rows, kept.least_gain, kept.enough_same) == (64, 0.1, 0.8)
    both = learning_settings(usual, {"steps": 60, "least_gain": 0.2})
    assert (both.steps, both.least_gain, both.enough_same) == (60, 0.2, 0)


@pytest.mark.parametrize("kind", ["films", "capitals"])  # labels; words that both models know
def test_a_look_counts_equal_answers(backbone, request, kind) -> None:
    source, model = backbone("bert"), backbone("gpt2")
    task = repeated(request.getfixturevalue(kind))
    goal = Teacher(source, tuned(source, task))
    start = random_prompt(model, 3, 2)
    config = replace(CONFIG, rows=16, held_back=0.5)
    known = task.load("train")[:2]
    made = targets.DistillTargets.make(model, start, [goal], task, "train", config, labelled=known)
    learning = trainer.Distillation(FreeVectors(start.vectors.clone()), [made], config, rate=0.3)
    held = made.held_back(config)
    seen = set()
    for _ in range(3):
        losses, told = learning._look(learning.vectors), made.agreement(learning.vectors, held)
        assert learning._same == [pytest.approx(told.same)]
        assert losses[0] - learning._floors[0] == pytest.approx(told.divergence, abs=1e-5)
        seen.add(round(told.same, 3))
        learning.go_on(learning.done + 4, lambda: None)
    assert seen != {1.0}
    first = made.of_teachers[:held].argmax(1)
    assert learning._commonest == [max(first.tolist().count(i) for i in set(first.tolist())) / held]


@pytest.mark.long
def test_a_prompt_that_is_close_enough_is_done(backbone, films) -> None:
    model, task = backbone("bert"), repeated(films)
    prompt = tuned(model, task)
    config = replace(CONFIG, epochs=0, steps=50, check=2, patience=50, enough=0.01)
    assert distill_merge(prompt, model, [(prompt, task)], config=config).steps == 2
    whole = replace(config, enough=0.0)
    assert distill_merge(prompt, model, [(prompt, task)], config=whole).steps == 50


@pytest.mark.long
def test_the_mean_of_noisy_steps_is_what_is_kept(backbone, films) -> None:
    model, task = backbone("bert"), repeated(films)
    start, goal = random_prompt(model, 3, 2), Teacher(model, tuned(model, task))
    config = replace(CONFIG, epochs=0, steps=30, check=30)
    made = targets.DistillTargets.make(model, start, [goal], task, "train", config)
    for average in (0, 3):
        vectors = FreeVectors(start.vectors.clone())
        learning = trainer.Distillation(vectors, [made], config, rate=0.03, average=average)
        learning.go_on(learning.total, lambda: None)
        record = learning.record()
        assert record["after"] < record["before"]
        assert torch.equal(learning.best, learning.mean if average else learning.vectors)
    vectors = FreeVectors(start.vectors.clone())
    learning = trainer.Distillation(vectors, [made], config, rate=1.0, average=4)
    seen = [learning.vectors.clone()]
    for row in range(3):
        learning.step([(0, row)])
        seen.append(learning.vectors.clone())
    shares = [0.75**3, 0.25 * 0.75**2, 0.25 * 0.75, 0.25]
    wanted = sum(share * vectors for share, vectors in zip(shares, seen, strict=True))
    assert torch.allclose(learning.mean, wanted, rtol=1e-5, atol=1e-6)


def test_one_part_alone_is_aligning(backbone, task) -> None:
    model = backbone("bert")
    start, goal = tuned(model, task), random_prompt(model, 3, 5)
    goal = replace(goal, provenance=replace(goal.provenance, template=task.template.text))
    one = distill_merge(start, model, [(goal, task)], config=CONFIG)
    other = align(start, model, [Teacher(model, goal)], task, config=CONFIG)
    assert torch.equal(one.prompt.vectors, other.prompt.vectors)
    assert (one.before, one.after, one.rows, one.steps) == (
        other.before,
        other.after,
        other.rows,
        other.steps,
    )


@pytest.mark.slow
def test_of_several_starts_the_one_that_misses_less_goes_on(backbone, capitals, films) -> None:
    model = backbone("t5")
    tasks = [repeated(capitals), repeated(films)]
    singles = [tuned(model, task) for task in tasks]
    parts = list(zip(singles, tasks, strict=True))
    far, near = random_prompt(model, 3, 7), concatenate(singles)
    config = replace(CONFIG, epochs=0, steps=9, check=2, patience=50)
    seen = []
    for order, place in (([far, near], 1), ([near, far], 0)):
        found = distill_merge(
            order, model, parts, config=config, progress=lambda *s: seen.append(s)
        )
        alone = [distill_merge(p, model, parts, config=replace(config, steps=2)) for p in order]
        assert found.tried == tuple(fmean(one.missed) for one in alone)
        assert found.start == place == found.tried.index(min(found.tried))
        assert found.prompt.length == order[place].length
        assert found.steps == 4 + 18
        whole = distill_merge(order[place], model, parts, config=config)
        assert torch.equal(found.prompt.vectors, whole.prompt.vectors)
        assert (whole.start, whole.tried) == (0, ())
    assert seen[:22] == [(i, 22) for i in range(1, 23)]
    with pytest.raises(TuningError, match="prompt: expected one or more"):
        distill_merge([], model, parts, config=config)


def test_merging_needs_parts_of_its_backbone(backbone, capitals) -> None:
    model, task = backbone("bert"), repeated(capitals)
    prompt = tuned(model, task)
    with pytest.raises(TuningError, match="parts: expected one or more"):
        distill_merge(prompt, model, [])
    with pytest.raises(MismatchError):
        distill_merge(prompt, model, [(tuned(backbone("gpt2"), task), task)])
