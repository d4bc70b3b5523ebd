"""The one front door from Python: names, folders and objects; a plan, a report, a verdict."""

from __future__ import annotations

import pytest

import promptport
from promptport.distillation import Agreement, DistillConfig, Teacher, fit_mixture, move_by_answers
from promptport.errors import BackboneError, PromptPortError
from promptport.evaluation import evaluate
from promptport.moving import MoveConfig, front, move, prepare_move
from promptport.moving.expected_score import OF_LARGE, OF_SMALL, forecast
from promptport.moving.result import fewer_equal
from promptport.parameters import OriginSpec
from promptport.storage import load_prompt, save_prompt
from promptport.transfers import transfer
from promptport.tuning import TuneConfig, TuneJob, tune

LEARNING = DistillConfig(texts="words", rows=12, epochs=3, batch_size=4)
FAST = MoveConfig(distill=LEARNING)


@pytest.fixture(scope="module")
def task(capitals):
    rows = (capitals.load("train") * 4)[:16]
    return capitals.with_rows(rows, rows, rows)


@pytest.fixture(scope="module")
def make(backbone, task):
    def tuned(kind="vocabulary", name="bert"):
        job = TuneJob(task, OriginSpec(kind, 1), 3)
        return tune(backbone(name), [job], TuneConfig(epochs=2, batch_size=4, patience=0))[0].prompt

    return tuned


@pytest.mark.long
@pytest.mark.parametrize("texts", ["words", "task"])
def test_the_road_by_answers_is_that_of_move_by_answers(backbone, make, task, texts) -> None:
    source, target, prompt = backbone("bert"), backbone("gpt2"), make()
    moved = move(prompt, target, backbone=source, task=task, texts=texts, config=FAST)
    assert (moved.plan.method, moved.plan.texts) == ("answers", texts)
    config = DistillConfig(texts=texts, rows=12, epochs=3, batch_size=4)
    wanted = move_by_answers([Teacher(source, prompt)], target, task, config=config)
    assert moved.prompt.vectors.equal(wanted.prompt.vectors)
    assert moved.check is not None
    assert (moved.check.same, moved.check.rows) == (wanted.after.same, wanted.after.rows)
    assert moved.source_scores == (prompt.provenance.tuning["dev_score"],)
    told = moved.to_dict()
    assert told["verdict"] == moved.verdict
    assert repr(moved) == f"MoveResult(answers: {moved.verdict})"
    assert moved.verdict.startswith("it answers like its source on ")
    fell = wanted.after.same < wanted.before.same
    assert any("fewer first answers are equal" in line for line in moved.warnings) == fell


@pytest.mark.parametrize(("large", "numbers"), [(1_000, OF_LARGE), (10**9, OF_SMALL)])
def test_the_size_of_the_target_decides_how_far_an_expectation_is_off(
    backbone, make, task, monkeypatch, large, numbers
) -> None:
    monkeypatch.setattr(front, "LARGE", large)
    prompt = make()
    learning = DistillConfig(texts="task", rows=16, held_back=0.8, epochs=1, batch_size=4)
    config = MoveConfig(distill=learning, start="vocabulary")
    moved = move(
        prompt, backbone("gpt2"), backbone=backbone("bert"), task=task, texts="task", config=config
    )
    assert moved.check.rows >= 10
    (score,) = moved.source_scores
    rows = prompt.provenance.tuning["dev_rows"]
    assert moved.expected == forecast(score, moved.check.same, rows, numbers)


@pytest.mark.parametrize(("texts", "fix"), [("words", "--texts task"), ("task", "--rows")])
def test_fewer_equal_answers_after_alignment_are_commented_on(texts, fix) -> None:
    before, after = Agreement(1.2, 0.75, 51), Agreement(0.9, 0.67, 51)
    (said,) = fewer_equal(before, after, texts)
    assert "divergence 1.20 to 0.90 nats" in said
    assert "(75% to 67% of 51)" in said
    assert fix in said
    assert fewer_equal(after, before, texts) == ()


@pytest.mark.long
def test_names_folders_and_objects(backbone, model_folder, make, task, tmp_path) -> None:
    prompt = make()
    folder = save_prompt(prompt, tmp_path / "P")
    wanted = transfer(prompt, backbone("bert").space, backbone("gpt2").space).prompt
    for given in (prompt, folder, str(folder), [prompt], [folder]):
        for to in (str(model_folder("gpt2")), model_folder("gpt2"), backbone("gpt2")):
            moved = move(given, to, method="embeddings", task=task, config=MoveConfig(check=False))
            assert moved.prompt.vectors.equal(wanted.vectors)
            assert moved.plan.better == "answers"
            assert "0.36" in moved.warnings[0]
    by_space = move(prompt, backbone("gpt2").space, backbone=backbone("bert"), method="embeddings")
    assert by_space.prompt.vectors.equal(wanted.vectors)
    assert by_space.plan.better is None, "no task is known"
    with pytest.raises(PromptPortError, match="only the embedding space is given"):
        move(prompt, backbone("gpt2").space, task=task, method="answers")


def test_a_method_by_name_and_several_prompts(backbone, make, task) -> None:
    prompts = [make(), make(name="gpt2")]
    spaces = [backbone("bert"), backbone("gpt2")]
    config = MoveConfig(check=False, weights=(1.0, 3.0))
    moved = move(prompts, backbone("t5"), backbone=spaces, method="procrustes", config=config)
    assert moved.report.method == "procrustes.v1"
    assert moved.report.source.count(" + ") == 1
    shares = [entry["weight"] for entry in moved.prompt.provenance.history[-1]["sources"]]
    assert sorted(shares) == [0.25, 0.75]
    with pytest.raises(PromptPortError, match="--backbone: expected none, or one per prompt"):
        move(prompts, backbone("t5"), backbone=spaces[0])


def test_a_free_prompt_to_a_table_like_its_own_is_not_warned_of(backbone, make) -> None:
    prompt, config = make(), MoveConfig(check=False)
    moved = move(prompt, backbone("bert"), method="embeddings", config=config)
    assert not any("0.36" in warning for warning in moved.warnings)
    assert moved.prompt.vectors.allclose(prompt.vectors, atol=1e-4)


def test_a_mixture_with_everything_at_hand_takes_the_answers(backbone, make, task) -> None:
    prompt = make("mixture")
    moved = move(prompt, backbone("gpt2"), task=task, texts="words", config=FAST)
    assert moved.plan.method == "answers"
    assert moved.report.mixtures == (None,)
    assert "a mixture of words" in moved.plan.why


def test_a_free_prompt_becomes_a_mixture_where_the_target_cannot_be_asked(
    backbone, make, task
) -> None:
    source, space, prompt = backbone("bert"), backbone("gpt2").space, make()
    moved = move(prompt, space, backbone=source, task=task, texts="task", config=FAST)
    assert (moved.plan.method, moved.plan.fits, moved.check) == ("embeddings", True, None)
    assert "of gpt2 only the embedding space" in moved.plan.why.replace(space.backbone, "gpt2")
    config = DistillConfig(rows=12, epochs=30, patience=5, batch_size=4)
    words = sorted(set(source.space.words) & set(space.words))
    fitted = fit_mixture(prompt, source, task, words=words, config=config).prompt
    assert moved.prompt.vectors.equal(transfer(fitted, source.space, space).prompt.vectors)
    assert moved.report.method == "mixture.v1"
    assert not any("0.36" in warning for warning in moved.warnings)
    asked = move(prompt, space, backbone=source, task=task, method="embeddings")
    assert (asked.plan.fits, asked.plan.better) == (False, "auto")
    assert "0.70" in asked.warnings[0]


def test_scores_of_both_sides(backbone, make, task) -> None:
    source, target, prompt = backbone("bert"), backbone("gpt2"), make()
    config = MoveConfig(check=False)
    ready = prepare_move(
        prompt, target, backbone=source, task=task, method="embeddings", config=config
    )
    moved = ready.run()
    scores = ready.score(moved.prompt)
    assert list(scores) == [f"source on {source.name}", f"moved to {target.name}"]
    assert scores[f"source on {source.name}"] == evaluate(source, task, prompt).score
    assert scores[f"moved to {target.name}"] == evaluate(target, task, moved.prompt).score


def test_what_cannot_be_scored_or_checked_is_refused_before_the_work(backbone, make, task) -> None:
    prompt, space = make(), backbone("gpt2").space
    bare = prompt.with_provenance(task=None)
    with pytest.raises(PromptPortError, match="--score: expected a task, got none"):
        prepare_move(bare, space, method="embeddings").check_score()
    ready = prepare_move(prompt, space, task=task, method="embeddings")
    with pytest.raises(BackboneError, match="--score: expected a target model"):
        ready.check_score()
    with pytest.raises(PromptPortError, match="--check: expected a task whose answers"):
        prepare_move(bare, space, method="embeddings", config=MoveConfig(check=True))


def test_what_a_peft_prompt_does_not_say_is_remembered(backbone, make, task) -> None:
    bare = make().with_provenance(task=None, template=None)
    config = MoveConfig(check=False, template="{soft} {subject} {answer}")
    moved = move(bare, backbone("gpt2"), task=task, method="embeddings", config=config)
    assert moved.prompt.provenance.task == "capitals"
    assert moved.prompt.provenance.template == "{soft} {subject} {answer}"
    with pytest.raises(PromptPortError, match="--task: expected a task"):
        move(bare, backbone("gpt2"))


def test_the_file_that_names_a_lost_model(make, tmp_path) -> None:
    lost = make().with_provenance(backbone="/old/base")
    folder = save_prompt(lost, tmp_path / "P")
    said = r"P/promptport.json: expected the name of a model .* got '/old/base'.*--backbone"
    with pytest.raises(BackboneError, match=said):
        prepare_move(folder, "nano-t5")
    (folder / "promptport.json").unlink()
    with pytest.raises(BackboneError, match="P/adapter_config.json: expected the name of a model"):
        prepare_move(folder, "nano-t5")
    with pytest.raises(BackboneError, match="^/old/base: expected a model folder"):
        prepare_move(load_prompt(folder), "nano-t5")


def test_public_names() -> None:
    assert promptport.move is move
    assert promptport.prepare_move is prepare_move
    assert promptport.MoveConfig is MoveConfig
