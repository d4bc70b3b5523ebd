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
    prompt_folders,
    quiet,
    refuse_together,
    seed_option,
)
from promptport.errors import PromptPortError, StorageError
from promptport.files import what_is_at

if TYPE_CHECKING:
    from torch import Tensor

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
    rows: Annotated[
        int | None, typer.Option(help="Most unlabelled rows to read; usually 128.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split whose rows are read: train or dev.")] = "train",
    origin: VectorOriginOption = None,
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

    if labelled:
        refuse_together("--labelled", {"--rows": rows is not None})
    places = find_library(library, origin)
    (opened,) = open_tasks([task], data)
    model = open_backbone(places, backbone, device=device, dtype=dtype, device_map=device_map)
    candidates = load_library(places, model, origin, data)
    found = rank(
        model,
        candidates,
        opened,
        labelled=labelled,
        split=split,
        rows=128 if rows is None else rows,
        seed=seed,
        truncate=truncate,
    ).to_dict()
    if json_output:
        print_json({"backbone": model.name, **found})
    else:
        show_ranking(found)


def find_library(given: list[Path], origin: str | None = None) -> dict[str, Path]:
    """Prompt and vector folders by name: those that are given, and those in a given folder.

    Raises:
        StorageError: a folder with neither, or that does not exist.
        PromptPortError: an origin, which no folder has a use for.
    """
    found: dict[str, Path] = {}
    for place in given:
        own = prompt_folders(place)
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
    if all(map(_is_prompt, found.values())):
        refuse_together("a library without vectors", {"--origin": origin is not None})
    return found


def _is_prompt(place: Path) -> bool:
    from promptport.interop.peft import CONFIG_FILE

    return (place / CONFIG_FILE).is_file()


def open_backbone(places: dict[str, Path], name: str | None, **settings: Any) -> Backbone:
    """The backbone that the first folder names."""
    from promptport.backbone import Backbone

    first = _load(next(iter(places.values())))
    return Backbone.load(**home(first.provenance, name), **settings)


def _load(place: Path) -> Any:
    """A prompt, or the vector of a folder that holds no prompt."""
    from promptport.interop import load_prompt, load_vector

    return load_prompt(place) if _is_prompt(place) else load_vector(place)


def load_library(
    places: dict[str, Path], model: Backbone, origin: str | None, data: Path | None
) -> list[Candidate]:
    """All prompts of a library, equal ones once; vectors are put on an origin (None: seed:0).

    Raises:
        PromptPortError: damaged folders, or prompts of another backbone.
    """
    from promptport.analysis import Candidate
    from promptport.cli.made_origin import make_start
    from promptport.prompt import SoftPrompt

    found = []
    for name, loaded in _once({name: _load(place) for name, place in places.items()}).items():
        task = _known_task(loaded.provenance.task, data)
        if isinstance(loaded, SoftPrompt):
            prompt: SoftPrompt = loaded
        else:
            start, made = make_start(
                origin or "seed:0", loaded.provenance, loaded.length, backbone=model
            )
            prompt = loaded.apply(start, made)
        found.append(Candidate(name, prompt, task))
    return found


def _once(loaded: dict[str, Any]) -> dict[str, Any]:
    """Each prompt once: two equal ones would count twice among what the others say."""
    from promptport.prompt import SoftPrompt

    kept: dict[str, Any] = {}
    again = []
    for name in sorted(loaded, key=lambda name: not isinstance(loaded[name], SoftPrompt)):
        twin = next((other for other in kept if _same(kept[other], loaded[name])), None)
        if twin is None:
            kept[name] = loaded[name]
        else:
            again.append(f"{name} (as {twin})")
    if again:
        typer.echo(f"note: the same prompts again are left out: {', '.join(again)}", err=True)
    return {name: kept[name] for name in loaded if name in kept}


def _same(one: Any, other: Any) -> bool:
    """Whether two prompts or vectors are equal, or one is the vector of the other."""
    import torch

    from promptport.prompt import SoftPrompt

    if isinstance(one, SoftPrompt) and isinstance(other, SoftPrompt):
        return torch.equal(one.vectors, other.vectors)
    first, second = _delta(one), _delta(other)
    return first is not None and second is not None and torch.equal(first, second)


def _delta(loaded: Any) -> Tensor | None:
    from promptport.vector import TaskPromptVector

    if isinstance(loaded, TaskPromptVector):
        return loaded.delta
    return None if loaded.origin is None else TaskPromptVector.of(loaded).delta


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
