"""promptport library search: find prompts by words, or by what a new task needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    command_line,
    hint,
    note,
    open_tasks,
    print_json,
    print_table,
    quiet,
    seed_option,
    shown,
)
from promptport.cli.library.listing import BackboneFilter, cell, open_catalog
from promptport.cli.library.shared import sentence
from promptport.cli.panels import TASK_PANEL
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.catalog import Catalog
    from promptport.library.searching import TaskSearch

_MOST_SHOWN = 20
_LEGEND = (
    "Fits, text decides: from 0 to 1, near 1 is a good start. Read by probes: judged by kept "
    "answers to other texts; --shortlist asks more of them."
)


def command(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[WORDS] LIBRARY...",
            help="Words, in quotes if several, which --task can stand for; then prompt folders of "
            "any backbones, or folders of such.",
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(help="Rank prompts as starts for this task.", rich_help_panel=TASK_PANEL),
    ] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(
            help="Ask so many prompts the task's own texts; usually 16.", rich_help_panel=TASK_PANEL
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(help="Most texts to read; usually 128.", rich_help_panel=TASK_PANEL),
    ] = None,
    near: Annotated[
        bool,
        typer.Option(
            "--near", help="Search also the words next to the virtual tokens of free prompts."
        ),
    ] = False,
    backbone: BackboneFilter = None,
    data: DataOption = None,
    seed: Annotated[int, seed_option("Seed of the choice of texts.")] = 0,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Find prompts by words, or as starts for a new task.

    Searched are names, tasks, labels, descriptions, templates, tags and the words of mixtures; no
    model is opened for that. With --task, prompts are ranked by what they say about its texts; no
    label is read. Their answers are kept in the library, so that the next search is quicker.

    Example:
        promptport library search "capital city" prompts
        promptport library search river prompts --near
        promptport library search prompts --task sentiment --backbone nano-bert
    """
    words, places = _told_apart(what, by_task=task is not None)
    if task is None and (shortlist is not None or rows is not None):
        raise PromptPortError(
            "--shortlist, --rows", expected="--task with it", got="none", fix="Name the new task"
        )
    opened = open_catalog(places)
    chosen = opened.filter(backbone=backbone)
    # A model that has another name here than in the records is known by its fingerprint.
    renamed = task is not None and not chosen.entries
    chosen = opened if renamed else chosen
    if words is not None:
        chosen = _by_words(chosen, words, data, near=near, told=None if task else json_output)
    if words is not None and not chosen.entries and task is not None and json_output:
        print_json({"task": task, "backbone": backbone, "entries": [], "best": None})
        return
    if words is not None and not chosen.entries and not json_output:
        typer.echo(f"No prompt holds {shown(words)!r}.")
        hint("What there is", command_line("library", "list", *places, data=data))
    if task is None or not chosen.entries:
        return
    quiet()
    from promptport.backbone import Backbone
    from promptport.library.backbones import only_backbone
    from promptport.library.searching import SHORTLIST, search_by_task

    (new,) = open_tasks([task], data)
    first = chosen.entries[0]
    if not renamed:
        only_backbone(chosen.backbones)
    name = backbone if renamed and backbone is not None else first.backbone
    loading: dict[str, Any] = {"device": device, "dtype": dtype, "device_map": device_map}
    found = search_by_task(
        chosen,
        Backbone.load(name, revision=None if renamed else first.revision, **loading),
        new,
        shortlist=SHORTLIST if shortlist is None else shortlist,
        rows=128 if rows is None else rows,
        seed=seed,
    )
    if json_output:
        print_json(found.to_dict())
        return
    for line in found.notes:
        note(shown(line))
    _show(found)
    _say_next(chosen, found, task, data)


def _told_apart(what: list[str], *, by_task: bool) -> tuple[str | None, list[Path]]:
    """Words, and the places of the library.

    Raises:
        PromptPortError: no place.
    """
    if by_task and (len(what) == 1 or Path(what[0]).is_dir()):
        return None, [Path(place) for place in what]
    if len(what) == 1:
        raise PromptPortError(
            "search",
            expected="words and the folder of a library, or --task and the folder",
            got=repr(what[0]),
            fix="Write for instance: promptport library search capital prompts",
        )
    return what[0], [Path(place) for place in what[1:]]


def _by_words(
    catalog: Catalog, words: str, data: Path | None, *, near: bool, told: bool | None
) -> Catalog:
    """Entries that hold the words; they are shown, or with `told` None only kept."""
    from promptport.catalog import Catalog

    read: dict[str, list[str]] = {}
    if near:
        quiet()
        from promptport.library.near_words import near_words, words_of

        found, notes = near_words(catalog)
        for line in notes:
            note(shown(line))
        read = {name: words_of(own) for name, own in found.items()}
    hits = catalog.search(words, data=data, near=read)
    by_name = {entry.name: entry for entry in catalog.entries}
    kept = Catalog(
        tuple(by_name[hit.name] for hit in hits), catalog.damaged, catalog.notes, catalog.places
    )
    if told:
        print_json({"words": words, "hits": [hit.to_dict() for hit in hits]})
    elif told is not None and hits:
        lines = [
            [shown(hit.name), cell(by_name[hit.name], "task"), hit.score, _places(hit.where)]
            for hit in hits
        ]
        columns = ["name", "task", "score", "where"]
        print_table(f"prompts for {shown(words)!r}, best first", columns, lines)
        hint("Look at the first", command_line("inspect", by_name[hits[0].name].folder))
    return kept


def _places(where: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(f"{place} ({' '.join(words)})" for place, words in where.items())


def _show(found: TaskSearch) -> None:
    rows: list[list[Any]] = [
        [i, shown(e.name), e.task and shown(e.task), e.score, e.information, e.by]
        for i, e in enumerate(found.entries[:_MOST_SHOWN], 1)
    ]
    title = f"starts for {shown(found.task)} on {shown(found.backbone)}, best first"
    columns = ["place", "prompt", "task", "fits to the others", "text decides", "read by"]
    print_table(title, columns, rows)
    if len(found.entries) > _MOST_SHOWN:
        typer.echo(f"{len(found.entries) - _MOST_SHOWN} more are not shown; --json has all.")
    typer.echo(_LEGEND)
    typer.echo(
        f"Read: {found.texts} texts of the task, no labels. Asked now: {found.asked}; kept from "
        f"earlier searches: {found.reused}."
    )
    typer.echo(sentence(shown(found.verdict)))


def _say_next(catalog: Catalog, found: TaskSearch, task: str, data: Path | None) -> None:
    entry = catalog.show(found.best)
    tune = command_line(
        "tune",
        backbone=found.backbone,
        task=task,
        data=data,
        origin=entry.folder,
        length=entry.length,
        out="tuned",
    )
    hint("Start from the first", tune)
