"""Shared fixtures: tiny random backbones of every architecture, and toy tasks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What is compared to the last digits must not depend on the processor; processes of tests too.
os.environ.setdefault("PROMPTPORT_DTYPE", "float32")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from promptport.backbone import Backbone, silence_libraries
from promptport.tasks import MemorySource, Row, Task, Template
from tests.models import ARCHITECTURES, save_model

torch.set_num_threads(1)
silence_libraries()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests leave the user's cache alone."""
    os.environ["PROMPTPORT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny random model by architecture name, made once."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = save_model(name, tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.fixture(scope="session")
def backbone(model_folder: Callable[[str], Path]) -> Callable[[str], Backbone]:
    """A tiny random backbone by architecture name, loaded once."""
    loaded: dict[str, Backbone] = {}

    def get(name: str) -> Backbone:
        if name not in loaded:
            loaded[name] = Backbone.load(str(model_folder(name)), dtype="float32", device="cpu")
        return loaded[name]

    return get


@pytest.fixture(params=sorted(ARCHITECTURES))
def any_backbone(request: pytest.FixtureRequest, backbone: Callable[[str], Backbone]) -> Backbone:
    """Every architecture in turn."""
    return backbone(request.param)


CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Poland": "Warsaw",
    "Greece": "Athens",
}


@pytest.fixture(scope="session")
def capitals() -> Task:
    """A probe whose six rows serve as train, dev and test."""
    rows = tuple(Row({"subject": s}, o) for s, o in CAPITALS.items())
    return Task(
        name="capitals",
        kind="probe",
        template=Template.parse("{subject} {soft} {answer} ."),
        metric="p@1",
        manual=Template.parse("The capital of {subject} is {answer} ."),
        source=MemorySource({"train": rows, "dev": rows, "test": rows}),
    )


@pytest.fixture(scope="session")
def films() -> Task:
    """A sentiment task with several and multi-token label words."""
    texts = [
        ("a great film", "good"),
        ("a terrible film", "bad"),
        ("a good story", "good"),
        ("a bad story", "bad"),
        ("the old film was great", "good"),
        ("sad and short", "bad"),
    ]
    rows = tuple(Row({"text": t}, label) for t, label in texts)
    return Task(
        name="films",
        kind="classification",
        template=Template.parse("{soft} {text} It was {answer} ."),
        metric="accuracy",
        manual=Template.parse("{text} It was {answer} ."),
        labels={"good": ("great", "good"), "bad": ("terrible", "unhappy")},
        source=MemorySource({"train": rows, "dev": rows, "test": rows}),
    )


@pytest.fixture
def run_cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Run a command line in this process: (exit code, standard output, standard error).

    Nobody looks at its progress, so that a slow machine sees the same lines as a fast one.
    """
    monkeypatch.setattr("promptport.cli.console.progress.Watcher.start", lambda watcher: None)

    def run(*arguments: object) -> tuple[int, str, str]:
        from promptport.cli import main

        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return int(stop.value.code or 0), out, err

    return run
