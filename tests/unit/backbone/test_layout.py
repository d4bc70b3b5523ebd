"""Where text, virtual tokens and answers stand, token by token."""

from __future__ import annotations

import pytest

from promptport.errors import TaskError
from promptport.tasks import Template

ROW = {"text": "the dog"}


def _encode(backbone, template, row=ROW, answer="good", length=0, **options):
    ids = backbone.layout.answer_ids([answer])[0]
    return backbone.layout.encode(Template.parse(template), [row], [ids], length, **options)[0]


def _tokens(backbone, ids):
    return backbone.tokenizer.convert_ids_to_tokens(list(ids))


def test_masked_frame_mask_and_punctuation(backbone) -> None:
    bert = backbone("bert")
    row = _encode(bert, "{text} {soft} is {answer} .", length=2)
    assert _tokens(bert, row.ids) == [
        "[CLS]",
        "the",
        "dog",
        "[PAD]",
        "[PAD]",
        "is",
        "[MASK]",
        ".",
        "[SEP]",
    ]
    assert row.soft == (3, 4)
    assert row.scored == (6,)


def test_a_leading_run_stands_before_the_special_tokens_as_in_peft(backbone) -> None:
    bert = backbone("bert")
    row = _encode(bert, "{soft} {text} is {answer} .", length=2)
    assert row.soft == (0, 1)
    assert _tokens(bert, row.ids)[2:5] == ["[CLS]", "the", "dog"]


def test_byte_level_words_keep_their_space_behind_a_slot(backbone) -> None:
    roberta = backbone("roberta")
    row = _encode(roberta, "{text} {soft} is {answer} .", length=1)
    tokens = _tokens(roberta, row.ids)
    assert tokens[0] == "<s>"
    assert tokens[-4:] == ["Ġis", "<mask>", "Ġ.", "</s>"]
    assert _tokens(roberta, row.targets) == ["Ġgood"]


def test_text_behind_a_slot_is_tokenised_as_in_the_running_text(any_backbone) -> None:
    """The ids around an answer must be those of the whole sentence, whatever the tokenizer."""
    sentence = any_backbone.tokenizer("the dog is good and sad", add_special_tokens=False)[
        "input_ids"
    ]
    if any_backbone.kind != "masked":
        row = _encode(any_backbone, "{text} is {answer}", answer="good")
        line = row.ids if any_backbone.kind == "causal" else ()
        prefix = any_backbone.special.prefix
        if line:
            assert (*line[len(prefix) :], *row.targets) == tuple(
                sentence[: len(line) - len(prefix) + 1]
            )
        return
    row = _encode(any_backbone, "{text} is {answer} and sad")
    inner = list(row.ids[len(any_backbone.special.prefix) : -len(any_backbone.special.suffix)])
    inner[row.scored[0] - len(any_backbone.special.prefix)] = row.targets[0]
    assert inner == sentence


def test_causal_models_never_see_what_follows_the_answer(backbone) -> None:
    gpt2 = backbone("gpt2")
    row = _encode(gpt2, "{text} {soft} is {answer} .", length=3)
    assert row.scored == (len(row.ids) - 1,)
    assert _tokens(gpt2, row.ids)[-1] == "Ġis"
    with pytest.raises(TaskError, match="which a causal model could not read"):
        _encode(gpt2, "{text} is {answer} {soft}", length=3)


def test_causal_needs_something_to_read(backbone) -> None:
    with pytest.raises(TaskError, match=r"something in front of \{answer\}"):
        _encode(backbone("gpt2"), "{answer} is good")


def test_t5_answers_behind_its_sentinel(backbone) -> None:
    t5 = backbone("t5")
    row = _encode(t5, "{text} {soft} is {answer} .", length=1)
    assert _tokens(t5, row.ids) == ["▁the", "▁dog", "<pad>", "▁is", "<extra_id_0>", "▁.", "</s>"]
    assert _tokens(t5, row.decoder_ids) == ["<pad>", "<extra_id_0>"]
    assert row.scored == (1,)
    free = _encode(t5, "{soft} {text} {answer}", length=1, free_text=True)
    assert _tokens(t5, free.decoder_ids) == ["<pad>"]
    assert "<extra_id_0>" not in _tokens(t5, free.ids)


def test_bart_restores_the_text_before_the_answer(backbone) -> None:
    bart = backbone("bart")
    row = _encode(bart, "{text} is {answer} .")
    assert _tokens(bart, row.ids)[-3:] == ["<mask>", "Ġ.", "</s>"]
    assert _tokens(bart, row.decoder_ids)[:2] == ["</s>", "<s>"]
    assert _tokens(bart, row.decoder_ids)[-1] == "Ġis"
    assert row.scored == (len(row.decoder_ids) - 1,)


def test_counted_runs_share_the_prompt_in_order(backbone) -> None:
    row = _encode(backbone("bert"), "{soft:1} {text} {soft} is {answer}", length=3)
    assert len(row.soft) == 3
    assert row.soft[0] == 0
    assert row.soft[2] == row.soft[1] + 1


def test_long_texts_are_refused_or_cut_to_the_positions(any_backbone) -> None:
    row = {"text": "the old dog and the sad cat " * 20}
    if any_backbone.max_tokens is None:
        assert len(_encode(any_backbone, "{soft} {text} is {answer} .", row, length=4).ids) > 140
        return
    assert any_backbone.max_tokens == 64
    with pytest.raises(TaskError, match=r"at most 64 tokens with the prompt .* Cut long texts"):
        _encode(any_backbone, "{soft} {text} is {answer} .", row, length=4)
    cut = _encode(any_backbone, "{soft} {text} is {answer} .", row, length=4, truncate=True)
    assert 56 <= max(len(cut.ids), len(cut.decoder_ids)) <= 64
    assert len(cut.soft) == 4
    assert cut.targets == any_backbone.layout.answer_ids(["good"])[0]


def test_a_prompt_that_fills_the_positions_leaves_no_room(backbone) -> None:
    with pytest.raises(TaskError, match="at most 64 tokens"):
        _encode(backbone("bert"), "{soft} {text} is {answer} .", length=70, truncate=True)


def test_unknown_answers_are_refused(backbone) -> None:
    with pytest.raises(TaskError, match="answer '漢': expected a word in the vocabulary of"):
        backbone("bert").layout.answer_ids(["漢"])


def test_cutting_keeps_all_words_that_fit(backbone) -> None:
    """A last word of very many tokens goes alone, and of two fields the longer one gives."""
    bert, roberta = backbone("bert"), backbone("roberta")
    row = {"text": "the old dog is sad " + "qz" * 45}
    cut = _encode(roberta, "{soft} {text} is {answer} .", row, length=4, truncate=True)
    kept = roberta.tokenizer.decode(cut.ids, skip_special_tokens=True).split()
    assert kept == ["the", "old", "dog", "is", "sad", "is", "."]
    both = {"a": "the old dog " * 20, "b": "a sad cat"}
    cut = _encode(bert, "{a} and {b} is {answer} .", both, truncate=True)
    assert len(cut.ids) == 64
    assert " ".join(_tokens(bert, cut.ids)).endswith("and a sad cat is [MASK] . [SEP]")


def test_a_text_without_spaces_is_cut_between_characters(any_backbone) -> None:
    if any_backbone.max_tokens is None:
        return
    word = min(any_backbone.space.words)[0]
    row = {"text": "-".join([word] * 90)}
    with pytest.raises(TaskError, match="Cut long texts"):
        _encode(any_backbone, "{soft} {text} is {answer} .", row, length=4)
    cut = _encode(any_backbone, "{soft} {text} is {answer} .", row, length=4, truncate=True)
    assert 56 <= max(len(cut.ids), len(cut.decoder_ids)) <= 64


def test_remembered_texts_have_a_bound(backbone, monkeypatch) -> None:
    from promptport.backbone import layout

    roberta = backbone("roberta")
    monkeypatch.setattr(layout, "_MOST_CACHED", 50)
    first = _encode(roberta, "{text} is {answer} .", {"text": "the old dog"})
    for i in range(80):
        _encode(roberta, "{text} is {answer} .", {"text": f"the dog {i}"})
    assert len(roberta.layout._cache) < 60
    assert _encode(roberta, "{text} is {answer} .", {"text": "the old dog"}) == first
