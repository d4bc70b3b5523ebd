"""A checkpoint folder whose vocabulary holds the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.backbone import bake_tokens
from promptport.engines.material import Material
from promptport.engines.writers.rows import chat_prefix, token_names, weight_rows


def write(material: Material, target: Path) -> dict[str, Any]:
    """Write the checkpoint into a folder that is there, and number the tokens."""
    prefix = chat_prefix(material)
    made = bake_tokens(
        material.base,
        material.kind,
        target,
        weight_rows(material),
        token_names(material),
        revision=material.place.revision,
        chat_prefix=prefix,
    )
    material.numbered(made.ids)
    return {"dtype": made.dtype, "tied_head": made.tied, "chat_template": bool(prefix)}
