"""What the commands share: tables, JSON, progress, common options."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.errors import PromptPortError, UnknownNameError
from promptport.seeds import MOST

if TYPE_CHECKING:
    from promptport.prompt import Provenance, SoftPrompt
    from promptport.tasks import Task

_PIPE_WIDTH = 140
STATE_FILE = ".tuning-state.safetensors"  # of an unfinished run, in its folder
HTML_MARK = b"<title>promptport"  # of the reports

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda, mps ...")]
DeviceMapOption = Annotated[
    str | None, typer.Option(help="Spread a large model over devices, for instance auto.")
]
DtypeOption = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
DataOption = Annotated[Path | None, typer.Option(help="Data folder of lama: and nlu: tasks.")]
SplitOption = Annotated[str, typer.Option(help="Split whose texts are read.")]
TextsOption = Annotated[
    str, typer.Option(help="words: random words, no data. task: unlabelled texts of the task.")
]
LibraryArgument = Annotated[
    list[Path],
    typer.Argument(help="Prompt or vector folders of one backbone, or folders of such."),
]
OwnBackboneOption = Annotated[
    str | None, typer.Option(help="Backbone, if it is not where the prompts say.")
]
VectorOriginOption = Annotated[
    str | None,
    typer.Option(
        help="What vectors are put on: seed:3 (random words), normal, mixture, text:SOME WORDS, or "
        "a prompt folder; usually seed:0."
    ),
]
TruncateFlag = Annotated[
    bool, typer.Option("--truncate", help="Cut texts that are too long instead of refusing them.")
]


def seed_option(text: str) -> Any:
    """An option that takes a seed."""
    return typer.Option(help=text, min=0, max=MOST)


def backbone_reference(made: Provenance, named: str | None = None) -> dict[str, Any]:
    """Name and revision of a backbone: the one that is named, else that of a prompt."""
    if named is not None:
        return {"name": named, "revision": None}
    return {"name": made.backbone, "revision": made.revision}


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on standard output; numbers that JSON has not become null."""
    typer.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if (isinstance(value, float) and value in (float("inf"), float("-inf"))) or value != value:
        return None
    return value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard output; numbers to the right."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    if not console.is_terminal:  # a pipe or file has no width of its own
        console.width = _PIPE_WIDTH
    longest = max((len(str(row[0])) for row in rows), default=0)
    whole = longest <= console.width // 2  # or it would leave no room for the others
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold")
    for i, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], int | float | None) for row in rows)
        table.add_column(
            column,
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=i == 0 and whole,
        )
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_cell(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_cell(part) for part in value) or "none"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def interval(score: Mapping[str, Any]) -> str:
    """`0.812 [0.790, 0.834]` from the dictionary of a score."""
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


@contextlib.contextmanager
def progress_bar(label: str, hidden: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar on standard error, if that is a terminal: call it with (done, total, note)."""
    if hidden or not sys.stderr.isatty():
        yield lambda done, total, note: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=None, note="")
        yield lambda done, total, note: bar.update(task, completed=done, total=total, note=note)


@contextlib.contextmanager
def goes_on(since: str | None) -> Iterator[None]:
    """End an interrupted command with a line that says how to go on.

    Args:
        since: what the same command goes on from; None where nothing is kept.
    """
    try:
        yield
    except KeyboardInterrupt:
        how = "" if since is None else f": the same command goes on from {since}"
        typer.echo(f"interrupted{how}", err=True)
        raise typer.Exit(130) from None


def open_tasks(references: Sequence[str], data: Path | None) -> list[Task]:
    """Open several tasks by reference."""
    from promptport.tasks import open_task

    return [open_task(reference, data) for reference in references]


def note_other_task(prompts: Sequence[SoftPrompt], task: Task) -> None:
    """Say which prompts were made for another task: a slip, most likely."""
    for prompt in prompts:
        made = prompt.provenance.task
        if made is not None and task.name not in made.split(" + "):
            typer.echo(f"note: the prompt was made for {made}, --task is {task.name}", err=True)


def note_no_template(prompt: SoftPrompt, task: Task) -> None:
    """Say that the task's template is used, where the prompt names none and it may be wrong."""
    if prompt.provenance.template is None and not task.template.leads_with_soft:
        typer.echo(
            "note: the prompt names no template, so that of the task is used: "
            f"{task.template.text} (PEFT puts its rows in front: --template '{{soft}} ...')",
            err=True,
        )


def task_of(prompt: SoftPrompt, given: str | None, data: Path | None, option: str) -> Task:
    """The task of a prompt: the one that is given, else the one that it remembers.

    Raises:
        PromptPortError: none is given, and the prompt names none that can be opened.
    """
    from promptport.tasks import open_task

    recorded = prompt.provenance.task
    try:
        if given or recorded:
            return open_task(given or recorded or "", data)
    except UnknownNameError:
        if given:
            raise
    raise PromptPortError(
        option,
        expected="a task, since the prompt folder names none that is embedded",
        got="none" if recorded is None else f"only the recorded name {recorded!r}",
        fix=f"Give {option} TASK, for instance the path of a .yaml file",
    )


def shared_words(backbones: Sequence[str]) -> list[str] | None:
    """Words that are single tokens of all these backbones; None if there are none to ask."""
    from promptport.backbone import open_space

    if not backbones:
        return None
    return sorted(set.intersection(*(set(open_space(name).words) for name in backbones)))


def show_lesson(title: str, result: Mapping[str, Any], names: Sequence[str] = ()) -> None:
    """What a prompt learned from teachers' answers.

    Args:
        title: of the table.
        result: of a `DistilResult`.
        names: of the teachers, if each has a task of its own.
    """
    shares = zip(names or [""] * len(result["missed"]), result["missed"], strict=True)
    missed = ", ".join(f"{name} {share:.2f}".strip() for name, share in shares)
    own = result.get("missed_own")
    facts = [
        ["cross-entropy to the teacher's answers, before", result["before"]],
        ["after", result["after"]],
        ["the teacher's own entropy (no prompt can go below)", result["floor"]],
        ["missed of what the teacher tells the texts apart by (1: all)", missed],
        *([["the same on its own origin", f"{own:.2f}"]] if own is not None else []),
        ["unlabelled rows read or made", result["rows"]],
        ["steps", result["steps"]],
        ["labels used", "no"],
    ]
    print_table(title, ["", ""], facts)


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


def quiet() -> None:
    """Keep the libraries below from talking into our output."""
    from promptport.backbone import silence_libraries

    silence_libraries()


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
    """A folder, if it holds a prompt or a vector, and the folders in it that do.

    Hidden ones are left out: what a killed run was about to rename.
    """
    from promptport.storage.prompt_folder import CONFIG_FILE
    from promptport.storage.vector_folder import RECORD_FILE

    inside = sorted(place.iterdir()) if place.is_dir() else []
    marks = (CONFIG_FILE, RECORD_FILE)
    seen = (place, *(f for f in inside if not f.name.startswith(".")))
    return [f for f in seen if any((f / mark).is_file() for mark in marks)]


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
