"""Where an engine finds what it is to run."""

from __future__ import annotations

from typing import Any

from promptport.backbone import find_checkpoint
from promptport.engines.exporting import Export
from promptport.engines.writers.mlx import cache_file


def engine_places(export: Export) -> dict[str, Any]:
    """Files and folders of an export, by the names that runners know.

    `target` is what was written; `model` is what the engine loads.
    """
    material, place = export.material, export.place
    base = find_checkpoint(material.base)
    model = base.location if base.gguf is None else str(base.gguf)
    if export.engine.is_file:
        model = str(place)
    found: dict[str, Any] = {"target": str(place), "model": model, "slots": f"{place}/"}
    names = [item.name for item in material.items]
    if export.engine.name == "llama.cpp-embd":
        found["vectors"] = {name: str(place / f"{name}.npy") for name in names}
    if export.engine.name == "mlx":
        found["model_config"] = export.manifest["model_config"]
        found["caches"] = {item.name: str(place / cache_file(item)) for item in material.items}
    return found
