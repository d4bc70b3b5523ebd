"""Vector folders come back bit for bit; damage gets one clear line."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from promptport.errors import FileFormatError, MismatchError, StorageError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_vector, save_prompt, save_vector
from promptport.vector import TaskPromptVector


@pytest.fixture
def vector():
    provenance = Provenance("m", "masked", fingerprint="f", task="a - 0.1*b", history=({"x": 1},))
    delta = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return TaskPromptVector(delta, provenance, {"a": 1, "b": -0.1})


def test_a_vector_comes_back_bit_for_bit(vector, tmp_path):
    save_vector(vector, tmp_path / "v")
    again = load_vector(tmp_path / "v")
    assert torch.equal(again.delta, vector.delta)
    assert again.coefficients == vector.coefficients
    assert again.provenance == vector.provenance
    assert sorted(f.name for f in (tmp_path / "v").iterdir()) == [
        "vector.json",
        "vector.safetensors",
    ]


def test_the_parts_come_back_and_older_files_have_none(vector, tmp_path):
    one, other = (
        TaskPromptVector(torch.full((1, 2), x), Provenance("m"), {"a": 1}) for x in (1.0, 2.0)
    )
    save_vector(one + other, tmp_path)
    again = load_vector(tmp_path)
    assert again.parts == (one + other).parts
    assert list((again - one).coefficients.values()) == [0, 1]
    record = json.loads((tmp_path / "vector.json").read_text())
    del record["parts"]
    (tmp_path / "vector.json").write_text(json.dumps(record))
    older = load_vector(tmp_path)
    assert older.coefficients == (one + other).coefficients
    assert (older - older).label == "0"
    assert (older - one).label != "0", "which of its parts is this one is not known"


def test_a_prompt_folder_gives_its_vector(tmp_path):
    prompt = SoftPrompt(torch.ones(2, 2), Provenance("m"), torch.zeros(2, 2))
    save_prompt(prompt, tmp_path / "p")
    found = load_vector(tmp_path / "p", "mine")
    assert found.delta.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert found.coefficients == {"mine": 1}
    save_prompt(SoftPrompt(torch.ones(2, 2), Provenance("m")), tmp_path / "q")
    with pytest.raises(MismatchError, match="expected an origin"):
        load_vector(tmp_path / "q")


def test_a_vector_beside_its_prompt_counts(vector, tmp_path):
    save_prompt(SoftPrompt(torch.ones(2, 2), Provenance("m")), tmp_path / "p")
    save_vector(vector, tmp_path / "p")
    assert load_vector(tmp_path / "p").length == 3


def test_missing_places(vector, tmp_path):
    with pytest.raises(StorageError, match=r"vector\.json .*got no such folder"):
        load_vector(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StorageError, match="got neither"):
        load_vector(tmp_path / "empty")
    save_vector(vector, tmp_path / "v")
    (tmp_path / "v" / "vector.safetensors").unlink()
    with pytest.raises(StorageError, match=r"vector\.safetensors"):
        load_vector(tmp_path / "v")
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file is in the way"):
        save_vector(vector, tmp_path / "file")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "expected schema 1 or older, got 2. Update promptport"),
        ({"schema": "1"}, "a field 'schema' with a whole number"),
        ({"coefficients": {"a": "1"}}, "a number per task"),
        ({"coefficients": {"a": float("nan")}}, "a number per task"),
        ({"coefficients": None}, "a number per task"),
        ({"coefficients": {"a": 2}}, "got other values, or other coefficients"),
        ({"checksum": None}, "got other values"),
        ({"parts": {"a": ["a", "a", 1], "b": ["b", "b", ""]}}, "three texts per task"),
        ({"parts": []}, "three texts per task"),
        ({"vector": None}, "a field 'vector' with an object"),
        ({"vector": {"backbone": "m", "colour": "red"}}, "got 'colour'"),
    ],
)
def test_changed_records_are_refused(vector, tmp_path, changes, message):
    save_vector(vector, tmp_path)
    record = json.loads((tmp_path / "vector.json").read_text())
    (tmp_path / "vector.json").write_text(json.dumps({**record, **changes}))
    with pytest.raises(FileFormatError, match=message) as error:
        load_vector(tmp_path)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"delta": torch.zeros(3, 4)}, "got other values"),
        ({"other": torch.zeros(3, 4)}, "expected the tensor 'delta' that was saved, got none"),
        ({"delta": torch.full((3, 4), torch.nan)}, "not finite"),
    ],
)
def test_changed_values_are_refused(vector, tmp_path, tensors, message):
    save_vector(vector, tmp_path)
    save_file(tensors, tmp_path / "vector.safetensors")
    with pytest.raises(FileFormatError, match=message):
        load_vector(tmp_path)


def test_a_truncated_file_is_refused(vector, tmp_path):
    save_vector(vector, tmp_path)
    file = tmp_path / "vector.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(FileFormatError, match="a damaged or truncated file"):
        load_vector(tmp_path)
