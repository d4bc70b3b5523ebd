"""The word that a causal model says the answer behind.

A masked model answers at its mask and an encoder-decoder at its sentinel, wherever the virtual
tokens stand. A causal model answers from the last token before the answer. In `{soft} {answer}`
that is a virtual token, which was never tuned to be answered from when the prompt comes from a
model of another kind. A plain word in between takes this duty over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from promptport._version import __version__
from promptport.backbone import Backbone
from promptport.distillation.config import DistillConfig, Teacher
from promptport.distillation.targets import DistillTargets
from promptport.evaluation import choose_template
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Task

# Words that answers often follow; those that are no single token of the target are left out.
CUE_WORDS = ("is", "of", "was", "the", "in", "as")


@dataclass(frozen=True)
class CueWord:
    """What was chosen.

    Attributes:
        prompt: with the template that was chosen.
        word: in front of the answer, None if the template stays as it is.
        divergences: mean Kullback-Leibler divergence from the sources' answers for every word, and
            for none (the empty word), in nats.
    """

    prompt: SoftPrompt
    word: str | None
    divergences: dict[str, float]


@torch.no_grad()
def choose_cue_word(
    prompt: SoftPrompt,
    backbone: Backbone,
    teachers: Sequence[Teacher],
    task: Task,
    *,
    split: str = "train",
    config: DistillConfig | None = None,
    words: Sequence[str] = CUE_WORDS,
) -> CueWord:
    """The word in front of the answer with which a ported prompt answers most like its sources.

    No label is read. A prompt stays as it is where the target is no causal model, or something
    else than a virtual token stands in front of the answer.

    Args:
        prompt: of `backbone`, a ported one.
        backbone: the target.
        teachers: the sources.
        task: gives the texts and, where the prompt has none, the template.
        split: the split whose texts are read.
        config: `texts`, `rows`, `seed` and `truncate` count.
        words: to choose from; the template as it is is always among the choices.

    Raises:
        MismatchError: a prompt belongs to another backbone.
        TaskError: too few rows, or a text to text task.
        AnchorError: a probe, and the backbones share no words to compare answers on.
    """
    backbone.check_prompt(prompt)
    template = choose_template(task, prompt)
    if backbone.kind != "causal" or not template.answers_from_soft:
        return CueWord(prompt, None, {})
    config = config or DistillConfig()
    targets = DistillTargets.make(backbone, prompt, teachers, task, split, config)
    choices = {"": template}
    choices |= {w: template.with_cue_word(w) for w in words if w in backbone.space.words}
    vectors = prompt.vectors.to(backbone.device)
    divergences = {}
    with stage("choosing a cue word") as told:
        for done, (word, choice) in enumerate(choices.items()):
            told.at(done, len(choices))
            divergences[word] = targets.asked_through(choice).agreement(vectors).divergence
    word = min(divergences, key=lambda name: divergences[name])
    if not word:
        return CueWord(prompt, None, divergences)
    entry = {
        "step": "cue_word",
        "word": word,
        "divergences": divergences,
        "labels_used": False,
        "promptport": __version__,
    }
    old = prompt.provenance
    provenance = replace(old, template=choices[word].text, history=(*old.history, entry))
    return CueWord(replace(prompt, provenance=provenance), word, divergences)
