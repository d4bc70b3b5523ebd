"""Whether things belong to one backbone: the one check of prompts, vectors and embedding tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn, Protocol

from promptport.errors import MismatchError
from promptport.provenance import Provenance
from promptport.space import EmbeddingSpace


class Made(Protocol):
    """A prompt or a vector: rows of a width, made on a backbone."""

    @property
    def provenance(self) -> Provenance:
        """Where it comes from."""

    @property
    def width(self) -> int:
        """Width of its rows."""


Thing = Made | Provenance | EmbeddingSpace


def check_same_backbone(
    left: Thing,
    right: Thing,
    *,
    name: str = "backbone",
    fix: str = "Task prompt vectors do not mix across backbones: tune both on the same one",
) -> None:
    """Refuse two things of different backbones.

    Fingerprints of the embedding tables decide where both are known. Else an embedding table is
    taken for that of the other thing, whatever the two are called, if the widths are the same; and
    of two things without table, name and revision decide.

    Args:
        left: a prompt, a vector, the provenance of one, or an embedding space.
        right: another.
        name: what is wrong, for the error.
        fix: what to do, for the error.

    Raises:
        MismatchError: they differ.
    """
    one, other = _Identity.of(left), _Identity.of(right)

    def refuse(expected: str, got: str) -> NoReturn:
        raise MismatchError(name, expected=expected, got=got, fix=fix)

    if None not in (one.width, other.width) and one.width != other.width:
        wanted = f"virtual tokens {other.width} wide ({other.backbone})"
        refuse(wanted, f"{one.width} ({one.backbone})")
    marks = one.fingerprint_beside(other), other.fingerprint_beside(one)
    if marks[0] is not None and marks[1] is not None:
        if marks[0] != marks[1]:
            wanted = f"the embedding matrix {marks[0][:12]} of {one.backbone}"
            refuse(wanted, f"{marks[1][:12]} ({other.backbone})")
        return
    if one.table is not None or other.table is not None:
        return
    revisions = {one.revision, other.revision} - {None}
    if one.backbone != other.backbone or len(revisions) > 1:
        refuse(one.name, other.name)


@dataclass(frozen=True)
class _Identity:
    """What is known of the backbone of a thing."""

    backbone: str
    revision: str | None
    width: int | None
    fingerprint: str | None
    table: EmbeddingSpace | None

    @classmethod
    def of(cls, thing: Thing) -> _Identity:
        if isinstance(thing, EmbeddingSpace):
            return cls(thing.backbone, thing.revision, thing.width, None, thing)
        made = thing if isinstance(thing, Provenance) else thing.provenance
        width = None if isinstance(thing, Provenance) else thing.width
        return cls(made.backbone, made.revision, width, made.fingerprint, None)

    def fingerprint_beside(self, other: _Identity) -> str | None:
        """The fingerprint, if it is known; that of a table is only worked out if it is needed."""
        if self.table is None:
            return self.fingerprint
        return self.table.fingerprint if other.fingerprint or other.table else None

    @property
    def name(self) -> str:
        return f"{self.backbone} (revision {self.revision})" if self.revision else self.backbone
