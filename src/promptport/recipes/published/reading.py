"""Published numbers by paper, table and whatever else they are asked by."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

from promptport.errors import FileFormatError, UnknownNameError

Evidence = Literal["raw", "supp", "abs", "rev", "blog", "draft", "paper"]
PAPERS: Mapping[str, str] = {
    "zero-shot-transfer": "arXiv 2310.01691",
    "task-prompt-vectors": "arXiv 2408.01119",
    "post": "POST, ICML 2025, Table 5",
}
_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class PublishedRow:
    """One published number.

    Attributes:
        paper: a key of `PAPERS`.
        table: our name of the table.
        task: name of the task, or `lama:*` for all relations.
        method: what was measured, see the head of the file.
        metric: in percent, cosines and coefficients apart.
        value: the number.
        evidence: where it is from. raw: recomputed from the authors' files; supp: supplement; abs:
            abstract; rev: quoted in reviews; blog: the author's; draft: an earlier version; paper:
            the paper itself.
        source: model, or tasks, that were moved or summed.
        target: the model that was moved to.
        model: the model, where there is only one.
        spread: standard deviation over runs.
        n: number of runs.
        shots: number of labelled rows.
        note: what else must be known.
    """

    paper: str
    table: str
    task: str
    method: str
    metric: str
    value: float
    evidence: Evidence
    source: str | None = None
    target: str | None = None
    model: str | None = None
    spread: float | None = None
    n: int | None = None
    shots: int | None = None
    note: str | None = None

    @property
    def reference(self) -> str:
        """The paper, as a reader looks it up."""
        return PAPERS[self.paper]

    @property
    def on(self) -> str | None:
        """The model that was scored."""
        return self.target or self.model

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without what is not known."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def published(
    *, paper: str | None = None, table: str | None = None, **filters: Any
) -> tuple[PublishedRow, ...]:
    """Published numbers, in the order of their files.

    Args:
        paper: a key of `PAPERS`; None: all papers.
        table: name of a table; None: all tables.
        filters: field of a row -> its value, or a list of values.

    Returns:
        The rows that have all of these; none where nothing was published.

    Raises:
        UnknownNameError: a paper, table or field that there is not.
    """
    rows = _rows()
    names = [field.name for field in fields(PublishedRow)]
    for key in filters:
        _check("a field of a published row", key, names)
    if paper is not None:
        _check("a paper", paper, PAPERS)
        rows = tuple(row for row in rows if row.paper == paper)
    if table is not None:
        _check("a table", table, dict.fromkeys(row.table for row in rows))
        rows = tuple(row for row in rows if row.table == table)
    return tuple(row for row in rows if all(_has(row, k, v) for k, v in filters.items()))


def _has(row: PublishedRow, key: str, wanted: Any) -> bool:
    value = getattr(row, key)
    return value in wanted if isinstance(wanted, list | tuple | set) else value == wanted


def _check(what: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        close = get_close_matches(name, known, n=1)
        raise UnknownNameError(
            "published numbers",
            expected=f"{what} ({', '.join(known)})",
            got=repr(name),
            fix=f"Did you mean {close[0]!r}?" if close else "Choose one of these",
        )


@lru_cache(1)
def _rows() -> tuple[PublishedRow, ...]:
    return tuple(row for file in sorted(_FOLDER.glob("*.yaml")) for row in read_rows(file))


def read_rows(file: Path) -> Iterable[PublishedRow]:
    """The rows of one file.

    Raises:
        FileFormatError: a row with unknown or missing keys, or values of another kind.
    """
    import yaml

    for number, record in enumerate(yaml.safe_load(file.read_text(encoding="utf-8")), 1):
        where = f"{file.name}, row {number}"
        try:
            row = PublishedRow(**record)
        except TypeError as error:
            raise _bad(where, "the keys of a published row", str(error)) from error
        if row.paper not in PAPERS:
            raise _bad(where, f"a paper among {', '.join(PAPERS)}", repr(row.paper))
        if row.evidence not in get_args(Evidence):
            raise _bad(where, f"evidence among {', '.join(get_args(Evidence))}", row.evidence)
        if isinstance(row.value, bool) or not isinstance(row.value, int | float):
            raise _bad(where, "a number as value", repr(row.value))
        yield row


def _bad(where: str, expected: str, got: str) -> FileFormatError:
    return FileFormatError(where, expected=expected, got=got, fix="Mend the row")
