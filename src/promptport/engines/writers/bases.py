"""The model in the format of the engine."""

from __future__ import annotations

from promptport.backbone import find_checkpoint, read_header
from promptport.backbone.gguf import GgufHeader
from promptport.engines.material import Material
from promptport.errors import PromptPortError


def base_header(material: Material) -> GgufHeader:
    """The GGUF file of the model that the prompts belong to.

    Raises:
        PromptPortError: there is none.
    """
    path = material.base_file
    if path is None:
        raise PromptPortError(
            "--base",
            expected="the model as a GGUF file, since the prompt was tuned on another checkpoint",
            got=material.base,
            fix="Name the file: --base MODEL.gguf",
        )
    return read_header(path)


def hf_folder(material: Material) -> str:
    """Folder or Hub id of the model as transformers knows it.

    Raises:
        PromptPortError: the base is a GGUF file.
    """
    checkpoint = find_checkpoint(material.base)
    if checkpoint.gguf is not None:
        raise PromptPortError(
            "--base",
            expected="the model as a folder or Hub id, since the prompt was tuned on a GGUF file",
            got=material.base,
            fix="Name the folder of the same model: --base FOLDER",
        )
    return checkpoint.location
