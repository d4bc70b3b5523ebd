"""The road by embeddings: prompts carried by two embedding tables, the best of several ways."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from promptport.distillation import DistillConfig, Teacher, choose_cue_word, select_transfer
from promptport.distillation.selection import Criterion
from promptport.errors import PromptPortError
from promptport.moving.places import ModelPlace, PromptAt
from promptport.prompt import SoftPrompt
from promptport.tasks import Task, Template
from promptport.transfers import Source, TransferConfig, TransferResult, transfer

CHOOSE = "choose"


@dataclass(frozen=True)
class EmbeddingsConfig:
    """How the road by embeddings is gone.

    Attributes:
        transfer: method, anchors and all else of `transfer`.
        candidates: several ways by name, the best is kept; they take the place of `transfer`.
        by: what decides between them (`select_transfer`).
        cue_word: word to put in front of {answer}; `choose` for the one that answers most like the
            source; None for none.
    """

    transfer: TransferConfig = field(default_factory=TransferConfig)
    candidates: Mapping[str, TransferConfig] = field(default_factory=dict)
    by: str = "roundtrip"
    cue_word: str | None = None


def move_by_embeddings(
    sources: Sequence[PromptAt],
    target: ModelPlace,
    config: EmbeddingsConfig,
    *,
    task: Task | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TransferResult:
    """Carry prompts of one task by the embedding tables, without labels and without training.

    Models are loaded only if a choice asks them: `by` agreement or labels, or a chosen cue word.

    Args:
        sources: one or more, with their weights.
        target: the backbone to carry them to.
        config: the way, or several to choose from.
        task: what a choice asks about; None if nothing does.
        progress: called with (done, in all) by methods that take long.

    Raises:
        PromptPortError: a choice without a task, or what `transfer` refuses.
    """
    if config.cue_word == CHOOSE and task is None:
        raise PromptPortError(
            f"--cue-word {CHOOSE}", expected="--task with it", got="none", fix="Name the task"
        )
    if config.candidates:
        result = _best(sources, target, config, task)
    else:
        result = transfer(
            _spaces(sources), target=target.space, config=config.transfer, progress=progress
        )
    if config.cue_word is None:
        return result
    if config.cue_word == CHOOSE and task is not None:
        prompt = _chosen_word(result.prompt, sources, target, task)
    else:
        prompt = with_cue_word(result.prompt, config.cue_word)
    return replace(result, prompt=prompt)


def _spaces(sources: Sequence[PromptAt]) -> list[Source]:
    return [Source(each.prompt, each.place.space, each.weight) for each in sources]


def _best(
    sources: Sequence[PromptAt], target: ModelPlace, config: EmbeddingsConfig, task: Task | None
) -> TransferResult:
    """The best of several ways; asks the sources' models only about a task."""
    return select_transfer(
        _spaces(sources),
        target.backbone,
        config.candidates,
        by=cast("Criterion", config.by),
        task=task,
        teachers=[] if task is None else [each.place.backbone for each in sources],
        config=DistillConfig(truncate=True),
    ).result


def with_cue_word(prompt: SoftPrompt, word: str) -> SoftPrompt:
    """The prompt with a word in front of {answer} in its template.

    Raises:
        PromptPortError: it remembers no template.
    """
    if prompt.provenance.template is None:
        raise PromptPortError(
            "--cue-word",
            expected="a prompt that remembers its template",
            got="one without",
            fix="Give the prompt's template with --template",
        )
    template = Template.parse(prompt.provenance.template).with_cue_word(word).text
    return prompt.with_provenance(template=template)


def _chosen_word(
    prompt: SoftPrompt, sources: Sequence[PromptAt], target: ModelPlace, task: Task
) -> SoftPrompt:
    """The word, or none, with which the prompt answers most like its sources on random words."""
    teachers = [Teacher(each.place.backbone, each.prompt, each.weight) for each in sources]
    config = DistillConfig(texts="words", truncate=True)
    return choose_cue_word(prompt, target.backbone, teachers, task, config=config).prompt
