"""Settings of a recipe: what all its cells share, and the methods that it defines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

from promptport.errors import PromptPortError, RecipeError
from promptport.tasks.data import SPLITS

if TYPE_CHECKING:
    from promptport.tuning.usual import Place

_OF_CELLS = ("seed", "truncate")  # fields of learning that cells set themselves


@dataclass(frozen=True)
class Settings:
    """What all cells of a recipe share.

    Attributes:
        rows: most rows of each split, a seeded sample; 0, or a split that is not named, for all.
        words: of every field of a row the first ones; 0 for all.
        labels_moved: tasks whose rows name the label before their own, where a copy of their data
            is like that (`promptport.tasks.rightly_labelled`).
        length: virtual tokens of tuned prompts; 0 for what is usual on the backbone.
        place: where they stand: `front`, `behind` (the text) or `template` (as the task says on
            small models, what is usual on large ones).
        relative_lr: see `promptport.tuning.TuneJob`; 0 for what is usual on the backbone.
        tune: fields of `promptport.TuneConfig` in place of what is usual on the backbone.
        distill: fields of `promptport.DistillConfig`, for methods that learn answers; not `seed`,
            which is that of the cell.
        steps: updates of a few-shot run.
        together: most prompts that are tuned in one run, and most cells of a unit of work.
        attempts: how often a cell is tried whose worker died, 1 or more.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    words: int = 0
    labels_moved: list[str] = field(default_factory=list)
    length: int = 0
    place: str = "template"
    relative_lr: float = 0.0
    tune: Mapping[str, Any] = field(default_factory=dict)
    distill: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 32
    together: int = 8
    attempts: int = 3

    def only(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Some of the settings, by name: what a kind of cell depends on."""
        return {name: getattr(self, name) for name in names}


def place_of(name: str) -> Place | None:
    """A place as a recipe writes it; None, what is usual on the backbone, for `template`."""
    return None if name == "template" else cast("Place", name)


def settings_of(given: Mapping[str, Any], where: str) -> Settings:
    """Settings as a recipe writes them, over the usual ones.

    Args:
        given: by name.
        where: the file, for the error.

    Raises:
        RecipeError: an unknown name, or a value of another type or range.
    """
    known = {f.name: f for f in fields(Settings)}
    for name in given:
        if name not in known:
            raise unknown(f"{where}, settings", name, list(known))
    usual = Settings()
    for name, value in given.items():
        check_type(f"{where}, settings, {name!r}", value, getattr(usual, name))
    made = Settings(**given)
    for split, most in made.rows.items():
        if split not in SPLITS:
            raise unknown(f"{where}, settings, 'rows'", str(split), list(SPLITS))
        check_type(f"{where}, settings, rows of {split}", most, 0)
    for task in made.labels_moved:
        check_type(f"{where}, settings, 'labels_moved'", task, "")
    for name, least in (("words", 0), ("length", 0), ("steps", 1), ("together", 1)):
        _check_least(f"{where}, settings, {name!r}", getattr(made, name), least)
    _check_least(f"{where}, settings, 'attempts'", made.attempts, 1)
    _check_parts(made, where)
    if made.place not in ("template", "front", "behind"):
        raise unknown(f"{where}, settings, 'place'", made.place, ["template", "front", "behind"])
    return made


def _check_parts(made: Settings, where: str) -> None:
    """Settings that go to tuning and to distillation."""
    from promptport.distillation import DistillConfig
    from promptport.tuning import TuneConfig

    check_fields(f"{where}, settings, 'tune'", TuneConfig, made.tune)
    check_fields(f"{where}, settings, 'distill'", DistillConfig, made.distill)


def check_fields(place: str, shape: Any, given: Mapping[str, Any]) -> None:
    """Refuse what is no field of a configuration, or that cells set themselves.

    Args:
        place: of the fields, for the error.
        shape: a dataclass.
        given: values by name.

    Raises:
        RecipeError: an unknown name, or a value of another type or range.
    """
    known = {f.name: f.default for f in fields(shape) if f.name not in _OF_CELLS}
    for name, value in given.items():
        if name in _OF_CELLS:
            raise RecipeError(
                place,
                expected=f"no {name!r}",
                got=repr(value)[:80],
                fix="Remove it: a cell has its own seed, and texts that are too long are cut",
            )
        if name not in known:
            raise unknown(place, str(name), list(known))
        if known[name] is not MISSING and known[name] is not None:
            check_type(f"{place}, {name!r}", value, known[name])
    try:
        shape(**given)
    except PromptPortError as error:
        raise RecipeError.of_line(f"{place}, {error}", place) from None
    except TypeError:
        raise RecipeError(
            place,
            expected="values of the types that its fields have",
            got=repr(dict(given))[:120],
            fix="Correct the value",
        ) from None


def unknown(place: str, name: str, known: list[str]) -> RecipeError:
    """An error for a name that nobody knows, with what may have been meant."""
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return RecipeError(
        place,
        expected=f"one of {', '.join(known) or 'no names'}",
        got=repr(name),
        fix=f"{hint}Correct the spelling, or remove it",
    )


def check_type(place: str, value: Any, usual: Any) -> None:
    """Refuse a value that is not of the type of another.

    Raises:
        RecipeError: it is of another type.
    """
    wanted = (int, float) if isinstance(usual, float) else type(usual)
    if isinstance(usual, Mapping):
        wanted = Mapping
    if isinstance(value, bool) is not isinstance(usual, bool) or not isinstance(value, wanted):
        names: dict[type, str] = {int: "a whole number", float: "a number", str: "a word"}
        names |= {list: "a list", bool: "true or false"}
        raise RecipeError(
            place,
            expected=names.get(type(usual), "a mapping"),
            got=f"{type(value).__name__} {value!r}"[:80],
            fix="Correct the value",
        )


def _check_least(place: str, value: float, least: int) -> None:
    if value < least:
        raise RecipeError(
            place, expected=f"{least} or more", got=str(value), fix="Correct the value"
        )
