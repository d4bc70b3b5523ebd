"""promptport library list and show: what there is. Nothing here needs torch."""

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
    shown,
    tell,
)
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.catalog import Catalog, CatalogEntry

ListedArgument = Annotated[
    list[Path],
    typer.Argument(help="Prompt or vector folders of any backbones, or folders of such."),
]
TaskFilter = Annotated[str | None, typer.Option("--task", help="Only prompts of this task.")]
BackboneFilter = Annotated[
    str | None, typer.Option("--backbone", help="Only prompts that belong to this model.")
]
KindFilter = Annotated[
    str | None,
    typer.Option("--kind", help="Only free, mixture, vector, attention or portable ones."),
]
TagFilter = Annotated[
    list[str] | None,
    typer.Option("--tag", help="Only prompts with this tag; repeat for several, all needed."),
]
ScoreFilter = Annotated[
    float | None, typer.Option("--min-score", help="Only prompts with this dev score or more.")
]
SinceFilter = Annotated[
    str | None, typer.Option("--since", help="Only what was written on this day or later (UTC).")
]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort",
        help="name, task, score (best first), date (newest first) or length; else as found.",
    ),
]
_COLUMNS = {
    "name": "name",
    "task": "task",
    "kind": "kind",
    "length": "tokens",
    "dev_score": "dev score",
    "written": "written",
    "tags": "tags",
}
_LOADABLE = ("free", "mixture", "vector")


def command(
    library: ListedArgument,
    task: TaskFilter = None,
    backbone: BackboneFilter = None,
    kind: KindFilter = None,
    tag: TagFilter = None,
    min_score: ScoreFilter = None,
    since: SinceFilter = None,
    sort: SortOption = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="Sort the other way round; needs --sort.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Show at most so many.")
    ] = None,
    data: DataOption = None,
    json_output: JsonFlag = False,
) -> None:
    """List the prompts and vectors of a library.

    Folders are looked through to any depth.

    Example:
        promptport library list prompts
        promptport library list prompts --backbone nano-bert --task sentiment
        promptport library list prompts --sort score --limit 3
    """
    if reverse and sort is None:
        raise PromptPortError(
            "--reverse", expected="--sort with it", got="none", fix="Add for instance --sort score"
        )
    opened = open_catalog(library)
    filters: dict[str, Any] = {
        "task": task,
        "backbone": backbone,
        "kind": kind,
        "tags": tag or (),
        "min_score": min_score,
        "since": since,
    }
    chosen = opened.filter(**filters)
    found = len(chosen)
    if sort is not None:
        chosen = chosen.sort(sort, reverse=reverse)
    chosen = chosen.first(limit)
    if json_output:
        print_json(
            {
                "prompts": [entry.to_dict() for entry in chosen.entries],
                "backbones": {name: list(names) for name, names in chosen.backbones.items()},
                "notes": list(opened.notes),
                "damaged": [
                    {"name": entry.name, "folder": entry.path, "problem": entry.problem}
                    for entry in opened.damaged
                ],
                "found": found,
            }
        )
        return
    if not chosen.entries:
        _show_empty(opened, filters)
        return
    _show_tables(chosen)
    if len(chosen) < found:
        tell(f"{found - len(chosen)} more are not shown (--limit).")
    if any(entry.dev_score is not None for entry in chosen.entries):
        tell("The dev score was measured while tuning; scores of different tasks differ.")
    _hint_similarity(chosen, library, whole=len(chosen) == len(opened))


def _show_tables(chosen: Catalog) -> None:
    """A table for each model; tags have a column where there are any."""
    columns = dict(_COLUMNS)
    if not any(entry.tags for entry in chosen.entries):
        del columns["tags"]
    by_name = {entry.name: entry for entry in chosen.entries}
    for model, names in chosen.backbones.items():
        rows = [[cell(by_name[name], column) for column in columns] for name in names]
        print_table(f"{len(rows)} on {shown(model)}", list(columns.values()), rows)


def cell(entry: CatalogEntry, column: str) -> Any:
    """What stands in a column of the table."""
    value = getattr(entry, column)
    if value is None:
        return value
    if column == "tags":
        return ", ".join(value) or None
    return shown(value) if isinstance(value, str) else value


def _hint_similarity(chosen: Catalog, library: list[Path], *, whole: bool) -> None:
    """Only where that command can compare all of them."""
    kinds = {entry.kind for entry in chosen.entries}
    sizes = {(entry.length, entry.width) for entry in chosen.entries}
    alike = kinds <= set(_LOADABLE) and len(sizes) == 1 and len(chosen.backbones) == 1
    if alike and whole and len(chosen) > 1 and not chosen.damaged:
        hint("How alike they are", command_line("library", "similarity", *library))


def show(
    name: Annotated[str, typer.Argument(help="In the library, as library list tells it.")],
    library: ListedArgument,
    json_output: JsonFlag = False,
) -> None:
    """Show all that is known of one prompt of a library.

    Read are its records; no model is opened, and no values are loaded.

    Example:
        promptport library show opposite-seed0 prompts
    """
    opened = open_catalog(library, quiet=True)
    entry = opened.show(name)
    if json_output:
        print_json(entry.details())
        return
    if entry.problem is not None:
        note(f"damaged: {entry.problem}")
        hint("Where else something is wrong", command_line("library", "verify", *library))
        return
    print_facts(shown(entry.name), [[what, value] for what, value in _facts(entry) if value])
    inspect = command_line("inspect", entry.folder)
    hint("Look at its virtual tokens" if entry.kind in _LOADABLE else "Look closer", inspect)
    if (
        len(library) == 1
        and entry.folder.is_dir()
        and not entry.tags
        and entry.folder != library[0]
    ):
        tag = command_line("library", "tag", entry.name, library[0], add="good")
        hint("Give it a tag", tag)


def _facts(entry: CatalogEntry) -> list[tuple[str, Any]]:
    from promptport.history import origin_text, step_sentence

    made = entry.provenance
    size = " x ".join(str(n) for n in (entry.length, entry.width) if n is not None)
    origin, tuning = made.get("origin"), made.get("tuning")
    more = entry.more
    facts: list[tuple[str, Any]] = [
        ("folder", entry.path),
        ("kind", entry.kind),
        ("task", entry.task),
        ("backbone", entry.backbone),
        ("revision", entry.revision),
        ("fingerprint", entry.fingerprint),
        ("virtual tokens", size),
        ("template", entry.template),
        ("dev score", entry.dev_score),
        ("written", entry.written),
        ("tags", ", ".join(entry.tags)),
        ("origin", origin_text(origin) if isinstance(origin, dict) else None),
        ("tuning", _settings(tuning) if isinstance(tuning, dict) else None),
        ("coefficients", more.get("coefficients")),
        ("sources", more.get("sources")),
        ("words", more.get("words")),
        ("mixture words", ", ".join(more.get("mixture_words", ())[:12])),
        ("checksum", entry.checksum or "none recorded"),
    ]
    facts += [(f"step {i}", step_sentence(step)) for i, step in enumerate(entry.history, 1)]
    return [(what, shown(value) if isinstance(value, str) else value) for what, value in facts]


def _settings(tuning: dict[str, Any]) -> str:
    """The plain settings of a tuning run."""
    plain = {k: v for k, v in tuning.items() if isinstance(v, str | int | float)}
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in plain.items())


def open_catalog(library: list[Path], *, quiet: bool = False) -> Catalog:
    """Read the folders, and say what was left out unless that is of no interest."""
    from promptport.catalog import Catalog

    opened = Catalog.open(library)
    for line in () if quiet else opened.notes:
        note(shown(line))
    return opened


def _show_empty(opened: Catalog, filters: dict[str, Any]) -> None:
    given = {name: value for name, value in filters.items() if name != "tags"}
    asked = [f"{name.replace('_', ' ')} {v}" for name, v in given.items() if v is not None]
    asked += [f"tag {tag}" for tag in filters["tags"]]
    tasks = dict.fromkeys(entry.task or "not known" for entry in opened.entries)
    tell(
        shown(
            f"No prompt of {' and '.join(asked) or 'this library'}. "
            f"Tasks: {', '.join(tasks) or 'none'}. "
            f"Backbones: {', '.join(opened.backbones) or 'none'}."
        )
    )
