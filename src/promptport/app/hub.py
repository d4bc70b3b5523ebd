"""Prompts to the Hub, and from it into the library."""

from __future__ import annotations

from typing import Any

from promptport.app.making import check_free
from promptport.app.work import Asked, Session, Tell
from promptport.catalog.changing import add_folder
from promptport.history import public_name
from promptport.progress import stage
from promptport.scratch import scratch_folder
from promptport.storage.hub_prompts import pull_prompt, push_prompt


def push(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Send a prompt to the Hub, or show what would be sent.

    Args:
        session: not used.
        asked: `prompt` with `name` and `path`; `repo`, USER/NAME; `base_model` and `licence`, empty
            for none; `public`; `dry_run`: nothing is sent.
        tell: not used.

    Returns:
        `name`, `repo`, `private`, `files` (name -> bytes), `card`, and `url`, None of a dry run.

    Raises:
        PromptPortError: what `push_prompt` refuses.
    """
    prompt = asked["prompt"]
    with stage(f"sending {prompt['name']} to {asked['repo']}"):
        pushed = push_prompt(
            prompt["path"],
            asked["repo"],
            base_model=asked["base_model"] or None,
            licence=asked["licence"] or None,
            public=asked["public"],
            dry_run=asked["dry_run"],
        )
    return {
        "name": prompt["name"],
        "repo": pushed.repo,
        "private": pushed.private,
        "files": dict(pushed.files),
        "card": pushed.card,
        "url": pushed.url,
    }


def pull(session: Session, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Get a prompt from the Hub, check it, and put it into the library.

    Args:
        session: not used.
        asked: `repo`, USER/NAME or USER/NAME@REVISION; `name` of the new prompt; `library`.
        tell: not used.

    Returns:
        `name`, `folder`, `repo`, `commit`, `model`, `task` and `notes`.

    Raises:
        PromptPortError: the name is taken, or what `pull_prompt` refuses.
    """
    check_free(asked["library"], asked["name"])
    with stage(f"getting {asked['repo']}"), scratch_folder() as scratch:
        pulled = pull_prompt(asked["repo"], scratch / "prompt")
        folder = add_folder(scratch / "prompt", asked["library"], asked["name"])
    made = pulled.prompt.provenance
    return {
        "name": asked["name"],
        "folder": str(folder),
        "repo": asked["repo"],
        "commit": pulled.commit,
        "model": public_name(made.backbone),
        "task": made.task,
        "notes": list(pulled.notes),
    }
