"""One prompt, vector, attention or portable file of a library, and what is known of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.catalog.facts import Facts, day
from promptport.errors import FileFormatError

if TYPE_CHECKING:
    from promptport.tasks import Task

# As `library list --json` tells them; the rest is told of one prompt.
_SHORT = ("name", "task", "backbone", "kind", "length", "dev_score", "written", "folder", "tags")


@dataclass(frozen=True, eq=False)
class CatalogEntry:
    """What is known of one thing of a library without loading it.

    Attributes:
        name: in the library; no other has it.
        path: where it lies, as it was written; of a portable file the file.
        facts: what was read; None if it is damaged.
        problem: what is wrong with it, in a line; None if nothing is known to be.
    """

    name: str
    path: str
    facts: Facts | None = field(default=None, repr=False)
    problem: str | None = None

    def __repr__(self) -> str:
        return f"CatalogEntry({self.name}, {self.kind} on {self.backbone or 'no known model'})"

    @property
    def folder(self) -> Path:
        """Where it lies; of a portable file the file."""
        return Path(self.path)

    @property
    def kind(self) -> str:
        """`free`, `mixture`, `vector`, `attention`, `portable` or `damaged`."""
        return "damaged" if self.facts is None else self.facts.kind

    @property
    def task(self) -> str | None:
        """Name of the task that it was tuned on; None if nobody knows."""
        return None if self.facts is None else self.facts.task

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of all its tasks: a combination was made for several (`a + b`)."""
        return () if self.task is None else (self.task, *self.task.split(" + "))

    @property
    def backbone(self) -> str:
        """Name of the model that it belongs to, as it is recorded."""
        return "" if self.facts is None else self.facts.backbone

    @property
    def revision(self) -> str | None:
        """Of the backbone, as it is recorded."""
        return None if self.facts is None else self.facts.revision

    @property
    def fingerprint(self) -> str | None:
        """Hash of the backbone's embedding matrix, as it is recorded."""
        return None if self.facts is None else self.facts.fingerprint

    @property
    def length(self) -> int | None:
        """Number of virtual tokens."""
        return None if self.facts is None else self.facts.length

    @property
    def width(self) -> int | None:
        """Width of the backbone's input rows; None where no file tells it (portable files)."""
        return None if self.facts is None else self.facts.width

    @property
    def dev_score(self) -> float | None:
        """Score on the dev rows at the end of tuning, None if it is not recorded."""
        return None if self.facts is None else self.facts.dev_score

    @property
    def written(self) -> str | None:
        """Day (UTC) on which its file was written, like 2026-03-31."""
        return None if self.facts is None else day(self.facts.written)

    @property
    def checksum(self) -> str | None:
        """SHA-256 of its values, as it is recorded; `library verify` compares."""
        return None if self.facts is None else self.facts.checksum

    @property
    def tags(self) -> tuple[str, ...]:
        """Words that people gave it, in the order of the alphabet."""
        return tuple(self.facts.tags.split("\n")) if self.facts and self.facts.tags else ()

    @cached_property
    def more(self) -> Mapping[str, Any]:
        """What only some kinds have: `mixture_words`, `coefficients`, `sources`, `words`.

        Raises:
            FileFormatError: the index that it was read from was written by others.
        """
        if self.facts is None:
            return {}
        try:
            found = json.loads(self.facts.more)
            if not isinstance(found, dict):
                raise TypeError(type(found).__name__)
            return found
        except (ValueError, TypeError, RecursionError) as error:
            raise FileFormatError(
                f"index of the library, {self.name}",
                expected="a JSON object",
                got=str(error),
                fix="Delete .promptport-index.sqlite in the library: it is only a cache",
            ) from error

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where it comes from: the fields of `Provenance` as plain values."""
        return dict(self.more.get("provenance", {}))

    @property
    def template(self) -> str | None:
        """Where the prompt stands among the text, as it is recorded."""
        return self.provenance.get("template")

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """One entry for each step after tuning, oldest first."""
        steps = self.provenance.get("history") or ()
        return tuple(step for step in steps if isinstance(step, dict))

    def words(self, task: Task | None = None) -> dict[str, Sequence[str]]:
        """What can be searched: where -> texts as they stand there.

        Args:
            task: that it names, opened; gives label words and a description.
        """
        labels = {} if task is None else task.labels or {}
        template = self.template
        if template is None and task is not None:
            template = task.template.text
        return {
            "name": (self.name,),
            "task": (self.task or "", "" if task is None else task.description),
            "label words": [w for label, words in labels.items() for w in (label, *words)],
            "mixture words": self.more.get("mixture_words", ()),
            "template": (template or "",),
            "tags": self.tags,
        }

    def to_dict(self) -> dict[str, Any]:
        """What a list tells, as plain JSON values."""
        values = {name: getattr(self, name) for name in _SHORT}
        return values | {"folder": self.path, "tags": list(self.tags)}

    def details(self) -> dict[str, Any]:
        """All that is known, as plain JSON values."""
        told = {"width": self.width, "checksum": self.checksum, "problem": self.problem}
        more = {name: value for name, value in self.more.items() if name != "provenance"}
        return {**self.to_dict(), **told, **more, "provenance": dict(self.provenance)}
