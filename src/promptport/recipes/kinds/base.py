"""What a kind of cell is: its keys, what it needs, and how it is measured."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from promptport.recipes.cells import Cell
from promptport.recipes.settings import Settings

if TYPE_CHECKING:
    from promptport.recipes.bench import Bench

REQUIRED = object()
Method = Mapping[str, Any]  # options by name


@dataclass(frozen=True)
class Key:
    """A key of a place.

    Attributes:
        of: `backbone`, `task`, `method`, `number`, or `backbones`, `tasks` for several.
        usual: its value where a grid has none; `REQUIRED` for none.
        least: smallest number, or fewest of several.
        bare: of several: one name stays as it is, and becomes no list.
    """

    of: str
    usual: Any = REQUIRED
    least: int = 0
    bare: bool = False


SEED = Key("number", 0)


@dataclass(frozen=True)
class Context:
    """What cells are made of besides their places.

    Attributes:
        settings: of the recipe.
        methods: that the recipe defines: kind -> name -> options.
    """

    settings: Settings
    methods: Mapping[str, Mapping[str, Method]]


class Kind(ABC):
    """A kind of cell. One instance per kind is registered.

    Attributes:
        name: as recipes write it.
        keys: of its places, in the order in which they are shown.
        methods: names that the kind knows -> options.
        options: options that a method of a recipe may have, with what each means.
        takes: for each of them a value of its type, or all names that it may be.
        reads: settings that its values depend on.
        revision: raised when the same settings give other values.
        alike: keys whose cells are measured in one unit of work when their values are equal.
        makes_prompt: whether its prompt is kept in the folder of the run.
        whole: whether cells of a unit share batches, so that a unit is measured whole: then a run
            that goes on after a kill gives the same numbers.
    """

    name: str
    keys: Mapping[str, Key]
    methods: Mapping[str, Method]
    options: Mapping[str, str] = MappingProxyType({})
    takes: Mapping[str, Any] = MappingProxyType({})
    reads: tuple[str, ...] = ("rows", "words")
    revision: int = 1
    alike: tuple[str, ...] = ("backbone",)
    makes_prompt = False
    whole = False

    def method(self, name: str, context: Context) -> Method:
        """The options of a method, those of the recipe before the known ones."""
        return {**self.methods, **context.methods.get(self.name, {})}[name]

    def cell(self, place: Mapping[str, Any], context: Context) -> Cell:
        """The cell of a place, with its usual keys and everything that it depends on."""
        full = {key: place.get(key, each.usual) for key, each in self.keys.items()}
        used: dict[str, Any] = {"revision": self.revision, **context.settings.only(self.reads)}
        if "method" in full:
            used["method"] = dict(self.method(full["method"], context))
        used["needs"] = [need.id for need in self.needs(full, context)]
        return Cell(self.name, full, used)

    def needs(self, place: Mapping[str, Any], context: Context) -> list[Cell]:
        """Cells whose prompts it reads."""
        return []

    def check(self, place: Mapping[str, Any], where: str) -> None:
        """Refuse a place whose values do not go together.

        Raises:
            RecipeError: they do not.
        """
        return

    def try_options(self, options: Method) -> None:
        """Refuse options of the right types that cannot be.

        Raises:
            PromptPortError: they cannot.
        """
        return

    @abstractmethod
    def measure(self, cells: Sequence[Cell], bench: Bench) -> Iterator[tuple[Cell, dict[str, Any]]]:
        """Measure cells of one unit of work, and yield each as soon as it is there.

        Args:
            cells: alike in `alike`.
            bench: backbones, tasks and prompts.
        """


def names_in(kind: Kind, place: Mapping[str, Any], what: str) -> list[str]:
    """All backbones, or all tasks, of a place.

    Args:
        kind: of the cell.
        place: its place.
        what: `backbone` or `task`.
    """
    found: list[str] = []
    for key, each in kind.keys.items():
        if each.of in (what, f"{what}s"):
            value = place[key]
            found += value if isinstance(value, list) else [value]
    return list(dict.fromkeys(name for name in found if name))
