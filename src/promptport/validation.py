"""One adapter between pydantic and our error line: `<file>, key 'x': expected ..., got .... Fix.`

Models describe files that people write. This module imports pydantic; import it where a file is
read, not at start-up.
"""

from __future__ import annotations

import reprlib
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from promptport.errors import PromptPortError

Model = TypeVar("Model", bound=BaseModel)

_ORDER = ("extra_forbidden", "invalid_key", "missing")  # what explains other errors comes first
_MOST_VALUES = 1_000_000  # of a file
_ALIKE = 0.7  # of 1, from which on another key may have been meant


class FileModel(BaseModel):
    """A mapping of a file: unknown keys are refused, numbers are not made of texts.

    The description of a field says what is expected of its value.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


def bad_value(expected: str, got: str = "", fix: str = "") -> PydanticCustomError:
    """What a validator raises: parts of our error line; empty ones are told from the value."""
    return PydanticCustomError(
        "promptport", "{expected}", {"expected": expected, "got": got, "fix": fix}
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise bad_value("a text")
    return value.strip()


def _word(value: Any) -> str:
    """A word; numbers are taken as written, `yes` and `no` are not guessed back."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise bad_value("a text")
    return str(value).strip()


def _words(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


FileText = Annotated[str, BeforeValidator(_text)]  # not blank
FileWord = Annotated[str, BeforeValidator(_word)]  # a text or a number as written
FileWords = Annotated[list[FileWord], BeforeValidator(_words)]  # one word or several


def validated(
    model: type[Model], values: dict[Any, Any], where: str, error: type[PromptPortError]
) -> Model:
    """The values of a file as a model.

    Args:
        model: what they must be.
        values: as they were read.
        where: the file, for the error.
        error: its class.

    Raises:
        PromptPortError: of that class; one line for the first thing that is wrong.
    """
    try:
        return model.model_validate({str(key): value for key, value in values.items()})
    except ValidationError as caught:
        details = caught.errors(include_url=False)
        first = min(details, key=lambda d: _ORDER.index(d["type"]) if d["type"] in _ORDER else 9)
        raise _one_line(first, model, where, error) from None


def refuse_aliases(values: Any, where: str, error: type[PromptPortError]) -> None:
    """Refuse few lines of YAML that stand for billions of values, which anything that shows them
    would write out.

    Args:
        values: as they were read.
        where: the file, for the error.
        error: its class.

    Raises:
        PromptPortError: of that class.
    """
    try:
        count: int | None = _written_out(values, {})
    except RecursionError:
        count = None
    if count is None or count > _MOST_VALUES:
        raise error(
            where,
            expected=f"at most {_MOST_VALUES:,} values",
            got="a value that holds itself" if count is None else "more, by aliases of aliases",
            fix="Write the values without aliases (&name, *name)",
        )


def _written_out(value: Any, known: dict[int, int | None]) -> int:
    """Number of values in a value, each alias counted as what it stands for."""
    if not isinstance(value, dict | list):
        return 1
    key = id(value)
    if key not in known:
        known[key] = None
        parts = value.values() if isinstance(value, dict) else value
        known[key] = 1 + sum(_written_out(part, known) for part in parts)
    count = known[key]
    if count is None:  # it is being counted
        raise RecursionError
    return count


def _one_line(
    detail: ErrorDetails, model: type[BaseModel], where: str, error: type[PromptPortError]
) -> PromptPortError:
    path, inside, expected = _walk(model, detail["loc"])
    value, kind = detail["input"], detail["type"]
    if kind in _ORDER:
        last = str(detail["loc"][-1])
        parents = path[:-1] if path and path[-1] == last else path
        place = f"{where}, key {parents[-1]!r}" if parents else where
        if kind == "missing":
            needed = _names(_parent(model, detail["loc"]), needed=True)
            return error(
                place,
                expected=f"the keys {', '.join(needed)}",
                got=f"no {last!r}",
                fix=f"Add {last!r}",
            )
        known = _names(inside)
        return error(
            place,
            expected=f"the keys {', '.join(known)}",
            got=repr(last),
            fix=f"{_did_you_mean(last, known)}Remove the key, or correct its spelling",
        )
    context = detail.get("ctx", {})
    place = f"{where}, key {path[-1]!r}" if path else where
    if kind == "literal_error":
        known = [part.strip("' ") for part in context["expected"].replace(" or ", ", ").split(",")]
        fix = f"{_did_you_mean(str(value), known)}Correct the value"
        if not isinstance(value, str):
            return error(place, expected="a text", got=_shown(value), fix=_fix(value))
        return error(place, expected=f"one of {', '.join(known)}", got=repr(value), fix=fix)
    if kind == "promptport":
        got, fix = context["got"] or _shown(value), context["fix"] or _fix(value)
        return error(place, expected=context["expected"], got=got, fix=fix)
    said = expected or detail["msg"].removeprefix("Input should be ")
    return error(place, expected=said, got=_shown(value), fix=_fix(value))


def _walk(
    model: type[BaseModel], places: tuple[int | str, ...]
) -> tuple[list[str], type[BaseModel] | None, str | None]:
    """The keys on the way to a value, the model that it lies in, and what is expected of it."""
    keys: list[str] = []
    current: type[BaseModel] | None = model
    choices: dict[str, type[BaseModel]] = {}
    expected: str | None = None
    for place in places:
        fields = (
            {} if current is None else {_name(n, f): f for n, f in current.model_fields.items()}
        )
        if place in fields:
            keys.append(str(place))
            expected = fields[str(place)].description
            inner = _models_in(fields[str(place)].annotation)
            choices = {each.__name__: each for each in inner}
            current = inner[0] if len(inner) == 1 else None
        elif place in choices:
            current = choices[str(place)]
        else:
            break
    return keys, current, expected


def _parent(model: type[BaseModel], places: tuple[int | str, ...]) -> type[BaseModel] | None:
    return _walk(model, places[:-1])[1]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


def _name(name: str, field: Any) -> str:
    return field.alias or name


def _names(model: type[BaseModel] | None, *, needed: bool = False) -> list[str]:
    fields = {} if model is None else model.model_fields
    return [_name(n, f) for n, f in fields.items() if f.is_required() or not needed]


def _did_you_mean(word: str, known: list[str]) -> str:
    close = get_close_matches(word.lower(), known, n=1, cutoff=_ALIKE)
    return f"Did you mean {close[0]!r}? " if close else ""


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {reprlib.repr(value)}"[:120]


def _fix(value: Any) -> str:
    if isinstance(value, bool):
        return "Put quotes around the word: YAML reads yes, no, on and off as true and false"
    return "Correct the value"
