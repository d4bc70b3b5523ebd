"""What prompts remember of the file of their backbone."""

from __future__ import annotations

from pathlib import Path

from promptport.backbone.gguf.header import read_header
from promptport.backbone.gguf.identity import file_hash


def file_facts(path: Path) -> dict[str, str]:
    """Name, SHA-256 and quantisation of a GGUF file.

    Raises:
        PromptPortError: it cannot be read.
    """
    header = read_header(path)
    types = ", ".join(f"{count} {name}" for name, count in header.types.items())
    return {
        "format": "gguf",
        "name": path.name,
        "sha256": file_hash(path),
        "quantisation": header.quantisation,
        "tensor_types": types,
    }
