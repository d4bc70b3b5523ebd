"""Broken files and texts give the right answer or one clear line; what was found stays found."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("fastapi")  # readers of requests
pytest.importorskip("gguf")

from benchmarks.trust.fuzz import fuzz
from benchmarks.trust.readers import make_seeds, readers

from promptport.backbone import open_space
from promptport.errors import PromptPortError
from promptport.storage import load_prompt, load_vector, prompt_of_tensor
from promptport.tasks import import_task

SECONDS = 3.0  # for each reader: a minute in all


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    place = tmp_path_factory.mktemp("fuzz") / "seeds"
    make_seeds(place)
    return place


@pytest.mark.long
def test_every_seed_is_read(seeds) -> None:
    own = [reader for reader in readers(seeds) if reader.read is not None]
    assert len(own) == 14
    for reader in own:
        reader.read(seeds)


@pytest.mark.slow
def test_no_reader_fails_on_broken_input(seeds) -> None:
    inputs = 0
    for reader in readers(seeds):
        found = fuzz(reader, seeds, 10_000, seed=1, seconds=SECONDS)
        assert found["faults"] == {}, f"{reader.name}: {found['faults']}"
        inputs += sum(found["counts"].values())
    assert inputs > 1000


@pytest.fixture
def place(seeds, tmp_path):
    shutil.copytree(seeds, tmp_path / "seeds")
    return tmp_path / "seeds"


def test_submodules_that_are_no_number(place) -> None:
    file = place / "peft" / "adapter_config.json"
    config = json.loads(file.read_text()) | {"num_transformer_submodules": "two"}
    file.write_text(json.dumps(config))
    with pytest.raises(PromptPortError, match="num_transformer_submodules 1 or 2, got 'two'"):
        load_prompt(place / "peft")


@pytest.mark.long
def test_an_array_whose_header_is_no_python(place) -> None:
    file = place / "tensor" / "p.npy"
    data = file.read_bytes()
    file.write_bytes(data[:10] + b"{'descr': (\x00" + data[22:])
    with pytest.raises(PromptPortError, match="expected a whole NumPy array"):
        prompt_of_tensor(file, open_space("nano-gpt2"))
    assert data[:6] == np.lib.format.MAGIC_PREFIX


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("tokenizer.json", "truncation", "\x00"),
        ("tokenizer_config.json", "unk_token", 1.5),
        ("config.json", "summary_first_dropout", [None]),
    ],
)
def test_a_checkpoint_whose_parts_raise_what_they_like(place, file, key, value) -> None:
    path = place / "model" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(PromptPortError, match="expected a model that can be loaded") as caught:
        open_space(str(place / "model"))
    assert "\n" not in str(caught.value)


def test_a_table_with_other_delimiters_in_another_encoding(place) -> None:
    table = place / "task" / "rows.csv"
    lines = ["text;label", *(f"Ein Film {i} \xe4;good" for i in range(8))]
    table.write_bytes("\n".join(lines).encode("latin-1"))
    with pytest.raises(PromptPortError, match="expected text in UTF-8, got byte 0xe4"):
        import_task(table, place / "made-of-latin-1")


def test_a_coefficient_of_hundreds_of_digits(place) -> None:
    file = place / "vector" / "vector.json"
    record = json.loads(file.read_text())
    record["coefficients"] = dict.fromkeys(record["coefficients"], 10**400)
    file.write_text(json.dumps(record))
    with pytest.raises(PromptPortError, match="finite number"):
        load_vector(place / "vector")
