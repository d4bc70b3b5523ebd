"""Kinds of cells: their numbers are those of the functions that they stand for."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.small_recipe import changed

from promptport import (
    OriginSpec,
    TaskPromptVector,
    TuneConfig,
    TuneJob,
    evaluate,
    make_origin,
    merge,
    score_prompts,
    transfer,
    tune,
)
from promptport.errors import RecipeError, TaskError
from promptport.recipes.bench import Bench
from promptport.recipes.measuring import measure_unit
from promptport.recipes.planning import make_plan, units_of
from promptport.recipes.recipe import Recipe, recipe_of
from promptport.recipes.run_folder import RunFolder
from promptport.tasks import open_task
from promptport.zoo import ZOO_FOLDER

Measure = Callable[..., dict[str, dict[str, Any]]]
SETTINGS = {
    "rows": {"train": 32, "dev": 16, "test": 40},
    "tune": {"epochs": 2, "batch_size": 8, "patience": 0},
    "distill": {"rows": 32, "steps": 6, "check": 3},
    "length": 3,
    "steps": 4,
}


@pytest.fixture(scope="module")
def measure(tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Measures a grid in this process, in one folder for all tests."""
    assert ZOO_FOLDER.is_dir()
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    benches: list[Bench] = []

    def run(*grid: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
        recipe: Recipe = recipe_of(changed(settings=SETTINGS, grid=list(grid), **more), "kinds")
        bench = benches[0] if benches else Bench(folder, recipe.context)
        bench.context = recipe.context
        benches[:] = [bench]
        plan = make_plan(recipe, folder)
        assert not plan.left_out
        left = units_of(plan, recipe)
        while left:
            unit = next(unit for unit in left if unit.needs <= plan.finished)
            left.remove(unit)
            for made in measure_unit(bench, unit.cells, plan.stamps, {"worker": "here"}):
                assert made.error == ""
                folder.add(made.record)
                plan.finished.add(made.cell.id)
        return {str(cell): folder.values(cell.id) for cell in recipe.cells()}

    run.bench = benches  # type: ignore[attr-defined]
    return run


def bench_of(measure: Measure) -> Bench:
    return measure.bench[0]  # type: ignore[attr-defined,no-any-return]


TUNE = {"kind": "tune", "backbone": "nano-bert", "task": ["sentiment", "topic"]}


@pytest.mark.long
def test_tune_is_tune(measure: Measure) -> None:
    cells = measure(TUNE)
    bench = bench_of(measure)
    backbone, tasks = bench.backbone("nano-bert"), [bench.task("sentiment"), bench.task("topic")]
    assert [len(task.load("test")) for task in tasks] == [40, 40]
    jobs = [TuneJob(task, OriginSpec("vocabulary", 0), 3, 0) for task in tasks]
    results = tune(backbone, jobs, TuneConfig(epochs=2, batch_size=8, patience=0, truncate=True))
    for task, result in zip(tasks, results, strict=True):
        assert result.prompt is not None
        score = evaluate(backbone, task, result.prompt, truncate=True)
        known = cells[f"tune nano-bert {task.name} free 0"]
        assert known["score"] == pytest.approx(score.score.value, abs=1e-5)
        assert known["nll"] == pytest.approx(score.loss, abs=1e-3)
        assert known["dev"] == pytest.approx(result.dev_score, abs=1e-5)
        assert known["rows"] == 40
        assert known["right"].startswith("40:")
    # What other cells may have read is not written again.
    (cell,) = recipe_of(
        changed(settings=SETTINGS, grid=[{**TUNE, "task": "topic"}]), "kinds"
    ).cells()
    kept = bench.folder.prompt(cell.id) / "adapter_model.safetensors"
    before = kept.stat().st_mtime_ns
    bench.keep(cell, bench.prompt(cell))
    assert kept.stat().st_mtime_ns == before


@pytest.mark.long
def test_baselines(measure: Measure) -> None:
    methods = ["majority", "manual", "manual_prior", "no_prompt", "random"]
    place = {"kind": "baseline", "backbone": "nano-bert", "task": "sentiment"}
    cells = measure({**place, "method": methods})
    bench = bench_of(measure)
    backbone, task = bench.backbone("nano-bert"), bench.task("sentiment")
    found = {name: cells[f"baseline nano-bert sentiment {name} 0"]["score"] for name in methods}
    assert found["majority"] == pytest.approx(task.majority_score().value, abs=1e-5)
    plain = evaluate(backbone, task, truncate=True).score.value
    assert found["manual"] == pytest.approx(plain, abs=1e-5)
    bare = evaluate(backbone, task, template=task.template.without_soft(), truncate=True)
    assert found["no_prompt"] == pytest.approx(bare.score.value, abs=1e-5)
    assert found["manual_prior"] > found["majority"]


def test_the_majority_of_a_probe_is_that_of_the_rows_that_can_be_asked(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Bench.task
    unaskable = "Llanfairpwllgwyngyll"

    def with_a_long_answer(self: Bench, name: str) -> Any:
        found = task(self, name)
        first, *others = found.load("test")
        rows = [replace(first, answer=unaskable), *others]
        return found.with_rows(train=found.load("train"), dev=found.load("dev"), test=rows)

    monkeypatch.setattr(Bench, "task", with_a_long_answer)
    place = {"kind": "baseline", "backbone": "nano-bert", "task": "country-capital"}
    cells = measure({**place, "method": ["majority", "manual"]})
    rows = [cell["rows"] for cell in cells.values()]
    assert rows[0] == rows[1]
    assert cells["baseline nano-bert country-capital manual 0"]["skipped"] == 1


@pytest.mark.long
def test_transfer_by_tables_and_by_answers(measure: Measure) -> None:
    place = {"kind": "transfer", "source": "nano-bert", "target": "nano-roberta"}
    cells = measure(
        {**place, "task": "sentiment", "method": ["least_squares", "paper", "move"]},
        methods={"transfer": {"paper": {"method": "gradient", "options": {"steps": 5}}}},
    )
    bench = bench_of(measure)
    recipe = recipe_of(changed(settings=SETTINGS, grid=[{**TUNE, "task": "sentiment"}]), "kinds")
    prompt = bench.prompt(recipe.cells()[0])
    target, task = bench.backbone("nano-roberta"), bench.task("sentiment")
    moved = transfer(prompt, bench.backbone("nano-bert").space, target.space, roundtrip=False)
    known = cells["transfer nano-bert nano-roberta sentiment least_squares 0"]
    direct = evaluate(target, task, moved.prompt, truncate=True).score.value
    assert known["score"] == pytest.approx(direct, abs=1e-5)
    assert known["matching_loss"] == pytest.approx(1 - moved.report.matching, abs=1e-5)
    short = cells["transfer nano-bert nano-roberta sentiment paper 0"]
    assert short["matching_loss"] > known["matching_loss"]  # five updates are too few
    assert 0 <= cells["transfer nano-bert nano-roberta sentiment move 0"]["same"] <= 1


@pytest.mark.long
def test_two_sources(measure: Measure) -> None:
    cells = measure(
        {
            "kind": "transfer",
            "source": [["nano-bert", "nano-gpt2"]],
            "target": "nano-roberta",
            "task": "sentiment",
            "method": "least_squares",
        }
    )
    ((name, known),) = cells.items()
    assert name == "transfer nano-bert+nano-gpt2 nano-roberta sentiment least_squares 0"
    assert 0 < known["matching_loss"] < 2


@pytest.mark.long
def test_a_chain_is_one_move_after_the_other(measure: Measure) -> None:
    place = {"kind": "chain", "source": "nano-bert", "through": [["nano-gpt2"]]}
    place |= {"target": "nano-roberta", "task": "sentiment"}
    cells = measure({**place, "method": ["least_squares", "move"]})
    bench = bench_of(measure)
    recipe = recipe_of(changed(settings=SETTINGS, grid=[{**TUNE, "task": "sentiment"}]), "kinds")
    prompt, task = bench.prompt(recipe.cells()[0]), bench.task("sentiment")
    spaces = [bench.backbone(n).space for n in ("nano-bert", "nano-gpt2", "nano-roberta")]
    for source, target in pairwise(spaces):
        prompt = transfer(prompt, source, target, roundtrip=False).prompt
    known = cells["chain nano-bert nano-gpt2 nano-roberta sentiment least_squares 0"]
    direct = evaluate(bench.backbone("nano-roberta"), task, prompt, truncate=True).score.value
    assert known["score"] == pytest.approx(direct, abs=1e-5)
    moved = cells["chain nano-bert nano-gpt2 nano-roberta sentiment move 0"]
    assert 0 <= moved["same"] <= 1
    with pytest.raises(RecipeError, match="at each step, got .nano-gpt2. twice"):
        measure({**place, "target": "nano-gpt2", "method": "least_squares"})


@pytest.mark.long
def test_origins(measure: Measure) -> None:
    cells = measure(
        {
            "kind": "origins",
            "backbone": "nano-bert",
            "task": "sentiment",
            "method": ["one_origin", "short"],
        },
        methods={"origins": {"short": {"widen": 6}}},
    )
    bench = bench_of(measure)
    recipe = recipe_of(changed(settings=SETTINGS, grid=[{**TUNE, "task": "sentiment"}]), "kinds")
    prompt, backbone = bench.prompt(recipe.cells()[0]), bench.backbone("nano-bert")
    vector = TaskPromptVector.of(prompt)
    there = [
        vector.apply(make_origin(OriginSpec("vocabulary", 900_000 + i), backbone, 3))
        for i in range(4)
    ]
    rows = score_prompts(backbone, [prompt, *there], [bench.task("sentiment")], truncate=True)
    values = [row[0].score.value for row in rows]
    known = cells["origins nano-bert sentiment one_origin 0"]
    assert known["own"] == pytest.approx(values[0], abs=1e-5)
    assert known["others"] == pytest.approx(values[1:], abs=1e-5)
    assert known["score"] == pytest.approx(sum(values[1:]) / 4, abs=1e-5)
    assert known["kept"] == pytest.approx(known["score"] / known["own"], abs=1e-4)
    assert known["low"] <= known["score"] <= known["high"]
    wide = cells["origins nano-bert sentiment short 0"]
    assert (wide["steps"], wide["own"]) == (6, known["own"])


@pytest.mark.long
def test_sums(measure: Measure) -> None:
    tasks = ["sentiment", "topic"]
    cells = measure(
        {"kind": "sum", "backbone": "nano-bert", "tasks": [tasks], "method": ["sum", "paper"]}
    )
    bench = bench_of(measure)
    recipe = recipe_of(changed(settings=SETTINGS, grid=[TUNE]), "kinds")
    prompts = [bench.prompt(cell) for cell in recipe.cells()]
    vectors = [TaskPromptVector.of(prompt) for prompt in prompts]
    origin = prompts[0].origin
    assert origin is not None
    added = merge(vectors).apply(origin)
    backbone, opened = bench.backbone("nano-bert"), [bench.task(name) for name in tasks]
    (scores,) = score_prompts(backbone, [added], opened, truncate=True)
    alone = [measure(TUNE)[f"tune nano-bert {name} free 0"]["score"] for name in tasks]
    kept = [s.score.value / own for s, own in zip(scores, alone, strict=True)]
    known = cells["sum nano-bert sentiment+topic sum 0"]
    assert known["kept"] == pytest.approx(kept, abs=1e-4)
    assert known["least"] == pytest.approx(min(kept), abs=1e-4)
    assert known["lost"] == float(min(kept) < 0.8)
    assert cells["sum nano-bert sentiment+topic paper 0"]["coefficients"] is not None


@pytest.mark.long
def test_few_shot(measure: Measure) -> None:
    methods = ["random", "best_single", "sum", "together", "factors", "adapt"]
    cells = measure(
        {
            "kind": "few_shot",
            "backbone": "nano-bert",
            "task": "emotion",
            "sources": [["sentiment", "topic"]],
            "method": methods,
            "shots": [0, 8],
        }
    )
    assert len(cells) == len(methods) * 2
    bench = bench_of(measure)
    backbone, task = bench.backbone("nano-bert"), bench.task("emotion")
    recipe = recipe_of(changed(settings=SETTINGS, grid=[TUNE]), "kinds")
    prompts = [bench.prompt(cell) for cell in recipe.cells()]
    dev = [
        evaluate(backbone, task, p, template=task.template, split="dev", truncate=True)
        for p in prompts
    ]
    best = prompts[0 if dev[0].score.value >= dev[1].score.value else 1]
    direct = evaluate(backbone, task, best, template=task.template, truncate=True)
    known = cells["few_shot nano-bert emotion sentiment+topic best_single 0 0"]
    assert known["score"] == pytest.approx(direct.score.value, abs=1e-5)
    assert known["low"] <= known["score"] <= known["high"]
    assert {value["labelled"] for value in cells.values()} == {0, 8}
    scores = {name: value["score"] for name, value in cells.items()}
    assert len(set(scores.values())) > 3


@pytest.mark.long
def test_an_error_of_one_cell_leaves_the_others(measure: Measure, tmp_path: Path) -> None:
    measure({**TUNE, "task": "sentiment"})
    bench = bench_of(measure)
    place = {"kind": "baseline", "backbone": "nano-bert", "method": ["manual", "majority"]}
    recipe = recipe_of(changed(settings=SETTINGS, grid=[{**place, "task": "sentiment"}]), "kinds")
    bench.context = recipe.context
    cells, opened = recipe.cells(), bench.task("sentiment")
    bench._tasks["sentiment"] = replace(opened, manual=None)
    try:
        stamps = {cell.id: "" for cell in cells}
        made = list(measure_unit(bench, cells, stamps, {}))
    finally:
        bench._tasks["sentiment"] = opened
    assert [bool(each.record) for each in made] == [False, True]
    assert "a task with a manual template" in made[0].error
    assert not made[0].again


@pytest.mark.parametrize("way", ["widened", "moved"])
def test_learning_is_of_the_cell_before_the_settings(monkeypatch: Any, way: str) -> None:
    from promptport import distillation, moving
    from promptport.recipes.kinds import origins, transfer

    class Stop(Exception):
        pass

    asked: dict[str, Any] = {}

    def learns(*given: Any, config: Any, **more: Any) -> None:
        learning = getattr(config, "learning", None)
        asked.update(learning if learning is not None else vars(config))
        raise Stop

    monkeypatch.setattr(distillation, "distill_over_origins", learns)
    monkeypatch.setattr(moving, "move", learns)
    settings = {"distill": {"steps": 60, "rows": 77}}
    place = {"source": "nano-bert", "target": "nano-gpt2", "task": "sentiment", "method": "move"}
    (cell,) = recipe_of(
        changed(settings=settings, grid=[{"kind": "transfer", **place, "seed": 4}]), "small"
    ).cells()
    bench: Any = SimpleNamespace(
        settings=SimpleNamespace(**settings), backbone=lambda name: name, task=lambda name: name
    )
    with pytest.raises(Stop):
        if way == "widened":
            origins._widened(*[None] * 3, 80, cell, bench)  # type: ignore[arg-type]
        else:
            transfer._by_answers(cell, transfer._Step([], ["nano-bert"], "nano-gpt2"), {}, bench)
    steps = 80 if way == "widened" else 60
    assert (asked["steps"], asked["rows"], asked["seed"]) == (steps, 77, 4)
    assert asked["truncate"] is True


def test_more_shots_than_rows_are_refused() -> None:
    from promptport.recipes.kinds.few_shot import _check_rows

    task = open_task("sentiment")
    _check_rows(task, len(task.load("train")))
    with pytest.raises(TaskError, match="Lower shots"):
        _check_rows(task, len(task.load("train")) + 1)


def test_an_unfinished_run_is_of_the_weights_and_rows_it_was_begun_with(tmp_path: Path) -> None:
    recipe = recipe_of(changed(grid=[TUNE]), "small")
    bench = Bench(RunFolder(tmp_path), recipe.context)
    cells = recipe.cells()
    states = set()
    for stamp in ("now", "before", "now"):
        bench.stamps = dict.fromkeys([cell.id for cell in cells], stamp)
        states.add(bench.state(cells))
    assert len(states) == 2
