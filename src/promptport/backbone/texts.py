"""Origins made of a text as PEFT makes them (`prompt_tuning_init="TEXT"`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptport.backbone.checkpoint import open_space
from promptport.backbone.loading import Checkpoint, find_checkpoint, load_tokenizer
from promptport.backbone.model import Backbone, check_prompt
from promptport.backbone.trusting import tokenizer_options
from promptport.errors import BackboneError, MismatchError
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace


def text_ids(text: str, tokenizer: Any, length: int) -> list[int]:
    """Token ids of a text with its special tokens, repeated or cut to `length` (PEFT's TEXT)."""
    ids = tokenizer(text)["input_ids"]
    return [int(ids[i % len(ids)]) for i in range(length)] if ids else []


def origin_is_text(prompt: SoftPrompt) -> bool:
    """Whether a prompt has no origin but PEFT's text of it, which takes its backbone to read."""
    return prompt.origin is None and "tokenizer" in (prompt.provenance.origin or {})


def with_origin(prompt: SoftPrompt, backbone: Backbone | str | None = None) -> SoftPrompt:
    """The prompt with its origin, where it has none but PEFT's configuration says its text.

    Args:
        prompt: (n, d). One that has an origin, or whose origin nobody kept, comes back as it is.
        backbone: of the prompt, loaded, or its name if it is not where the prompt says; of a name
            only the embedding tensor and the tokenizer are read.

    Raises:
        MismatchError: another backbone, or a text that its tokenizer cannot have cut.
        BackboneError: the backbone, or the tokenizer of the text, cannot be read.
    """
    made = prompt.provenance.origin
    if made is None or not origin_is_text(prompt):
        return prompt
    space, own = _opened(prompt, backbone)
    check_prompt(prompt, space)
    tokenizer = _tokenizer(made, prompt.provenance.backbone, own)
    ids = text_ids(made["text"], tokenizer, prompt.length)
    if not ids or max(ids) >= len(space.matrix):
        raise MismatchError(
            "origin of the prompt",
            expected=f"a text of tokens below {len(space.matrix)}",
            got=f"{made['text']!r} cut by {made['tokenizer']}",
            fix="Correct tokenizer_name_or_path in adapter_config.json",
        )
    # PEFT takes what the embedding module puts out: a scale outside of it (Pegasus) is not there.
    return replace(prompt, origin=space.rows(ids) / space.outer_scale)


def _opened(prompt: SoftPrompt, backbone: Backbone | str | None) -> tuple[EmbeddingSpace, Any]:
    if isinstance(backbone, Backbone):
        return backbone.space, backbone.tokenizer
    made = prompt.provenance
    name, revision = (made.backbone, made.revision) if backbone is None else (backbone, None)
    return open_space(name, revision), load_tokenizer(find_checkpoint(name, revision))


def _tokenizer(made: Mapping[str, Any], backbone_reference: str, own: Any) -> Any:
    """The tokenizer that the text was cut by: that of the backbone, unless another is named."""
    name, options = made["tokenizer"], tokenizer_options(made.get("tokenizer_kwargs") or {})
    if name == backbone_reference and not options:
        return own
    try:
        place = Checkpoint(name, name, local=True) if Path(name).is_dir() else find_checkpoint(name)
        return load_tokenizer(place, **options)
    except (BackboneError, TypeError) as error:
        raise BackboneError(
            "origin of the prompt",
            expected=f"the tokenizer of its text, {name}",
            got=str(error).splitlines()[0],
            fix="Correct tokenizer_name_or_path in adapter_config.json",
        ) from error
