"""Origins: the prompts that tuning starts from, each with a seed so that it can be made again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone, text_ids
from promptport.errors import TuningError
from promptport.parameters.mixtures import mixture_words, starting_logits
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.seeds import RANGE, check_seed, later_seed

OriginKind = Literal["vocabulary", "normal", "text", "prompt", "mixture"]

_SEED_STEP = 1_000_003  # far from the seeds that people write
_DRAWN = ("vocabulary", "normal")  # kinds that can be drawn again and shifted by one vector


@dataclass(frozen=True)
class OriginSpec:
    """How to make an origin.

    Attributes:
        kind: `vocabulary` (input rows of random words), `normal` (drawn from the normal
            distribution of the input rows, dimension by dimension), `text` (the tokens of a text,
            special tokens included, repeated or cut to length, as PEFT's TEXT), `prompt` (an
            existing prompt) or `mixture` (a random mixture of words, which the prompt remains).
        seed: of the random kinds.
        text: of the kind `text`.
        prompt: of the kind `prompt`.
        words: of the kind `mixture`: mix only these; None for all that the backbone knows.
        scale: factor on all entries, above 0; 1 for the kinds `prompt` and `mixture`. The smaller
            an origin, the less a task prompt vector depends on it.

    Raises:
        TuningError: a scale out of its range, or of a kind that has none.
    """

    kind: OriginKind = "vocabulary"
    seed: int = 0
    text: str | None = None
    prompt: SoftPrompt | None = field(default=None, compare=False)
    words: tuple[str, ...] | None = field(default=None, repr=False)
    scale: float = 1.0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        fixed = self.kind in ("prompt", "mixture") and self.scale != 1
        if fixed or not 0 < self.scale < math.inf:
            raise TuningError(
                "scale of an origin",
                expected="a number above 0, and 1 for a prompt or a mixture",
                got=f"{self.scale} for {self.kind}",
                fix="Write for instance vocabulary*0.1",
            )

    @classmethod
    def parse(cls, text: str, seed: int) -> OriginSpec:
        """Read `vocabulary`, `normal`, `mixture` or `text:some words`; `vocabulary*0.1` is scaled.

        `seed:3` is `vocabulary` with this seed, whatever the other one is.

        Raises:
            TuningError: none of these.
            PromptPortError: a seed out of its range.
        """
        if numbered := re.fullmatch("seed:([0-9]{1,99})", text):
            return cls("vocabulary", int(numbered[1]))
        kind, _, rest = text.partition(":")
        if kind == "text" and rest.strip():
            return cls("text", seed, rest)
        scaled = re.fullmatch(r"(vocabulary|normal)\*([-+.0-9eE]+)", text)
        if scaled and _is_number(scaled[2]):
            return cls(cast(OriginKind, scaled[1]), seed, scale=float(scaled[2]))
        if kind in ("vocabulary", "normal", "mixture") and not rest:
            return cls(cast(OriginKind, kind), seed)
        is_path = "/" in text or "\\" in text
        raise TuningError(
            "origin",
            expected="vocabulary, normal (both also scaled: vocabulary*0.1), mixture, seed:NUMBER "
            f"({RANGE}), text:SOME WORDS or a prompt folder",
            got=f"{text!r}, which is no folder" if is_path else repr(text),
            fix="Check the path"
            if is_path
            else "Write for instance --origin 'text:the capital of this country is'",
        )

    @classmethod
    def drawn_again(cls, made: Mapping[str, Any] | None) -> OriginSpec | None:
        """The spec of an origin that provenance tells of; None if `others` cannot be drawn."""
        if made is None or made.get("kind") not in _DRAWN:
            return None
        return cls(**{name: made[name] for name in ("kind", "seed", "scale") if name in made})

    @property
    def written(self) -> str:
        """A kind that can be drawn again as `parse` reads it: `vocabulary*0.1`."""
        return self.kind if self.scale == 1 else f"{self.kind}*{self.scale:g}"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for provenance."""
        if self.kind == "text":
            return {"kind": "text", "text": self.text}
        if self.kind == "prompt" and self.prompt is not None:
            return {
                "kind": "prompt",
                "task": self.prompt.provenance.task,
                "tuned_from": self.prompt.provenance.origin,
            }
        few = {} if self.words is None else {"words": len(self.words)}
        scaled = {} if self.scale == 1 else {"scale": self.scale}
        return {"kind": self.kind, "seed": self.seed, **few, **scaled}

    def others(self, count: int) -> list[OriginSpec]:
        """This one and others of its kind, `count` together, with seeds of their own.

        Raises:
            TuningError: a kind that is not random, or a mixture.
        """
        if count > 1 and self.kind not in _DRAWN:
            raise TuningError(
                "several origins",
                expected="the kind vocabulary or normal",
                got=self.kind,
                fix="Only these can be drawn again and shifted by one vector",
            )
        return [replace(self, seed=later_seed(self.seed, _SEED_STEP * i)) for i in range(count)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def make_origin(spec: OriginSpec, backbone: BackboneLike, length: int) -> Tensor:
    """Make an origin.

    Args:
        spec: how.
        backbone: the frozen model whose input rows are used.
        length: n >= 1.

    Returns:
        (n, d) float32.

    Raises:
        TuningError: unknown kind, no text, or a prompt of another length.
        MismatchError: a prompt of another backbone.
    """
    if length < 1:
        raise TuningError(
            "length", expected="at least 1 virtual token", got=str(length), fix="Use --length 5"
        )
    if spec.kind not in get_args(OriginKind):
        raise TuningError(
            "origin",
            expected=", ".join(get_args(OriginKind)),
            got=repr(spec.kind),
            fix="Choose one of them",
        )
    generator = torch.Generator().manual_seed(spec.seed)
    backbone = as_backbone(backbone)
    space = backbone.space
    if spec.kind == "vocabulary":
        ids = torch.tensor(sorted(space.words.values()))
        rows = space.rows(ids[torch.randint(len(ids), (length,), generator=generator)])
        return spec.scale * rows
    if spec.kind == "normal":
        noise = torch.randn(length, space.width, generator=generator)
        return spec.scale * (space.statistics.centre + noise * space.statistics.dimension_std)
    if spec.kind == "text":
        return spec.scale * space.rows(_text_ids(spec, backbone, length))
    if spec.kind == "mixture":
        rows = space.rows([space.words[word] for word in mixture_words(space, spec.words)])
        return starting_logits(len(rows), length, spec.seed).softmax(1) @ rows
    return _existing(spec, backbone, length)


def origin_prompt(spec: OriginSpec, backbone: BackboneLike, length: int) -> SoftPrompt:
    """A prompt that is an origin and nothing else: what tuning would start from.

    Args:
        spec: how to make the origin.
        backbone: the frozen model whose input rows are used.
        length: n >= 1.

    Raises:
        PromptPortError: as `make_origin`.
    """
    backbone = as_backbone(backbone)
    provenance = Provenance(
        backbone.name,
        backbone.kind,
        backbone.revision,
        backbone.space.fingerprint,
        origin=spec.to_dict(),
        file=backbone.space.file_record,
    )
    return SoftPrompt(make_origin(spec, backbone, length), provenance)


def _text_ids(spec: OriginSpec, backbone: Backbone, length: int) -> list[int]:
    ids = text_ids(spec.text or "", backbone.tokenizer, length)
    if not ids or not (spec.text or "").strip():
        raise TuningError(
            "origin", expected="a text", got=repr(spec.text), fix="Write --origin 'text:SOME WORDS'"
        )
    backbone.layout.check_rows(ids)
    return ids


def _existing(spec: OriginSpec, backbone: Backbone, length: int) -> Tensor:
    prompt = spec.prompt
    if prompt is None or prompt.length != length:
        raise TuningError(
            "origin",
            expected=f"a prompt of {length} virtual tokens",
            got="none" if prompt is None else str(prompt.length),
            fix="Take a prompt of that length, or the length of this one (tune --length)",
        )
    backbone.check_prompt(prompt)
    return prompt.vectors.clone()
