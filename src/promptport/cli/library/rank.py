"""promptport rank: which prompt of a library is the best start for a new task?"""

from __future__ import annotations

from typing import Annotated, Any

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
    open_tasks,
    print_json,
    print_table,
    quiet,
    refuse_together,
    seed_option,
)
from promptport.cli.library.loading import find_library, load_library, open_backbone

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
    from promptport.library import rank

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


def show_ranking(found: dict[str, Any]) -> None:
    """A ranking as a table."""
    columns = _LABEL_COLUMNS if found["by"] == "labels" else _TEXT_COLUMNS
    rows = [
        [i + 1, e["name"], e["score"], *(e["measures"][name] for name in columns)]
        for i, e in enumerate(found["entries"])
    ]
    title = f"starts for {found['task']}, best first (read: {found['touched']})"
    print_table(title, ["", "prompt", "score", *columns.values()], rows)
