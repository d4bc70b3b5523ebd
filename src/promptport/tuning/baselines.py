"""What a score is compared with: majority, no prompt, manual template, random and tuned prompts."""

from __future__ import annotations

from dataclasses import replace

from promptport.backbone import Backbone
from promptport.evaluation import choose_template, evaluate
from promptport.parameters.origins import OriginSpec, origin_prompt
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Score, Task, Template
from promptport.tuning.config import TuneConfig, TuneJob
from promptport.tuning.independent import tune
from promptport.tuning.label_prior import PRIOR_OFF, has_prior, score_prior_off
from promptport.tuning.trainer import ProgressCallback

RANDOM_SEEDS = (0, 1, 2)
_DEFAULT_LENGTH = 5


def score_baselines(
    backbone: Backbone,
    task: Task,
    prompt: SoftPrompt | None = None,
    *,
    split: str = "test",
    template: Template | None = None,
    truncate: bool = False,
    tuned: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, Score]:
    """Score the baselines of a prompt.

    Args:
        backbone: the frozen model.
        task: the task.
        prompt: gives length and template of the random and tuned prompts; may belong to another
            backbone.
        split: the split to score.
        template: in place of the prompt's.
        truncate: cut texts that are too long.
        tuned: also tune a prompt on this backbone: it reads the labels of train and dev.
        progress: called during that tuning.

    Returns:
        `majority` (the most frequent training answer), `no prompt` (the template without its
        virtual tokens), `manual` (if the task has one), `manual, prior off` (of a classification:
        the same with its label prior taken off, see `label_prior`), `random` (mean of three
        prompts of vocabulary rows), and `tuned here` if asked for.
    """
    place = template or (task.template if prompt is None else choose_template(task, prompt))
    if not place.has_soft:
        place = task.template
    if place.has_chat:  # what is compared is asked in the same way
        task = task.with_chat()
    length = _DEFAULT_LENGTH if prompt is None else prompt.length
    scores = {"majority": task.majority_score(split)}

    def plain(template: Template) -> Score:
        return evaluate(backbone, task, template=template, split=split, truncate=truncate).score

    def behind(prompt: SoftPrompt) -> Score:
        return evaluate(
            backbone, task, prompt, template=place, split=split, truncate=truncate
        ).score

    manual = manual_scores(backbone, task, split=split, truncate=truncate)
    if place.without_soft() == task.manual:  # the same question
        scores["no prompt"] = manual["manual"]
    elif backbone.kind != "causal" or _reads_something(place):
        with stage("scoring no prompt"):
            scores["no prompt"] = plain(place.without_soft())
    scores |= manual
    randoms = []
    for number, seed in enumerate(RANDOM_SEEDS, 1):
        with stage(f"scoring random prompt {number} of {len(RANDOM_SEEDS)}"):
            randoms.append(behind(random_prompt(backbone, length, seed)))
    scores["random"] = _mean(randoms)
    if tuned:
        job = TuneJob(task, OriginSpec("vocabulary", 0), length, template=place)
        own = tune(backbone, [job], TuneConfig(truncate=truncate), progress=progress)[0].prompt
        if own is not None:
            with stage("scoring the prompt tuned here"):
                result = evaluate(backbone, task, own, split=split, truncate=truncate)
            scores["tuned here"] = result.score
    return scores


def dev_baselines(
    backbone: Backbone, task: Task, config: TuneConfig, *, manual: bool = True
) -> dict[str, Score]:
    """What is known without a prompt, on the dev rows that a run uses.

    Args:
        backbone: the frozen model.
        task: the task.
        config: of the run: most dev rows, and whether long texts are cut.
        manual: also score the manual template, which asks the backbone: the dev rows, and at most
            `PRIOR_TEXTS` unlabelled training texts.

    Returns:
        `majority`; `manual` if the task has such a template; `manual, prior off` if it also is a
        classification.
    """
    rows = task.load("dev")[: config.max_dev_rows or None]
    seen = task.with_rows(train=task.load("train"), dev=rows)
    scores = {"majority": seen.majority_score("dev")}
    if manual:
        scores |= manual_scores(backbone, seen, split="dev", truncate=config.truncate)
    return scores


def manual_scores(
    backbone: Backbone, task: Task, *, split: str = "test", truncate: bool = False
) -> dict[str, Score]:
    """The manual template, and the same with its label prior taken off, from one pass over rows.

    Args:
        backbone: the frozen model.
        task: the task.
        split: the split to score.
        truncate: cut texts that are too long.

    Returns:
        `manual`, and of a classification `manual, prior off`; nothing without such a template.
    """
    if task.manual is None:
        return {}
    with stage(f"scoring the manual template on {split} rows"):
        if not has_prior(task):
            return {"manual": evaluate(backbone, task, split=split, truncate=truncate).score}
        both = score_prior_off(backbone, task, task.manual, split=split, truncate=truncate)
    return {"manual": both.plain, PRIOR_OFF: both.score}


def _reads_something(template: Template) -> bool:
    """Whether anything but virtual tokens stands before the answer."""
    return bool(template.until_answer().fields)


def random_prompt(backbone: Backbone, length: int, seed: int) -> SoftPrompt:
    """A prompt of random vocabulary rows: what tuning would start from."""
    return origin_prompt(OriginSpec("vocabulary", seed), backbone, length)


def _mean(scores: list[Score]) -> Score:
    """Mean of values and interval ends."""
    count = len(scores)
    return replace(
        scores[0],
        value=sum(s.value for s in scores) / count,
        low=sum(s.low for s in scores) / count,
        high=sum(s.high for s in scores) / count,
    )
