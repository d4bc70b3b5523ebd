"""Checkpoints that are quantised otherwise: their space is read, loading says what to install."""

from __future__ import annotations

import json
import shutil

import pytest
import transformers as hf

from promptport.backbone import Backbone, open_space
from promptport.backbone.quantised import quantisation_method, quantised_line
from promptport.errors import BackboneError

CONFIGS = {
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 32}, "optimum gptqmodel"),
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 32}, "gptqmodel accelerate"),
    "bitsandbytes": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "bitsandbytes accelerate",
    ),
}


@pytest.fixture(params=sorted(CONFIGS))
def quantised(request, model_folder, tmp_path):
    """(method, folder, what to install): an ordinary folder that calls itself quantised."""
    folder = shutil.copytree(model_folder("llama"), tmp_path / request.param)
    settings, packages = CONFIGS[request.param]
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": settings}))
    return request.param, folder, packages


def test_the_space_is_read(quantised, model_folder):
    _, folder, _ = quantised
    assert open_space(folder).fingerprint == open_space(model_folder("llama")).fingerprint


def test_loading_says_what_to_install(quantised):
    method, folder, packages = quantised
    with pytest.raises(BackboneError) as caught:
        Backbone.load(folder, device="cpu")
    text = str(caught.value)
    assert f"this one is quantised by {method}" in text
    assert f"pip install {packages}" in text
    assert "\n" not in text


def test_method_of_a_configuration():
    assert quantisation_method(hf.LlamaConfig()) is None
    config = hf.LlamaConfig(quantization_config=hf.GPTQConfig(bits=4))
    assert quantisation_method(config) == "gptq"


def test_errors_of_ordinary_models_stay_as_they_are():
    with pytest.raises(ValueError, match="^other$"), quantised_line("x", hf.LlamaConfig()):
        raise ValueError("other")
