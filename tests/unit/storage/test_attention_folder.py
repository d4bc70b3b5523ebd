"""Attention folders: written and read to the bit, refused where damaged."""

from __future__ import annotations

import json

import pytest
import torch

from promptport.errors import FileFormatError, MismatchError, StorageError
from promptport.files import read_tensors, tensor_bytes
from promptport.parameters import OriginSpec
from promptport.storage import load_prompt, save_prompt
from promptport.storage.attention_folder import attention_provenance, save_attention
from promptport.tasks import Template
from promptport.tuning import TuneConfig, TuneJob, load_attention, random_prompt, tune_attention


@pytest.fixture
def tuned(backbone, films):
    model = backbone("bert")
    job = TuneJob(
        films, OriginSpec("vocabulary", 1), 2, template=Template.parse("{text} {soft} {answer} .")
    )
    config = TuneConfig(epochs=2, batch_size=6, truncate=True)
    sources = [random_prompt(model, 2, seed) for seed in (5, 6)]
    return tune_attention(model, job, sources, config, inner=4, temperature=3.0)


@pytest.fixture
def folder(tuned, tmp_path):
    return save_attention(tuned, tmp_path / "found")


def test_what_is_read_answers_as_what_was_written(tuned, folder, films) -> None:
    read = load_attention(folder, tuned.backbone, films)
    for name in ("sources", "target", "down", "up", "gain"):
        assert torch.equal(getattr(read, name), getattr(tuned, name))
    assert (read.temperature, read.truncate) == (3.0, True)
    assert read.task.template.text == "{text} {soft} {answer} ."
    assert read.evaluate() == tuned.evaluate()
    assert read.evaluate(rows=2).score.rows == 2
    made = attention_provenance(folder)
    assert (made.backbone, made.task) == (tuned.backbone.name, "films")
    assert made.tuning == {"way": "attention"}


def test_it_takes_the_place_of_a_prompt(tuned, folder) -> None:
    save_prompt(tuned.averaged(), folder)
    (folder / "notes.txt").write_text("mine")
    save_attention(tuned, folder)
    with pytest.raises(StorageError, match="adapter_config.json"):
        load_prompt(folder)
    assert {f.name for f in folder.iterdir()} == {
        "attention.json",
        "attention.safetensors",
        "notes.txt",
    }


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("schema", 2, "schema 1 or older, got 2"),
        ("schema", "1", "a whole number"),
        ("prompt", None, "'prompt' with an object"),
        ("temperature", 0.0, "a number above 0"),
        ("temperature", 2.0, "that were saved"),
        ("truncate", False, "that were saved"),
    ],
)
def test_a_damaged_record(tuned, folder, films, field, value, message) -> None:
    place = folder / "attention.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), field: value}))
    with pytest.raises(FileFormatError, match=message):
        load_attention(folder, tuned.backbone, films)


def test_damaged_tensors(tuned, folder, films) -> None:
    place = folder / "attention.safetensors"
    tensors = read_tensors(place)
    for damaged in ({**tensors, "up": tensors["up"] + 1}, {"up": tensors["up"]}):
        place.write_bytes(tensor_bytes(damaged))
        with pytest.raises(FileFormatError, match="tensors and numbers that were saved"):
            load_attention(folder, tuned.backbone, films)


def test_of_another_backbone_or_nowhere(backbone, folder, films, tmp_path) -> None:
    with pytest.raises(MismatchError):
        load_attention(folder, backbone("roberta"), films)
    with pytest.raises(StorageError, match="expected an attention folder, got no such file"):
        load_attention(tmp_path, backbone("bert"), films)
