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


@dataclass(frozen=True)
class UsualSettings:
    """Settings that nobody chose.

    Attributes:
        length: virtual tokens.
        place: where they stand: `template` (as the task says), `front` or `behind` (the text).
        config: budget, schedule and batches.
        relative_lr: see `TuneJob`.
    """

    length: int
    place: Place
    config: TuneConfig
    relative_lr: float = 0.1


def usual_settings(backbone: Backbone) -> UsualSettings:
    """The usual settings of a backbone.

    Small ones read all rows many times. Large ones take so many updates, whatever the number of
    rows, with a higher rate that falls to zero. On causal ones the virtual tokens stand behind the
    text, so that the text is passed through the model once (benchmarks/real_models).
    """
    if backbone.parameters < LARGE:
        return UsualSettings(5, "template", TuneConfig())
    config = TuneConfig(
        epochs=20,
        batch_size=16,
        patience=0,
        schedule="linear",
        max_dev_rows=200,
        max_steps=200,
        check=50,
    )
    place: Place = "behind" if backbone.kind == "causal" else "template"
    return UsualSettings(10, place, config, relative_lr=0.2)


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

    Prompts that were tuned behind the text say little in front of it. If all of them were, a task
    in whose template virtual tokens stand in front of everything is asked behind the text too.

    Args:
        task: the new task.
        backbone: of the prompts.
        templates: of prompts of other tasks; one that nobody can read says nothing.
    """
    found: list[Template] = []
    for text in set(templates):
        with contextlib.suppress(PromptPortError):  # of another software
            found.append(Template.parse(text))
    behind = found and not any(each.leads_with_soft for each in found)
    if backbone.kind != "causal" or not behind or not task.template.leads_with_soft:
        return task
    return task.with_template(placed(task.template, "behind").text)
