"""Names, manifests and what engines cannot do."""

from __future__ import annotations

import base64
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.tiny_gguf import write_llama
from tests.unit.engines.conftest import BEHIND, FRONT

from promptport.backbone import Backbone
from promptport.engines import ENGINES, export_prompts, find_engine
from promptport.engines.exporting import MANIFEST
from promptport.engines.material import filled, joined
from promptport.engines.running import run_engine
from promptport.errors import MismatchError, PromptPortError, UnknownNameError
from promptport.files import read_tensors
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Template

PYTHON = Path(sys.executable)


def exported(engine, folders, out, **options):
    return export_prompts(folders, find_engine(engine), out, python=PYTHON, **options)


def test_rows_as_parts():
    text = ("", "a", " and ", "b", " {a}")
    line = (None, None, 5, 6, text, None, 7)
    assert joined(line, (90, 91, 92)) == [[90, 91, 5, 6], text, [92, 7]]
    parts = joined(line, ())
    assert parts == [slice(0, 2), [5, 6], text, slice(2, 3), [7]]
    row = filled(parts, {"a": "see {b}", "b": "{a}"}, lambda text: [text])
    assert row == [slice(0, 2), 5, 6, "see {b} and {a} {a}", slice(2, 3), 7]


def test_the_manifest(backbone, saved, tmp_path, films):
    model = backbone("gpt2")
    folder = saved(model, template=BEHIND, task="films")
    made = exported("hf", [folder], tmp_path / "H", tasks={folder: films})
    manifest = json.loads((tmp_path / "H" / MANIFEST).read_text())
    assert manifest == made.manifest
    assert manifest["engine"] == "hf"
    assert manifest["fingerprint"] == model.space.fingerprint
    assert str(tmp_path) not in json.dumps(manifest)
    assert str(tmp_path) not in (tmp_path / "H" / "README.md").read_text()
    assert str(tmp_path) not in (tmp_path / "H" / "config.json").read_text()
    (told,) = manifest["prompts"]
    assert told["name"] == "films"
    assert told["tokens"] == ["<|films-0|>", "<|films-1|>", "<|films-2|>"]
    assert told["labels"] == {"good": ["great", "good"], "bad": ["terrible", "unhappy"]}
    assert told["label_ids"]["great"] == list(model.layout.answer_ids(["great"])[0])
    assert [next(iter(part)) for part in told["row"]] == ["text", "ids"]


def test_a_prompt_of_several_tasks_stands_where_each_was_tuned(backbone, saved, tmp_path, films):
    folder = saved(backbone("gpt2"), template=None)
    both = load_prompt(folder).with_provenance(templates={"other": FRONT, "films": BEHIND})
    save_prompt(both, tmp_path / "both")
    made = exported("hf", [tmp_path / "both"], tmp_path / "H", tasks={tmp_path / "both": films})
    (told,) = made.manifest["prompts"]
    assert (told["template"], told["task"]) == (BEHIND, "films")
    (told,) = exported("hf", [tmp_path / "both"], tmp_path / "I").manifest["prompts"]
    assert told["template"] == FRONT  # of the first
    unknown = {tmp_path / "both": replace(films, name="x")}
    with pytest.raises(PromptPortError) as error:
        exported("hf", [tmp_path / "both"], tmp_path / "J", tasks=unknown)
    assert "that it answers: other, films, got 'x'" in str(error.value)
    assert "--task other" in str(error.value)
    assert not (tmp_path / "J").exists()


def test_prompts_of_one_task_have_names_of_their_own(backbone, saved, tmp_path):
    model = backbone("gpt2")
    folders = [saved(model, name, task="nlu:SST-2") for name in ("a", "b")]
    made = exported("hf", folders, tmp_path / "H")
    assert [item.name for item in made.material.items] == ["sst_2", "sst_2_2"]
    assert made.material.items[1].ids[0] == made.material.items[0].ids[-1] + 1


def test_prompts_of_two_models(backbone, saved, tmp_path):
    folders = [saved(backbone("gpt2"), "a"), saved(backbone("opt"), "b")]
    with pytest.raises(MismatchError, match="prompt"):
        exported("hf", folders, tmp_path / "H")
    assert not (tmp_path / "H").exists()


@pytest.mark.parametrize("engine", [name for name in ENGINES if name != "hf"])
def test_a_masked_model_is_refused_with_the_engines_that_run_it(engine, backbone, saved, tmp_path):
    out = tmp_path / ("X.gguf" if engine == "gguf" else "X")
    with pytest.raises(PromptPortError, match="got one of a masked backbone.*such: hf"):
        exported(engine, [saved(backbone("bert"))], out)
    assert not out.exists()


@pytest.mark.parametrize("engine", ["llama.cpp-slot", "mlx"])
def test_a_prompt_behind_the_text_is_refused_where_prefixes_are_kept(
    engine, backbone, saved, tmp_path
):
    folder = saved(backbone("gpt2"), template=BEHIND)
    with pytest.raises(PromptPortError, match="anywhere: hf, gguf, llama.cpp-embd, vllm, sglang"):
        exported(engine, [folder], tmp_path / "X")


def test_a_place_that_is_taken(backbone, saved, tmp_path):
    folder = saved(backbone("gpt2"))
    (tmp_path / "X").mkdir()
    (tmp_path / "X" / "mine.txt").write_text("mine")
    with pytest.raises(PromptPortError, match="--out: expected a new folder, or an empty one"):
        exported("hf", [folder], tmp_path / "X")
    assert [file.name for file in (tmp_path / "X").iterdir()] == ["mine.txt"]
    with pytest.raises(UnknownNameError, match="Did you mean 'gguf'"):
        find_engine("ggufs")


def test_vectors_for_llama(tmp_path, saved):
    write_llama(tmp_path / "base.gguf")
    model = Backbone.load(tmp_path / "base.gguf", dtype="float32", device="cpu")
    folder = saved(model, template=BEHIND)
    made = exported("llama.cpp-embd", [folder], tmp_path / "E")
    rows = np.load(tmp_path / "E" / "p.npy")
    assert rows.dtype == np.float32
    assert np.array_equal(rows, load_prompt(folder).vectors.numpy())
    assert "slice(0, 3" in (tmp_path / "E" / "README.md").read_text()
    assert made.manifest["prompts"][0]["tokens"] == []


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("name", ["gpt2", "gemma"])
def test_the_client_makes_the_rows_that_we_make(
    engine, name, backbone, saved, tmp_path, monkeypatch
):
    model = backbone(name)
    folder = saved(model, template=FRONT)
    exported(engine, [folder], tmp_path / "V")
    sent = {}

    def posted(asked):
        sent.update(json.loads(asked.data))
        raise ConnectionRefusedError

    monkeypatch.syspath_prepend(str(tmp_path / "V"))
    for module in ("client", "embedder"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    import client  # of the export

    monkeypatch.setattr("urllib.request.urlopen", posted)
    asked = client.Client(model.name)
    row = asked.row("p", {"text": "the old film"})
    prompt = load_prompt(folder)
    answer = model.layout.answer_ids(["film"])[0][:1]
    (laid,) = model.layout.encode(
        Template.parse(FRONT), [{"text": "the old film"}], [answer], prompt.length
    )
    wanted = model.with_prompts(model.collate([laid], [0]), prompt.vectors)[0]
    assert torch.allclose(row, wanted[: len(row)], atol=1e-5)
    assert len(row) == laid.scored[0] + 1
    with pytest.raises(ConnectionRefusedError):
        asked.ask("p", {"text": "the old film"})
    if engine == "vllm":
        told = torch.load(io.BytesIO(base64.b64decode(sent["prompt_embeds"])), weights_only=True)
    else:
        told = torch.tensor(sent["input_embeds"])
    assert torch.allclose(told, row, atol=1e-6)
    for module in ("client", "embedder"):
        monkeypatch.delitem(sys.modules, module, raising=False)


def test_vectors_lie_beside_the_client(backbone, saved, tmp_path):
    folder = saved(backbone("gpt2"))
    exported("vllm", [folder], tmp_path / "V")
    vectors = read_tensors(tmp_path / "V" / "vectors.safetensors")["p"]
    assert torch.equal(vectors, load_prompt(folder).vectors)


def test_engines_that_are_not_there_or_fail(tmp_path):
    def run(python, runner="run_mlx"):
        return run_engine("mlx", runner, "mlx-lm", python, {"model": "x"})

    with pytest.raises(PromptPortError, match="--engine-python: expected a Python interpreter"):
        run(tmp_path / "none")
    with pytest.raises(PromptPortError, match="pip install mlx-lm, or name an interpreter"):
        run(PYTHON, "run_nothing_of_the_kind")
    with pytest.raises(PromptPortError, match="mlx: expected an engine that runs, got exit status"):
        run(Path("/bin/false"))
