"""New prompts of old ones: moved to another model, or combined."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptport.app.work import Asked, Session, Tell, opened_prompt
from promptport.catalog.changing import add_folder, checked_name
from promptport.errors import StorageError, TaskError
from promptport.evaluation import Evaluation, score_prompts
from promptport.library.combining import Combination, CombineConfig, combine
from promptport.moving import MoveConfig, prepare_move
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.scratch import scratch_folder
from promptport.storage import load_vector, save_prompt
from promptport.storage.vector_folder import is_vector
from promptport.tasks import Task

_MOST_TASKS = 6


def move_prompt(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Carry a prompt to another model, and put the result into the library.

    Args:
        session: of the worker.
        asked: `prompt` with `name` and `path`; `to`, a model; `name` of the new one; `library`,
            the folder that it is put in; `texts`: `auto`, `task` or `words`; `steps`, most
            updates (None: the usual number); `score`: whether both are scored on test rows.
        tell: is told the road, and why.

    Returns:
        `name`, `folder`, `road`, `verdict`, `warnings`, `expected` (`value`, `low`, `high`,
        `source`; None where nothing can be said), and `scores`: whose -> score.

    Raises:
        PromptPortError: the name is taken, or what `move` refuses.
    """
    check_free(asked["library"], asked["name"])
    prompt = opened_prompt(session, asked["prompt"]["path"])
    task = session.task(prompt.provenance.task)
    learning = {"truncate": True}
    learning |= {} if asked["steps"] is None else {"steps": asked["steps"]}
    config = MoveConfig(
        data=None if session.data is None else Path(session.data),
        learning=learning,
        loading=session.loading,
    )
    prepared = prepare_move(prompt, asked["to"], task=task, texts=asked["texts"], config=config)
    tell({"note": prepared.plan.line})
    if asked["score"]:
        prepared.check_score()
    result = prepared.run()
    scores = prepared.score(result.prompt) if asked["score"] else {}
    folder = keep(result.prompt, asked["library"], asked["name"])
    return {
        "name": asked["name"],
        "folder": str(folder),
        "road": result.plan.line,
        "verdict": result.verdict,
        "warnings": list(result.warnings),
        "expected": None if result.expected is None else result.expected.to_dict(),
        "scores": {whose: score.to_dict() for whose, score in scores.items()},
    }


def score_sum(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Score a weighted sum of prompts on dev rows of each one's task, beside the prompt alone.

    Args:
        session: of the worker.
        asked: `parts`, each with `name`, `path` and `coefficient`; `rows`: most rows of a task.
        tell: not used.

    Returns:
        `scores`: `task`, `metric`, `rows`, `sum` and `alone`, both with `value`, `low`, `high`;
        `left_out`: names of prompts whose task cannot be opened.

    Raises:
        PromptPortError: the prompts do not fit together, or no task can be opened.
    """
    made = _combined(session, asked)
    tasks, left_out = _tasks(session, asked)
    model = session.backbone_of(made.prompt)
    with stage("scoring dev rows"):
        found = score_prompts(
            model, [made.prompt], list(tasks.values()), split="dev", rows=asked["rows"]
        )[0]
    scores = []
    for (name, task), own in zip(tasks.items(), found, strict=True):
        path = next(each["path"] for each in asked["parts"] if each["name"] == name)
        alone = _alone(session, path, task, asked["rows"])
        scores.append({"name": name, "task": task.name, "sum": _score(own), "alone": alone})
    return {"scores": scores, "left_out": left_out}


def combine_prompts(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Put a weighted sum of prompts into the library.

    Args:
        session: of the worker.
        asked: `parts` as in `score_sum`; `name` of the new prompt, and `library`.
        tell: not used.

    Returns:
        `name`, `folder`, and `notes`.

    Raises:
        PromptPortError: the name is taken, or the prompts do not fit together.
    """
    check_free(asked["library"], asked["name"])
    made = _combined(session, asked)
    folder = keep(made.prompt, asked["library"], asked["name"])
    return {"name": asked["name"], "folder": str(folder), "notes": list(made.notes)}


def check_free(library: str, name: str) -> None:
    """Refuse a name before the work.

    Raises:
        PromptPortError: no such name, or it is taken.
    """
    checked_name(name)
    if (Path(library) / name).exists():
        raise StorageError(
            name, expected="a name that is free", got="one that is taken", fix="Choose another one"
        )


def keep(prompt: SoftPrompt, library: str, name: str) -> Path:
    """Put a prompt into a library, whole or not at all.

    Raises:
        PromptPortError: the name is taken, or the library cannot be written.
    """
    with scratch_folder() as place:
        return add_folder(save_prompt(prompt, place / "prompt"), library, name)


def _combined(session: Session, asked: Asked) -> Combination:
    parts: dict[str, Any] = {}
    weights: dict[str, float] = {}
    for number, each in enumerate(asked["parts"]):
        path = Path(each["path"]).absolute()
        # Names of ours: what a folder is called need not be one that an expression can hold.
        parts[f"p{number}"] = load_vector(path) if is_vector(path) else opened_prompt(session, path)
        weights[f"p{number}"] = float(each["coefficient"])
    expression = " + ".join(f"{value:.6f}*{name}" for name, value in weights.items())
    origin = "own" if isinstance(parts["p0"], SoftPrompt) else "seed:0"
    return combine(expression, parts, CombineConfig(origin=origin), data=session.data)


def _tasks(session: Session, asked: Asked) -> tuple[dict[str, Task], list[str]]:
    """The tasks that can be scored, by prompt, each once; and whose cannot."""
    tasks: dict[str, Task] = {}
    left_out = []
    for each in asked["parts"]:
        path = Path(each["path"]).absolute()
        thing = load_vector(path) if is_vector(path) else opened_prompt(session, path)
        task = session.task(thing.provenance.task)
        if task is None:
            left_out.append(each["name"])
        elif task.name not in {known.name for known in tasks.values()}:
            tasks[each["name"]] = task
    if not tasks:
        raise TaskError(
            "tasks of the prompts",
            expected="one or more that can be opened, to score on their dev rows",
            got="none",
            fix="Start the page with --task FILE.yaml",
        )
    return dict(list(tasks.items())[:_MOST_TASKS]), left_out


def _alone(session: Session, path: str, task: Task, rows: int) -> dict[str, Any]:
    """The score of a prompt by itself, computed once."""
    place = Path(path).absolute()
    key = (str(place), place.stat().st_mtime_ns, task.name, rows)
    if key not in session.scores:
        prompt = opened_prompt(session, place)
        model = session.backbone_of(prompt)
        found = score_prompts(model, [prompt], [task], split="dev", rows=rows)[0][0]
        session.scores[key] = _score(found)
    return session.scores[key]


def _score(own: Evaluation) -> dict[str, Any]:
    told: Mapping[str, Any] = own.score.to_dict()
    return dict(told)
