"""Rows of prompts as engines take them."""

from __future__ import annotations

import torch
from torch import Tensor

from promptport.engines.material import Material


def input_rows(material: Material) -> Tensor:
    """(N, d) float32 rows of all prompts, one after the other, as the first layer is fed."""
    return torch.cat([item.prompt.vectors for item in material.items])


def weight_rows(material: Material) -> Tensor:
    """The same as rows of an embedding table, which the model scales by itself (Gemma, BART)."""
    return input_rows(material) / material.space.scale


def token_names(material: Material) -> list[str]:
    """Names of the tokens of all prompts, in the same order."""
    return [name for item in material.items for name in item.tokens]


def chat_prefix(material: Material) -> str:
    """What a chat template must write in front: the tokens of the one prompt, if it leads a chat.

    A template knows one beginning, so with several prompts it stays as it is.
    """
    item = material.items[0]
    leads = len(material.items) == 1 and item.template.has_chat and item.in_front
    return "".join(item.tokens) if leads else ""
