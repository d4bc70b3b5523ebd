"""Backbones and tasks as benchmarks use them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import torch

from promptport.backbone import Backbone, silence_libraries
from promptport.distillation import DistillConfig
from promptport.tasks import Task
from promptport.tuning import TuneConfig
from promptport.zoo import ZOO_FOLDER


@cache
def backbone(name: str) -> Backbone:
    """An embedded backbone in float32 on the CPU, loaded once."""
    silence_libraries()
    torch.set_flush_denormal(True)
    return Backbone.load(name, device="cpu", dtype="float32")


@cache
def weights_of(*names: str) -> str:
    """First 8 digits of the sha256 of each backbone's weights, joined by "-"."""
    files = [(ZOO_FOLDER / name / "model.safetensors").read_bytes() for name in names]
    return "-".join(hashlib.sha256(content).hexdigest()[:8] for content in files)


def digest_of(config: TuneConfig | DistillConfig, *more: Any) -> str:
    """First 4 digits of the sha256 of what is not usual in these settings, and of JSON values."""
    usual = asdict(type(config)())
    settings = {k: v for k, v in asdict(config).items() if v != usual[k]}
    text = json.dumps([*more, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:4]


def limited(task: Task, rows: Mapping[str, int], words: int | None = None) -> Task:
    """The same task with a seeded sample of its rows, texts cut to their first words.

    Args:
        task: any task.
        rows: most rows of each split; other splits are left out.
        words: of every field; None for all.
    """
    parts = {}
    for split, most in rows.items():
        everything = task.load(split)
        order = np.random.default_rng(0).permutation(len(everything))[:most]
        chosen = [everything[i] for i in sorted(order)]
        if words is not None:
            chosen = [
                replace(row, fields={k: " ".join(v.split()[:words]) for k, v in row.fields.items()})
                for row in chosen
            ]
        parts[split] = tuple(chosen)
    return task.with_rows(**parts)
