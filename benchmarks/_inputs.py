"""Backbones and tasks as benchmarks use them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from promptport.backbone import Backbone, silence_libraries
from promptport.distillation import DistillConfig
from promptport.tasks.limiting import limited
from promptport.tuning import TuneConfig
from promptport.zoo import ZOO_FOLDER

__all__ = ["backbone", "digest_of", "limited", "weights_of"]


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
