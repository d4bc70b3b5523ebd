"""promptport library add, remove, restore, tag, verify and so on: keeping a library in order."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    JsonFlag,
    command_line,
    hint,
    note,
    print_json,
    print_table,
    quiet,
    say,
    shown,
    tell,
)
from promptport.cli.library.listing import ListedArgument

NameArgument = Annotated[str, typer.Argument(help="In the library, as library list tells it.")]
FolderArgument = Annotated[Path, typer.Argument(help="The folder of the library.")]


def add(
    folder: Annotated[
        Path, typer.Argument(help="Prompt, vector or attention folder, or portable file, to copy.")
    ],
    library: FolderArgument,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the copy; usually that of the folder.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Copy a prompt folder into a library, if it is whole.

    A library that is missing is made. The folder itself stays as it is.

    Example:
        promptport library add capital prompts --name capital-of-mine
    """
    quiet()
    from promptport.catalog import Catalog
    from promptport.library.verifying import add as add_checked

    target = add_checked(folder, library, name)
    opened = Catalog.open(library)
    entry = opened.show(str(target))
    twins = [
        other.name
        for other in opened.entries
        if other is not entry and entry.checksum and other.checksum == entry.checksum
    ]
    if json_output:
        print_json({**entry.details(), "equal": twins})
        return
    say(f"Added to {library} as {shown(entry.name)}.")
    if twins:
        note(f"the same values are there as {shown(', '.join(twins))}")
        hint("What else is there twice", command_line("library", "dedupe", library))
    hint("Look at it", command_line("library", "show", entry.name, library))


def remove(name: NameArgument, library: FolderArgument, json_output: JsonFlag = False) -> None:
    """Move a prompt to the trash of its library.

    The trash is the folder .trash in the library; library empty-trash deletes what is in it.

    Example:
        promptport library remove capital-of-mine prompts
    """
    from promptport.catalog import changing

    removed, inside = changing.remove(name, library)
    if json_output:
        told = {"name": removed.name, "place": removed.place, "trash": str(removed.content)}
        print_json({**told, "removed": removed.removed, "inside": inside})
        return
    say(f"Moved to {removed.content}.")
    if inside:
        note(f"what lay in its folder went with it: {shown(', '.join(inside))}")
    hint("Bring it back", command_line("library", "restore", removed.name, library))


def restore(
    name: Annotated[str, typer.Argument(help="That it had in the library.")],
    library: FolderArgument,
    json_output: JsonFlag = False,
) -> None:
    """Bring a prompt back from the trash of its library.

    Of several with one name, the one that was removed last.

    Example:
        promptport library restore capital-of-mine prompts
    """
    from promptport.catalog import changing

    place = changing.restore(name, library)
    if json_output:
        print_json({"name": name, "folder": str(place)})
        return
    say(f"It is back at {place}.")
    hint("What there is", command_line("library", "list", library))


def empty_trash(
    library: FolderArgument,
    older_than: Annotated[
        float,
        typer.Option(
            "--older-than", help="Only what was removed so many days ago; 0: all.", metavar="DAYS"
        ),
    ] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be deleted, and delete nothing.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Delete what lies in the trash of a library, for good.

    Example:
        promptport library empty-trash prompts --older-than 30 --dry-run
    """
    from promptport.catalog import changing

    gone, foreign = changing.empty_trash(library, older_than, dry_run=dry_run)
    if json_output:
        told = [{"name": r.name, "place": r.place, "removed": r.removed} for r in gone]
        kept = [str(folder) for folder in foreign]
        print_json({"deleted": told, "kept": kept, "dry_run": dry_run})
        return
    for folder in foreign:
        note(f"left alone, nothing that library remove put there: {shown(str(folder))}")
    if not gone:
        typer.echo("Nothing to delete.")
        return
    rows = [[shown(r.name), shown(r.place), shown(r.removed)] for r in gone]
    title = "would be deleted" if dry_run else "deleted"
    print_table(title, ["name", "was at", "removed (UTC)"], rows)
    if dry_run:
        words = {"older_than": f"{older_than:g}" if older_than else None}
        hint("Delete it", command_line("library", "empty-trash", library, **words))


def tag(
    name: NameArgument,
    library: FolderArgument,
    add: Annotated[
        list[str] | None, typer.Option("--add", help="A tag to give; repeat for several.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", help="A tag to take; repeat for several.")
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Give a prompt tags, or take some from it.

    They lie in its folder, in tags.json. Without --add and --drop its tags are shown.

    Example:
        promptport library tag capital-of-mine prompts --add good --add geography
        promptport library tag capital-of-mine prompts --drop geography
    """
    from promptport.catalog import Catalog, changing

    if add or drop:
        tags = changing.tag(name, library, add=add or (), drop=drop or ())
    else:
        tags = Catalog.open(library).show(name).tags
    if json_output:
        print_json({"name": name, "tags": list(tags)})
        return
    tell(f"Tags of {shown(name)}: {', '.join(tags) or 'none'}")
    if tags:
        hint("All that have it", command_line("library", "list", library, tag=tags[0]))


def dedupe(
    library: FolderArgument,
    remove: Annotated[
        bool, typer.Option("--remove", help="Move all but the oldest to the trash.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Find prompts of a library whose values are equal.

    Equal are those of one model, task and template whose values are the same.
    The oldest gets the tags of those that are removed.

    Example:
        promptport library dedupe prompts
    """
    from promptport.catalog import Catalog, changing

    if remove:
        groups = [group for group, _ in changing.remove_equals(library)]
    else:
        groups = changing.equals(Catalog.open(library))
    if json_output:
        told = [{"oldest": g.oldest.name, "others": [e.name for e in g.others]} for g in groups]
        print_json({"equal": told, "removed": remove})
        return
    if not groups:
        tell("No two prompts are equal.")
        return
    rows = [[shown(g.oldest.name), ", ".join(shown(e.name) for e in g.others)] for g in groups]
    print_table("equal prompts", ["oldest", "in the trash now" if remove else "the same"], rows)
    if remove:
        first = groups[0].others[0].name
        hint("Bring one back", command_line("library", "restore", first, library))
    else:
        hint(
            "Move all but the oldest to the trash",
            command_line("library", "dedupe", library, remove=True),
        )


def verify(library: ListedArgument, json_output: JsonFlag = False) -> None:
    """Check that everything in a library is as it was saved.

    Compared are the checksums of all values, and the fingerprints of models that are embedded or in
    a folder here. Nothing is changed. The exit status is 1 if something is wrong.

    Example:
        promptport library verify prompts
    """
    quiet()
    from promptport.library.verifying import verify as verified

    found = verified(list(library))
    if json_output:
        print_json(found.to_dict())
    else:
        for wrong in found.wrong:
            tell(shown(f"{wrong.name}: {wrong.problem}"))
        models = [[shown(name), shown(said)] for name, said in found.models.items()]
        if models:
            print_table("models", ["model", "embedding matrix"], models)
        bare = len(found.without_checksum)
        without = f", {bare} of them without a checksum to compare" if bare else ""
        tell(f"{found.checked} looked at{without}; {len(found.wrong)} wrong.")
        _hint_after(library, [wrong.name for wrong in found.wrong])
    if found.wrong:
        raise typer.Exit(1)


def _hint_after(library: list[Path], wrong: list[str]) -> None:
    if wrong and len(library) == 1:
        hint(
            "Take the first out of the library, undoably",
            command_line("library", "remove", wrong[0], library[0]),
        )
