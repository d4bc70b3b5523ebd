"""Attention prompts from their folder: what `storage.attention_folder` reads, on a backbone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptport.backbone import Backbone
from promptport.evaluation import choose_template
from promptport.prompt import SoftPrompt
from promptport.storage.attention_folder import read_attention
from promptport.tasks import Task
from promptport.tuning.attention import AttentionPrompts


def load_attention(folder: str | Path, backbone: Backbone, task: Task) -> AttentionPrompts:
    """Read an attention folder.

    Args:
        folder: of `save_attention`.
        backbone: the frozen model that it was tuned on.
        task: to be asked; in the recorded template if that suits it.

    Raises:
        StorageError: there is none, or it cannot be read.
        FileFormatError: a damaged or foreign file, or a newer schema.
        MismatchError: another backbone.
    """
    provenance, tensors, numbers = read_attention(folder)
    prompt = SoftPrompt(tensors["target"], provenance)
    backbone.check_prompt(prompt)
    asked = task.with_template(choose_template(task, prompt).text)
    parts: dict[str, Any] = {name: tensor.to(backbone.device) for name, tensor in tensors.items()}
    return AttentionPrompts(backbone, asked, **parts, **numbers)
