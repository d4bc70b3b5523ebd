"""How alike prompts are, and what becomes of two when they are added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from promptport.analysis import compare, forecast_pair
from promptport.analysis.forecast import RELIABILITY
from promptport.analysis.similarity import cosine
from promptport.app.work import Asked, Session, Tell, opened_prompt
from promptport.errors import PromptPortError, TaskError
from promptport.library.entry import TaskPrompt
from promptport.pages import ColourScale
from promptport.progress import stage
from promptport.storage import load_vector
from promptport.storage.vector_folder import is_vector
from promptport.vector import TaskPromptVector

_MOST = 12  # similar prompts that are told


def similar(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """The prompts that point most nearly where one does.

    Args:
        session: of the worker.
        asked: `path` of the one; `others`, each with `name` and `path`, of its model and size.
        tell: not used.

    Returns:
        `similar`, the nearest first: `name`, `cosine` of the whole prompts, and `tuned`, the
        cosine of what tuning added to their origins (None where one has none). `left_out`: how
        many could not be compared.
    """
    rows, delta = _parts(asked["path"], session)
    found, left_out = [], 0
    with stage("comparing") as told:
        for number, other in enumerate(asked["others"]):
            told.at(number, len(asked["others"]))
            try:
                own_rows, own_delta = _parts(other["path"], session)
            except PromptPortError:
                left_out += 1
                continue
            if own_rows.shape != rows.shape:
                left_out += 1
                continue
            tuned = None if delta is None or own_delta is None else cosine(delta, own_delta)
            found.append({"name": other["name"], "cosine": cosine(rows, own_rows), "tuned": tuned})
    found.sort(key=lambda each: -(each["cosine"] if each["tuned"] is None else each["tuned"]))
    return {"similar": found[:_MOST], "left_out": left_out}


def _parts(path: str, session: Session) -> tuple[Tensor, Tensor | None]:
    """Rows of a prompt and of its vector; of a vector both are its own."""
    place = Path(path).absolute()
    if is_vector(place):
        delta = load_vector(place).delta
        return delta, delta
    prompt = opened_prompt(session, place)
    return prompt.vectors, None if prompt.origin is None else prompt.vectors - prompt.origin


def compare_prompts(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """All pairs of some prompts.

    Args:
        session: of the worker.
        asked: `prompts`, two or more, each with `name` and `path`; `of`: `prompts`, or `vectors`
            for what tuning added.
        tell: not used.

    Returns:
        `names`, `verdict`, the matrices `cosine` and `sign_conflict`; `colours` of the first: of
        each cell [background, text]; `scale`: numbers with their colours.

    Raises:
        PromptPortError: they do not fit together.
    """
    prompts = {each["name"]: opened_prompt(session, each["path"]) for each in asked["prompts"]}
    if asked["of"] == "vectors":
        told = compare({n: TaskPromptVector.of(p, n) for n, p in prompts.items()}).to_dict()
    else:
        told = compare(prompts).to_dict()
    scale = ColourScale("diverging", -1, 1)
    colours = [[scale.colour(value) for value in row] for row in told["cosine"]]
    return {
        **{name: told[name] for name in ("names", "verdict", "cosine", "sign_conflict")},
        "colours": [[[own.background, own.text] for own in row] for row in colours],
        "scale": [[value, own.background] for value, own in scale.legend()],
    }


def forecast_sum(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Whether two tasks survive the sum of their vectors; no label is read.

    Args:
        session: of the worker.
        asked: `prompts`, two, each with `name` and `path`; `rows`: most texts of a task.
        tell: not used.

    Returns:
        `tasks`: `name` of the prompt, `task`, `verdict`, `probability` that it is kept, and
        `agreement` with `low` and `high`; `reliability`: how often such verdicts came true.

    Raises:
        PromptPortError: they do not fit together, or a task cannot be opened.
    """
    parts = []
    for each in asked["prompts"]:
        prompt = opened_prompt(session, each["path"])
        task = session.task(prompt.provenance.task)
        if task is None:
            raise TaskError(
                f"task of {each['name']}",
                expected="one that can be opened",
                got=repr(prompt.provenance.task or "none"),
                fix="Start the page with --task FILE.yaml",
            )
        parts.append(TaskPrompt(prompt, task))
    first, second = parts
    model = session.backbone_of(first.prompt)
    told = forecast_pair(model, first, second, rows=asked["rows"], truncate=True)
    tasks = [
        {
            "name": each["name"],
            "task": own.task,
            "verdict": own.verdict,
            "probability": own.probability,
            "agreement": own.agreement.value,
            "low": own.agreement.low,
            "high": own.agreement.high,
            "rows": own.rows,
        }
        for each, own in zip(asked["prompts"], told.tasks, strict=True)
    ]
    known = RELIABILITY["sum"]
    reliability = {
        name: {"said": known[name].said, "right": known[name].right}
        for name in {own.verdict for own in told.tasks}
    }
    return {"tasks": tasks, "reliability": reliability}
