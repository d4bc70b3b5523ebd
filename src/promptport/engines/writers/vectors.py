"""Vectors beside a model, for engines that are fed input rows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from promptport.backbone import table_names
from promptport.engines.material import Material
from promptport.engines.writers.bases import base_header, hf_folder
from promptport.files import tensor_bytes

VECTORS = "vectors.safetensors"
CLIENTS = Path(__file__).parent.parent / "clients"


def write_llama(material: Material, target: Path) -> dict[str, Any]:
    """One .npy for each prompt; llama.cpp scales tokens alone, so these rows are scaled."""
    base_header(material)
    for item in material.items:
        np.save(target / f"{item.name}.npy", item.prompt.vectors.numpy())
    return {"vectors": [f"{item.name}.npy" for item in material.items]}


def write_vllm(material: Material, target: Path) -> dict[str, Any]:
    """Vectors and a client that embeds the text from the table alone."""
    return _with_client(material, target, "vllm_client.py")


def write_sglang(material: Material, target: Path) -> dict[str, Any]:
    """The same for SGLang, which takes lists of numbers."""
    return _with_client(material, target, "sglang_client.py")


def write_vectors(material: Material, target: Path) -> None:
    """`vectors.safetensors`: one tensor (n, d) float32 for each prompt, by its name."""
    tensors = {item.name: item.prompt.vectors for item in material.items}
    (target / VECTORS).write_bytes(tensor_bytes(tensors))


def _with_client(material: Material, target: Path, client: str) -> dict[str, Any]:
    hf_folder(material)
    write_vectors(material, target)
    shutil.copyfile(CLIENTS / "embedder.py", target / "embedder.py")
    shutil.copyfile(CLIENTS / client, target / "client.py")
    tables = list(table_names(material.base, material.place.revision))
    return {"vectors": VECTORS, "table": tables, "scale": material.space.scale}
