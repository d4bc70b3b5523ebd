"""Prompt caches for mlx-lm; where it is not installed, vectors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.backbone import find_checkpoint
from promptport.backbone.loading import load_config
from promptport.engines.material import Carried, Material
from promptport.engines.running import run_engine
from promptport.engines.writers.bases import hf_folder
from promptport.engines.writers.vectors import VECTORS, write_vectors
from promptport.errors import MissingPackageError
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
    settings = _settings(material)
    request = {
        "action": "make",
        "model": model,
        "model_config": settings,
        "vectors": str(target / VECTORS),
        "scale": material.space.scale,
        "prompts": prompts,
    }
    try:
        with stage("computing keys and values of the prompts"):
            made = run_engine("mlx", RUNNER, PACKAGES, material.python, request)
    except MissingPackageError:
        return {"vectors": VECTORS, "model_config": settings, "caches": []}
    caches = [cache_file(item) for item in material.items]
    return {
        **{"vectors": VECTORS, "model_config": settings},
        **{"caches": caches, "made_by": made["engine"]},
    }


def _settings(material: Material) -> dict[str, Any]:
    """What mlx-lm does not read off a config.json of transformers 5, and guesses wrong."""
    config = load_config(find_checkpoint(material.base, material.place.revision))
    told = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" not in told:
        return {}
    found: dict[str, Any] = {"rope_theta": told["rope_theta"]}
    if told.get("rope_type", "default") != "default":
        found["rope_scaling"] = dict(told)
    return found
