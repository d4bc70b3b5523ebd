"""TaskPromptVector: what tuning added to its origin, and the arithmetic on it.

Paper B (Belanec, Ostermann, Srba, Bielikova, arXiv 2408.01119): a task prompt vector is
`T = P* − P_0`, the tuned prompt minus the origin that it started from; on another origin it gives
`P' = P_0' + λT`, and several tasks are added as `P' = P_0' + λ Σ_i T_i`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor

from promptport._version import __version__
from promptport.belonging import check_same_backbone
from promptport.errors import MismatchError, PromptPortError, ShapeError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance

_SHOWN = 8  # digits of a checksum in a name


class Part(NamedTuple):
    """What a coefficient counts: one vector, not all that share its name.

    Attributes:
        name: as it is called: its task, or what the user calls it.
        task: that it was tuned on.
        checksum: of its values.
    """

    name: str
    task: str
    checksum: str


@dataclass(frozen=True)
class TaskPromptVector:
    """A tuned prompt minus its origin, or a combination of such differences.

    `+`, `-`, unary minus, `sum`, and `*` and `/` by a number give new vectors and keep count of the
    coefficients: `sst2 + 0.5 * mnli - toxicity` has {"sst2": 1, "mnli": 0.5, "toxicity": -1}.
    Different vectors of one task are counted apart: {"sst2#0c1f33ab": 1, "sst2#9e02d4c7": 1}. Two
    are equal if values and records are.

    Attributes:
        delta: (n, d) float32, finite, in the space of the backbone's input rows.
        provenance: the backbone, and what the parts have in common; `origin` is what the prompt was
            tuned from, None for a combination of different ones.
        coefficients: of each task. They are a record: tasks that cancel out stay with 0.
        parts: which vector each name of the coefficients stands for; worked out if it is left out.

    Raises:
        ShapeError: not a finite 2-D tensor.
        PromptPortError: a coefficient that is not finite.
    """

    delta: Tensor
    provenance: Provenance
    coefficients: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, Part] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        delta = self.delta
        good = delta.ndim == 2 and 0 not in delta.shape and delta.is_floating_point()
        if good:
            delta = delta.detach().to(dtype=torch.float32, device="cpu").contiguous().clone()
        if not good or not bool(torch.isfinite(delta).all()):
            raise ShapeError(
                "task prompt vector",
                expected="a finite floating-point tensor (n, d) with n, d >= 1",
                got=f"{delta.dtype} {tuple(delta.shape)}" + (", not finite" if good else ""),
                fix="Give one row per virtual token, and smaller coefficients if they overflow",
            )
        object.__setattr__(self, "delta", delta)
        counted = {task: _factor(value) for task, value in self.coefficients.items()}
        object.__setattr__(self, "coefficients", counted)
        if self.parts.keys() != counted.keys():
            made = checksum_of(delta, counted)
            parts = {name: Part(name, name, made) for name in counted}
            object.__setattr__(self, "parts", parts)

    @classmethod
    def of(cls, prompt: SoftPrompt, name: str | None = None) -> TaskPromptVector:
        """The vector of a tuned prompt: `T = P* − P_0`.

        Args:
            prompt: (n, d), with its origin (`with_origin` makes that of PEFT's TEXT).
            name: of the task in the coefficients, if the prompt does not say its task.

        Raises:
            MismatchError: the prompt has no origin.
        """
        task = prompt.provenance.task or name or "prompt"
        if prompt.origin is None:
            raise MismatchError(
                f"prompt of {task}",
                expected="an origin, what its tuning started from",
                got="none (PEFT keeps none but a text, and a transfer loses it)",
                fix="Name it with promptport vector make --origin, tune with promptport, which "
                "keeps it, or let promptport vector widen measure the prompt from random words",
            )
        delta = prompt.vectors - prompt.origin
        return cls(delta, replace(prompt.provenance, task=task), {task: 1.0})

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.delta.shape[0]

    @property
    def width(self) -> int:
        """Width d of the input rows."""
        return self.delta.shape[1]

    @property
    def task(self) -> str:
        """The task that it answers: that of its parts, if they have one and all add to it; else the
        combination as text."""
        tasks = {part.task for part, value in self._counted().items() if value}
        added = min(self.coefficients.values(), default=0.0) >= 0
        return tasks.pop() if len(tasks) == 1 and added else self.label

    @property
    def label(self) -> str:
        """The combination as text: `sst2 + 0.5*mnli - toxicity`; tasks with 0 are left out."""
        text = ""
        for task, value in self.coefficients.items():
            if value:
                size = "" if abs(value) == 1 else f"{abs(value):g}*"
                text += f" {'-' if value < 0 else '+'} {size}{task}"
        text = text.removeprefix(" + ")
        return f"-{text[3:]}" if text.startswith(" - ") else text or "0"

    def apply(
        self, origin: SoftPrompt | Tensor, made: Mapping[str, Any] | None = None
    ) -> SoftPrompt:
        """The prompt `P' = P_0' + T` on any origin of the same backbone and length.

        Args:
            origin: (n, d): a prompt whose vectors are the origin, or a bare tensor, which is taken
                to belong to this backbone.
            made: how the origin was made, for the new provenance (`OriginSpec.to_dict`).

        Returns:
            (n, d), with `origin` as its origin. The last entry of `provenance.history` has the
            coefficients.

        Raises:
            MismatchError: the origin belongs to another backbone.
            ShapeError: it has another shape.
        """
        if isinstance(origin, SoftPrompt):
            check_same_backbone(self.provenance, origin.provenance)
            source = origin.provenance
            made = made or {"kind": "prompt", "task": source.task, "tuned_from": source.origin}
            origin = origin.vectors
        _check_shape("origin", origin, self.delta)
        start = origin.detach().to(dtype=torch.float32, device="cpu")
        old = self.provenance
        step = {
            "step": "apply",
            "method": "vector on origin",
            "source": self.label,
            "coefficients": dict(self.coefficients),
            "origin": old.origin,
            "tuning": old.tuning,
            "promptport": __version__,
        }
        provenance = replace(
            old,
            task=self.task,
            origin=None if made is None else dict(made),
            tuning=None,
            history=(*old.history, step),
        )
        return SoftPrompt(start + self.delta, provenance, start)

    def with_values(self, delta: Tensor, provenance: Provenance | None = None) -> TaskPromptVector:
        """Other values under the same coefficients, as a method makes them that is not linear, or
        a transfer: they are counted apart from those of the parts.

        Args:
            delta: (n, d).
            provenance: of the new values; None for the old one.
        """
        made = checksum_of(delta, self.coefficients)
        parts = {name: Part(name, part.task, made) for name, part in self.parts.items()}
        return replace(self, delta=delta, provenance=provenance or self.provenance, parts=parts)

    def called(self, name: str) -> TaskPromptVector:
        """The vector of one task under the name that the user has for it."""
        if list(self.coefficients.values()) != [1.0]:
            return self
        ((_, part),) = self.parts.items()
        return replace(self, coefficients={name: 1.0}, parts={name: part._replace(name=name)})

    def _counted(self) -> dict[Part, float]:
        return {self.parts[name]: value for name, value in self.coefficients.items()}

    def check_fits(self, other: TaskPromptVector) -> None:
        """Refuse to combine vectors that do not belong together.

        Raises:
            MismatchError: another backbone.
            ShapeError: another length or width.
        """
        check_same_backbone(self.provenance, other.provenance)
        _check_shape("task prompt vector", other.delta, self.delta)

    def __add__(self, other: TaskPromptVector) -> TaskPromptVector:
        if not isinstance(other, TaskPromptVector):
            return NotImplemented
        self.check_fits(other)
        counted = self._counted()
        for part, value in other._counted().items():
            counted[part] = counted.get(part, 0.0) + value
        common = shared_provenance(self.provenance, other.provenance)
        parts = _named(counted)
        coefficients = {name: counted[part] for name, part in parts.items()}
        return _labelled(TaskPromptVector(self.delta + other.delta, common, coefficients, parts))

    def __radd__(self, other: int) -> TaskPromptVector:
        """`sum` begins with 0."""
        return self if isinstance(other, int) and other == 0 else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskPromptVector):
            return NotImplemented
        records = [(v.provenance, v.coefficients, v.parts) for v in (self, other)]
        return records[0] == records[1] and torch.equal(self.delta, other.delta)

    def __hash__(self) -> int:
        return hash(tuple(self.delta[0].tolist()))

    def __repr__(self) -> str:
        return (
            f"TaskPromptVector({self.label}: {self.length} virtual tokens, {self.width} wide, "
            f"of {self.provenance.backbone})"
        )

    def __neg__(self) -> TaskPromptVector:
        return self * -1.0

    def __sub__(self, other: TaskPromptVector) -> TaskPromptVector:
        if not isinstance(other, TaskPromptVector):
            return NotImplemented
        return self + -other

    def __mul__(self, factor: float | Tensor) -> TaskPromptVector:
        number = _number(factor)
        if number is None:
            return NotImplemented
        size = _factor(number)
        counted = {task: size * value for task, value in self.coefficients.items()}
        return _labelled(replace(self, delta=size * self.delta, coefficients=counted))

    __rmul__ = __mul__

    def __truediv__(self, divisor: float | Tensor) -> TaskPromptVector:
        number = _number(divisor)
        if number is None:
            return NotImplemented
        if number == 0:
            raise _bad_factor(number)
        return self * (1 / number)


def shared_provenance(left: Provenance, right: Provenance) -> Provenance:
    """What two parts on the same backbone have in common; what differs becomes None.

    The templates of different tasks are all kept, since each task is asked in its own.
    """
    # What the left part says counts, and stands first.
    templates = _templates_of(left) | _templates_of(right) | _templates_of(left)
    return Provenance(
        backbone=left.backbone,
        kind=left.kind or right.kind,
        revision=left.revision or right.revision,
        fingerprint=left.fingerprint or right.fingerprint,
        template=left.template if left.template == right.template else None,
        task=left.task if left.task == right.task else None,
        origin=left.origin if left.origin == right.origin else None,
        history=left.history + tuple(e for e in right.history if e not in left.history),
        file=left.file or right.file,
        templates=templates if len(templates) > 1 else None,
    )


def _templates_of(made: Provenance) -> dict[str, str]:
    if made.templates is not None:
        return made.templates
    return {made.task: made.template} if made.task and made.template else {}


def unique_labels(vectors: Mapping[str, TaskPromptVector]) -> list[TaskPromptVector]:
    """Vectors of one task under the names that the user has for them; others under their task.

    Args:
        vectors: by these names.
    """
    parts = {part for vector in vectors.values() for part in vector.parts.values()}
    times = Counter(part.name for part in parts)
    return [
        vector.called(name) if any(times[p.name] > 1 for p in vector.parts.values()) else vector
        for name, vector in vectors.items()
    ]


def _named(parts: Iterable[Part]) -> dict[str, Part]:
    """A name for each part: its own, with the checksum where several have the same."""
    parts = list(parts)
    times = Counter(part.name for part in parts)

    def names(digits: int | None) -> dict[str, Part]:
        return {
            p.name if times[p.name] == 1 else f"{p.name}#{p.checksum[:digits]}": p for p in parts
        }

    short = names(_SHOWN)
    return short if len(short) == len(parts) else names(None)


def checksum_of(delta: Tensor, coefficients: Mapping[str, float]) -> str:
    """SHA-256 of values (n, d) and their coefficients."""
    digest = hashlib.sha256(delta.detach().cpu().float().contiguous().numpy().tobytes())
    digest.update(json.dumps(dict(coefficients), sort_keys=True).encode())
    return digest.hexdigest()


def _labelled(vector: TaskPromptVector) -> TaskPromptVector:
    return replace(vector, provenance=replace(vector.provenance, task=vector.task))


def _number(value: object) -> float | None:
    """A number of Python, NumPy or a tensor without dimensions; None if it is none."""
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, Real):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of hundreds of digits, which is refused as infinite
        return math.inf


def _factor(value: float) -> float:
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise _bad_factor(value)
    return number + 0.0  # no minus zero


def _bad_factor(value: float) -> PromptPortError:
    return PromptPortError(
        "coefficient of a task prompt vector",
        expected="a finite number, not 0 as a divisor",
        got=repr(value)[:40],
        fix="Give a number like 0.5",
    )


def _check_shape(name: str, value: Tensor, wanted: Tensor) -> None:
    if value.shape != wanted.shape:
        raise ShapeError(
            name,
            expected=f"(virtual tokens, width) {tuple(wanted.shape)}",
            got=str(tuple(value.shape)),
            fix="Vectors and origins must have the same number of virtual tokens; tune with the "
            "same --length",
        )
