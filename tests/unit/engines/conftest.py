"""Prompts to export, and engines that run within this process."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch

from promptport.engines import running
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt

N = 3
FRONT = "{soft} {text} It was {answer} ."
BEHIND = "{text} {soft} It was {answer} ."


@pytest.fixture
def saved(tmp_path):
    """Factory: folder of a random prompt of a backbone."""

    def make(model, name="P", *, template=FRONT, task=None, length=N):
        space = model.space
        generator = torch.Generator().manual_seed(len(name))
        vectors = torch.randn(length, space.width, generator=generator)
        vectors = (vectors * space.statistics.std).half().float()  # exact in any checkpoint
        made = Provenance(
            model.name,
            model.kind,
            fingerprint=space.fingerprint,
            template=template,
            task=task,
            file=space.file_record,
        )
        save_prompt(SoftPrompt(vectors, made), tmp_path / name)
        return tmp_path / name

    return make


@pytest.fixture
def here(monkeypatch):
    """Runners run in this process: no interpreter has to start."""
    monkeypatch.syspath_prepend(str(Path(running.__file__).parent / "runners"))

    def run(_name, runner, _packages, _python, request):
        return importlib.import_module(runner).run(dict(request))

    for user in ("checking", "writers.llama_slot", "writers.mlx"):
        module = importlib.import_module(f"promptport.engines.{user}")
        monkeypatch.setattr(module, "run_engine", run)
    return run
