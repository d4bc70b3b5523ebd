"""A task prompt vector that works on many origins, learned from its prompt on one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone, BackboneLike, as_backbone, with_origin
from promptport.distillation.config import DistillConfig, Teacher
from promptport.distillation.recipes import (
    INTO_MERGE,
    DistillResult,
    finish,
    from_free_vectors,
    history_entry,
)
from promptport.distillation.targets import DistillTargets
from promptport.distillation.variants import OnOrigins
from promptport.errors import TuningError
from promptport.parameters.origins import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.storage import PromptLike, as_prompt
from promptport.tasks import TaskLike, as_task

# Hard tasks get a little closer for thousands of steps; easy ones end before.
OVER_ORIGINS = replace(INTO_MERGE, steps=4800, batch_size=8, enough=0.002)
_UNSEEN = 16  # origins that only held-back texts are asked on


def distill_over_origins(
    prompt: PromptLike,
    backbone: BackboneLike,
    task: TaskLike,
    *,
    origin: OriginSpec | None = None,
    origins: int = 64,
    split: str = "train",
    config: DistillConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DistillResult:
    """Make a finished prompt's task prompt vector work on any origin of its kind; no label is read.

    A vector `T = P* - P_0` answers well where it was tuned. Here it learns to say on many origins
    what the prompt says on its own: every text of a step is put to `P_i + T`, `P_i` drawn from
    the origins, and T comes nearer to the answers of P*.

    Args:
        prompt: finished, of `backbone`.
        backbone: the frozen model.
        task: gives the unlabelled rows and the template.
        origin: what the vector is measured from, in place of the origin of the prompt (of PEFT's,
            if made of a text). A prompt without one is measured from random words (`config.seed`).
        origins: how many are learned from, 2 or more: this one, and others of its kind where that
            can be drawn again, else random words. Held-back texts are asked on 16 others.
        split: the split whose texts are read.
        config: budget and rates; None for `OVER_ORIGINS`.
        progress: called with (steps done, steps in all).

    Returns:
        The prompt on that origin, `P_0 + T`, of free vectors even if it was a mixture. Losses, and
        what is `missed`, are those on origins that nothing was learned from.

    Raises:
        TuningError: fewer than two origins, or one that cannot be made.
        MismatchError: the prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
    """
    config = config or OVER_ORIGINS
    prompt, backbone, task = as_prompt(prompt), as_backbone(backbone), as_task(task)
    backbone.check_prompt(prompt)
    if origins < 2:
        raise TuningError("origins", expected="2 or more", got=str(origins), fix="Ask for 64")
    if origin is None:
        prompt = with_origin(prompt, backbone)
    start, made = _measured_from(prompt, backbone, origin, config)
    kind = OriginSpec.drawn_again(made) or OriginSpec(seed=config.seed)
    variants = _on_origins(start, kind, origins, backbone)
    teacher = Teacher(backbone, prompt)
    targets = DistillTargets.make(backbone, prompt, [teacher], task, split, config)
    learning = from_free_vectors(prompt, [targets], config, variants)
    record = finish(learning, progress, f"widening on {backbone.name}")
    old = prompt.provenance
    entry = history_entry("distill_over_origins", config, record)
    entry |= {"origins": origins, "kind": kind.to_dict(), "task": task.name, "split": split}
    entry |= {"seed": config.seed, "origin": old.origin, "tuning": old.tuning}
    known: dict[str, Any] = {  # what a prompt of PEFT's does not say, and is clear now
        "kind": old.kind or backbone.kind,
        "fingerprint": old.fingerprint or backbone.space.fingerprint,
        "task": old.task or task.name,
        "template": old.template or targets.objective.template.text,
    }
    provenance = replace(old, **known, origin=made, tuning=None, history=(*old.history, entry))
    changed = SoftPrompt(learning.best, provenance, origin=start)
    # The held-back texts again, asked where the prompt stands.
    own = from_free_vectors(changed, [targets], config).missed[0]
    return DistillResult(changed, **record, missed_own=own)


def _measured_from(
    prompt: SoftPrompt, backbone: Backbone, origin: OriginSpec | None, config: DistillConfig
) -> tuple[Tensor, dict[str, Any] | None]:
    """The origin (n, d) that a prompt's vector is measured from, and how it was made."""
    if origin is None and prompt.origin is not None:
        return prompt.origin, prompt.provenance.origin
    spec = origin or OriginSpec(seed=config.seed)
    return make_origin(spec, backbone, prompt.length), spec.to_dict()


def _on_origins(start: Tensor, kind: OriginSpec, count: int, backbone: Backbone) -> OnOrigins:
    """One origin (n, d) and others of a kind, `count` together, and those that are not learned."""
    seeded = kind.others(count + _UNSEEN)[1:]
    others = torch.stack([make_origin(each, backbone, len(start)) for each in seeded]) - start
    learned = torch.cat([torch.zeros_like(start)[None], others[: count - 1]])
    return OnOrigins(learned.to(backbone.device), others[count - 1 :].to(backbone.device))
