"""Every embedded backbone is a complete, small, plain transformers folder."""

import hashlib
import re
from pathlib import Path

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoTokenizer

ZOO = Path(__file__).resolve().parents[2] / "src" / "promptport" / "zoo"
FOLDERS = sorted(folder.parent for folder in ZOO.glob("*/config.json"))
MEGABYTES = 12
TEXTS = ["The capital of France is Paris .", "Horses eat grass , and lions do not ."]

pytestmark = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def load_model(folder):
    name = AutoConfig.from_pretrained(folder).architectures[0]
    return getattr(transformers, name).from_pretrained(folder).float().eval()


def special_ends(tokenizer, kind):
    """Special tokens before and after a text, as the architecture has them."""
    return {
        "bert": ([tokenizer.cls_token_id], [tokenizer.sep_token_id]),
        "roberta": ([tokenizer.bos_token_id], [tokenizer.eos_token_id]),
        "t5": ([], [tokenizer.eos_token_id]),
        "albert": ([tokenizer.cls_token_id], [tokenizer.sep_token_id]),
        "gpt2": ([], []),
        "llama": ([tokenizer.bos_token_id], []),
    }[kind]


def test_folder_is_complete_and_small(folder):
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {*names, "card.md"} <= {file.name for file in folder.iterdir()}
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MEGABYTES * 1e6


def test_card_names_the_weights_and_the_licence(folder):
    card = (folder / "card.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert re.search(r"sha256 .*`([0-9a-f]{64})`", card)[1] == digest
    assert "CC BY-SA 3.0" in card


@pytest.mark.parametrize("text", TEXTS)
def test_tokenizer_round_trips_and_adds_its_special_tokens(folder, text):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text)["input_ids"]
    plain = tokenizer(text, add_special_tokens=False)["input_ids"]
    before, after = special_ends(tokenizer, AutoConfig.from_pretrained(folder).model_type)
    assert ids == [*before, *plain, *after]
    assert tokenizer.unk_token_id not in plain
    decoded = tokenizer.decode(plain)
    assert decoded.replace(" ", "") == text.replace(" ", "")


def test_a_space_before_the_mask_belongs_to_it(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hole = tokenizer.mask_token or "<extra_id_0>"
    if hole not in tokenizer.get_vocab():
        pytest.skip("a causal model has no mask")
    word = tokenizer("The capital is Paris .", add_special_tokens=False)["input_ids"]
    masked = tokenizer(f"The capital is {hole} .", add_special_tokens=False)["input_ids"]
    changed = [a != b for a, b in zip(word, masked, strict=True)]
    assert sum(changed) == 1


def test_half_precision_on_disk(folder):
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in list(weights.keys())} == {"F16"}


@pytest.mark.long
def test_one_forward_pass_is_finite(folder):
    tokenizer, model = AutoTokenizer.from_pretrained(folder), load_model(folder)
    batch = tokenizer(TEXTS, return_tensors="pt", padding=True, padding_side="right")
    batch.pop("token_type_ids", None)
    if model.config.is_encoder_decoder:
        batch["decoder_input_ids"] = batch["input_ids"][:, :1]
    with torch.inference_mode():
        logits = model(**batch).logits
    assert logits.shape[-1] == len(tokenizer) == model.config.vocab_size
    assert torch.isfinite(logits).all()
