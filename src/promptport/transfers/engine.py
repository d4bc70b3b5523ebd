"""Transfer: move a soft prompt from one frozen backbone to another by their embedding tables alone.

The road has two halves: every virtual token is described by the words that both backbones know
(`describing`), and the description is written in the target's space (`decoding`). A portable
prompt is what stands between the two, kept for later.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from promptport.backbone import SpaceLike
from promptport.errors import MismatchError
from promptport.portable import PortablePrompt
from promptport.progress import also, stage
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace
from promptport.storage import PromptLike, as_prompt, load_portable
from promptport.transfers.config import TransferConfig
from promptport.transfers.decoding import TransferResult, decode
from promptport.transfers.describing import describe_portable, describe_sources, encode_source
from promptport.transfers.sources import Source, in_fixed_order, the_target

# What can be moved: one prompt, its folder, a portable prompt or its file, or several sources.
Movable = SoftPrompt | PortablePrompt | Source | Sequence[Source] | str | Path


def transfer(  # noqa: PLR0913
    prompt: Movable,
    source: SpaceLike | None = None,
    target: SpaceLike | None = None,
    config: TransferConfig | None = None,
    *,
    method: str | None = None,
    options: Mapping[str, Any] | None = None,
    magnitude: str | None = None,
    anchors: str | None = None,
    words: Sequence[str] | None = None,
    minimum_anchors: int | None = None,
    lengths: str | None = None,
    own_anchors: bool | None = None,
    seed: int | None = None,
    roundtrip: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TransferResult:
    """Move a soft prompt to another backbone without data, labels or either language model.

    `transfer(prompt, "nano-bert", "nano-roberta")` names both backbones; with one backbone alone,
    `transfer("my-prompt", "nano-roberta")`, that is the target, and the source is the backbone that
    the prompt remembers. Names, folders and loaded objects are all taken.

    Several sources (prompts of one task, with weights) become one prompt. Methods that look at the
    description alone (`least_squares`, `gradient` and others) solve for all of them at once; the
    rest moves each source by itself and takes the mean. Their order does not matter.

    The new prompt keeps template and task. It has no origin (`SoftPrompt.origin` is None): what
    tuning started from does not move along unless the method is linear. The source's origin, tuning
    record and revision stay in the new entry of `provenance.history`. The report on a portable
    prompt has no round trip and no agreement of the backbones: both need the source.

    Args:
        prompt: what to move: a prompt (n, d_s) or its folder, a portable prompt or its file, one
            `Source`, or several.
        source: backbone of the prompt; None for the one that it remembers.
        target: backbone that the prompt shall work on.
        config: all settings at once; each of the following replaces one of them, and None leaves
            it as it is. See `TransferConfig`.
        method: name of a transfer method, with or without version.
        options: of the method, by name.
        magnitude: rule for the norms of the virtual tokens.
        anchors: which of the shared words are used.
        words: use only these words.
        minimum_anchors: refuse fewer shared words than this.
        lengths: rule for sources with different numbers of virtual tokens.
        own_anchors: let every source use all words that it shares with the target.
        seed: of methods that draw random numbers.
        roundtrip: also carry the result back for the report: as much work again.
        progress: called with (done, in all) by methods that take long.

    Raises:
        MismatchError: a prompt does not belong to its source, prompts do not fit together, or a
            method that needs the source of a portable prompt.
        AnchorError: too few shared words.
        UnknownNameError: no such method, option or rule.
        BackboneError: a backbone that cannot be found or read.
        StorageError: no such folder or file.
    """
    start = time.perf_counter()
    given = {
        "method": method,
        "options": options,
        "magnitude": magnitude,
        "anchors": anchors,
        "words": words,
        "minimum_anchors": minimum_anchors,
        "lengths": lengths,
        "own_anchors": own_anchors,
        "seed": seed,
        "roundtrip": roundtrip,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    chosen = replace(config or TransferConfig(), **changes)
    thing, source, space = _opened(prompt, source, target)
    with stage(f"carrying to {space.backbone}") as told:
        at = also(told, progress)
        if isinstance(thing, PortablePrompt):
            plan = chosen.plan(mixture=thing.mixture is not None)
            return decode(describe_portable(thing, space, plan, at), space, plan, start)
        sources = _checked(thing if isinstance(thing, list) else [Source(thing, source)])
        plan = chosen.plan(mixture=all(s.prompt.mixture is not None for s in sources))
        return decode(describe_sources(sources, space, plan, at), space, plan, start)


def encode_prompt(
    prompt: PromptLike,
    source: SpaceLike | None = None,
    words: Sequence[str] | None = None,
) -> PortablePrompt:
    """Describe a prompt by the words of its backbone; `transfer` reads the result.

    Args:
        prompt: (n, d_s), or its folder.
        source: backbone that it was tuned on; None for the one that it remembers.
        words: use only these; None for all single-token words. The more, the more of them a later
            target will know.

    Raises:
        MismatchError: the prompt does not belong to `source`.
        AnchorError: none of the words is a single token.
    """
    made = Source(prompt, source)
    made.check()
    return encode_source(made, words)


def _opened(
    prompt: Movable, source: SpaceLike | None, target: SpaceLike | None
) -> tuple[SoftPrompt | PortablePrompt | list[Source], SpaceLike | None, EmbeddingSpace]:
    """What is moved, its source if that is named, and the target's space."""
    source, space = the_target(source, target)
    thing = _thing(prompt)
    if source is not None and not isinstance(thing, SoftPrompt):
        raise MismatchError(
            "source",
            expected="none: sources name their backbones, and portable prompts need none",
            got=str(source),
            fix="Leave it out",
        )
    return thing, source, space


def _thing(prompt: Movable) -> SoftPrompt | PortablePrompt | list[Source]:
    if isinstance(prompt, PortablePrompt):
        return prompt
    if isinstance(prompt, Source):
        return [prompt]
    if isinstance(prompt, str | Path):
        return load_portable(prompt) if Path(prompt).is_file() else as_prompt(prompt)
    return as_prompt(prompt) if isinstance(prompt, SoftPrompt) else list(prompt)


def _checked(sources: Sequence[Source]) -> list[Source]:
    if not sources:
        raise MismatchError(
            "sources", expected="one prompt or more", got="none", fix="Name a prompt"
        )
    for source in sources:
        source.check()
    templates = {source.prompt.provenance.template for source in sources}
    if len(templates) > 1:
        raise MismatchError(
            "sources",
            expected="prompts tuned with one template",
            got=", ".join(sorted(repr(template) for template in templates)),
            fix="Tune them with the same template",
        )
    return in_fixed_order(sources)
