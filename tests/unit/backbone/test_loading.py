"""What is no language model, or not a whole one, is refused; names of backbones and revisions."""

from __future__ import annotations

from copy import copy
from types import SimpleNamespace

import pytest

from promptport.backbone import Backbone
from promptport.backbone.encoded import SpecialTokens
from promptport.cli.console import backbone_reference
from promptport.errors import BackboneError
from promptport.provenance import Provenance


@pytest.mark.parametrize("name", ["bert", "gpt2", "t5"])
def test_a_checkpoint_without_its_head_is_refused(backbone, tmp_path, name) -> None:
    """transformers would make a random head, another one at every start."""
    whole = backbone(name)
    folder = tmp_path / name
    part = whole.model.base_model if name == "bert" else whole.model
    part.save_pretrained(folder)
    whole.tokenizer.save_pretrained(folder)
    if name == "bert":
        with pytest.raises(BackboneError, match=r"every part of a masked .* none for cls\."):
            Backbone.load(str(folder), device="cpu")
        return
    assert Backbone.load(str(folder), device="cpu").weights_hash()


def test_a_padding_token_that_the_model_has_no_row_for(backbone) -> None:
    """Added to the tokenizer, but the embedding was never resized."""
    tokenizer = backbone("t5").tokenizer
    rows = tokenizer.eos_token_id + 1
    short = SimpleNamespace(vocab_size=rows, decoder_start_token_id=0)
    tokenizer = copy(tokenizer)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(rows + 3)
    assert tokenizer.pad_token_id == rows + 3
    assert SpecialTokens.read(tokenizer, short).pad == tokenizer.eos_token_id


def test_the_kind_that_was_asked_for_stays_in_half_precision(model_folder) -> None:
    for dtype in ("float32", "bfloat16"):
        model = Backbone.load(str(model_folder("bert")), kind="causal", dtype=dtype, device="cpu")
        assert model.space.kind == "causal"


def test_a_named_backbone_has_no_revision_of_the_prompt() -> None:
    made = Provenance("org/model", revision="abc")
    assert backbone_reference(made) == {"name": "org/model", "revision": "abc"}
    assert backbone_reference(made, "other/model") == {"name": "other/model", "revision": None}
