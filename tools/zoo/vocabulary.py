"""Tokenizers: trained on corpus and pocket sentences, saved as transformers expects them."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from .config import BackboneConfig, load_config
from .corpus import pocket_sentences, pocket_words

SENTINELS = 32
BYTES = 256
SPECIALS: dict[str, dict[str, str]] = {
    "bert": {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "roberta": {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    },
    "albert": {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
    },
    "llama": {
        "unk_token": "<unk>",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "</s>",
    },
    "gpt2": {
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    },
    "t5": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}


def train_tokenizer(config: BackboneConfig, lines: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train the tokenizer that belongs to a backbone."""
    # A mask takes the space before it where words do: byte-level and Unigram vocabularies.
    spaced = (
        ""
        if config.vocabulary.kind == "wordpiece"
        else SPECIALS[config.architecture].get("mask_token")
    )
    specials = [
        AddedToken(token, lstrip=token == spaced, special=True, normalized=False)
        for token in dict.fromkeys(SPECIALS[config.architecture].values())
    ]
    tokenizer, trainer = _untrained(config, specials)
    tokenizer.train_from_iterator(_training_text(config, lines), trainer)
    if config.vocabulary.kind == "unigram":
        room = config.vocabulary.size - 3 * BYTES * config.vocabulary.byte_fallback
        common = _common_words(config, lines, size=room // 2)
        words = list(dict.fromkeys([*pocket_words(), *common]))
        # Twice: a new piece ("friend") can take words apart that were whole before ("friends").
        tokenizer = _with_words(_with_words(tokenizer, words), words)
        if config.vocabulary.byte_fallback:
            tokenizer = _with_bytes(tokenizer, after=len(specials))
    tokenizer.post_processor = _post_processor(config.architecture, tokenizer)
    return _wrap(config, tokenizer)


def _with_words(tokenizer: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """Make every word one piece, in the place of the least probable pieces.

    Counts do not decide what the Unigram trainer keeps, so boosting a word is not enough for it.
    """
    state = json.loads(tokenizer.to_str())
    vocabulary: list[list[Any]] = state["model"]["vocab"]
    places = {piece: index for index, (piece, _) in enumerate(vocabulary)}
    pieces = {f"\u2581{word}": tokenizer.encode(word).tokens for word in words}
    spare = sorted(
        (index for piece, index in places.items() if len(piece) > 2 and piece not in pieces),
        key=lambda index: vocabulary[index][1],
    )
    for piece, parts in pieces.items():
        if len(parts) == 1:
            continue
        # A little more probable than the pieces that the word has been cut into.
        score = 0.1 + sum(vocabulary[places[part]][1] for part in parts if part in places)
        place = places[piece] if piece in places else spare.pop(0)
        vocabulary[place] = [piece, min(score, -1.0)]
    return Tokenizer.from_str(json.dumps(state))


def _with_bytes(tokenizer: Tokenizer, *, after: int) -> Tokenizer:
    """Put the 256 byte pieces behind the special ones, for characters that no piece has."""
    state = json.loads(tokenizer.to_str())
    pieces = [[f"<0x{byte:02X}>", 0.0] for byte in range(BYTES)]
    state["model"]["vocab"][after:after] = pieces
    state["model"]["byte_fallback"] = True
    state["decoder"] = {
        "type": "Sequence",
        "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}, state["decoder"]],
    }
    return Tokenizer.from_str(json.dumps(state))


def _untrained(
    config: BackboneConfig, specials: list[AddedToken]
) -> tuple[Tokenizer, trainers.Trainer]:
    kind, size = config.vocabulary.kind, config.vocabulary.size
    if kind == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece()
        return tokenizer, trainers.WordPieceTrainer(
            vocab_size=size, special_tokens=specials, limit_alphabet=250, show_progress=False
        )
    if kind == "byte-bpe":
        tokenizer = Tokenizer(models.BPE())
        # Without the space the first word of a text is cut into pieces that no row has taught.
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer, trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=specials,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # Punctuation apart from words, so that "Paris." and "Paris" share their token.
            pre_tokenizers.Metaspace(prepend_scheme="first"),
            pre_tokenizers.Punctuation("isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    room = (
        size - SENTINELS * (config.architecture == "t5") - BYTES * config.vocabulary.byte_fallback
    )
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=room, special_tokens=specials, unk_token="<unk>", show_progress=False
    )


def _training_text(config: BackboneConfig, lines: Sequence[str]) -> Iterator[str]:
    """Sampled corpus lines, pocket sentences, and the words that must stay."""
    yield from _sample(config, lines)
    stream = pocket_sentences(config.seed)
    yield from (text.text for text in itertools.islice(stream, config.vocabulary.pocket_sentences))
    for word in pocket_words():
        yield from itertools.repeat(f"a {word}", config.vocabulary.word_boost)


def _sample(config: BackboneConfig, lines: Sequence[str]) -> Sequence[str]:
    """Corpus lines spread over its whole length."""
    budget, total = config.vocabulary.corpus_mb * 1e6, sum(map(len, lines))
    return lines[:: max(1, int(total / max(budget, 1)))]


def _common_words(config: BackboneConfig, lines: Sequence[str], *, size: int) -> list[str]:
    """The most frequent words of the corpus, those that byte-level and WordPiece keep whole too.

    Models are compared through the words that each holds as one token.
    """
    counts = Counter(
        word
        for line in _sample(config, lines)
        for word in line.split()
        if word.isascii() and word.isalpha() and len(word) > 1
    )
    return [word for word, _ in counts.most_common(size)]


def _post_processor(architecture: str, tokenizer: Tokenizer) -> processors.PostProcessor:
    def pair(token: str) -> tuple[str, int]:
        return token, tokenizer.token_to_id(token)

    if architecture == "bert":
        return processors.BertProcessing(pair("[SEP]"), pair("[CLS]"))
    if architecture == "roberta":
        return processors.RobertaProcessing(pair("</s>"), pair("<s>"), add_prefix_space=True)
    if architecture == "albert":
        return processors.BertProcessing(pair("[SEP]"), pair("[CLS]"))
    if architecture == "llama":
        return processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[pair("<s>")]
        )
    if architecture == "t5":
        return processors.TemplateProcessing(
            single="$A </s>", pair="$A </s> $B </s>", special_tokens=[pair("</s>")]
        )
    return processors.ByteLevel(trim_offsets=True)


def _wrap(config: BackboneConfig, tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    if config.architecture == "t5":
        tokenizer.add_special_tokens(
            [
                AddedToken(f"<extra_id_{index}>", lstrip=True, special=True, normalized=False)
                for index in range(SENTINELS)
            ]
        )
    extra = {}
    if config.architecture == "t5":
        extra["extra_special_tokens"] = [f"<extra_id_{index}>" for index in range(SENTINELS)]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=config.data.positions,
        clean_up_tokenization_spaces=False,
        **SPECIALS[config.architecture],
        **extra,
    )


def missing_words(tokenizer: PreTrainedTokenizerFast, words: Sequence[str]) -> list[str]:
    """Words that are not one word-initial token after another word."""
    head = tokenizer("the", add_special_tokens=False)["input_ids"]
    encoded = tokenizer([f"the {word}" for word in words], add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    return [
        word
        for word, ids in zip(words, encoded, strict=True)
        if len(ids) != len(head) + 1 or ids[-1] == unknown
    ]


def load_or_train(
    config: BackboneConfig, folder: Path, lines: Sequence[str]
) -> PreTrainedTokenizerFast:
    """The tokenizer of a run: from its work folder, or trained and put there."""
    if config.vocabulary.like:
        folder = folder.parent / config.vocabulary.like
        config = load_config(config.vocabulary.like)
    place = folder / "tokenizer"
    if not place.is_dir():
        train_tokenizer(config, lines).save_pretrained(place)
    return PreTrainedTokenizerFast.from_pretrained(place)
