"""KV slot files that a llama-server restores, made by that server."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from promptport.engines.material import Carried, Material
from promptport.engines.running import run_engine
from promptport.engines.writers import gguf
from promptport.engines.writers.gguf import base_header
from promptport.progress import stage

RUNNER, PACKAGES = "run_llama_server", "xllamacpp numpy"
_CONTEXT = 512


def slot_file(item: Carried) -> str:
    """Name of a prompt's slot file."""
    return f"{item.name}.slot"


def write(material: Material, target: Path) -> dict[str, Any]:
    """Let the server compute the prompts, as tokens of a larger vocabulary, and keep its slot.

    The keys and values are those of the vectors, whatever token they had. The file names the tokens
    that it holds: placeholders of the base model, which requests begin with.
    """
    header = base_header(material)
    rows = header.embedding.shape[0]
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".slot-") as scratch:
        baked = Path(scratch) / "baked.gguf"
        gguf.write(material, baked)
        longest = max(item.prompt.length for item in material.items)
        prompts = []
        for place, item in enumerate(material.items):
            ids = _placeholders(place, item.prompt.length, rows)
            prompts.append(
                {"ids": list(item.ids), "placeholders": ids, "file": slot_file(item)}
            )
        request = {
            "action": "make",
            "model": str(baked),
            "slots": f"{target}/",
            "context": max(_CONTEXT, 2 * longest),
            "prompts": prompts,
            "barred": [],
        }
        with stage("computing keys and values of the prompts"):
            made = run_engine("llama.cpp-slot", RUNNER, PACKAGES, material.python, request)
    material.numbered([i for prompt in prompts for i in prompt["placeholders"]])
    return {"slots": [prompt["file"] for prompt in prompts], "made_by": made["engine"]}


def _placeholders(place: int, length: int, rows: int) -> list[int]:
    """Ids for a prompt that begin unlike those of any other: the last of the vocabulary first."""
    return [rows - 1 - place, *(rows - 1 - i % 16 for i in range(1, length))]
