"""What a prompt reads like, and what prompts answer to a text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptport.app.work import Asked, Session, Tell, opened_prompt
from promptport.backbone import Backbone, check_prompt, open_space
from promptport.errors import PromptPortError
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.serving.asks import Ask
from promptport.serving.server import PromptServer
from promptport.storage import load_vector
from promptport.storage.vector_folder import is_vector
from promptport.tasks import Task
from promptport.token_text import readable
from promptport.vector import TaskPromptVector

_WORDS = 5  # next to a virtual token


def read_prompt(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Words and lengths of the virtual tokens of a prompt or vector.

    Args:
        session: of the worker.
        asked: `path` of its folder.
        tell: not used.

    Returns:
        `norms` of its rows; `mean_norm` of the model's input rows; `moved`, how far each row is
        from its origin; `nearest` and `mixture`: of each row [word, number] pairs; `problem`, why
        the model could not be read. What is not known is None.
    """
    path = Path(asked["path"]).absolute()
    thing: SoftPrompt | TaskPromptVector
    thing = load_vector(path) if is_vector(path) else opened_prompt(session, path)
    rows = thing.vectors if isinstance(thing, SoftPrompt) else thing.delta
    origin = thing.origin if isinstance(thing, SoftPrompt) else None
    mixture = thing.mixture if isinstance(thing, SoftPrompt) else None
    told: dict[str, Any] = {
        "norms": rows.norm(dim=1).tolist(),
        "mean_norm": None,
        "moved": None if origin is None else (rows - origin).norm(dim=1).tolist(),
        "nearest": None,
        "mixture": None if mixture is None else mixture.readable(_WORDS),
        "problem": None,
    }
    made = thing.provenance
    try:
        with stage(f"reading the words of {made.backbone}"):
            space = open_space(made.backbone, made.revision)
        if isinstance(thing, SoftPrompt):
            check_prompt(thing, space)
        near = space.nearest(rows, _WORDS)
    except PromptPortError as error:
        return {**told, "problem": str(error)}
    told["mean_norm"] = space.statistics.mean_norm
    told["nearest"] = [[(readable(token), cosine) for token, cosine in row] for row in near]
    return told


def try_texts(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """What prompts answer to a text.

    Args:
        session: of the worker.
        asked: `prompts`, each with `name` and `path`; `fields`: the text, or texts by field.
        tell: not used.

    Returns:
        `answers` in the order of the prompts: `name`, `model`, `task`, and `answer` with
        `probabilities`, `writes` and `truncated`, or `error`.
    """
    answers: dict[str, dict[str, Any]] = {}
    groups: dict[int, tuple[Backbone, dict[str, SoftPrompt]]] = {}
    for each in asked["prompts"]:
        name = each["name"]
        try:
            prompt = opened_prompt(session, each["path"])
            answers[name] = {"model": prompt.provenance.backbone, "task": prompt.provenance.task}
            model = session.backbone_of(prompt)
        except PromptPortError as error:
            answers[name] = {"model": None, "task": None} | answers.get(name, {})
            answers[name]["error"] = str(error)
            continue
        groups.setdefault(id(model), (model, {}))[1][name] = prompt
    for model, prompts in groups.values():
        own = [session.task(prompt.provenance.task) for prompt in prompts.values()]
        tasks = list({task.name: task for task in own if task is not None}.values())
        with stage(f"asking {model.name}"):
            for name, told in _answers(model, prompts, tasks, asked["fields"]).items():
                answers[name] |= told
    return {"answers": [{"name": p["name"], **answers[p["name"]]} for p in asked["prompts"]]}


def _answers(
    model: Backbone,
    prompts: Mapping[str, SoftPrompt],
    tasks: list[Task],
    fields: Mapping[str, str],
) -> dict[str, dict[str, Any]]:
    """Of all prompts of one model, in shared batches; each with what hinders it, if so."""
    server = PromptServer(model, prompts, tasks=tasks)
    told: dict[str, dict[str, Any]] = {}
    asks: list[tuple[str, Ask]] = []
    for name in prompts:
        needed = server.shelf.get(name).asked.objective.template.fields
        ask = Ask(name, {field: fields.get(field, "") for field in needed})
        try:
            server.lay_out(ask)
        except PromptPortError as error:
            told[name] = {"error": str(error)}
            continue
        asks.append((name, ask))
    replies = server.answer([ask for _, ask in asks]) if asks else []
    for (name, _), reply in zip(asks, replies, strict=True):
        shares = None if reply.probabilities is None else list(reply.probabilities.items())
        told[name] = {
            "answer": reply.text,
            "probabilities": shares,
            "writes": reply.probabilities is None,
            "truncated": reply.truncated,
        }
    return told
