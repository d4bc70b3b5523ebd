"""Prompt folders on the Hub: pushed with their card, pulled and checked. Tokens are the business
of `huggingface_hub` alone."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptport.catalog.facts import finite
from promptport.catalog.layout import (
    CONFIG_FILE,
    LEGACY_WEIGHTS_FILE,
    TAGS_FILE,
    WEIGHTS_FILE,
)
from promptport.errors import PromptPortError, StorageError
from promptport.files import atomic_folder
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.scratch import scratch_folder
from promptport.storage.model_card import CARD_FILE, may_write_card, model_card
from promptport.storage.prompt_folder import (
    MIXTURE_FILE,
    ORIGIN_FILE,
    PROVENANCE_FILE,
    VECTOR_FILES,
    load_prompt,
    save_prompt,
)
from promptport.zoo import embedded_folder

_FILES = (
    *(CONFIG_FILE, WEIGHTS_FILE, LEGACY_WEIGHTS_FILE, PROVENANCE_FILE),
    *(ORIGIN_FILE, MIXTURE_FILE, TAGS_FILE, CARD_FILE),
)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FOREIGN_PATH = re.compile(r"[/\\~.]|[A-Za-z]:")  # what a path of some machine begins with
# Kinds of tasks as the Hub calls them, by metric.
_TASKS = {
    **dict.fromkeys(("accuracy", "macro-f1", "matthews"), "text-classification"),
    **dict.fromkeys(("p@1", "p@5", "p@10"), "fill-mask"),
}


@dataclass(frozen=True)
class PushedPrompt:
    """What was sent to the Hub, or would be.

    Attributes:
        repo: Hub id, with `@` and the revision if it is not the main branch.
        files: name -> bytes.
        private: whether a repository that is made anew is private.
        url: of the commit or pull request; None of a dry run.
        card: the model card.
    """

    repo: str
    files: Mapping[str, int]
    private: bool
    url: str | None
    card: str


@dataclass(frozen=True)
class PulledPrompt:
    """What came from the Hub.

    Attributes:
        prompt: read and checked.
        folder: where it was put.
        commit: of the repository.
        notes: what is not known of it, or may surprise, one line each.
    """

    prompt: SoftPrompt
    folder: Path
    commit: str
    notes: tuple[str, ...]


def push_prompt(
    folder: str | Path,
    repo: str,
    *,
    base_model: str | None = None,
    licence: str | None = None,
    public: bool = False,
    revision: str | None = None,
    pull_request: bool = False,
    dry_run: bool = False,
) -> PushedPrompt:
    """Send a prompt folder to the Hub, in one commit; other files of the folder stay here.

    Args:
        folder: prompt folder, ours or PEFT's.
        repo: `user/name`; made if it is not there.
        base_model: Hub id of the backbone, where the folder names a place on this machine.
        licence: as the Hub abbreviates it, for instance `apache-2.0`.
        public: a repository that is made anew is seen by everybody.
        revision: branch to commit to.
        pull_request: propose the commit instead.
        dry_run: send nothing.

    Raises:
        PromptPortError: a folder that cannot be read, a name that is no Hub id, a base model that
            others cannot find, or the Hub refuses.
    """
    _check_id("push", repo)
    prompt = _with_base(load_prompt(folder), base_model, folder)
    card = model_card(prompt, repo.partition("/")[2], _fields_of(prompt.provenance, repo, licence))
    with scratch_folder() as scratch:
        staged = scratch / "prompt"
        save_prompt(prompt, staged)
        (staged / CARD_FILE).write_text(card, "utf-8")
        files = {file.name: file.stat().st_size for file in sorted(staged.iterdir())}
        if dry_run:
            return PushedPrompt(repo, files, not public, None, card)
        from huggingface_hub import HfApi

        api = HfApi()
        with _one_line(repo):
            api.create_repo(repo, private=not public, exist_ok=True)
            done = api.upload_folder(
                repo_id=repo,
                folder_path=staged,
                commit_message=f"Soft prompt of {prompt.length} virtual tokens",
                revision=revision,
                create_pr=pull_request,
            )
    where = done.pr_revision if pull_request else revision
    named = repo if where is None else f"{repo}@{where}"
    return PushedPrompt(named, files, not public, done.pr_url or done.commit_url, card)


def pull_prompt(
    repo: str, out: str | Path, *, check: Callable[[SoftPrompt], None] | None = None
) -> PulledPrompt:
    """Fetch a prompt from the Hub, check it, and put it into a folder.

    Nothing is unpickled: older PEFT files are read as tensors only.

    Args:
        repo: `user/name`, or `user/name@REVISION`.
        out: prompt folder to write; the files of a prompt that is there go, and a README.md that is
            not our card stays.
        check: called with the prompt before anything is written.

    Raises:
        PromptPortError: no such repository, no prompt in it, or a damaged one.
    """
    name, _, revision = repo.partition("@")
    _check_id("pull", name)
    with _one_line(repo):
        place = _snapshot(name, revision or None)
    prompt = load_prompt(place)
    if check is not None:
        check(prompt)
    own = set() if may_write_card(Path(out)) else {CARD_FILE}
    files = [file for file in _FILES if file not in own]
    with atomic_folder(Path(out), [*files, *VECTOR_FILES]) as staging:
        for file in files:
            if (place / file).is_file():
                shutil.copyfile(place / file, staging / file)
    return PulledPrompt(prompt, Path(out), place.name, _notes(prompt.provenance, place))


def hub_copy(name: str) -> Path | None:
    """The local copy of a prompt of the Hub, fetched if need be; None if there is none.

    Args:
        name: anything; only what reads like `user/name` or `user/name@REVISION` is looked for, and
            no path within a folder that is here: a slip of the pen must not fetch a stranger's.
    """
    repo, _, revision = name.partition("@")
    if not _HUB_ID.fullmatch(repo) or Path(repo).parent.is_dir():
        return None
    try:
        with _one_line(name):
            place = _snapshot(repo, revision or None)
    except PromptPortError:
        return None
    return place if (place / CONFIG_FILE).is_file() else None


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    return Path(str(snapshot_download(repo, revision=revision, allow_patterns=list(_FILES))))


def _check_id(command: str, repo: str) -> None:
    if not _HUB_ID.fullmatch(repo):
        raise PromptPortError(
            command,
            expected="a Hub id, user/name",
            got=repr(repo),
            fix="Write for instance my-name/sentiment-prompt",
        )


def _with_base(prompt: SoftPrompt, base_model: str | None, folder: str | Path) -> SoftPrompt:
    """The prompt with a name of its backbone that others can find."""
    name = base_model or prompt.provenance.backbone
    if embedded_folder(name) is not None or _HUB_ID.fullmatch(name):
        local = base_model is None and "/" in name and Path(name).exists()
        if not local:
            return prompt.with_provenance(backbone=name)
    raise PromptPortError(
        f"base model of {folder}",
        expected="a Hub id, so that others find it",
        got=repr(name),
        fix="Name it with --base-model, for instance --base-model HuggingFaceTB/SmolLM2-135M",
    )


def _fields_of(made: Provenance, repo: str, licence: str | None) -> dict[str, Any]:
    """What the Hub reads of a card, beside what every card has."""
    fields: dict[str, Any] = {} if licence is None else {"license": licence}
    if _HUB_ID.fullmatch(made.backbone):
        fields["tags"] = [f"base_model:adapter:{made.backbone}"]
    tuning = made.tuning or {}
    score, metric = finite(tuning.get("dev_score")), str(tuning.get("metric"))
    if made.task is not None and score is not None:
        measured = {"type": metric, "value": round(score, 4), "name": f"{metric} (dev rows)"}
        fields["model-index"] = [
            {
                "name": repo.partition("/")[2],
                "results": [
                    {
                        "task": {"type": _TASKS.get(metric, "text-generation")},
                        "dataset": {"name": made.task, "type": made.task, "split": "dev"},
                        "metrics": [measured],
                    }
                ],
            }
        ]
    return fields


def _notes(made: Provenance, place: Path) -> tuple[str, ...]:
    """What is not known of a prompt that others made."""
    notes = []
    if not (place / PROVENANCE_FILE).is_file():
        notes.append(
            "it was not made by promptport: where its virtual tokens stand and what it was tuned "
            "for is not recorded; PEFT puts them in front of everything"
        )
    if _FOREIGN_PATH.match(made.backbone):
        notes.append(
            f"its base model is {made.backbone!r}, a place on another machine: name the model with "
            "--backbone"
        )
    if not (place / WEIGHTS_FILE).is_file():
        notes.append("its rows are in PEFT's older format; they were read as tensors only")
    return tuple(notes)


@contextlib.contextmanager
def _one_line(repo: str) -> Iterator[None]:
    """What the Hub's library raises as one line of ours."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except RepositoryNotFoundError as error:
        raise _refused(repo, "no such repository, or none that you may see", _LOG_IN) from error
    except RevisionNotFoundError as error:
        raise _refused(repo, "no such revision", "Check its name") from error
    except LocalEntryNotFoundError as error:
        raise _refused(
            repo, "no copy here, and no answer", "Check the network, and HF_HUB_OFFLINE"
        ) from error
    except (HfHubHTTPError, HTTPError, OSError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        told = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        fix = _LOG_IN if status in (401, 403) else "Try again later"
        raise _refused(repo, told, fix) from error


_LOG_IN = "Check the name; if it is right, log in with: hf auth login"


def _refused(repo: str, got: str, fix: str) -> StorageError:
    return StorageError(repo, expected="the Hub to do as asked", got=got, fix=fix)
