"""Origins as users name them: a text like `seed:3`, a prompt folder, or a finished spec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from promptport.backbone import Backbone, with_origin
from promptport.errors import PromptPortError
from promptport.parameters.origins import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt

OriginLike = str | Path | OriginSpec

OWN = "own"  # the origin that the first prompt was tuned from
_SAME = 1e-6  # largest difference of entries that rounding makes
_KINDS = ("seed", "vocabulary", "normal", "mixture", "text")


def read_origin(text: OriginLike, seed: int = 0, *, also: str = "") -> OriginSpec:
    """What a user names as an origin.

    Args:
        text: `seed:3` (random words), `vocabulary`, `normal` (both also scaled: `vocabulary*0.1`),
            `mixture`, `text:SOME WORDS`, a prompt folder, or a spec, which stays as it is.
        seed: of the random kinds; `seed:3` has its own.
        also: what else may be written in this place, for the error.

    Raises:
        PromptPortError: none of these.
    """
    if isinstance(text, OriginSpec):
        return text
    text = str(text)
    if Path(text).is_dir():
        return OriginSpec("prompt", prompt=load_prompt(text))
    if text.partition(":")[0].partition("*")[0] in _KINDS:
        return OriginSpec.parse(text, seed)
    raise PromptPortError(
        "--origin",
        expected=f"{also}seed:NUMBER, vocabulary or normal (or a part of their length, like "
        "vocabulary*0.1), mixture, text:SOME WORDS or a prompt folder",
        got=repr(text),
        fix="Write for instance --origin seed:3",
    )


def origin_on(
    origin: OriginLike,
    source: Provenance,
    length: int,
    *,
    backbone: Backbone | str | None = None,
    seed: int = 0,
    also: str = "",
) -> tuple[Tensor, dict[str, Any]]:
    """Make an origin for prompts of a backbone, and say how it was made.

    Args:
        origin: as `read_origin` takes it.
        source: tells the backbone.
        length: n.
        backbone: in place of the one that `source` names: loaded, or its name.
        seed: as in `read_origin`.
        also: likewise.

    Returns:
        (n, d), and the provenance of it.

    Raises:
        PromptPortError: no such origin, or a backbone that does not belong to `source`.
    """
    spec = read_origin(origin, seed, also=also)
    model = backbone
    if not isinstance(model, Backbone):
        revision = source.revision if model is None else None
        model = Backbone.load(model or source.backbone, revision=revision, device="cpu")
    start = make_origin(spec, model, length)
    model.check_prompt(SoftPrompt(start, source))
    return start, spec.to_dict()


def own_origin(
    prompt: SoftPrompt | None, name: str, backbone: Backbone | str | None = None
) -> tuple[Tensor, dict[str, Any] | None]:
    """The origin that a prompt was tuned from, and how it was made.

    Args:
        prompt: None for a vector, which has none.
        name: of the prompt, for the error.
        backbone: as in `with_origin`.

    Raises:
        PromptPortError: it has no origin.
    """
    known = None if prompt is None else with_origin(prompt, backbone)
    if known is None or known.origin is None:
        raise PromptPortError(
            f"--origin {OWN}",
            expected="a first prompt with its origin",
            got=f"{name}, which has none",
            fix="Name another origin, for instance --origin seed:3",
        )
    return known.origin, known.provenance.origin


def with_given_origin(prompt: SoftPrompt, origin: OriginLike | None) -> SoftPrompt:
    """The prompt with its origin: the one that it keeps, of PEFT's a text, else the given one.

    Args:
        prompt: (n, d).
        origin: what it was tuned from, as `read_origin` takes it; None if only the prompt says.

    Raises:
        PromptPortError: another origin than the one that the prompt keeps.
    """
    known = with_origin(prompt)
    if origin is None:
        return known
    start, made = origin_on(origin, known.provenance, known.length)
    if known.origin is None:
        return replace(known.with_provenance(origin=made), origin=start)
    if not start.allclose(known.origin, atol=_SAME):
        raise PromptPortError(
            "--origin",
            expected="none, or the origin that the folder says",
            got=str(origin),
            fix="Leave the option out; to measure it from elsewhere, use promptport vector widen",
        )
    return known
