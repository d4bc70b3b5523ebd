"""What the `report` block of a recipe may hold: tables, figures, published numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from promptport.errors import FileFormatError, PromptPortError
from promptport.validation import FileModel, FileText, FileWord, FileWords, bad_value

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")  # becomes the name of a file
_NEEDED = {
    "heat_map": ("rows", "columns", "value"),
    "curves": ("x", "lines", "value"),
    "bars": ("rows", "value"),
    "scatter": ("x", "y", "colour"),
}


def _file_name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise bad_value("a name of letters, digits, '-', '_' and '.'")
    return value


def _scale(value: Any) -> int:
    if isinstance(value, bool) or value not in (1, 100):
        raise bad_value("1 or 100")
    return int(value)


FileName = Annotated[str, BeforeValidator(_file_name)]
Filter = dict[str, Any]  # place key, or `kind` -> value, or a list of values


class TableSpec(FileModel):
    """A table of a report."""

    name: FileName
    title: FileText
    of: Filter = Field(default_factory=dict, description="a mapping of place keys to values")
    rows: FileWords = Field(description="place keys")
    columns: FileWord | None = Field(None, description="a place key")
    value: FileWord = "score"
    over: FileWords | None = Field(None, description="place keys that are averaged over")
    scale: Annotated[int, BeforeValidator(_scale)] = 1
    compare_to: FileWord | None = Field(None, description="a column")
    best: Literal["max", "min"] | None = None
    note: FileText | None = None


class FigureSpec(FileModel):
    """A figure of a report."""

    name: FileName
    title: FileText
    figure: Literal["heat_map", "curves", "bars", "scatter"]
    of: Filter = Field(default_factory=dict, description="a mapping of place keys to values")
    rows: FileWords | None = Field(None, description="place keys")
    columns: FileWord | None = Field(None, description="a place key")
    x: FileWord | None = None
    y: FileWord | None = None
    lines: FileWord | None = Field(None, description="a place key")
    colour: FileWord | None = Field(None, description="a place key")
    value: FileWord | None = None
    relative_to: Filter | None = Field(None, description="a mapping of place keys to values")
    note: FileText | None = None

    @model_validator(mode="after")
    def _whole(self) -> FigureSpec:
        for key in _NEEDED[self.figure]:
            if getattr(self, key) is None:
                raise bad_value(
                    f"the keys {', '.join(_NEEDED[self.figure])} for {self.figure}",
                    f"no {key!r}",
                    f"Add {key!r}",
                )
        if self.relative_to is not None and self.figure != "bars":
            raise bad_value("'relative_to' with bars alone", self.figure, "Remove the key")
        return self


class PublishedSpec(FileModel):
    """A number that others published."""

    table: FileName
    row: FileWords = Field(description="one label for each row key of the table")
    column: FileWord
    value: float = Field(description="a number in the unit of the cells", allow_inf_nan=False)
    source: FileText
    model: FileText


@dataclass(frozen=True)
class ReportSpec:
    """The `report` block of a recipe.

    Attributes:
        tables: in their order.
        figures: in their order.
        published: numbers of others beside them.
    """

    tables: tuple[TableSpec, ...] = ()
    figures: tuple[FigureSpec, ...] = ()
    published: tuple[PublishedSpec, ...] = ()


def read_report_spec(
    values: Mapping[str, Any], where: str, error: type[PromptPortError] = FileFormatError
) -> ReportSpec:
    """Check a `report` block.

    Args:
        values: as it was read from YAML or JSON.
        where: its file, for errors.
        error: class of the error.

    Raises:
        PromptPortError: of that class: an unknown or missing key, a wrong value, a name twice, a
            published number of no table.
    """
    from promptport.validation import validated

    known: dict[str, type[FileModel]] = {
        "tables": TableSpec,
        "figures": FigureSpec,
        "published": PublishedSpec,
    }
    parts: dict[str, tuple[Any, ...]] = {}
    validated(_Block, dict(values), f"{where}, report", error)
    for part, model in known.items():
        made: list[Any] = []
        for number, each in enumerate(values.get(part) or [], 1):
            spot = f"{where}, report, {part} {number}"
            if not isinstance(each, Mapping):
                raise error(spot, expected="a mapping", got=repr(each)[:60], fix="Correct it")
            made.append(validated(model, dict(each), spot, error))
        parts[part] = tuple(made)
    spec = ReportSpec(**parts)
    _check_names(spec, where, error)
    return spec


class _Block(FileModel):
    tables: list[Any] | None = Field(None, description="a list of tables")
    figures: list[Any] | None = Field(None, description="a list of figures")
    published: list[Any] | None = Field(None, description="a list of published numbers")


def _check_names(spec: ReportSpec, where: str, error: type[PromptPortError]) -> None:
    for part, each in (("tables", spec.tables), ("figures", spec.figures)):
        names = [one.name.lower() for one in each]  # some disks take A and a for one
        for name in names:
            if names.count(name) > 1:
                raise error(
                    f"{where}, report, {part}",
                    expected="a name of its own for each",
                    got=f"{name!r} twice",
                    fix="Rename one of them",
                )
    tables = {table.name: table for table in spec.tables}
    for number, row in enumerate(spec.published, 1):
        spot = f"{where}, report, published {number}"
        if row.table not in tables:
            raise error(
                spot,
                expected=f"one of the tables {', '.join(tables) or '(there are none)'}",
                got=repr(row.table),
                fix="Correct 'table'",
            )
        wanted = len(tables[row.table].rows)
        if len(row.row) not in (1, wanted):
            raise error(
                spot,
                expected=f"{wanted} labels in 'row', as many as {row.table} has row keys",
                got=str(len(row.row)),
                fix="Correct 'row'",
            )
