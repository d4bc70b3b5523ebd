"""Formats that a prompt can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptport.prompt import SoftPrompt
from promptport.registry import unknown_name
from promptport.space import EmbeddingSpace
from promptport.storage import save_portable
from promptport.transfers import encode_prompt

Writer = Callable[[SoftPrompt, EmbeddingSpace, Path, Sequence[str] | None], dict[str, Any]]


@dataclass(frozen=True)
class ExportFormat:
    """A format.

    Attributes:
        name: as a user writes it.
        summary: one line, without a full stop.
        mark: bytes that every file of this format holds.
        write: (prompt, space of its backbone, file, words or None) -> what was written, as plain
            JSON values.
    """

    name: str
    summary: str
    mark: bytes
    write: Writer


def find_format(name: str) -> ExportFormat:
    """A format by name.

    Raises:
        UnknownNameError: none is called so.
    """
    if name not in EXPORT_FORMATS:
        raise unknown_name("--format", name, EXPORT_FORMATS)
    return EXPORT_FORMATS[name]


def _write_portable(
    prompt: SoftPrompt, space: EmbeddingSpace, file: Path, words: Sequence[str] | None
) -> dict[str, Any]:
    portable = encode_prompt(prompt, space, words)
    save_portable(portable, file)
    return {
        "source": portable.provenance.backbone,
        "task": portable.provenance.task,
        "template": portable.provenance.template,
        "length": portable.length,
        "words": len(portable.words),
        "mixture_words": None if portable.mixture is None else len(portable.mixture.words),
        "relative_norms": portable.norms.tolist(),
        "bytes": file.stat().st_size,
    }


EXPORT_FORMATS = {
    entry.name: entry
    for entry in (
        ExportFormat(
            "portable",
            "the prompt told by words: any model can read it, without the source model",
            b'"promptport":"{',
            _write_portable,
        ),
    )
}
