"""Concatenation: prompts one behind the other, the merge that changes no vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import torch
from torch import Tensor

from promptport.belonging import check_same_backbone
from promptport.errors import PromptPortError, ShapeError
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.vector import shared_provenance


def concatenate(prompts: Sequence[SoftPrompt]) -> SoftPrompt:
    """Put the virtual tokens of prompts (not vectors) one behind the other.

    Args:
        prompts: (n_i, d), one or more, of the same backbone.

    Returns:
        (Σ n_i, d). It has an origin if all have one, is a mixture prompt if all are and have the
        same words, and keeps the template if all have the same.

    Raises:
        PromptPortError: no prompt.
        MismatchError: different backbones.
        ShapeError: different widths.
    """
    if not prompts:
        raise PromptPortError(
            "concatenate", expected="one prompt or more", got="none", fix="Give the prompts"
        )
    first = prompts[0]
    for prompt in prompts[1:]:
        check_same_backbone(first.provenance, prompt.provenance)
        if prompt.width != first.width:
            raise ShapeError(
                "prompt",
                expected=f"virtual tokens {first.width} wide",
                got=str(prompt.width),
                fix="Give prompts of the same backbone",
            )
    provenance = reduce(shared_provenance, [p.provenance for p in prompts])
    if len(prompts) > 1:
        tasks = " + ".join(dict.fromkeys(p.provenance.task or "?" for p in prompts))
        step = {"step": "merge", "method": "concatenate.v1", "source": tasks}
        provenance = replace(provenance, task=tasks, history=(*provenance.history, step))
    origins = [p.origin for p in prompts if p.origin is not None]
    origin = torch.cat(origins) if len(origins) == len(prompts) else None
    if origin is None and len(prompts) > 1:
        provenance = replace(provenance, origin=None)  # it told of each part, not of the whole
    vectors: Tensor = torch.cat([p.vectors for p in prompts])
    return SoftPrompt(vectors, provenance, origin, _mixture(prompts))


def _mixture(prompts: Sequence[SoftPrompt]) -> Mixture | None:
    mixtures = [p.mixture for p in prompts if p.mixture is not None]
    if len(mixtures) < len(prompts) or len({m.words for m in mixtures}) > 1:
        return None
    return Mixture(mixtures[0].words, torch.cat([m.weights for m in mixtures]))
