"""What tuning does where nobody says otherwise, by the size and kind of the backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from promptport.backbone import Backbone
from promptport.errors import PromptPortError
from promptport.prompt import SoftPrompt
from promptport.tasks import Task, Template
from promptport.tuning.config import TuneConfig

Place = Literal["template", "front", "behind"]

LARGE = 50_000_000  # parameters from which passes over all rows are not to be counted in twenties
SHORT_TEXT = 16  # tokens up to which passing a text again costs little
_LOOKED_AT = 64  # rows whose length is counted


@dataclass(frozen=True)
class UsualSettings:
    """Settings that nobody chose.

    Attributes:
        length: virtual tokens; for their place see `usual_place`.
        config: budget, schedule and batches.
        relative_lr: see `TuneJob`.
    """

    length: int
    config: TuneConfig
    relative_lr: float = 0.1


def usual_settings(backbone: Backbone) -> UsualSettings:
    """The usual settings of a backbone.

    Small ones read all rows many times. Large ones take so many updates, whatever the number of
    rows, with a higher rate that falls to zero (benchmarks/real_models).
    """
    if backbone.parameters < LARGE:
        return UsualSettings(5, TuneConfig())
    config = TuneConfig(
        epochs=20,
        batch_size=16,
        patience=0,
        schedule="linear",
        max_dev_rows=200,
        max_steps=200,
        check=50,
    )
    return UsualSettings(10, config, relative_lr=0.2)


def usual_place(backbone: Backbone, *tasks: Task) -> Place:
    """Where virtual tokens stand for tasks of one prompt if nobody says so.

    On small models, and on large ones that are not causal, the template says where. Behind the
    text, on large causal models, an update is quick, since the text is passed through
    the model once. In front they say how the text is read: two of three pretrained models learn
    trec better there, and the third about as well (benchmarks/real_models).
    Texts as short as its questions cost little to pass again, so that the templates of such
    classifications stay as they are.

    Args:
        backbone: the frozen model.
        tasks: one or more, whose first training rows are looked at; all must have short texts.

    Raises:
        TaskError: training rows that cannot be read.
    """
    if backbone.parameters < LARGE or backbone.kind != "causal":
        return "template"
    short = all(_has_short_texts(backbone, task) for task in tasks)
    return "template" if short else "behind"


def _has_short_texts(backbone: Backbone, task: Task) -> bool:
    if task.kind != "classification":
        return False
    texts = [" ".join(row.fields.values()) for row in task.load("train")[:_LOOKED_AT]]
    if not texts:
        return False
    encoded = backbone.tokenizer(texts, add_special_tokens=False)["input_ids"]
    return sum(map(len, encoded)) <= SHORT_TEXT * len(texts)


def placed_in(backbone: Backbone, task: Task, place: Place | None, *of_one: Task) -> Template:
    """A task's template with its virtual tokens in a place.

    Args:
        backbone: the frozen model.
        task: the task.
        place: None: where they usually stand.
        of_one: tasks of one prompt, this one among them, that stand in one place.
    """
    return placed(task.template, place or usual_place(backbone, *(of_one or (task,))))


def placed(template: Template, place: Place) -> Template:
    """A template with its virtual tokens in a place.

    Args:
        template: of a task.
        place: `behind` moves only virtual tokens that stand in front of everything.
    """
    if place == "front":
        return template.with_soft_in_front()
    if place == "behind" and template.leads_with_soft:
        return template.with_soft_behind()
    return template


def templates_of(prompts: Iterable[SoftPrompt]) -> list[str]:
    """All templates that prompts are known to be asked in."""
    return [text for prompt in prompts for text in prompt.provenance.known_templates]


def placed_like(task: Task, backbone: Backbone, templates: Iterable[str]) -> Task:
    """A task whose virtual tokens stand where those of its causal backbone's prompts do.

    Prompts that were tuned behind the text say little in front of it. If all of them were, or most
    of those of a large model, a task in whose template virtual tokens stand in front of everything
    is asked behind the text too.

    Args:
        task: the new task.
        backbone: of the prompts.
        templates: of prompts of other tasks; one that nobody can read says nothing.
    """
    leading: list[bool] = []
    for text in templates:
        with contextlib.suppress(PromptPortError):  # of another software
            leading.append(Template.parse(text).leads_with_soft)
    most = len(leading) / 2 if backbone.parameters >= LARGE else 1
    behind = leading and sum(leading) < most
    if backbone.kind != "causal" or not behind or not task.template.leads_with_soft:
        return task
    return task.with_template(placed(task.template, "behind").text)
