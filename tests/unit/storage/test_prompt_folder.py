"""Prompt folders: identical logits in PEFT and here, both ways; damage gets one clear line."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from tests.models import ARCHITECTURES as ALL

from promptport.backbone import Backbone, with_origin
from promptport.errors import BackboneError, FileFormatError, MismatchError, StorageError
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, load_vector, save_prompt
from promptport.tasks import Template
from promptport.vector import TaskPromptVector

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")

ARCHITECTURES = [
    "bert",
    "roberta",
    "albert",
    "distilbert",
    "electra",
    "modernbert",
    "gpt2",
    "gpt_neox",
    "llama",
    "gemma",
    "opt",
    "t5",
    "bart",
]
TASK_TYPES = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM", "seq2seq": "SEQ_2_SEQ_LM"}


def _prompt(backbone: Backbone, length: int = 4) -> SoftPrompt:
    generator = torch.Generator().manual_seed(5)
    vectors = backbone.space.statistics.std * torch.randn(
        length, backbone.width, generator=generator
    )
    provenance = Provenance(
        backbone.name,
        backbone.kind,
        fingerprint=backbone.space.fingerprint,
        template="{soft} {text} It was {answer} .",
        task="films",
        origin={"kind": "normal", "seed": 5},
        tuning={"steps": 3},
        history=({"method": "copy"},),
    )
    return SoftPrompt(vectors, provenance, origin=vectors + 1)


def _ours(backbone: Backbone, prompt: SoftPrompt):
    answer = backbone.layout.answer_ids(["good"])[0]
    row = backbone.layout.encode(
        Template.parse("{soft} {text} It was {answer} ."),
        [{"text": "the old dog"}],
        [answer],
        prompt.length,
    )[0]
    with torch.no_grad():
        return row, backbone.answer_logits([row], prompt.vectors, [0])


def _theirs(model, row, prompt, backbone):
    ids = torch.tensor([[t for i, t in enumerate(row.ids) if i not in row.soft]])
    extra = {"attention_mask": torch.ones_like(ids)}
    shift = prompt.length
    if backbone.kind == "seq2seq":
        extra["decoder_input_ids"], shift = torch.tensor([row.decoder_ids]), 0
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logits = model(input_ids=ids, **extra).logits
    # Soft rows lead, so scored positions are the same in both layouts.
    assert shift == 0 or row.soft == tuple(range(prompt.length))
    return logits[:, list(row.scored), : len(backbone.tokenizer)]


def _fresh(backbone: Backbone):
    return Backbone.load(backbone.name, dtype="float32", device="cpu").model


@pytest.mark.long
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_peft_runs_our_folder_with_our_logits(backbone, tmp_path, name) -> None:
    model = backbone(name)
    prompt = _prompt(model)
    save_prompt(prompt, tmp_path / "p")
    row, ours = _ours(model, prompt)
    loaded = peft.PeftModel.from_pretrained(_fresh(model), str(tmp_path / "p")).eval()
    torch.testing.assert_close(_theirs(loaded, row, prompt, model), ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_we_run_a_folder_of_peft_with_its_logits(backbone, tmp_path, name) -> None:
    model = backbone(name)
    extra = {"num_attention_heads": 2} if name == "distilbert" else {}
    config = peft.PromptTuningConfig(
        task_type=TASK_TYPES[model.kind], num_virtual_tokens=4, token_dim=model.width, **extra
    )
    wrapped = peft.get_peft_model(_fresh(model), config).eval()
    wrapped.save_pretrained(tmp_path / "p", save_embedding_layers=False)
    prompt = load_prompt(tmp_path / "p")
    assert prompt.vectors.shape == (4, model.width)
    assert prompt.provenance.kind == model.kind
    row, ours = _ours(model, prompt)
    torch.testing.assert_close(ours, _theirs(wrapped, row, prompt, model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
@pytest.mark.parametrize("reparametrised", ["MLP", "LSTM"])
def test_we_run_a_folder_of_p_tuning_with_its_logits(
    backbone, tmp_path, name, reparametrised
) -> None:
    model = backbone(name)
    config = peft.PromptEncoderConfig(
        task_type=TASK_TYPES[model.kind],
        num_virtual_tokens=4,
        encoder_hidden_size=8,
        encoder_reparameterization_type=reparametrised,
        token_dim=model.width,
    )
    peft.get_peft_model(_fresh(model), config).eval().save_pretrained(
        tmp_path / "p", save_embedding_layers=False
    )
    loaded = peft.PeftModel.from_pretrained(_fresh(model), str(tmp_path / "p")).eval()
    prompt = load_prompt(tmp_path / "p")
    assert prompt.vectors.shape == (4, model.width)
    row, ours = _ours(model, prompt)
    torch.testing.assert_close(ours, _theirs(loaded, row, prompt, model), rtol=1e-4, atol=1e-4)
    again = save_prompt(prompt, tmp_path / "again")
    assert json.loads((again / "adapter_config.json").read_text())["peft_type"] == "PROMPT_TUNING"
    assert load_prompt(again).vectors.equal(prompt.vectors)


def _made_of_text(model: Backbone, folder, length: int, text: str = "the old dog", **more):
    """A folder of PEFT's, untrained: its rows are those of a text."""
    config = peft.PromptTuningConfig(
        task_type=TASK_TYPES[model.kind],
        num_virtual_tokens=length,
        token_dim=model.width,
        num_attention_heads=2,
        num_layers=2,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text=text,
        **{"tokenizer_name_or_path": model.name, **more},
    )
    wrapped = peft.get_peft_model(_fresh(model), config)
    wrapped.save_pretrained(folder, save_embedding_layers=False)
    return folder


def _train(folder, row: int, by: float) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["prompt_embeddings"][row] += by
    save_file(tensors, folder / "adapter_model.safetensors")


@pytest.mark.long
@pytest.mark.parametrize("length", [2, 9])
@pytest.mark.parametrize("name", sorted(ALL))
def test_the_vector_of_a_prompt_that_peft_made_of_a_text(backbone, tmp_path, name, length) -> None:
    """Cut or repeated, with special tokens; both halves of encoder-decoders; scaled embeddings."""
    model = backbone(name)
    folder = _made_of_text(model, tmp_path / "p", length)
    assert load_vector(folder).delta.abs().max() < 1e-6
    _train(folder, 1, 0.5)
    prompt = with_origin(load_prompt(folder), model)
    delta = TaskPromptVector.of(prompt).delta
    assert delta[[i for i in range(length) if i != 1]].abs().max() < 1e-6
    torch.testing.assert_close(delta[1], torch.full_like(delta[1], 0.5), atol=1e-5, rtol=0)
    assert with_origin(prompt) is prompt
    if name != "pegasus":  # whose scale PEFT leaves out
        written = make_origin(OriginSpec.parse("text:the old dog", 0), model, length)
        torch.testing.assert_close(written, prompt.origin)


def test_a_text_that_another_tokenizer_cut(backbone, tmp_path) -> None:
    model = backbone("bert")
    (tmp_path / "words").mkdir()
    backbone("gpt2").tokenizer.save_pretrained(tmp_path / "words")  # and no config.json
    other = {"tokenizer_name_or_path": str(tmp_path / "words")}
    bare = {"tokenizer_kwargs": {"add_bos_token": True, "trust_remote_code": True}}  # no [CLS]
    for i, (text, more) in enumerate({"a": other, "the old dog": bare}.items()):
        folder = _made_of_text(model, tmp_path / f"p{i}", 5, text, **more)
        assert load_vector(folder, backbone=model.name).delta.abs().max() < 1e-6
        again = save_prompt(load_prompt(folder), tmp_path / f"q{i}")
        assert load_vector(again).delta.abs().max() < 1e-6
    folder = tmp_path / "p0"
    (tmp_path / "words" / "tokenizer.json").unlink()
    message = "origin of the prompt: expected the tokenizer of its text, .*words, got .*Correct tok"
    with pytest.raises(BackboneError, match=message) as caught:
        load_vector(folder)
    assert "\n" not in str(caught.value)
    _edit(folder, "adapter_config.json", tokenizer_name_or_path=None)
    assert load_vector(folder).delta.abs().max() > 1, "cut by the tokenizer of the backbone"
    other = {"tokenizer_name_or_path": backbone("gpt2").name}
    _edit(folder, "adapter_config.json", prompt_tuning_init_text="the old dog", **other)
    with pytest.raises(MismatchError, match="origin of the prompt: expected a text of tokens"):
        load_vector(folder)
    _edit(folder, "adapter_config.json", prompt_tuning_init_text=None)
    with pytest.raises(MismatchError, match="got none .PEFT keeps none but a text"):
        load_vector(folder)


def test_a_folder_comes_back_bit_for_bit(backbone, tmp_path) -> None:
    prompt = _prompt(backbone("bert"))
    save_prompt(prompt, tmp_path / "p")
    again = load_prompt(tmp_path / "p")
    assert torch.equal(again.vectors, prompt.vectors)
    assert torch.equal(again.origin, prompt.origin)
    assert again.provenance == prompt.provenance
    assert sorted(f.name for f in (tmp_path / "p").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "origin.safetensors",
        "promptport.json",
    ]


def test_half_precision_and_pickle_free_bin_are_read(backbone, tmp_path) -> None:
    prompt = _prompt(backbone("bert"))
    folder = save_prompt(prompt, tmp_path / "p")
    (folder / "adapter_model.safetensors").unlink()
    _edit(folder, "promptport.json", checksum="REMOVE")
    torch.save({"prompt_embeddings": prompt.vectors.bfloat16()}, folder / "adapter_model.bin")
    torch.testing.assert_close(load_prompt(folder).vectors, prompt.vectors, rtol=1e-2, atol=1e-2)


def _edit(folder, file, **changes):
    path = folder / file
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: v for k, v in values.items() if v != "REMOVE"}))


class _Evil:
    def __reduce__(self):
        return (print, ("pwned",))


def _truncate(folder):
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-40])


def _flip_header(folder):
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[10] ^= 0x40
    path.write_bytes(bytes(data))


def _not_finite(folder):
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    tensors["prompt_embeddings"][1, 2] = float("nan")
    save_file(tensors, path)


def _pickle(folder, name="adapter_model.safetensors"):
    import pickle

    (folder / "adapter_model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps({"prompt_embeddings": _Evil()}))


def _other_key(folder):
    from safetensors.torch import save_file

    save_file({"lora_A": torch.ones(2, 2)}, folder / "adapter_model.safetensors")


def _only_encoder(folder):
    from safetensors.torch import save_file

    _edit(folder, "adapter_config.json", peft_type="P_TUNING")
    save_file({"embedding.weight": torch.ones(4, 32)}, folder / "adapter_model.safetensors")


DAMAGE = {
    "truncated": (_truncate, r"adapter_model\.safetensors: expected a whole safetensors file"),
    "flipped": (_flip_header, r"expected a whole safetensors file, got a damaged or truncated"),
    "nan": (_not_finite, "expected finite vectors"),
    "pickle": (_pickle, "got a pickle.*pickles are never opened"),
    "pickle as bin": (
        lambda f: _pickle(f, "adapter_model.bin"),
        r"adapter_model\.bin: expected tensors only",
    ),
    "empty file": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b""),
        "got an empty file",
    ),
    "other key": (_other_key, "expected a tensor 'prompt_embeddings', got lora_A"),
    "other adapter": (
        lambda f: _edit(f, "adapter_config.json", peft_type="LORA"),
        "expected peft_type PROMPT_TUNING or P_TUNING, got 'LORA'",
    ),
    "prompt encoder without its rows": (
        _only_encoder,
        "expected a tensor 'prompt_embeddings', got embedding.weight. Save the adapter with PEFT",
    ),
    "length missing": (
        lambda f: _edit(f, "adapter_config.json", num_virtual_tokens="REMOVE"),
        "expected num_virtual_tokens >= 1, got None",
    ),
    "too many rows wanted": (
        lambda f: _edit(f, "adapter_config.json", num_virtual_tokens=9),
        r"expected floating-point rows \(9, 32\)",
    ),
    "other width": (
        lambda f: _edit(f, "adapter_config.json", token_dim=48),
        r"expected .* \(4, 48\)",
    ),
    "broken json": (
        lambda f: (f / "promptport.json").write_text("{"),
        r"promptport\.json: expected a JSON object",
    ),
    "json list": (
        lambda f: (f / "adapter_config.json").write_text("[]"),
        "expected a JSON object, got list",
    ),
    "newer schema": (
        lambda f: _edit(f, "promptport.json", schema=99),
        "expected schema 1 or older, got 99",
    ),
    "no schema": (
        lambda f: _edit(f, "promptport.json", schema="REMOVE"),
        "expected a field 'schema'",
    ),
    "no prompt": (
        lambda f: _edit(f, "promptport.json", prompt="REMOVE"),
        "expected a field 'prompt'",
    ),
    "field of another type": (
        lambda f: _edit(f, "promptport.json", prompt={"backbone": "b", "tuning": "fast"}),
        "field 'tuning': expected dict, got str",
    ),
    "unknown field": (
        lambda f: _edit(f, "promptport.json", prompt={"backbone": "b", "colour": "red"}),
        "expected the fields .*, got 'colour'",
    ),
    "no backbone": (
        lambda f: _edit(f, "promptport.json", prompt={}),
        "expected a field 'backbone'",
    ),
}


@pytest.mark.parametrize("damage", sorted(DAMAGE))
def test_damaged_folders_get_one_clear_line(backbone, tmp_path, damage) -> None:
    folder = save_prompt(_prompt(backbone("bert")), tmp_path / "p")
    break_it, message = DAMAGE[damage]
    break_it(folder)
    with pytest.raises((FileFormatError, StorageError), match=message) as caught:
        load_prompt(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_bits_flipped_in_the_values_are_seen(backbone, tmp_path) -> None:
    """A flipped bit in the data gives a valid file with other numbers: only a checksum sees it."""
    folder = save_prompt(_prompt(backbone("bert")), tmp_path / "p")
    path = folder / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-7] ^= 0x01
    path.write_bytes(bytes(data))
    with pytest.raises(FileFormatError, match="expected the values that were saved"):
        load_prompt(folder)


def test_missing_folders(tmp_path) -> None:
    with pytest.raises(StorageError, match="got no such folder"):
        load_prompt(tmp_path / "nowhere")
    with pytest.raises(StorageError, match=r"expected a prompt folder with adapter_config\.json"):
        load_prompt(tmp_path)


def test_rows_that_the_configuration_does_not_know_are_refused(backbone, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    prompt = _prompt(backbone("t5"))
    folder = save_prompt(prompt, tmp_path / "P")
    (folder / "promptport.json").unlink()
    rows = load_file(folder / "adapter_model.safetensors")["prompt_embeddings"]

    def write(count, **more):
        tensors = {"prompt_embeddings": rows.repeat(3, 1)[:count], **more}
        save_file(tensors, folder / "adapter_model.safetensors")

    write(10)
    with pytest.raises(FileFormatError, match=r"rows \(4, .*got torch.float32 \(10, "):
        load_prompt(folder)
    _edit(folder, "adapter_config.json", num_transformer_submodules=2)
    write(8)
    torch.testing.assert_close(load_prompt(folder).vectors, prompt.vectors)
    write(8, **{"base_model.classifier.weight": torch.zeros(2, 3)})
    with pytest.raises(FileFormatError, match=r"a trained head, base_model\.classifier\.weight"):
        load_prompt(folder)


def test_values_beyond_float32_are_refused(backbone) -> None:
    from promptport.errors import ShapeError

    with pytest.raises(ShapeError, match="values that are not finite"):
        SoftPrompt(
            torch.full((2, 3), 1e300, dtype=torch.float64), _prompt(backbone("bert")).provenance
        )


def test_nothing_of_an_older_prompt_is_left(backbone, tmp_path) -> None:
    from promptport.storage import save_vector

    prompt = _prompt(backbone("bert"))
    folder = save_prompt(prompt, tmp_path / "P")
    save_vector(TaskPromptVector.of(prompt), folder)
    (folder / "notes.txt").write_text("mine")
    newer = SoftPrompt(prompt.vectors + 1, prompt.provenance, origin=prompt.vectors)
    save_prompt(newer, folder)
    torch.testing.assert_close(load_vector(folder).delta, torch.ones_like(prompt.vectors))
    save_prompt(SoftPrompt(prompt.vectors, prompt.provenance), folder)
    assert load_prompt(folder).origin is None
    assert not (folder / "origin.safetensors").exists()
    assert (folder / "notes.txt").read_text() == "mine"


def test_an_older_prompt_survives_a_failure(backbone, tmp_path, monkeypatch) -> None:
    import os

    prompt = _prompt(backbone("bert"))
    folder = save_prompt(prompt, tmp_path / "P")
    replace_file, calls = os.replace, []

    def fail(source, target):
        calls.append(target)
        if str(target).endswith("promptport.json") and "P/" in str(target) and len(calls) > 2:
            monkeypatch.setattr(os, "replace", replace_file)
            raise OSError(28, "No space left on device")
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", fail)
    monkeypatch.setattr("promptport.replacing._swap", lambda one, other: False)
    with pytest.raises(StorageError, match="No space left"):
        save_prompt(SoftPrompt(prompt.vectors + 1, prompt.provenance), folder)
    torch.testing.assert_close(load_prompt(folder).vectors, prompt.vectors)
    torch.testing.assert_close(load_prompt(folder).origin, prompt.origin)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["P"]
