"""A cell: one measurement of a recipe, and its name on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from promptport.records import digest


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes:
        kind: what is measured, a name of `promptport.recipes.kinds`.
        place: key -> value, those of its kind.
        settings: all other settings that its values depend on.
    """

    kind: str
    place: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of what it is: kind, place and settings."""
        return digest(self.kind, self.place, self.settings)

    def __str__(self) -> str:
        told = " ".join(_shown(value) for value in self.place.values())
        return f"{self.kind} {told}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"id": self.id, "kind": self.kind, "place": dict(self.place)}


def _shown(value: Any) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
