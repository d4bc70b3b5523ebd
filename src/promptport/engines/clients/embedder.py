"""Rows of soft prompts and texts as a model's first layer is fed, from its embedding table alone.

Needs torch, safetensors and transformers; no promptport, and no weights of the model but the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoTokenizer

HERE = Path(__file__).parent


class Embedder:
    """Rows of prompts and texts as the model's first layer is fed.

    Args:
        model: folder or Hub id.
        folder: of the export.
    """

    def __init__(self, model: str, folder: Path = HERE) -> None:
        self.model = model
        self.facts = json.loads((folder / "promptport-export.json").read_text())
        self.prompts = {told["name"]: told for told in self.facts["prompts"]}
        self.vectors = load_file(folder / self.facts["vectors"])
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.table = _read_table(model, self.facts["table"])

    @property
    def names(self) -> list[str]:
        """The prompts."""
        return list(self.prompts)

    def row(self, name: str, fields: Mapping[str, str]) -> torch.Tensor:
        """The row (T, d) of a prompt with texts by field, in float32."""
        parts: list[Any] = []
        for part in self.prompts[name]["row"]:
            if "text" in part:
                # literal, field, literal, ... in turn
                text = "".join(fields[p] if i % 2 else p for i, p in enumerate(part["text"]))
                parts.append(self.tokenizer(text, add_special_tokens=False)["input_ids"])
            else:
                parts.append(slice(*part["virtual_tokens"]) if "ids" not in part else part["ids"])
        return self.rows(parts, name)

    def rows(self, parts: list[Any], name: str) -> torch.Tensor:
        """Ids and slices of a prompt's virtual tokens as a row (T, d)."""
        scale = self.facts["scale"]
        made = [
            self.vectors[name][part]
            if isinstance(part, slice)
            else self.table[torch.tensor(part, dtype=torch.long)].float() * scale
            for part in parts
        ]
        return torch.cat(made).clone()  # a view would take its whole storage along


def _read_table(model: str, keys: list[str]) -> torch.Tensor:
    """The embedding table of a folder or Hub id; no other tensor is read."""
    from huggingface_hub import hf_hub_download

    def file(name: str) -> Path:
        place = Path(model) / name
        return place if Path(model).is_dir() else Path(hf_hub_download(model, name))

    return _tensor(*_place(file, keys))


def _place(file: Callable[[str], Path], keys: list[str]) -> tuple[Path, list[str]]:
    """The file that holds the table: one of several, if there is an index of them."""
    single = "model.safetensors"
    try:
        shards = json.loads(file(f"{single}.index.json").read_text())["weight_map"]
    except OSError:  # no index, here or on the Hub
        return file(single), keys
    return file(next(shards[key] for key in keys if key in shards)), keys


def _tensor(path: Path, keys: list[str]) -> torch.Tensor:
    with safe_open(path, framework="pt") as tensors:
        there = set(tensors.keys())
        return tensors.get_tensor(next(key for key in keys if key in there))
