"""The rule for words that are one token, on every kind of tokenizer."""

from __future__ import annotations

import pytest

from promptport.backbone import words as module
from promptport.backbone.words import single_token_words, word_table


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


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Keep tables of small vocabularies too, and count how often a tokenizer is asked."""
    calls = []

    def ask(tokenizer):
        calls.append(tokenizer)
        return single_token_words(tokenizer)

    monkeypatch.setattr(module, "_LARGE", 0)
    monkeypatch.setattr(module, "single_token_words", ask)
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path))
    return calls


def test_a_table_is_made_once_per_tokenizer(backbone, counted) -> None:
    for name in ("bert", "gpt2", "bert", "gpt2"):
        tokenizer = backbone(name).tokenizer
        words, dropped = word_table(tokenizer)
        expected = single_token_words(tokenizer)
        assert (list(words.items()), dropped) == (list(expected[0].items()), expected[1])
    assert len(counted) == 2


def test_a_damaged_table_is_made_again(backbone, counted, tmp_path) -> None:
    tokenizer = backbone("t5").tokenizer
    expected = word_table(tokenizer)
    (place,) = (tmp_path / "words").iterdir()
    whole = place.read_text()
    for damage in (whole[:50], whole.replace('"dog"', '"cat2"'), "[]", ""):
        place.write_text(damage)
        assert word_table(tokenizer) == expected
    assert len(counted) == 5
    assert place.read_text() == whole


def test_a_folder_that_cannot_be_written_is_no_error(
    backbone, counted, monkeypatch, tmp_path
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("PROMPTPORT_CACHE", str(tmp_path / "file"))
    tokenizer = backbone("bert").tokenizer
    assert word_table(tokenizer) == word_table(tokenizer) == single_token_words(tokenizer)
    assert len(counted) == 2
