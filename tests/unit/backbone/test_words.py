"""The rule for words that are one token, on every kind of tokenizer."""

from __future__ import annotations

import pytest

from promptport.backbone.words import single_token_words


def test_words_survive_in_every_context(any_backbone) -> None:
    tokenizer = any_backbone.tokenizer
    words, dropped = single_token_words(tokenizer)
    assert {"dog", "river", "good"} <= set(words)
    for context in ("a red", "she said"):
        before = tokenizer(context, add_special_tokens=False)["input_ids"]
        for word, index in list(words.items())[::7]:
            ids = tokenizer(f"{context} {word}", add_special_tokens=False)["input_ids"]
            assert ids == [*before, index], word
    assert sum(dropped.values()) + len(words) == len(tokenizer)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bert", "continues a word"),
        ("gpt2", "continues a word"),
        ("llama", "reserved or byte token"),
        ("t5", "special token"),
        ("roberta", "special token"),
    ],
)
def test_other_tokens_are_counted_by_reason(backbone, name, reason) -> None:
    assert backbone(name).space.dropped[reason] > 0


def test_forms_without_their_space_are_not_taken(backbone) -> None:
    roberta = backbone("roberta")
    index = roberta.space.words["dog"]
    assert roberta.tokenizer.convert_ids_to_tokens(index) == "Ġdog"
