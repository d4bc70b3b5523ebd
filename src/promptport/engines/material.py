"""What an export is made of: prompts of one model, where they stand, and what their answers are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from promptport.backbone import (
    Kind,
    Layout,
    Outline,
    check_prompt,
    find_checkpoint,
    open_layout,
    open_space,
)
from promptport.errors import MismatchError, PromptPortError
from promptport.moving.places import ModelPlace, open_prompts
from promptport.objective import word_ids
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace
from promptport.tasks import Task, Template

_PLAIN = "{soft} {text} {answer}"  # of prompts that name no template: PEFT's place
_NOT_IN_NAMES = re.compile(r"[^a-z0-9_]+")

_LOOKED_AT = 2048  # rows of a table that are compared
_ALIKE = 0.25  # relative difference of rows that quantisation may make

# What stands in a row, in order: ids, a text (literal, field, literal, ... in turn), or virtual
# tokens from one to another.
Part = list[int] | tuple[str, ...] | slice


@dataclass(frozen=True)
class Carried:
    """One prompt as an export carries it.

    Attributes:
        prompt: the prompt.
        name: for files and tokens; letters, digits and `_`, unlike those of other prompts.
        template: where its virtual tokens stand.
        task: whose label words are named, if it could be opened.
        outline: of its rows, for the model that it is exported for.
        label_ids: label word -> token ids, where it stands; of a classification, else empty.
        ids: of its tokens, in exports that have such; else empty.
    """

    prompt: SoftPrompt
    name: str
    template: Template
    task: Task | None
    outline: Outline
    label_ids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ids: tuple[int, ...] = ()

    @property
    def tokens(self) -> tuple[str, ...]:
        """Names of its tokens, one per virtual token."""
        return tuple(f"<|{self.name}-{i}|>" for i in range(self.prompt.length))

    @property
    def in_front(self) -> bool:
        """Whether its virtual tokens stand in front of everything else."""
        return self.template.leads_with_soft

    @property
    def parts(self) -> list[Part]:
        """What a row consists of; virtual tokens are ids where the export has such."""
        return joined(self.outline.line, self.ids)

    @property
    def decoder_parts(self) -> list[Part]:
        """The same of the decoder input of a seq2seq model; else empty."""
        return joined(self.outline.decoder, self.ids)


def slot_file(item: Carried) -> str:
    """Name of a prompt's slot file."""
    return f"{item.name}.slot"


def joined(line: Sequence[int | tuple[str, ...] | None], ids: Sequence[int]) -> list[Part]:
    """An outline with what belongs together joined."""
    parts: list[Part] = []
    seen = 0
    for token in line:
        last = parts[-1] if parts else None
        if isinstance(token, tuple):
            parts.append(token)
            continue
        if token is None and not ids:
            if isinstance(last, slice):
                parts[-1] = slice(last.start, seen + 1)
            else:
                parts.append(slice(seen, seen + 1))
            seen += 1
            continue
        number = ids[seen] if token is None else token
        seen += token is None
        if isinstance(last, list):
            last.append(number)
        else:
            parts.append([number])
    return parts


def filled(parts: Sequence[Part], fields: Mapping[str, str], tokenize: Any) -> list[int | slice]:
    """A row as a client lays it out: token ids, and virtual tokens as they are in `parts`.

    Args:
        parts: of the row.
        fields: its texts by name.
        tokenize: text -> ids without special tokens.
    """
    row: list[int | slice] = []
    for part in parts:
        if isinstance(part, tuple):
            row += tokenize("".join(fields[p] if i % 2 else p for i, p in enumerate(part)))
        elif isinstance(part, slice):
            row.append(part)
        else:
            row += part
    return row


@dataclass
class Material:
    """Prompts of one model, and that model.

    Attributes:
        place: the model that they were made for.
        base: what the engine gets: that model, or its file in another format.
        items: the prompts.
        python: interpreter that has the engine's packages.
    """

    place: ModelPlace
    base: str
    items: list[Carried]
    python: Path

    @property
    def space(self) -> EmbeddingSpace:
        """Of the model that the prompts were made for."""
        return self.place.space

    @property
    def kind(self) -> Kind:
        """`masked`, `causal` or `seq2seq`."""
        return cast(Kind, self.space.kind or "causal")

    @property
    def base_file(self) -> Path | None:
        """The GGUF file that the engine gets; None if it is no such file."""
        return find_checkpoint(self.base).gguf

    @cached_property
    def layout(self) -> Layout:
        """How rows are laid out for the model."""
        return open_layout(self.place.name, self.kind, None, self.place.revision)

    def numbered(self, first: int | Sequence[int]) -> None:
        """Give the tokens of all prompts their ids: from a first one on, or one after the other."""
        count = sum(item.prompt.length for item in self.items)
        ids = list(range(first, first + count)) if isinstance(first, int) else list(first)
        for i, item in enumerate(self.items):
            self.items[i] = replace(item, ids=tuple(ids[: item.prompt.length]))
            ids = ids[item.prompt.length :]


def gather(
    folders: Sequence[Path],
    *,
    backbone: str | None,
    base: str | None,
    tasks: Mapping[Path, Task],
    python: Path,
) -> Material:
    """Read prompts and check that they belong to one model.

    Args:
        folders: one or more prompt folders.
        backbone: the model, in place of where the first prompt says it is.
        base: the same model in another format, for the engine; None: the model itself.
        tasks: of the prompts, by their folders, as far as they could be opened.
        python: interpreter that has the engine's packages.

    Raises:
        PromptPortError: a prompt that cannot be read, or belongs to another model.
    """
    opened = open_prompts(list(folders), [backbone] * len(folders) if backbone else None)
    place = opened[0].place
    for at in opened:
        check_prompt(at.prompt, place.space)
    if base is not None:
        _check_alike(place.space, open_space(base), base)
    made = Material(place, base or place.name, [], python)
    taken: set[str] = set()
    for at, folder in zip(opened, folders, strict=True):
        name = _name(at.prompt, folder, taken)
        made.items.append(_carried(at.prompt, name, tasks.get(folder), made))
    return made


def _check_alike(ours: EmbeddingSpace, base: EmbeddingSpace, name: str) -> None:
    """Refuse another model as base: rounded and quantised rows are like those they come from."""
    count = ours.trained_rows
    fits = base.width == ours.width and base.matrix.shape[0] >= count
    difference = float("inf")
    if fits:
        ids = torch.linspace(0, count - 1, min(count, _LOOKED_AT)).long()
        wanted = ours.rows(ids)
        difference = float((base.rows(ids) - wanted).norm() / wanted.norm())
    if difference > _ALIKE:
        shapes = f"a table {tuple(base.matrix.shape)} for one of {tuple(ours.matrix.shape)}"
        raise MismatchError(
            "--base",
            expected="the model that the prompt belongs to, in another format",
            got=f"{name}, with {f'rows that differ by {difference:.0%}' if fits else shapes}",
            fix="Name a file of this very model, or carry the prompt: promptport move",
        )


def _name(prompt: SoftPrompt, folder: Path, taken: set[str]) -> str:
    """A name for files and tokens that no other prompt of the export has."""
    said = (prompt.provenance.task or folder.resolve().name).rpartition(":")[2]
    plain = _NOT_IN_NAMES.sub("_", said.lower()).strip("_") or "prompt"
    name, number = plain, 2
    while name in taken:
        name, number = f"{plain}_{number}", number + 1
    taken.add(name)
    return name


def _carried(prompt: SoftPrompt, name: str, task: Task | None, material: Material) -> Carried:
    template = Template.parse(_template_of(prompt, name, task))
    if not template.has_soft:
        raise PromptPortError(
            f"template of {name}",
            expected="a place for the virtual tokens ({soft})",
            got=repr(template.text),
            fix="Export a prompt whose folder names its template",
        )
    answers: dict[str, tuple[int, ...]] = {}
    free = material.kind == "seq2seq" and (task is None or task.answers_alone)
    if task is not None and task.labels:
        words = [word for words in task.labels.values() for word in words]
        found = word_ids(material.layout, task, template, words)
        answers = dict(zip(words, found, strict=True))
    mask = next(iter(answers.values()), (0,)) if material.kind == "masked" else (0,)
    outline = material.layout.outline(template, mask, prompt.length, free_text=free)
    return Carried(prompt, name, template, task, outline, answers)


def _template_of(prompt: SoftPrompt, name: str, task: Task | None) -> str:
    """Where a prompt stands; of one that answers several tasks, where it stands for this one, or
    for the first of them."""
    made = prompt.provenance
    several = made.templates or {}
    if made.template is not None or not several:
        return made.template or _PLAIN
    first = next(iter(several))
    if task is not None and task.name not in several:
        raise PromptPortError(
            f"prompt {name}",
            expected=f"one of the tasks that it answers: {', '.join(several)}",
            got=repr(task.name),
            fix=f"Name one of them, for instance --task {first}",
        )
    return several[first if task is None else task.name]
