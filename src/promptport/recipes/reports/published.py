"""Numbers that others published, beside ours, with both models named."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptport.recipes.reports.selecting import JOINED, Labels, label
from promptport.recipes.reports.specs import PublishedSpec
from promptport.recipes.reports.tables import Entry, Table

# Place keys that name models; the first that a cell has is where its score was measured.
MODEL_KEYS = ("target", "backbone", "model", "source", "sources", "backbones")
# Words of a model's name that say nothing about its family; sizes are kept apart.
_USUAL = frozenset(("nano", "tiny", "base", "cased", "uncased", "hf", "it", "instruct"))
_LARGE = frozenset(("large", "wide"))
_VERSION = re.compile(r"v\d+(\.\d+)?")


@dataclass(frozen=True)
class Published:
    """A published number and what stands beside it.

    Attributes:
        spec: the number, its place and its source.
        row: our row that it stands beside; None if there is none.
        entry: ours; None if there is none.
        ours: our models, as a text; empty without an entry.
        same_models: whether both were measured on the same models; None without an entry.
    """

    spec: PublishedSpec
    row: Labels | None
    entry: Entry | None
    ours: str
    same_models: bool | None

    @property
    def beside(self) -> bool:
        """Whether a number of ours stands beside it."""
        return self.entry is not None and self.entry.mean is not None

    @property
    def sentence(self) -> str:
        """Both models in words."""
        theirs = f"published on {self.spec.model}"
        if not self.beside:
            why = "" if self.entry is None else f" ({self.entry.why})"
            return f"{theirs}; no number of ours{why}"
        same = "the same models" if self.same_models else "other models, so compare directions only"
        return f"{theirs}, ours on {self.ours}: {same}"


def match_published(table: Table, rows: Sequence[PublishedSpec]) -> list[Published]:
    """Find for each published number of a table the entry that it stands beside.

    A row of the same labels counts first. Else it is the one row whose models are of the same
    families, all other labels being equal: `bert-base-cased` and `nano-bert`.

    Args:
        table: ours.
        rows: published numbers, of any table.
    """
    found = []
    for spec in rows:
        if spec.table != table.spec.name:
            continue
        row = _own_row(table, tuple(spec.row), spec.column)
        entry = None if row is None else table.entry(row, spec.column)
        models = {} if entry is None else _models(entry)
        same = None
        if entry is not None and row is not None:
            same = _same_models(table, tuple(spec.row), row, models, spec.model)
        found.append(Published(spec, row, entry, " from ".join(_order(models)), same))
    return found


def _own_row(table: Table, row: Labels, column: str) -> Labels | None:
    if row in table.rows:
        return row
    if len(row) != len(table.heads):
        joined = [own for own in table.rows if (JOINED.join(own),) == row]
        return joined[0] if joined else None
    alike = [
        own
        for own in table.rows
        if table.entry(own, column) is not None
        and all(
            mine == theirs or (key in MODEL_KEYS and _family(mine) == _family(theirs))
            for key, mine, theirs in zip(table.heads, own, row, strict=True)
        )
    ]
    return alike[0] if len(alike) == 1 else None


def _family(name: str) -> frozenset[str]:
    """Words of a model's name that tell its family and whether it is a large one."""
    words = set()
    for part in name.lower().split(" + "):
        for word in re.split(r"[-_]", _bare(part)):
            if word in _LARGE:
                words.add("large")
            elif word and word not in _USUAL and not _VERSION.fullmatch(word):
                words.add(word)
    return frozenset(words)


def _bare(model: str) -> str:
    """A model's name without its owner or folder."""
    return model.rstrip("/").rpartition("/")[2]


def _models(entry: Entry) -> dict[str, str]:
    """Labels of the models of an entry's cells, by place key."""
    return {
        key: ", ".join(dict.fromkeys(label(c.place[key]) for c in entry.cells if key in c.place))
        for key in MODEL_KEYS
        if any(key in cell.place for cell in entry.cells)
    }


def _order(models: Mapping[str, str]) -> list[str]:
    """The model that was scored, and the one that the prompt came from."""
    scored = next((models[key] for key in MODEL_KEYS[:3] if key in models), None)
    origin = next((models[key] for key in ("source", "sources") if key in models), None)
    return [name for name in (scored, origin) if name is not None] or list(models.values())


def _same_models(
    table: Table, row: Labels, own: Labels, models: Mapping[str, str], published: str
) -> bool:
    labels = [
        _bare(mine) == _bare(theirs)
        for key, mine, theirs in zip(table.heads, own, row, strict=False)
        if key in MODEL_KEYS and len(row) == len(own)
    ]
    scored = next((models[key] for key in MODEL_KEYS[:3] if key in models), "")
    return all(labels) and _bare(scored) == _bare(published)
