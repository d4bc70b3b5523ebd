"""Recipes: reading, defaults, overrides, and their cells. Nothing here needs torch or weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promptport.errors import PromptPortError, RecipeError
from promptport.recipes.cells import Cell
from promptport.recipes.grid import RESERVED, Place, expand
from promptport.recipes.kinds import KINDS, Context, Key, Kind, names_in
from promptport.recipes.kinds.base import Method
from promptport.recipes.settings import check_fields, check_type, settings_of, unknown


@dataclass(frozen=True)
class Recipe:
    """An experiment.

    Attributes:
        name: of the file, with the folder that it lies in.
        question: what it asks, in a sentence.
        expected: what is expected.
        time: how long it takes, in words.
        reference: paper and table, or empty.
        lists: values that grids name.
        context: settings and methods.
        grids: as they were written, one mapping for each.
        report: tables, figures and published numbers, as reports read them.
        seconds: usual processor time of a cell by its kind, for an estimate.
        where: the file, for messages.
    """

    name: str
    question: str
    expected: str
    time: str
    lists: Mapping[str, Sequence[Any]]
    context: Context
    grids: Sequence[Mapping[str, Any]]
    reference: str = ""
    report: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    where: str = field(default="", compare=False)

    def cells(self) -> list[Cell]:
        """All cells that are asked, each once, in the order of the grids.

        Raises:
            RecipeError: a grid that cannot be.
        """
        found: dict[str, Cell] = {}
        known_tasks: set[str] = set()  # a grid names each task many times
        for number, grid in enumerate(self.grids, 1):
            where = f"{self.where or self.name}, grid {number}"
            kind = _kind_of(grid, where)
            for place in expand(grid, self.lists, where):
                place = _with_lists(kind, place)
                _check_place(kind, place, self.context, where)
                _check_tasks(kind, place, known_tasks, where)
                cell = kind.cell(place, self.context)
                found[cell.id] = cell
        return list(found.values())

    def with_needs(self, cells: Sequence[Cell]) -> list[Cell]:
        """Cells with all whose prompts they read, these first."""
        found: dict[str, Cell] = {}

        def add(cell: Cell) -> None:
            if cell.id not in found:
                for need in KINDS[cell.kind].needs(cell.place, self.context):
                    add(need)
                found[cell.id] = cell

        for cell in cells:
            add(cell)
        return list(found.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `recipe_of` makes the same recipe of them."""
        return {
            "name": self.name,
            "question": self.question,
            "expected": self.expected,
            "time": self.time,
            "reference": self.reference,
            "lists": {name: list(values) for name, values in self.lists.items()},
            "settings": asdict(self.context.settings),
            "methods": {k: dict(v) for k, v in self.context.methods.items()},
            "grid": [dict(grid) for grid in self.grids],
            "report": dict(self.report),
            "seconds": dict(self.seconds),
        }


def read_recipe(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Read and check a recipe. No weights and no data are needed.

    Args:
        path: a YAML file.
        overrides: values in place of the file's, by dotted names: `settings.steps`,
            `lists.backbones`.

    Raises:
        RecipeError: it cannot be read, or something in it is wrong: the first thing, in one line.
    """
    from promptport.recipes.schema import read_yaml, refuse_foreign

    path = Path(path)
    values = read_yaml(path)
    for name, value in (overrides or {}).items():
        _override(values, name, value, str(path))
    refuse_foreign(values, str(path))
    return recipe_of(values, _name_of(path), str(path))


def recipe_of(values: Mapping[str, Any], name: str, where: str = "") -> Recipe:
    """A recipe of the values of its file.

    Args:
        values: as YAML or `Recipe.to_dict` gives them.
        name: for reports and folders.
        where: the file, for messages; empty for the name.

    Raises:
        RecipeError: something is wrong in it.
    """
    from promptport.recipes.reports.specs import read_report_spec
    from promptport.recipes.schema import checked

    where = where or name
    given = checked(values, where)
    settings = settings_of(given.settings, where)
    read_report_spec(given.report, where, RecipeError)
    context = Context(settings, given.methods)
    for kind, methods in given.methods.items():
        if kind not in KINDS:
            raise unknown(f"{where}, methods", kind, list(KINDS))
        for method, options in methods.items():
            _check_method(KINDS[kind], options, context, f"{where}, methods, {kind}, {method!r}")
    recipe = Recipe(
        name=name,
        question=given.question,
        expected=given.expected,
        time=given.time,
        reference=given.reference,
        lists=given.lists,
        context=context,
        grids=given.grid,
        report=given.report,
        seconds=given.seconds,
        where=where,
    )
    if not recipe.cells():
        raise RecipeError(
            f"{where}, grid",
            expected="one cell or more",
            got="none: every place is an exception",
            fix="Remove an exception",
        )
    return recipe


def _check_method(kind: Kind, options: Method, context: Context, where: str) -> None:
    """Refuse options of a method that no cell could be measured with."""
    from promptport.distillation import DistillConfig

    for option, value in options.items():
        if option not in kind.options:
            raise unknown(where, str(option), list(kind.options))
        takes, place = kind.takes[option], f"{where}, {option!r}"
        if option == "tuned":
            takes = (*KINDS["tune"].methods, *context.methods.get("tune", {}))
        if not isinstance(takes, tuple):
            check_type(place, value, takes)
        elif value not in takes:
            raise unknown(place, str(value), list(takes))
    if "distill" in options:
        check_fields(f"{where}, 'distill'", DistillConfig, options["distill"])
    try:
        kind.try_options(options)
    except PromptPortError as error:
        raise RecipeError.of_line(f"{where}, {error}", where) from None


def _name_of(path: Path) -> str:
    parts = [part for part in (path.parent.name, path.stem) if part and part != "recipes"]
    return "/".join(parts)


def _override(values: dict[str, Any], name: str, value: Any, where: str) -> None:
    """Put a value in place of another, by its dotted name."""
    *parents, last = name.split(".")
    inside = values
    for parent in parents:
        inside = inside.setdefault(parent, {})
        if not isinstance(inside, dict):
            raise RecipeError(
                f"{where}, --set {name}",
                expected="a name like settings.steps",
                got=f"{parent}, which has no names in it",
                fix="Correct the name",
            )
    inside[last] = value


def _kind_of(grid: Mapping[str, Any], where: str) -> Kind:
    name = grid.get("kind")
    if not isinstance(name, str) or name not in KINDS:
        raise unknown(f"{where}, 'kind'", str(name), list(KINDS))
    kind = KINDS[name]
    overlays = grid["with"] if isinstance(grid.get("with"), list) else []
    more = [key for each in overlays if isinstance(each, Mapping) for key in each]
    for key in (*grid, *more):
        if key not in kind.keys and key not in RESERVED:
            raise unknown(f"{where}, {name}", str(key), [*kind.keys, "with", "except"])
    return kind


def _has_usual(key: Key) -> bool:
    return isinstance(key.usual, int | str)


def _with_lists(kind: Kind, place: Place) -> Place:
    """A place with a list of one where several names are taken and one is given."""
    several = {
        key
        for key, each in kind.keys.items()
        if each.of in ("backbones", "tasks") and each.least < 2 and not each.bare
    }
    return {k: [v] if k in several and isinstance(v, str) else v for k, v in place.items()}


def _check_place(kind: Kind, place: Place, context: Context, where: str) -> None:
    for key, each in kind.keys.items():
        if key not in place and not _has_usual(each):
            raise RecipeError(
                f"{where}, {kind.name}",
                expected=f"the keys {', '.join(kind.keys)}",
                got=f"no {key!r}",
                fix=f"Add {key!r}",
            )
    for key, value in place.items():
        _check_value(f"{where}, {key!r}", kind.keys[key], value)
    method = place.get("method")
    if method is not None:
        known = [*kind.methods, *context.methods.get(kind.name, {})]
        if method not in known:
            raise unknown(f"{where}, 'method'", str(method), known)
    kind.check(place, where)


def _check_tasks(kind: Kind, place: Place, known: set[str], where: str) -> None:
    """Look whether there are embedded tasks of these names; `known` keeps those that are."""
    from promptport.tasks import open_task

    for name in names_in(kind, {**{k: "" for k in kind.keys}, **place}, "task"):
        if name in known or ":" in name or name.endswith((".yaml", ".yml")):
            continue
        try:
            open_task(name)
        except PromptPortError as error:
            raise RecipeError.of_line(f"{where}: {error}", where) from None
        known.add(name)


def _check_value(where: str, key: Key, value: Any) -> None:
    several = key.of in ("backbones", "tasks")
    if key.of == "number":
        fits, expected = _is_number(value, key.least), f"a whole number of {key.least} or more"
    elif several and isinstance(value, list):
        names = all(isinstance(each, str) and each for each in value)
        fits = names and len(set(value)) == len(value) >= key.least
        expected = f"{key.least} names or more, each once"
    else:
        fits = isinstance(value, str) and bool(value) and not (several and key.least > 1)
        expected = f"a list of {key.of}" if several and key.least > 1 else "a name"
    if not fits:
        raise RecipeError(where, expected=expected, got=repr(value)[:80], fix="Correct the value")


def _is_number(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
