"""KV slot files that a llama-server restores, made by that server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.engines.material import Material, slot_file
from promptport.engines.running import run_engine
from promptport.engines.writers import gguf
from promptport.engines.writers.bases import base_header
from promptport.progress import stage
from promptport.scratch import scratch_folder

RUNNER, PACKAGES = "run_llama_server", "xllamacpp numpy"
_CONTEXT = 512


def write(material: Material, target: Path) -> dict[str, Any]:
    """Let the server compute the prompts, as tokens of a larger vocabulary, and keep its slot.

    The keys and values are those of the vectors, whatever token they had. The file names the tokens
    that it holds: placeholders of the base model, which requests begin with.
    """
    header = base_header(material)
    rows = header.embedding.shape[0]
    with scratch_folder(target.parent, "slot") as scratch:
        baked = scratch / "baked.gguf"
        gguf.write(material, baked)
        longest = max(item.prompt.length for item in material.items)
        ids = [list(item.ids) for item in material.items]
        others = [_placeholders(i, len(own), rows) for i, own in enumerate(ids)]
        files = [slot_file(item) for item in material.items]
        prompts = [
            {"ids": own, "placeholders": other, "file": file}
            for own, other, file in zip(ids, others, files, strict=True)
        ]
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
    material.numbered([i for other in others for i in other])
    return {"slots": files, "made_by": made["engine"]}


def _placeholders(place: int, length: int, rows: int) -> list[int]:
    """Ids for a prompt that begin unlike those of any other: the last of the vocabulary first."""
    return [rows - 1 - place, *(rows - 1 - i % 16 for i in range(1, length))]
