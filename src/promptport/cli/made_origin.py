"""Origins that a user writes: what task prompt vectors are put on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.cli.console import backbone_reference
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from torch import Tensor

    from promptport.backbone import Backbone
    from promptport.parameters import OriginSpec
    from promptport.prompt import Provenance

OWN = "own"


def origin_for(
    text: str,
    first: Path,
    source: Provenance,
    length: int,
    *,
    backbone: str | None = None,
    seed: int = 0,
) -> tuple[Tensor, dict[str, Any] | None]:
    """`own`: the origin of the prompt in a folder; else as `make_start`.

    Raises:
        PromptPortError: that folder has no origin, or as `make_start`.
    """
    if text == OWN:
        return _own_origin(first, backbone)
    return make_start(text, source, length, backbone=backbone, seed=seed, also=f"{OWN}, ")


def _own_origin(place: Path, backbone: str | None) -> tuple[Tensor, dict[str, Any] | None]:
    from promptport.backbone import with_origin
    from promptport.storage import load_prompt
    from promptport.storage.prompt_folder import CONFIG_FILE

    known = (place / CONFIG_FILE).is_file()
    prompt = with_origin(load_prompt(place), backbone) if known else None
    if prompt is None or prompt.origin is None:
        raise PromptPortError(
            "--origin own",
            expected="a first prompt with its origin",
            got=f"{place}, which has none",
            fix="Name another origin, for instance --origin seed:3",
        )
    return prompt.origin, prompt.provenance.origin


def make_start(
    text: str,
    source: Provenance,
    length: int,
    *,
    backbone: Backbone | str | None = None,
    seed: int = 0,
    also: str = "",
) -> tuple[Tensor, dict[str, Any]]:
    """Make an origin for a backbone from what a user writes, and say how it was made.

    Args:
        text: what `OriginSpec.parse` reads, or a prompt folder.
        source: tells the backbone.
        length: n.
        backbone: in place of the one that `source` names: loaded, or its name.
        seed: of random kinds, but `seed:3` has its own.
        also: what else the user may write, for the error.

    Returns:
        (n, d), and the provenance of it.

    Raises:
        PromptPortError: none of these, or a backbone that does not belong to `source`.
    """
    from promptport.backbone import Backbone
    from promptport.parameters import make_origin
    from promptport.prompt import SoftPrompt

    spec = written_origin(text, seed, also)
    model = backbone
    if not isinstance(model, Backbone):
        model = Backbone.load(**backbone_reference(source, model), device="cpu")
    start = make_origin(spec, model, length)
    model.check_prompt(SoftPrompt(start, source))
    return start, spec.to_dict()


def written_origin(text: str, seed: int, also: str = "") -> OriginSpec:
    """What a user writes, as in `make_start`.

    Raises:
        PromptPortError: none of these.
    """
    from promptport.parameters import OriginSpec
    from promptport.storage import load_prompt

    if Path(text).is_dir():
        return OriginSpec("prompt", prompt=load_prompt(text))
    kinds = ("seed", "vocabulary", "normal", "mixture", "text")
    if text.partition(":")[0].partition("*")[0] in kinds:
        return OriginSpec.parse(text, seed)
    raise PromptPortError(
        "--origin",
        expected=f"{also}seed:NUMBER, vocabulary or normal (or a part of their length, like "
        "vocabulary*0.1), mixture, text:SOME WORDS or a prompt folder",
        got=repr(text),
        fix="Write for instance --origin seed:3",
    )
