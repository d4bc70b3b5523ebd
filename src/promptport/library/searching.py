"""Finding starts for a new task in a large library, by what its prompts say about texts.

Two looks. All prompts are ranked by their kept answers to fixed probe texts, read for the labels of
the new task: no model is run for what is kept. The first ones are asked the task's own texts, and
these answers decide, as in `rank`; they are kept as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone
from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.kept_answers import KeptAnswers, stores_of
from promptport.errors import MismatchError, PromptPortError
from promptport.library.opinion_pool import OpinionPool
from promptport.library.probes import Probes, packed, unpacked
from promptport.library.ranking import LITTLE, Ranked, by_text
from promptport.objective import pick_rows
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt
from promptport.storage.prompt_folder import checksum
from promptport.tasks import Row, Task, TaskLike, as_task
from promptport.tuning.usual import placed_like

SHORTLIST = 16
KINDS = ("free", "mixture")
_MOST_CANDIDATES = 64  # of an answer that is kept; probes have the whole vocabulary


@dataclass(frozen=True)
class Found:
    """One prompt's place.

    Attributes:
        name: in the library.
        score: what the order within `by` comes from: how it fits to what the others say, 0 to 1.
        by: `texts` of the task, or `probes`: kept answers to other texts.
        task: that it was made for; None if nobody knows.
        information: how far the texts decide what it answers, 0 to 1.
    """

    name: str
    score: float
    by: str
    task: str | None
    information: float


@dataclass(frozen=True)
class TaskSearch:
    """Prompts for a task, best first: those that were asked its texts, then the rest.

    Attributes:
        task: name of the new task.
        backbone: of the prompts.
        entries: best first.
        texts: of the task that were read; no labels.
        asked: how often a prompt was asked texts now.
        reused: how often kept answers took the place of that.
        notes: what was left out, one line each.
    """

    task: str
    backbone: str
    entries: tuple[Found, ...]
    texts: int
    asked: int
    reused: int
    notes: tuple[str, ...] = ()

    @property
    def best(self) -> str:
        """Name of the first."""
        return self.entries[0].name

    @property
    def verdict(self) -> str:
        """In plain words how far to trust the order."""
        first = self.entries[0]
        if first.information < LITTLE:
            return (
                f"the texts hardly decide what {first.name} answers ({first.information:.2f} from "
                "0 to 1): no prompt of the library knows this task well"
            )
        return f"{first.name} is most like the others together; a few labelled rows say more"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "verdict": self.verdict, "best": self.best}


def search_by_task(
    catalog: Catalog,
    backbone: BackboneLike,
    task: TaskLike,
    *,
    shortlist: int = SHORTLIST,
    rows: int = 128,
    seed: int = 0,
) -> TaskSearch:
    """Rank the prompts of a library for a task by what they say about texts; no label is read.

    Args:
        catalog: of the library; its prompts of this model are ranked, of equal ones the first.
        backbone: the frozen model.
        task: the new task, with texts in `train`, or else in `dev`.
        shortlist: so many are asked the task's own texts.
        rows: most texts of the task to read, 2 or more.
        seed: of the choice of texts.

    Raises:
        PromptPortError: no prompt of this model, or numbers out of range.
        TaskError: a text to text task, or one that this backbone cannot be asked.
    """
    for name, value, least in (("--shortlist", shortlist, 1), ("--rows", rows, 2)):
        if value < least:
            fix = f"Write {least} or more"
            raise PromptPortError(name, expected=f"{least} or more", got=str(value), fix=fix)
    backbone, task = as_backbone(backbone), as_task(task)
    task.refuse_text2text("Find prompts for it by words, or rank them by labels: library rank")
    return _Search(catalog, backbone, task).run(shortlist, rows, seed)


class _Search:
    """One search; what was computed is kept beside the indexes of the library."""

    def __init__(self, catalog: Catalog, backbone: Backbone, task: Task) -> None:
        self.backbone = backbone
        self.notes: list[str] = []
        self.asked = self.reused = 0
        self.places = catalog.places
        self.entries = {entry.name: entry for entry in self._own(catalog)}
        known = [entry.template for entry in self.entries.values() if entry.template]
        self.task = placed_like(task, backbone, known)
        self.loaded: dict[str, SoftPrompt] = {}
        self.marks: dict[str, str] = {}  # checksums
        with stage("reading the prompts"):
            self._mark()

    def _own(self, catalog: Catalog) -> list[CatalogEntry]:
        """The prompts of the model."""
        mark = self.backbone.space.fingerprint
        own = [
            entry
            for entry in catalog.entries
            if entry.fingerprint == mark
            or (entry.fingerprint is None and entry.backbone == self.backbone.name)
        ]
        kinds = [entry for entry in own if entry.kind in KINDS]
        if not kinds:
            raise MismatchError(
                "library",
                expected=f"prompts of {self.backbone.name}",
                got=", ".join(catalog.backbones) or "none",
                fix="Name the model of the prompts with --backbone",
            )
        if others := len(own) - len(kinds):
            self.notes.append(f"left out, no prompts: {others} vectors, attentions or other files")
        return kinds

    def _mark(self) -> None:
        """A checksum for each, and equal ones once: they would count twice among the others."""
        first: dict[str, str] = {}
        for name, entry in list(self.entries.items()):
            mark = entry.checksum
            if mark is None:
                prompt = self._load([name]).get(name)
                if prompt is None:
                    continue
                mark = checksum(prompt)
            if mark in first:
                self.notes.append(f"left out, the same values as {first[mark]}: {name}")
                del self.entries[name]
                continue
            first[mark] = name
            self.marks[name] = mark

    def run(self, shortlist: int, rows: int, seed: int) -> TaskSearch:
        """Look twice."""
        by_probes: list[Ranked] = []
        names = list(self.entries)
        if len(names) > shortlist:
            by_probes = self._by_probes(names)
            names = [own.name for own in by_probes[:shortlist]]
        texts = self._texts(rows, seed)
        by_texts = self._by_texts(names, texts)
        if not by_texts:
            raise PromptPortError(
                "library",
                expected="a prompt that can be read and asked",
                got="none",
                fix="See what is wrong with them: promptport library verify",
            )
        first = {own.name for own in by_texts}
        rest = [own for own in by_probes if own.name not in first and own.name in self.entries]
        found = [self._found(own, "texts") for own in by_texts]
        found += [self._found(own, "probes") for own in rest]
        return TaskSearch(
            self.task.name,
            self.backbone.name,
            tuple(found),
            len(texts),
            self.asked,
            self.reused,
            tuple(self.notes),
        )

    def _texts(self, rows: int, seed: int) -> list[Row]:
        split = "train" if "train" in self.task.splits else "dev"
        return pick_rows(self.task.texts(split), rows, seed)

    def _by_probes(self, names: Sequence[str]) -> list[Ranked]:
        probes = Probes(self.backbone)
        keys = {name: f"probes {probes.version} {self._key(name, probes.model)}" for name in names}
        said = self._answers(keys, probes.ask, keep=True)
        return self._ranked(probes.read_for(self.task, said))

    def _by_texts(self, names: Sequence[str], texts: Sequence[Row]) -> list[Ranked]:
        model = f"{self.backbone.weights_hash()[:16]}-{self.backbone.dtype}"
        labels = self.task.labels or {}
        asked = [self.task.kind, self.task.template.text, self.task.sentinel]
        asked += [[label, *words] for label, words in labels.items()]
        asked += [sorted(row.fields.items()) for row in texts]
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]
        keys = {name: f"texts {digest} {self._key(name, model)}" for name in names}

        def ask(prompts: Mapping[str, SoftPrompt]) -> dict[str, Tensor]:
            pool = OpinionPool(self.backbone, prompts, self.task, truncate=True)
            return dict(zip(prompts, pool.answers(texts, blind=True), strict=True))

        return self._ranked(
            self._answers(keys, ask, keep=len(labels) in range(1, _MOST_CANDIDATES))
        )

    def _key(self, name: str, model: str) -> str:
        return f"{self.marks[name]} {model}"

    def _ranked(self, said: Mapping[str, Tensor]) -> list[Ranked]:
        if not said:
            return []
        ranked = by_text(self.backbone, said, {}, self.task)
        return sorted(ranked, key=lambda own: -own.score)

    def _answers(
        self,
        keys: Mapping[str, str],
        ask: Callable[[Mapping[str, SoftPrompt]], dict[str, Tensor]],
        *,
        keep: bool,
    ) -> dict[str, Tensor]:
        """Answers by name: kept ones, and those of the rest, which are kept from now on."""
        kept: dict[str, Tensor] = {}
        for store, names in self._stores(keys):
            there = store.get(keys[name] for name in names) if keep else {}
            for name in names:
                answers = unpacked(there.get(keys[name], b""))
                if answers is not None:
                    kept[name] = answers
        self.reused += len(kept)
        missing = self._load([name for name in keys if name not in kept])
        fresh = ask(missing) if missing else {}
        self.asked += len(fresh)
        for store, names in self._stores(fresh) if keep else ():
            store.put({keys[name]: packed(fresh[name]) for name in names})
        # As they come back from the file, so that a second search says the same.
        if keep:
            fresh = {name: unpacked(packed(own)) for name, own in fresh.items()}  # type: ignore[misc]
        said = {name: kept.get(name, fresh.get(name)) for name in keys}
        return {name: own for name, own in said.items() if own is not None}

    def _stores(self, names: Iterable[str]) -> list[tuple[KeptAnswers, list[str]]]:
        return stores_of(self.places, [self.entries[name] for name in names])

    def _load(self, names: Sequence[str]) -> dict[str, SoftPrompt]:
        """Prompts from their folders; what cannot be read is left out."""
        for name in names:
            if name in self.loaded:
                continue
            try:
                prompt = load_prompt(self.entries[name].folder)
                self.backbone.check_prompt(prompt)
                if not bool(prompt.vectors.isfinite().all()):
                    raise MismatchError(
                        name, expected="finite numbers", got="others", fix="Tune it again"
                    )
                self.loaded[name] = prompt
            except PromptPortError as error:
                self.notes.append(f"left out: {error}")
                del self.entries[name]
        return {name: self.loaded[name] for name in names if name in self.loaded}

    def _found(self, own: Ranked, by: str) -> Found:
        return Found(
            own.name,
            own.score,
            by,
            self.entries[own.name].task,
            own.measures["information"] or 0.0,
        )
