"""The rule for words that are one token, on every kind of tokenizer."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from tests.models import TEXT, WIDTH
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from promptport.anchors import AnchorSet
from promptport.backbone import Backbone, open_space
from promptport.backbone import words as module
from promptport.backbone.words import single_token_words, word_table
from promptport.parameters import OriginSpec, make_origin


def test_words_survive_in_every_context(any_backbone) -> None:
    tokenizer = any_backbone.tokenizer
    words, dropped, unspaced = single_token_words(tokenizer)
    assert not unspaced
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
        words, dropped, _ = word_table(tokenizer)
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


HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 60)]


def _byte_level(words: list[str]) -> hf.PreTrainedTokenizerFast:
    """Byte-level BPE, each word built from its bytes from left to right; Han one by one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    vocabulary = {"<|endoftext|>": 0, **{c: i for i, c in enumerate(alphabet, 1)}}
    merges = []
    for word in words:
        letters = to_bytes.pre_tokenize_str(word)[0][0]
        for end in range(1, len(letters)):
            if letters[: end + 1] not in vocabulary:
                merges.append((letters[:end], letters[end]))
                vocabulary[letters[: end + 1]] = len(vocabulary)
    tok = Tokenizer(models.BPE(vocabulary, merges))
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tok, eos_token="<|endoftext|>")


def _metaspace(words: list[str]) -> hf.PreTrainedTokenizerFast:
    """SentencePiece-like: a leading space belongs to the word behind it."""
    letters = sorted({c for word in words for c in word})
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("▁", -12.0)]
    pieces += [(c, -10.0) for c in letters]
    pieces += [(f"▁{w}", -8.0) for w in words if w not in HAN]
    tok = Tokenizer(models.Unigram(pieces, unk_id=0))
    tok.add_special_tokens(["<unk>", "</s>"])
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    return hf.PreTrainedTokenizerFast(tokenizer_object=tok, unk_token="<unk>", eos_token="</s>")


def _saved(tokenizer, folder):
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    hf.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def english():
    return sorted({word for line in TEXT for word in line.split() if word.isalpha()})


@pytest.fixture(scope="module")
def spaced_words(english):
    """English words as byte-level tokenizers hold them."""
    return [f" {word}" for word in english]


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """Two models that know Chinese alone, of which one is byte-level."""
    made = {"bytes": _byte_level(HAN), "pieces": _metaspace([*HAN[10:], "the", "of"])}
    return {name: _saved(t, tmp_path_factory.mktemp(name)) for name, t in made.items()}


def test_a_script_without_spaces_has_words_without_one(chinese) -> None:
    first, second = open_space(chinese["bytes"]), open_space(chinese["pieces"])
    assert set(first.words) == set(first.unspaced) == set(HAN)
    assert set(HAN[10:]) == set(second.unspaced)
    assert sum(first.dropped.values()) + len(first.words) == len(first.tokens)
    shared = AnchorSet.shared(first, second)
    assert shared.words == tuple(HAN[10:])
    assert shared.report.coverage[0] == pytest.approx(50 / 60)
    ids = shared.ids[0].tolist()
    written = Backbone.load(chinese["bytes"], device="cpu").tokenizer
    assert [written.decode([i]) for i in ids] == HAN[10:]


def test_a_prompt_begins_on_a_model_of_a_script_without_spaces(chinese) -> None:
    model = Backbone.load(chinese["bytes"], device="cpu", dtype="float32")
    assert make_origin(OriginSpec("vocabulary"), model, 4).shape == (4, WIDTH)


def test_words_of_spaced_scripts_stay_what_they_were(english, spaced_words, tmp_path) -> None:
    """A few Chinese tokens change neither the words of a model nor its anchors."""
    plain = open_space(_saved(_byte_level(spaced_words), tmp_path / "plain"))
    some = open_space(_saved(_byte_level([*spaced_words, *HAN[:20]]), tmp_path / "some"))
    other = open_space(_saved(_metaspace([*english, *HAN[:20]]), tmp_path / "other"))
    assert dict(some.words) == dict(plain.words)
    assert set(some.unspaced) == set(other.unspaced) == set(HAN[:20])
    assert AnchorSet.shared(some, other).words == AnchorSet.shared(plain, other).words
    asked = AnchorSet.shared(some, other, words=[*HAN[:20], "dog"], minimum=1)
    assert asked.words == ("dog", *HAN[:20])


def test_thai_and_kana_but_no_signs_alone() -> None:
    words, _, unspaced = single_token_words(_byte_level(["ไทย", "ั", "・", "これ"]))
    assert set(unspaced) == set(words) == {"ไ", "ไท", "ไทย", "こ", "これ"}
