"""SoftPrompt: the learned vectors of prompt tuning, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from promptport.errors import FileFormatError, ShapeError
from promptport.mixture import Mixture

SCHEMA_VERSION = 1

# Steps of a history by the names that they had in files of earlier development versions.
_FORMER_STEPS = {
    "anchor": "fit_mixture",
    "calibrate": "align",
    "readout": "cue_word",
    "reconcile": "distill_merge",
    "widen": "distill_over_origins",
}


def step_name(entry: Mapping[str, Any]) -> str:
    """What was done in a step of a history (`Provenance.history`), by the name of today.

    Args:
        entry: of the history; one without a name is a transfer.
    """
    name = str(entry.get("step", "transfer"))
    return _FORMER_STEPS.get(name, name)


@dataclass(frozen=True)
class Provenance:
    """Where a soft prompt comes from. Everything but `backbone` may be unknown (None).

    Attributes:
        backbone: Hub id, local folder or embedded name of the model that it belongs to.
        kind: `masked`, `causal` or `seq2seq`.
        revision: Hub revision of the backbone.
        fingerprint: hash of the backbone's embedding matrix (`EmbeddingSpace.fingerprint`).
        template: where the prompt stands among the text: `{subject} {soft} {answer} .`
        task: name of the task that it was tuned on.
        origin: what it started from: `{"kind": "vocabulary", "seed": 3}`.
        tuning: settings and dev scores of the tuning run.
        history: one entry per step after tuning, oldest first; see `step_name`.
        file: name, SHA-256 and quantisation of the backbone's file, where that is a GGUF file.
    """

    backbone: str
    kind: str | None = None
    revision: str | None = None
    fingerprint: str | None = None
    template: str | None = None
    task: str | None = None
    origin: dict[str, Any] | None = None
    tuning: dict[str, Any] | None = None
    history: tuple[dict[str, Any], ...] = ()
    file: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {**asdict(self), "history": list(self.history)}
        if self.file is None:  # most have none
            del values["file"]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str) -> Provenance:
        """Check and read what `to_dict` wrote.

        Args:
            values: fields by name.
            where: file name for the error message.

        Raises:
            FileFormatError: a field is missing, unknown or of another type.
        """
        known = {f.name for f in fields(cls)}
        for name in values.keys() - known:
            raise FileFormatError(
                where,
                expected=f"the fields {', '.join(sorted(known))}",
                got=f"{name!r}",
                fix="Remove the field, or read the file with the promptport that wrote it",
            )
        if "backbone" not in values:
            raise FileFormatError(
                where,
                expected="a field 'backbone'",
                got="none",
                fix="Add the id of the model that the prompt was tuned on",
            )
        for name, value in values.items():
            _check_type(name, value, where)
        return cls(**{**values, "history": tuple(values.get("history") or ())})


_TYPES: dict[str, type | tuple[type, ...]] = {
    "origin": dict,
    "tuning": dict,
    "file": dict,
    "history": (list, tuple),
}


def _check_type(name: str, value: Any, where: str) -> None:
    wanted = _TYPES.get(name, str)
    if (value is None and name != "backbone") or isinstance(value, wanted):
        return
    label = wanted.__name__ if isinstance(wanted, type) else "list"
    raise FileFormatError(
        f"{where}, field {name!r}",
        expected=label,
        got=type(value).__name__,
        fix="Restore the file from its source",
    )


@dataclass(frozen=True)
class SoftPrompt:
    """A soft prompt of `n` virtual tokens for a backbone whose input rows are `d` wide.

    Two are equal if all their values and records are.

    Attributes:
        vectors: (n, d) float32, finite, in the space of the backbone's *input rows* (what the
            embedding module puts out, so after any embedding scale).
        provenance: where it comes from.
        origin: (n, d) float32, the prompt that tuning started from, if it is known.
        mixture: the words that the virtual tokens are mixed of, if it is a mixture prompt.

    Raises:
        ShapeError: not a finite 2-D tensor, or an origin of another shape.
    """

    vectors: Tensor
    provenance: Provenance
    origin: Tensor | None = field(default=None)
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", _checked("prompt", self.vectors))
        if self.mixture is not None and len(self.mixture.weights) != self.length:
            raise ShapeError(
                "mixture",
                expected=f"{self.length} rows, one per virtual token",
                got=str(len(self.mixture.weights)),
                fix="Give the mixture of this very prompt",
            )
        if self.origin is None:
            return
        object.__setattr__(self, "origin", _checked("origin", self.origin))
        if self.origin.shape != self.vectors.shape:
            raise ShapeError(
                "origin",
                expected=f"the prompt's shape {tuple(self.vectors.shape)}",
                got=str(tuple(self.origin.shape)),
                fix="Give the origin of this very prompt",
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SoftPrompt):
            return NotImplemented
        left, right = (
            [p.vectors, *([] if p.origin is None else [p.origin])] for p in (self, other)
        )
        return (
            (self.provenance, self.mixture) == (other.provenance, other.mixture)
            and len(left) == len(right)
            and all(map(torch.equal, left, right))
        )

    def __hash__(self) -> int:
        return hash(tuple(self.vectors[0].tolist()))

    def __repr__(self) -> str:
        made = self.provenance
        kind = "free" if self.mixture is None else "mixture"
        task = "" if made.task is None else f", task {made.task}"
        return (
            f"SoftPrompt({self.length} virtual tokens, {self.width} wide, {kind}, "
            f"of {made.backbone}{task})"
        )

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.vectors.shape[0]

    @property
    def width(self) -> int:
        """Width d of the input rows."""
        return self.vectors.shape[1]

    def with_provenance(self, **changes: Any) -> SoftPrompt:
        """A copy whose provenance differs in the given fields."""
        return replace(self, provenance=replace(self.provenance, **changes))


def _checked(name: str, value: Tensor) -> Tensor:
    if value.ndim != 2 or 0 in value.shape:
        raise ShapeError(
            name,
            expected="a tensor (n, d) with n, d >= 1",
            got=str(tuple(value.shape)),
            fix="Give one row per virtual token",
        )
    plain = value.detach().to(dtype=torch.float32, device="cpu")
    if not value.is_floating_point() or not bool(torch.isfinite(plain).all()):
        got = "values that are not finite" if value.is_floating_point() else str(value.dtype)
        raise ShapeError(
            name,
            expected="finite floating-point values (float32)",
            got=got,
            fix="Tune again with a lower learning rate, or restore the file",
        )
    return plain.contiguous().clone()
