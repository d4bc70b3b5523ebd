"""Provenance: where a soft prompt comes from, as its files say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from promptport.errors import FileFormatError

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
        templates: of prompts of several tasks that were put together: task -> template.
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
    templates: dict[str, str] | None = None

    @property
    def known_templates(self) -> tuple[str, ...]:
        """Its template, or those of all its tasks."""
        given = (self.template, *(self.templates or {}).values())
        return tuple(dict.fromkeys(text for text in given if text))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {**asdict(self), "history": list(self.history)}
        for name in ("file", "templates"):  # most have none
            if values[name] is None:
                del values[name]
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
    "templates": dict,
    "history": (list, tuple),
}


def _check_type(name: str, value: Any, where: str) -> None:
    wanted = _TYPES.get(name, str)
    if (value is None and name != "backbone") or isinstance(value, wanted):
        if name == "templates" and isinstance(value, dict):
            for task, template in value.items():
                _check_type(f"template of {task!r}", template or 0, where)
        return
    label = wanted.__name__ if isinstance(wanted, type) else "list"
    raise FileFormatError(
        f"{where}, field {name!r}",
        expected=label,
        got=type(value).__name__,
        fix="Restore the file from its source",
    )
