"""Soft prompts that come with a request, and are on no shelf."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.catalog.layout import PROMPT_KEY
from promptport.errors import FileFormatError, ShapeError, TaskError
from promptport.prediction import AskedTask
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.serving.shelf import BARE, ServedPrompt, Shelf, refuse_masked_writer
from promptport.tasks import Task, Template

_NAME = "soft_prompt"  # in messages and as the name of its task
_MOST_KEPT = 64  # sent prompts whose texts are laid out without being made ready again


@dataclass(frozen=True)
class SentPrompt:
    """Virtual tokens of a request, and how they are asked.

    Attributes:
        vectors: (n, d) floating-point, finite, in the space of the backbone's input rows.
        template: where they stand among the text; None for that of the prompt that the request
            names, and in front of the text where it names none.
        labels: label -> label words, two labels or more: the answer is one of them. None for the
            task of the prompt that the request names; where it names none, the answer is written.

    Raises:
        ShapeError: no such vectors.
        TaskError: a template without `{soft}`, or that is none.
    """

    vectors: Tensor = field(repr=False)
    template: str | None = None
    labels: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        checked = SoftPrompt(self.vectors, Provenance(_NAME)).vectors
        object.__setattr__(self, "vectors", checked)
        if self.template is not None and not Template.parse(self.template).has_soft:
            raise TaskError(
                f"{_NAME}.template",
                expected="{soft}, where the virtual tokens stand",
                got=repr(self.template),
                fix="Write for instance '{soft} {text} It was {answer} .'",
            )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SentPrompt) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def digest(self) -> str:
        """Of its values and of how it is asked."""
        labels = None if self.labels is None else [(k, list(v)) for k, v in self.labels.items()]
        told = repr([tuple(self.vectors.shape), self.template, labels]).encode()
        return hashlib.sha256(told + self.vectors.numpy().tobytes()).hexdigest()

    @classmethod
    def of_message(cls, message: Mapping[str, Any]) -> SentPrompt:
        """Of plain JSON values; nothing is unpickled.

        Args:
            message: `vectors` (n lists of d numbers) or `safetensors` (a file, base64); and
                `virtual_tokens` (that many of its rows, the first ones), `template` and `labels`.

        Raises:
            FileFormatError: no base64, no safetensors file, or no prompt in it.
            ShapeError: rows of different width, too few rows, or values that are not finite.
            TaskError: a template without `{soft}`.
        """
        rows = message.get("vectors")
        vectors = _of_file(message["safetensors"]) if rows is None else _of_rows(rows)
        if vectors.ndim != 2:
            raise ShapeError(
                f"{_NAME}.safetensors",
                expected="a tensor (n, d)",
                got=str(tuple(vectors.shape)),
                fix="Send one row per virtual token",
            )
        count = message.get("virtual_tokens") or len(vectors)
        if count > len(vectors):
            raise ShapeError(
                f"{_NAME}.virtual_tokens",
                expected=f"at most the {len(vectors)} rows that are sent",
                got=str(count),
                fix="Send as many rows, or leave virtual_tokens out",
            )
        labels = message.get("labels")
        words = None if labels is None else {k: _words(v) for k, v in labels.items()}
        return cls(vectors[:count], message.get("template"), words)


class SentPrompts:
    """Sent prompts made ready for a backbone; those that come again are not made ready again.

    Args:
        backbone: the frozen model.
        shelf: prompts that requests name.
    """

    def __init__(self, backbone: Backbone, shelf: Shelf) -> None:
        self._backbone, self._shelf = backbone, shelf
        self._known: OrderedDict[tuple[str | None, str], tuple[Any, ServedPrompt]] = OrderedDict()

    def get(self, name: str | None, sent: SentPrompt) -> ServedPrompt:
        """A sent prompt with what it is asked.

        Args:
            name: of the prompt on the shelf whose task and template it takes; None for none.
            sent: the prompt.

        Raises:
            UnknownNameError: no prompt of this name.
            PromptPortError: another width than the backbone's, labels that it cannot choose among,
                or a masked backbone that would write.
        """
        base = None if name is None else self._shelf.get(name)
        key = (name, sent.digest)
        asked_as, known = self._known.get(key, (None, None))
        if known is None or asked_as is not base:  # the named one may have changed
            known = self._made(base, sent)
        self._known[key] = (base, known)
        self._known.move_to_end(key)
        while len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)
        return known

    def _made(self, base: ServedPrompt | None, sent: SentPrompt) -> ServedPrompt:
        own = None if base is None else base.asked.objective
        if sent.labels is not None and own is None and sent.template is None:
            raise TaskError(
                f"{_NAME}.labels",
                expected="a template that says where the answer stands",
                got="none",
                fix="Add one, for instance 'template': '{soft} {text} It was {answer} .'",
            )
        template = Template.parse(sent.template or (BARE if own is None else own.template.text))
        if sent.labels is not None:
            labels = {name: tuple(words) for name, words in sent.labels.items()}
            task = Task(_NAME, "classification", template, "accuracy", labels=labels)
        elif own is not None:
            task = own.task
        else:
            task = Task(_NAME, "text2text", template, "exact-match")
        refuse_masked_writer(self._backbone, task, _NAME)
        made = Provenance(_NAME, task=task.name, template=template.text)
        prompt = SoftPrompt(sent.vectors, made)
        self._backbone.check_prompt(prompt)
        asked = AskedTask(self._backbone, task, prompt, template)
        return ServedPrompt(_NAME, prompt, asked)


def _of_rows(rows: Sequence[Sequence[float]]) -> Tensor:
    widths = {len(row) for row in rows}
    if len(widths) != 1:
        raise ShapeError(
            f"{_NAME}.vectors",
            expected="rows of one width, one per virtual token",
            got="rows of " + " and ".join(map(str, sorted(widths))) if widths else "no rows",
            fix="Send n lists of d numbers",
        )
    return torch.tensor(rows, dtype=torch.float32)


def _of_file(text: str) -> Tensor:
    from safetensors import SafetensorError
    from safetensors.torch import load

    where = f"{_NAME}.safetensors"
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileFormatError(
            where, expected="a file as base64", got="another text", fix="Encode the file so"
        ) from error
    try:
        tensors: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FileFormatError(
            where,
            expected="a whole safetensors file",
            got=" ".join(str(error).split())[:100],
            fix="Send the file that PEFT or promptport wrote; pickles are never opened",
        ) from error
    if PROMPT_KEY in tensors:
        return tensors[PROMPT_KEY]
    if len(tensors) == 1:
        return next(iter(tensors.values()))
    raise FileFormatError(
        where,
        expected=f"a tensor {PROMPT_KEY!r}, or one tensor alone",
        got=", ".join(sorted(tensors))[:100] or "none",
        fix="Send the adapter_model.safetensors of prompt tuning",
    )


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
