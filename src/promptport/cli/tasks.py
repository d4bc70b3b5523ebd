"""promptport tasks: list the tasks; show, make or check one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    JsonFlag,
    command_line,
    hint,
    note,
    print_facts,
    print_json,
    print_table,
    quiet,
    say,
    seed_option,
    written,
)
from promptport.errors import TaskError

if TYPE_CHECKING:
    from promptport.tasks import Row, Task
    from promptport.tasks.checking import TaskCheck
    from promptport.tasks.importing import ImportedTask

_EXAMPLE_MODEL = "nano-bert"
_EXAMPLE_WRITER = "nano-t5"


def listing(ctx: typer.Context, data: DataOption = None, json_output: JsonFlag = False) -> None:
    """List the tasks; show, make or check one.

    Example:
        promptport tasks
        promptport tasks show country-capital
    """
    if ctx.invoked_subcommand is not None:
        return
    from promptport.tasks import list_tasks

    entries = [entry.to_dict() for entry in list_tasks(data)]
    if json_output:
        print_json({"tasks": entries})
        return
    rows = [
        [
            e["reference"].removeprefix("pocket:"),
            e["kind"],
            *[e["rows"].get(s) for s in ("train", "dev", "test")],
            e["description"],
        ]
        for e in entries
    ]
    columns = ["task", "kind", "train", "dev", "test", "description"]
    print_table(f"{len(rows)} tasks", columns, rows)
    if data is None:
        say("Add --data FOLDER for the lama: and nlu: tasks in that folder.")
        say("From the Hugging Face Hub, with --data from a folder: tpv:mnli and 18 more.")
    say("A task of your own: promptport tasks init --help")


def show(
    task: Annotated[str, typer.Argument(help="A task's name, or a task file (.yaml).")],
    data: DataOption = None,
    rows: Annotated[int, typer.Option(min=0, help="Rows to show.")] = 3,
    json_output: JsonFlag = False,
) -> None:
    """Show one task with some of its rows.

    Example:
        promptport tasks show country-capital
    """
    from promptport.tasks import open_task

    opened = open_task(task, data)
    read = {split: _rows(opened, split, json_output) for split in opened.splits}
    first = next(iter(read.values()), ((), False))[0]
    examples = [{**row.fields, "answer": row.answer} for row in first[:rows]]
    labels = None if opened.labels is None else {k: list(v) for k, v in opened.labels.items()}
    described = {
        "name": opened.name,
        "kind": opened.kind,
        "description": opened.description,
        "metric": opened.metric,
        "template": opened.template.text,
        "manual": None if opened.manual is None else opened.manual.text,
        "labels": labels,
        "rows": {split: len(rows) for split, (rows, _) in read.items()},
        "without_labels": [split for split, (_, labelled) in read.items() if not labelled],
    }
    if json_output:
        print_json({**described, "examples": examples})
        return
    facts = [[k.replace("_", " "), v] for k, v in described.items() if v is not None]
    print_facts(opened.name, facts)
    if examples:
        columns = list(examples[0])
        table = [[example[c] for c in columns] for example in examples]
        print_table(f"{opened.splits[0]} rows", columns, table)


def _rows(task: Task, split: str, hidden: bool) -> tuple[tuple[Row, ...], bool]:
    """The rows of a split, and whether they have labels; what needs none reads them all the same.

    Why a split is shown without its labels is said, unless that is hidden.

    Raises:
        TaskError: neither rows nor texts can be read.
    """
    try:
        return task.load(split), True
    except TaskError as error:
        texts = task.texts(split)
        if not hidden:
            note(f"{split} is shown without its labels: {error}")
        return texts, False


def init(
    table: Annotated[
        Path,
        typer.Argument(help="CSV, TSV, JSONL or Parquet with a column of texts and one of labels."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write: the task file and the splits.")],
    text: Annotated[str | None, typer.Option(help="Column of the texts, if not guessed.")] = None,
    label: Annotated[str | None, typer.Option(help="Column of the labels, if not guessed.")] = None,
    target: Annotated[
        str | None, typer.Option(help="Column of free answers, in place of labels.")
    ] = None,
    text_b: Annotated[
        str | None, typer.Option(help="Column of second texts, if texts come in pairs.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the task; usually that of the file.")
    ] = None,
    dev: Annotated[float, typer.Option(help="Share of the rows that become the dev split.")] = 0.2,
    test: Annotated[float, typer.Option(help="Share that become the test split.")] = 0.2,
    split_seed: Annotated[int, seed_option("Seed of the choice of splits.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Make a task of a table of labelled texts.

    The folder gets task.yaml and a JSONL file for each of train, dev and test, every label divided
    alike. Edit the label words in task.yaml before tuning: they are what the model answers with.
    With --target the answers are free texts, which the model writes.

    Example:
        promptport tasks init reviews.csv --out reviews
        promptport tasks init reviews.csv --text review --label stars --out by-stars
    """
    from promptport.tasks import ImportConfig, import_task

    config = ImportConfig(
        text=text,
        label=label,
        text_b=text_b,
        name=name,
        dev=dev,
        test=test,
        seed=split_seed,
        target=target,
    )
    made = import_task(table, out, config)
    if json_output:
        print_json(made.to_dict())
    else:
        _show_made(made)


def _show_made(made: ImportedTask) -> None:
    described = made.to_dict()
    facts = [
        ["texts from column", made.text],
        ["labels from column" if made.labels else "answers from column", made.label],
        ["rows", described["rows"]],
        ["template", made.task.template.text],
    ]
    print_facts(f"task {made.task.name}", facts)
    words = described["label_words"]
    labels = [[name, count, ", ".join(words[name])] for name, count in made.labels.items()]
    if labels:
        print_table("labels", ["label", "rows", "words that the model answers with"], labels)
    for line in made.notes:
        note(line)
    folder = made.file.parent
    written(made.file)
    if labels:
        say(f"Other columns: --text and --label. The words of the labels: edit {made.file}.")
        hint("Check it", command_line("tasks", "check", made.file, backbone=_EXAMPLE_MODEL))
    else:
        say(f"Other columns: --text and --target. Template and metric: edit {made.file}.")
        hint("Check it", command_line("tasks", "check", made.file))
    model = _EXAMPLE_MODEL if labels else _EXAMPLE_WRITER
    prompt = folder.parent / f"{folder.name}-prompt"
    hint(
        "Tune a prompt for it",
        command_line("tune", backbone=model, task=made.file, out=prompt),
    )


def check(
    task: Annotated[str, typer.Argument(help="A task file (.yaml), or a task's name.")],
    backbone: Annotated[
        str | None,
        typer.Option(help="Also check that this model can write the label words or objects."),
    ] = None,
    data: DataOption = None,
    json_output: JsonFlag = False,
) -> None:
    """Read every row of a task and list what is wrong with it.

    Problems (exit code 1) make rows or the whole task useless; warnings are likely slips, or make
    scores doubtful. One line each.

    Example:
        promptport tasks check country-capital --backbone nano-bert
    """
    quiet()
    from promptport.backbone import answer_tokens
    from promptport.tasks import check_task, open_task

    tokens = None if backbone is None else answer_tokens(backbone)
    opened = open_task(task, data)
    found = check_task(opened, tokens, backbone or "")
    if json_output:
        print_json(found.to_dict())
    else:
        _show_check(found)
    if not found.ok:
        raise typer.Exit(1)


def _show_check(found: TaskCheck) -> None:
    rows: list[list[Any]] = [
        [name, split.rows, split.bad, dict(split.answers) or "-"]
        for name, split in found.splits.items()
    ]
    print_table(f"task {found.task}", ["split", "rows", "bad rows", "labels"], rows)
    for line in found.warnings:
        say(f"warning: {line}")
    for line in found.problems:
        say(f"problem: {line}")
    if found.ok:
        say("No problems." if not found.warnings else "No problems, but the warnings above.")
