"""promptport rank: which prompt of a library is the best start for a new task?"""

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
    LibraryArgument,
    OwnBackboneOption,
    TruncateFlag,
    VectorOriginOption,
    home,
    open_tasks,
    print_json,
    print_table,
    quiet,
    seed_option,
)
from promptport.errors import PromptPortError, StorageError
from promptport.files import what_is_at

if TYPE_CHECKING:
    from promptport.analysis import Candidate
    from promptport.backbone import Backbone
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task

_TEXT_COLUMNS = {
    "agreement": "answers as the others",
    "information": "text decides the answer",
    "label_words": "label words alike",
}
_LABEL_COLUMNS = {"loss": "loss", "fit": "probability of the right answer", "metric": "metric"}


def command(
    library: LibraryArgument,
    task: Annotated[str, typer.Option(help="The new task.")],
    labelled: Annotated[
        int, typer.Option(help="Read the labels of so many training rows; 0: text alone.")
    ] = 0,
    rows: Annotated[int, typer.Option(help="Most unlabelled rows to read.")] = 128,
    split: Annotated[str, typer.Option(help="Split whose rows are read: train or dev.")] = "train",
    origin: VectorOriginOption = "seed:0",
    data: DataOption = None,
    backbone: OwnBackboneOption = None,
    seed: Annotated[int, seed_option("Seed of the choice of rows.")] = 0,
    truncate: TruncateFlag = False,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Rank prompts as starts for a new task, from its unlabelled text or from a few labelled rows.

    Start from the first: promptport tune --task TASK --origin FOLDER.
    """
    quiet()
    from promptport.analysis import rank

    places = find_library(library)
    (opened,) = open_tasks([task], data)
    model = open_backbone(places, backbone, device=device, dtype=dtype, device_map=device_map)
    candidates = load_library(places, model, origin, data)
    found = rank(
        model,
        candidates,
        opened,
        labelled=labelled,
        split=split,
        rows=rows,
        seed=seed,
        truncate=truncate,
    ).to_dict()
    if json_output:
        print_json({"backbone": model.name, **found})
    else:
        show_ranking(found)


def find_library(given: list[Path]) -> dict[str, Path]:
    """Prompt and vector folders by name: those that are given, and those in a folder that is none.

    Raises:
        StorageError: a folder with neither, or that does not exist.
    """
    found: dict[str, Path] = {}
    for place in given:
        own = [place] if _is_entry(place) else []
        if not own and place.is_dir():
            own = [inner for inner in sorted(place.iterdir()) if _is_entry(inner)]
        if not own:
            raise StorageError(
                str(place),
                expected="a prompt or vector folder, or a folder of such",
                got=what_is_at(place, "neither"),
                fix="Check the path",
            )
        for folder in own:
            name = folder.name if folder.name not in found else str(folder)
            found[name] = folder
    return found


def _is_entry(place: Path) -> bool:
    from promptport.interop.peft import CONFIG_FILE
    from promptport.interop.vectors import RECORD_FILE

    return (place / CONFIG_FILE).is_file() or (place / RECORD_FILE).is_file()


def open_backbone(places: dict[str, Path], name: str | None, **settings: Any) -> Backbone:
    """The backbone that the first folder names."""
    from promptport.backbone import Backbone

    first = _load(next(iter(places.values())))
    return Backbone.load(**home(first.provenance, name), **settings)


def _load(place: Path) -> Any:
    """A prompt, or the vector of a folder that holds no prompt."""
    from promptport.interop import load_prompt, load_vector
    from promptport.interop.peft import CONFIG_FILE

    return load_prompt(place) if (place / CONFIG_FILE).is_file() else load_vector(place)


def load_library(
    places: dict[str, Path], model: Backbone, origin: str, data: Path | None
) -> list[Candidate]:
    """All prompts of a library; vectors are put on an origin.

    Raises:
        PromptPortError: damaged folders, or prompts of another backbone.
    """
    from promptport.analysis import Candidate
    from promptport.cli.made_origin import make_start
    from promptport.prompt import SoftPrompt

    found = []
    for name, place in places.items():
        loaded = _load(place)
        task = _known_task(loaded.provenance.task, data)
        if isinstance(loaded, SoftPrompt):
            prompt: SoftPrompt = loaded
        else:
            start, made = make_start(origin, loaded.provenance, loaded.length, backbone=model.name)
            prompt = loaded.apply(start, made)
        found.append(Candidate(name, prompt, task))
    return found


def _known_task(name: str | None, data: Path | None) -> Task | None:
    """The task that a folder names, if it can be opened: only its label words are read."""
    from promptport.tasks import open_task

    try:
        return None if name is None else open_task(name, data)
    except PromptPortError:
        return None


def show_ranking(found: dict[str, Any]) -> None:
    """A ranking as a table."""
    columns = _LABEL_COLUMNS if found["by"] == "labels" else _TEXT_COLUMNS
    rows = [
        [i + 1, e["name"], e["score"], *(e["measures"][name] for name in columns)]
        for i, e in enumerate(found["entries"])
    ]
    title = f"starts for {found['task']}, best first (read: {found['touched']})"
    print_table(title, ["", "prompt", "score", *columns.values()], rows)
