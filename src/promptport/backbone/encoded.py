"""Rows as a backbone reads them, and the special tokens that frame them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Ids = tuple[int, ...]


@dataclass(frozen=True)
class EncodedRow:
    """One input for a backbone, without padding.

    Attributes:
        ids: T token ids of the encoder or decoder-only input; a filler at virtual tokens.
        soft: positions of the n virtual tokens in `ids`, in order.
        scored: positions whose logits predict the answer's tokens (in `decoder_ids` for seq2seq).
        targets: the answer's token ids, one per scored position.
        decoder_ids: decoder input of a seq2seq model, else empty.
    """

    ids: Ids
    soft: Ids
    scored: Ids
    targets: Ids
    decoder_ids: Ids = ()


@dataclass(frozen=True)
class SpecialTokens:
    """Ids that frame and mark a text.

    Attributes:
        prefix, suffix: what the tokenizer puts around a text (`[CLS]`, BOS; `[SEP]`, EOS).
        mask: mask token, if any.
        sentinel: T5's first `<extra_id_0>`, if any.
        pad: filler of padding and of virtual tokens.
        decoder_start: first decoder id of a seq2seq model.
        end: end-of-sequence id, if any.
        unknown: id that stands for unknown text, if any.
    """

    prefix: Ids
    suffix: Ids
    mask: int | None
    sentinel: int | None
    pad: int
    decoder_start: int | None
    end: int | None
    unknown: int | None

    @classmethod
    def read(cls, tokenizer: Any, config: Any) -> SpecialTokens:
        """Find the special tokens of a tokenizer and a model configuration."""
        bare = tuple(tokenizer("a", add_special_tokens=False)["input_ids"])
        framed = tuple(tokenizer("a")["input_ids"])
        start = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
        vocabulary = tokenizer.get_vocab()
        pad = tokenizer.pad_token_id
        rows = getattr(config, "vocab_size", None)
        if pad is None or (rows is not None and pad >= rows):  # added, but the model never grew
            pad = tokenizer.eos_token_id or 0
        return cls(
            prefix=framed[:start],
            suffix=framed[start + len(bare) :],
            mask=tokenizer.mask_token_id,
            sentinel=vocabulary.get("<extra_id_0>"),
            pad=pad,
            decoder_start=getattr(config, "decoder_start_token_id", None),
            end=tokenizer.eos_token_id,
            unknown=tokenizer.unk_token_id,
        )


@dataclass(frozen=True)
class Outline:
    """What every row of a template consists of.

    Attributes:
        line: of the encoder or decoder-only input: token ids, None for a virtual token, and texts
            that are still to be tokenised: literal, field, literal, ... in turn. That of a causal
            model ends where the answer begins.
        decoder: the same of the decoder input of a seq2seq model, up to the answer; else empty.
    """

    line: tuple[int | tuple[str, ...] | None, ...]
    decoder: tuple[int | tuple[str, ...] | None, ...] = ()
