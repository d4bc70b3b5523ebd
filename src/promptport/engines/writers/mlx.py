"""Prompt caches for mlx-lm; where it is not installed, vectors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.engines.material import Carried, Material
from promptport.engines.running import run_engine
from promptport.engines.writers.bases import hf_folder
from promptport.engines.writers.vectors import VECTORS, write_vectors
from promptport.errors import PromptPortError
from promptport.progress import stage

RUNNER, PACKAGES = "run_mlx", "mlx-lm"


def cache_file(item: Carried) -> str:
    """Name of a prompt's cache."""
    return f"{item.name}.cache.safetensors"


def write(material: Material, target: Path) -> dict[str, Any]:
    """Vectors, and the keys and values of the prompts if mlx-lm is there to compute them."""
    model = hf_folder(material)
    write_vectors(material, target)
    prompts = [
        {
            "name": item.name,
            "file": str(target / cache_file(item)),
            "facts": {"virtual_tokens": str(item.prompt.length)},
        }
        for item in material.items
    ]
    request = {
        "action": "make",
        "model": model,
        "vectors": str(target / VECTORS),
        "scale": material.space.scale,
        "prompts": prompts,
    }
    try:
        with stage("computing keys and values of the prompts"):
            made = run_engine("mlx", RUNNER, PACKAGES, material.python, request)
    except PromptPortError as error:
        if "pip install" not in str(error):
            raise
        return {"vectors": VECTORS, "caches": []}
    caches = [cache_file(item) for item in material.items]
    return {"vectors": VECTORS, "caches": caches, "made_by": made["engine"]}
