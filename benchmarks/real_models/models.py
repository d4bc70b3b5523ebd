"""The pretrained models of the laboratory: where they lie, how they are opened.

`promptport.experiments.pretrained` knows what carries them, and `fetch` gets them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from promptport.backbone import Backbone, silence_libraries
from promptport.errors import BackboneError
from promptport.experiments.pretrained import models_folder, pretrained

FETCH = "python -m benchmarks.real_models.fetch"


def model_path(name: str, folder: Path) -> Path:
    """The model folder NAME, or the file NAME.gguf, in a folder of models.

    Raises:
        UnknownNameError: no model has this name.
        BackboneError: it is not there.
    """
    pretrained(name)
    for path in (folder / name, folder / f"{name}.gguf"):
        if (path / "config.json").is_file() or path.is_file():
            return path
    raise missing_models([name], folder)


def missing_models(names: Sequence[str], folder: Path) -> BackboneError:
    """The line that says which models are missing, with the command that gets them."""
    out = "" if folder == models_folder() else f" --out {folder}"
    return BackboneError(
        str(folder),
        expected=f"the models {', '.join(names)}",
        got="none of these files",
        fix=f"Run {FETCH} {' '.join(names)}{out}",
    )


def open_model(name: str, folder: Path) -> Backbone:
    """A model of a folder of models, loaded.

    Raises:
        BackboneError: it is not there, or cannot be opened.
    """
    silence_libraries()
    return Backbone.load(model_path(name, folder))
