"""What is refused before any work begins: options and places to write that do not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt
    from promptport.provenance import Provenance

STATE_FILE = ".tuning-state.safetensors"  # of an unfinished run, in its folder
HTML_MARK = b"<title>promptport"  # of the reports


def check_one_each(option: str, values: Sequence[object], prompts: Sequence[object]) -> None:
    """Refuse another number of values than of prompts, unless there are none.

    Raises:
        PromptPortError: neither none nor one each.
    """
    if values and len(values) != len(prompts):
        raise PromptPortError(
            option,
            expected=f"none, or one per prompt ({len(prompts)})",
            got=str(len(values)),
            fix=f"Repeat {option} for every prompt, in their order",
        )


def refuse_together(option: str, others: Mapping[str, bool]) -> None:
    """Refuse options that another one leaves without effect.

    Args:
        option: the one that decides, as the user writes it.
        others: option -> whether it was given.

    Raises:
        PromptPortError: one of them was given.
    """
    given = [name for name, is_given in others.items() if is_given]
    if given:
        raise PromptPortError(
            option,
            expected=f"no {', '.join(others)} with it",
            got=", ".join(given),
            fix="Leave one of the two out",
        )


def prompt_folders(place: Path) -> list[Path]:
    """A folder, if it holds a prompt or a vector, and the folders in it that do."""
    from promptport import storage

    return storage.prompt_folders(place)


def origin_folder(text: str | None) -> list[Path]:
    """The prompt folder that a user names as the origin, if it is one."""
    return [Path(text)] if text is not None and Path(text).is_dir() else []


def check_out(out: Path, *inputs: Path, own: Path | None = None) -> None:
    """Refuse to write a result over what it is made of, or into a folder of prompt folders.

    Args:
        out: the folder to write.
        inputs: what is read.
        own: a prompt folder in it that the command made itself, and makes again.

    Raises:
        PromptPortError: the output is one of the inputs, or holds prompt folders and no prompt.
    """
    if any(place.resolve() == out.resolve() for place in inputs):
        raise PromptPortError(
            "--out",
            expected="another folder than the one that is read",
            got=str(out),
            fix="Name a new folder: the source would be lost",
        )
    found = [folder for folder in prompt_folders(out) if folder != own]
    if found and out not in found:
        raise PromptPortError(
            "--out",
            expected="a folder that holds no prompt folders",
            got=f"{out}, which holds {found[0].name}",
            fix=f"Name a folder of its own, for instance {out / 'NAME'}",
        )


def check_other_prompt(
    out: Path, *tasks: str | None, force: bool = False, combined: bool = False
) -> None:
    """Refuse to write a prompt over one of another task.

    Args:
        out: the prompt folder.
        tasks: names that the task of its new prompt may have; None where nobody knows.
        force: whatever is there may go.
        combined: so may a combination, which its parts make again.

    Raises:
        PromptPortError: the folder holds a prompt of another task, or one that names no task.
    """
    from promptport.history import makes_another
    from promptport.storage import load_prompt
    from promptport.storage.prompt_folder import CONFIG_FILE

    if force or not (out / CONFIG_FILE).is_file():
        return
    known = [task for task in tasks if task is not None]
    try:
        old: Provenance | None = load_prompt(out).provenance
    except PromptPortError:  # of another kind, or damaged: nobody's to lose without a word
        old = None
    made = None if old is None else old.task
    if combined and old is not None and any(map(makes_another, old.history[-1:])):
        return
    if made not in known:
        like = f", or one with a prompt for {known[0]}" if known else ""
        raise PromptPortError(
            "--out",
            expected=f"a new folder{like}",
            got=f"{out}, which holds {'another adapter' if made is None else f'one for {made}'}",
            fix="Name another folder, or write over it with --force",
        )


def check_vector_out(out: Path, prompt: SoftPrompt | None = None) -> None:
    """Refuse to write a vector where it would count in place of another prompt's.

    Args:
        out: the vector folder.
        prompt: that the vector is taken of, if there is one.

    Raises:
        PromptPortError: the folder of another prompt, or as `check_out`.
    """
    from promptport.storage import load_prompt
    from promptport.storage.prompt_folder import CONFIG_FILE, checksum

    check_out(out)
    taken = (out / CONFIG_FILE).is_file()
    if taken and (prompt is None or checksum(load_prompt(out)) != checksum(prompt)):
        raise PromptPortError(
            "--out",
            expected="a folder of its own, or that of the prompt whose vector it is",
            got=f"{out}, which holds another prompt",
            fix="Name a new folder: combine would take this vector for that prompt's",
        )


def check_file(out: Path, mark: bytes) -> None:
    """Refuse to write over a file that the command did not make.

    Args:
        out: the file.
        mark: what every file that it makes holds.

    Raises:
        PromptPortError: another file stands there.
    """
    if out.is_file() and mark not in out.read_bytes():
        raise PromptPortError(
            "--out",
            expected="a new file, or one that this command made",
            got=f"{out}, which is another",
            fix="Name a new file",
        )
