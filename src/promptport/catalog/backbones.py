"""Which models the prompts of a library belong to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Identity:
    """What is known of the backbone of a prompt.

    Attributes:
        backbone: its name, as it is recorded.
        revision: of it; None if nobody knows, like what follows.
        fingerprint: of its embedding matrix.
        width: of its input rows.
    """

    backbone: str
    revision: str | None
    fingerprint: str | None
    width: int | None

    def is_same(self, other: Identity) -> bool:
        """Whether both are one backbone, by the rule of `belonging.check_same_backbone`."""
        if None not in (self.width, other.width) and self.width != other.width:
            return False
        if self.fingerprint is not None and other.fingerprint is not None:
            return self.fingerprint == other.fingerprint
        revisions = {self.revision, other.revision} - {None}
        return self.backbone == other.backbone and len(revisions) < 2


def grouped(prompts: Iterable[tuple[str, Identity]]) -> dict[str, tuple[str, ...]]:
    """The models that prompts belong to: name -> names of their prompts.

    Args:
        prompts: name of the prompt, and its model.
    """
    groups: list[tuple[Identity, list[str]]] = []
    known: dict[Identity, list[str]] = {}  # most prompts of a library say the same
    for name, identity in prompts:
        own = known.get(identity)
        if own is None:
            alike = (names for first, names in groups if first.is_same(identity))
            own = next(alike, None)
            if own is None:
                own = []
                groups.append((identity, own))
            known[identity] = own
        own.append(name)
    named: dict[str, tuple[str, ...]] = {}
    for first, names in groups:
        label = first.backbone
        if label in named:  # another revision, or other weights in the same place
            mark = first.revision or (first.fingerprint or "")[:12] or len(named)
            label += f" ({mark})"
        named[label] = tuple(names)
    return named
