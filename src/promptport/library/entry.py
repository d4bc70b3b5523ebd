"""One prompt of a library, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from promptport.catalog.facts import day
from promptport.catalog.layout import CONFIG_FILE, VECTOR_FILE
from promptport.library.folders import Content
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Task

EntryKind = Literal["free", "mixture", "vector"]

_FIELDS = ("name", "task", "backbone", "kind", "length", "dev_score", "written", "folder")


@dataclass(frozen=True)
class TaskPrompt:
    """A prompt, and the task whose texts it is asked.

    Attributes:
        prompt: tuned, with its origin where its vector is needed.
        task: gives the rows, the template and the label words.
    """

    prompt: SoftPrompt
    task: Task

    def __repr__(self) -> str:
        tokens = f"{self.prompt.length} virtual tokens"
        return f"TaskPrompt({self.task.name}, {tokens} on {self.prompt.provenance.backbone})"


@dataclass(frozen=True)
class LibraryEntry:
    """One prompt or task prompt vector of a library.

    Attributes:
        name: in the library.
        content: the prompt, or the vector.
        task: opened; None if the folder names none that can be opened.
        folder: where it was read; None for one that was never saved.
    """

    name: str
    content: Content = field(repr=False)
    task: Task | None = field(default=None, repr=False)
    folder: Path | None = None

    @property
    def provenance(self) -> Provenance:
        """Where it comes from."""
        return self.content.provenance

    @property
    def kind(self) -> EntryKind:
        """`free` (a prompt of free vectors), `mixture` (of words) or `vector`."""
        if not isinstance(self.content, SoftPrompt):
            return "vector"
        return "free" if self.content.mixture is None else "mixture"

    @property
    def backbone(self) -> str:
        """Name of the model that it belongs to, as it is recorded."""
        return self.provenance.backbone

    @property
    def task_name(self) -> str | None:
        """The task that it is asked, or was tuned on; None if that is not known."""
        return self.provenance.task if self.task is None else self.task.name

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of all its tasks: a combination was made for several (`a + b`)."""
        made = self.provenance.task
        if made is None:
            return () if self.task is None else (self.task.name,)
        return (made, *made.split(" + "))

    @property
    def length(self) -> int:
        """Number of virtual tokens."""
        return self.content.length

    @property
    def dev_score(self) -> float | None:
        """Score on the dev rows at the end of tuning, None if it is not recorded."""
        score = (self.provenance.tuning or {}).get("dev_score")
        return float(score) if isinstance(score, int | float) else None

    @property
    def written(self) -> str | None:
        """Day on which its file was written, like 2026-03-31; None if it was not saved."""
        for file in () if self.folder is None else (CONFIG_FILE, VECTOR_FILE):
            path = Path(self.folder or "", file)
            if path.is_file():
                return day(path.stat().st_mtime)
        return None

    def words(self) -> dict[str, list[str]]:
        """What can be searched: where -> words as they stand there."""
        labels = {} if self.task is None else self.task.labels or {}
        template = self.provenance.template
        if template is None and self.task is not None:
            template = self.task.template.text
        mixture = self.content.mixture if isinstance(self.content, SoftPrompt) else None
        rows = [] if mixture is None else mixture.readable()
        return {
            "name": [self.name],
            "task": [self.task_name or "", "" if self.task is None else self.task.description],
            "label words": [w for label, words in labels.items() for w in (label, *words)],
            "mixture words": [word for row in rows for word, _ in row],
            "template": [template or ""],
        }

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompt."""
        values = {name: getattr(self, name) for name in _FIELDS}
        folder = None if self.folder is None else str(self.folder)
        return values | {"task": self.task_name, "folder": folder}
