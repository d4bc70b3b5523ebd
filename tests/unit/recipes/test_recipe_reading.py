"""Recipes: what a file may say, what is refused in one line, and what the name of a cell is."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.small_recipe import SMALL, changed

from promptport.errors import RecipeError
from promptport.recipes.kinds import KINDS
from promptport.recipes.recipe import read_recipe, recipe_of

ROOT = Path(__file__).resolve().parents[3]


def grid(**values: Any) -> dict[str, Any]:
    return changed(grid=[{**SMALL["grid"][0], **values}])


def test_cells_and_the_prompts_they_read() -> None:
    recipe = recipe_of(SMALL, "small")
    cells = recipe.cells()
    assert len(cells) == 2 * 2
    everything = recipe.with_needs(cells)
    assert [cell.kind for cell in everything].count("tune") == 2
    places = {cell.id: number for number, cell in enumerate(everything)}
    for cell in cells:
        for need in KINDS[cell.kind].needs(cell.place, recipe.context):
            assert places[need.id] < places[cell.id]


def test_a_name_depends_on_what_a_cell_depends_on() -> None:
    names = {cell.id for cell in recipe_of(SMALL, "small").cells()}
    assert len(names) == 4
    same = recipe_of(changed(question="Other words?", time="long"), "other").cells()
    assert {cell.id for cell in same} == names
    for settings in ({"rows": {"train": 31}}, {"length": 3}, {"tune": {"epochs": 2}}):
        other = recipe_of(changed(settings=settings), "small").cells()
        assert not {cell.id for cell in other} & names
    # A baseline does not depend on how prompts are tuned.
    place = {"kind": "baseline", "backbone": "nano-bert", "task": "sentiment", "method": "manual"}
    plain = [
        recipe_of(changed(grid=[place], settings={"tune": tune}), "small").cells()[0].id
        for tune in ({}, {"epochs": 2})
    ]
    assert plain[0] == plain[1]


def test_a_method_of_the_recipe_replaces_a_known_one() -> None:
    methods = {"transfer": {"random": {"method": "copy"}, "half": {"anchors": "frequent:100"}}}
    recipe = recipe_of(changed(methods=methods, **{"grid": grid(method="half")["grid"]}), "small")
    assert recipe.cells()[0].settings["method"] == {"anchors": "frequent:100"}


def test_what_is_written_can_be_read_again() -> None:
    recipe = recipe_of(SMALL, "small")
    again = recipe_of(recipe.to_dict(), "small")
    assert [cell.id for cell in again.cells()] == [cell.id for cell in recipe.cells()]
    assert again.to_dict() == recipe.to_dict()


def test_overrides(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump(SMALL))
    recipe = read_recipe(file, {"settings.words": 7, "lists.backbones": ["nano-bert", "nano-t5"]})
    assert recipe.context.settings.words == 7
    assert {cell.place["target"] for cell in recipe.cells()} == {"nano-bert", "nano-t5"}
    with pytest.raises(RecipeError, match="--set question.x"):
        read_recipe(file, {"question.x": 1})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (changed(qestion="?"), "Did you mean 'question'?"),
        ({k: v for k, v in SMALL.items() if k != "time"}, "no 'time'"),
        (changed(grid=[]), "one cell or more"),
        (changed(settings={"stesp": 3}), "Did you mean 'steps'?"),
        (changed(settings={"steps": "3"}), "a whole number"),
        (changed(settings={"steps": 0}), "1 or more"),
        (changed(settings={"rows": {"tset": 3}}), "Did you mean 'test'?"),
        (changed(settings={"rows": {"test": True}}), "a whole number"),
        (changed(settings={"place": "middle"}), "template, front, behind"),
        (changed(settings={"tune": {"epoch": 3}}), "Did you mean 'epochs'?"),
        (changed(settings={"tune": {"epochs": 0}}), "epochs: expected 1 or more"),
        (changed(settings={"distill": {"row": 3}}), "Did you mean 'rows'?"),
        (changed(methods={"transfr": {}}), "Did you mean 'transfer'?"),
        (changed(methods={"transfer": {"x": {"metod": "copy"}}}), "Did you mean 'method'?"),
        (grid(kind="transfr"), "Did you mean 'transfer'?"),
        (grid(metod="copy"), "Did you mean 'method'?"),
        (grid(method="least_sqares"), "Did you mean 'least_squares'?"),
        (grid(task="sentimnt"), "Did you mean 'sentiment'"),
        (grid(seed=-1), "0 or more"),
        (grid(seed="1"), "a whole number"),
        (grid(**{"except": []}), "a target that is no source"),
        (grid(source=[["nano-t5", "nano-t5"]]), "each once"),
        (changed(grid=[{"kind": "sum", "backbone": "nano-bert", "method": "sum"}]), "no 'tasks'"),
        (
            changed(grid=[{"kind": "sum", "backbone": "a", "method": "sum", "tasks": "sentiment"}]),
            "a list of tasks",
        ),
        (changed(report={"tables": [{"name": "x"}]}), "no 'title'"),
        (changed(report={"figures": [{"figure": "pie"}]}), "no 'name'"),
    ],
)
def test_what_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of(values, "small")
    assert said in str(caught.value)
    assert str(caught.value).startswith("small")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[1, 2]", "a mapping"),
        (b"question: [", "YAML"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b"", "a mapping"),
        (
            b"a: &a [1,1,1,1,1,1,1,1,1]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9))
                for c in range(98, 108)
            ),
            "aliases",
        ),
        (b"question: !!python/object/apply:os.system [id]", "YAML"),
    ],
)
def test_files_that_are_none(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    with pytest.raises(RecipeError, match="bad.yaml") as caught:
        read_recipe(file)
    assert said in str(caught.value)
    with pytest.raises(RecipeError, match="nothing at this path|No such|no such"):
        read_recipe(tmp_path / "none.yaml")


def test_every_recipe_of_the_project_is_valid() -> None:
    files = sorted((ROOT / "recipes").rglob("*.yaml"))
    assert len(files) >= 2
    for file in files:
        recipe = read_recipe(file)
        cells = recipe.cells()
        kinds = {cell.kind for cell in cells}
        for table in recipe.report.get("tables", []):
            asked = table["of"].get("kind", [])
            assert set(asked if isinstance(asked, list) else [asked]) <= kinds, (file, table)


def test_every_transfer_method_can_be_asked() -> None:
    from promptport.experiments.ways import way_names
    from promptport.library.starts import WAYS
    from promptport.transfers.registry import list_methods

    known = {method.name.partition(".")[0] for method in list_methods()}
    offered = {options.get("method") for options in KINDS["transfer"].methods.values()}
    assert known == offered - {None}
    assert set(KINDS["sum"].methods) == {way for way in way_names() if "." not in way}
    assert set(WAYS) - {"single"} <= set(KINDS["few_shot"].methods)


def one(kind: str, **values: Any) -> dict[str, Any]:
    """A recipe of one grid on nano-bert."""
    own = {"kind": kind, "backbone": "nano-bert", **values}
    return changed(grid=[{k: v for k, v in own.items() if v is not None}])


FEW = {"task": "emotion", "method": "mean", "shots": 8}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            one("baseline", task="topic", **{"with": [{"method": "majority"}, {"seed": 1}]}),
            "method",
        ),
        (one("baseline", task="topic", method="majority", **{"with": 5}), "a list of mappings"),
        (one("few_shot", **FEW, sources=[["topic", "emotion"]]), "a task that is no source"),
        (changed(settings={"tune": {"epochs": 2.5}}), "a whole number"),
        (changed(settings={"tune": {"truncate": True}}), "no 'truncate'"),
        (changed(settings={"distill": {"seed": 5}}), "no 'seed'"),
        (changed(settings={"labels_moved": [1, {"a": 2}]}), "a word"),
        (changed(methods={"transfer": {"x": {"method": "nonsense"}}}), "'nonsense'"),
        (changed(methods={"transfer": {"x": {"road": "sideways"}}}), "tables, answers"),
        (changed(methods={"transfer": {"x": {"start": "junk"}}}), "'junk'"),
        (changed(methods={"transfer": {"x": {"tuned": "nobody"}}}), "free, anchored"),
        (changed(methods={"transfer": {"x": {"own_anchors": 1}}}), "true or false"),
        (changed(methods={"transfer": {"x": {"distill": {"seed": 1}}}}), "no 'seed'"),
        (changed(methods={"sum": {"x": {"way": "nope"}}}), "paper, separate"),
        (changed(methods={"tune": {"x": {"origin": "junk"}}}), "'junk'"),
        (changed(methods={"tune": {"x": {"origins": "many"}}}), "a whole number"),
        (changed(methods={"tune": {"x": {"place": "middle"}}}), "template, front"),
    ],
)
def test_what_could_never_run_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_of(values, "small")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_methods_of_every_kind_have_options_of_a_type() -> None:
    methods = {name: dict(kind.methods) for name, kind in KINDS.items()}
    assert recipe_of(changed(methods=methods), "small").cells()
    for kind in KINDS.values():
        assert set(kind.takes) == set(kind.options), kind.name


def test_a_method_may_read_prompts_of_a_method_of_the_recipe() -> None:
    methods = {"tune": {"long": {"length": 9}}, "transfer": {"x": {"tuned": "long"}}}
    recipe = recipe_of(changed(methods=methods, grid=grid(method="x")["grid"]), "small")
    needs = recipe.with_needs(recipe.cells())
    assert {cell.place["method"] for cell in needs if cell.kind == "tune"} == {"long"}


@pytest.mark.parametrize(("written", "wanted"), [("topic", ["topic"]), ([["topic"]], ["topic"])])
def test_one_name_is_a_list_where_several_are_taken(written: Any, wanted: list[str]) -> None:
    (cell,) = recipe_of(one("few_shot", **FEW, sources=written), "small").cells()
    assert cell.place["sources"] == wanted


def test_a_chain_over_one_model_may_name_it_alone() -> None:
    place = {"source": "nano-bert", "target": "nano-gpt2", "task": "topic", "method": "random"}
    grids = [
        one("chain", backbone=None, through=through, **place)
        for through in ("nano-roberta", [["nano-roberta"]])
    ]
    first, second = (recipe_of(values, "small").cells() for values in grids)
    assert [cell.id for cell in first] == [cell.id for cell in second]
    assert first[0].place["through"] == ["nano-roberta"]


def test_a_single_source_stays_a_name() -> None:
    assert recipe_of(SMALL, "small").cells()[0].place["source"] == "nano-bert"


def test_a_number_with_an_exponent_is_a_number(tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump(SMALL) + "methods: {tune: {x: {lr: 1e-3}}}\n")
    assert read_recipe(file).context.methods["tune"]["x"]["lr"] == 0.001


@pytest.mark.parametrize("value", ["2024-01-01", "[.nan]", "{1: a}", "!!binary aGk="])
def test_what_json_has_not_is_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "one.yaml"
    file.write_text(yaml.safe_dump({**SMALL, "lists": {}}) + f"seconds: {value}\n")
    with pytest.raises(RecipeError, match="Put it in quotes"):
        read_recipe(file)
