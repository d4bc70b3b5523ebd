"""Every architecture behind one door: input rows, batches, prompts, embeddings, frozen weights."""

from __future__ import annotations

import pytest
import torch
from tests.models import ARCHITECTURES

from promptport.backbone import Backbone, open_space
from promptport.backbone.encoded import EncodedRow
from promptport.objective import Objective
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Template

LONG, SHORT = "the dog and the cat of the house run over the green hill", "the old river"


def _encode(backbone: Backbone, template: str, text: str, length: int) -> EncodedRow:
    answer = backbone.layout.answer_ids(["good"])[0]
    return backbone.layout.encode(Template.parse(template), [{"text": text}], [answer], length)[0]


def test_kind_is_detected(any_backbone: Backbone) -> None:
    name = any_backbone.name.rsplit("/", 1)[-1].rstrip("0")
    assert any_backbone.kind == ARCHITECTURES[name][0]


def test_embeddings_of_ids_give_the_logits_of_ids(any_backbone: Backbone) -> None:
    ids = torch.tensor([any_backbone.tokenizer(LONG)["input_ids"]])
    extra = {"attention_mask": torch.ones_like(ids)}
    if any_backbone.kind == "seq2seq":
        extra["decoder_input_ids"] = ids[:, :3]
    with torch.no_grad():
        wanted = any_backbone.model(input_ids=ids, **extra).logits
        got = any_backbone.model(inputs_embeds=any_backbone.embed(ids), **extra).logits
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_virtual_tokens_that_are_words_act_as_these_words(any_backbone: Backbone) -> None:
    """A prompt made of the rows of real words must give the logits of the text with the words."""
    words = ["old", "dog"]
    ids = [any_backbone.space.words[w] for w in words]
    vectors = any_backbone.space.rows(ids)
    with_prompt = _encode(any_backbone, "{text} {soft} and {answer} .", SHORT, 2)
    with_text = _encode(any_backbone, "{text} old dog and {answer} .", SHORT, 0)
    assert len(with_prompt.ids) == len(with_text.ids)
    if any_backbone.special.sentinel is None and any_backbone.kind == "seq2seq":
        # BART's decoder repeats the text but not the virtual tokens: compare the encoder input.
        assert len(with_prompt.decoder_ids) == len(with_text.decoder_ids) - 2
        return
    with torch.no_grad():
        got = any_backbone.answer_logits([with_prompt], vectors, [0])
        wanted = any_backbone.answer_logits([with_text], vectors, [0])
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_row_scores_the_same_alone_and_padded_in_a_batch(any_backbone: Backbone) -> None:
    vectors = any_backbone.space.rows(range(10, 13)) + 0.1
    rows = [
        _encode(any_backbone, "{soft} {text} It was {answer} .", text, 3) for text in (SHORT, LONG)
    ]
    with torch.no_grad():
        together = any_backbone.answer_logits(rows, vectors, [0, 0])
        alone = any_backbone.answer_logits(rows[:1], vectors, [0])
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)


def test_rows_of_one_batch_may_have_different_prompts(any_backbone: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(5, any_backbone.width, generator=generator)
    two = _encode(any_backbone, "{text} {soft} It was {answer} .", SHORT, 2)
    three = _encode(any_backbone, "{text} {soft} It was {answer} .", SHORT, 3)
    with torch.no_grad():
        both = any_backbone.answer_logits([two, three], vectors, [0, 2])
        first = any_backbone.answer_logits([two], vectors[:2], [0])
        second = any_backbone.answer_logits([three], vectors[2:], [0])
    torch.testing.assert_close(both, torch.cat([first, second]), rtol=1e-4, atol=1e-4)
    assert (first - second).abs().max() > 1e-3


def test_head_reads_only_scored_positions_and_no_untrained_rows(any_backbone: Backbone) -> None:
    row = _encode(any_backbone, "{text} It was {answer} .", SHORT, 0)
    with torch.no_grad():
        logits = any_backbone.answer_logits([row], torch.zeros(1, any_backbone.width), [0])
    assert logits.shape == (1, len(row.scored), len(any_backbone.tokenizer))
    ids = torch.tensor([row.ids])
    extra = {"decoder_input_ids": torch.tensor([row.decoder_ids])} if row.decoder_ids else {}
    with torch.no_grad():
        full = any_backbone.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), **extra
        ).logits
    wanted = full[:, list(row.scored), : len(any_backbone.tokenizer)]
    torch.testing.assert_close(logits, wanted, rtol=1e-4, atol=1e-4)


def test_space_from_the_file_equals_space_from_memory(any_backbone: Backbone) -> None:
    space = open_space(any_backbone.name)
    assert space.fingerprint == any_backbone.space.fingerprint
    assert space.words == any_backbone.space.words
    assert space.trained_rows == space.matrix.shape[0] - 3
    ids = torch.tensor([5, 9])
    torch.testing.assert_close(space.rows(ids), any_backbone.embed(ids[None])[0].detach())


def test_gradients_reach_the_prompt_and_nothing_else(any_backbone: Backbone, capitals) -> None:
    before = any_backbone.weights_hash()
    vectors = torch.randn(2, any_backbone.width, generator=torch.Generator().manual_seed(1))
    vectors.requires_grad_(True)
    objective = Objective(
        any_backbone, capitals, Template.parse("{soft} {subject} {answer}"), length=2
    )
    questions = objective.prepare(capitals.load("train")).questions
    logits = any_backbone.answer_logits(
        [q.inputs[0] for q in questions], vectors, [0] * len(questions)
    )
    objective.losses(logits, questions).sum().backward()
    assert vectors.grad.abs().min(dim=1).values.max() > 0
    assert all(p.grad is None for p in any_backbone.model.parameters())
    assert any_backbone.weights_hash() == before


def test_a_prompt_of_another_width_or_matrix_is_refused(any_backbone: Backbone) -> None:
    from promptport.errors import MismatchError

    wide = SoftPrompt(torch.ones(2, any_backbone.width + 1), Provenance("other"))
    with pytest.raises(MismatchError, match=f"{any_backbone.width} wide"):
        any_backbone.check_prompt(wide)
    foreign = SoftPrompt(
        torch.ones(2, any_backbone.width), Provenance("other", fingerprint="0" * 32)
    )
    with pytest.raises(MismatchError, match="embedding matrix 000000000000 of other"):
        any_backbone.check_prompt(foreign)


def test_a_model_spread_by_a_device_map_gives_the_same_logits(backbone) -> None:
    pytest.importorskip("accelerate")
    model = backbone("llama")
    spread = Backbone.load(model.name, dtype="float32", device_map="cpu")
    row = _encode(model, "{text} {soft} It was {answer} .", SHORT, 2)
    vectors = torch.ones(2, model.width)
    with torch.no_grad():
        wanted = model.answer_logits([row], vectors, [0])
        torch.testing.assert_close(spread.answer_logits([row], vectors, [0]), wanted)
