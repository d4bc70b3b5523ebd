"""A GGUF file whose vocabulary holds the prompts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.backbone import append_tokens
from promptport.engines.material import Material
from promptport.engines.writers.bases import base_header
from promptport.engines.writers.rows import token_names, weight_rows
from promptport.progress import stage


def write(material: Material, target: Path) -> dict[str, Any]:
    """Write the file, and number the tokens."""
    header = base_header(material)
    with stage(f"writing {target.name}"):
        made = append_tokens(header, target, weight_rows(material), token_names(material))
    material.numbered(made.first_id)
    return {"table": made.table_type, "table_kept": made.kept_type, "own_head": made.head}
