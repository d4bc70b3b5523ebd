"""promptport library rank: which prompt of a library is the best start for a new task?"""

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
    command_line,
    hint,
    open_tasks,
    print_json,
    print_table,
    quiet,
    refuse_together,
    seed_option,
    tell,
)
from promptport.cli.library.shared import open_library, sentence
from promptport.cli.panels import TASK_PANEL

if TYPE_CHECKING:
    from promptport.library import Library

_TEXT_COLUMNS = {
    "agreement": "answers as the others",
    "information": "text decides the answer",
    "label_words": "label words alike",
}
_LABEL_COLUMNS = {"loss": "loss", "fit": "probability of the right answer", "metric": "metric"}
_TEXT_LEGEND = (
    "All from 0 to 1 (label words from -1): near 1 is a good start; a text that decides less than "
    "0.2 of the answer says the prompt hardly knows the task."
)
_LABEL_LEGEND = "A good start has a low loss; the metric is that of the task, before any tuning."


def command(
    library: LibraryArgument,
    task: Annotated[str, typer.Option(help="The new task.", rich_help_panel=TASK_PANEL)],
    labelled: Annotated[
        int,
        typer.Option(
            help="Read the labels of so many training rows; 0: text alone.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = 0,
    rows: Annotated[
        int | None,
        typer.Option(help="Most unlabelled rows to read; usually 128.", rich_help_panel=TASK_PANEL),
    ] = None,
    split: Annotated[
        str,
        typer.Option(help="Split whose rows are read: train or dev.", rich_help_panel=TASK_PANEL),
    ] = "train",
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
    """Rank prompts as starts for a new task.

    Read is its unlabelled text, or a few labelled rows.

    Example:
        promptport library rank prompts --task sentiment
        promptport library rank prompts --task sentiment --labelled 20
    """
    quiet()
    from promptport.library import rank

    if labelled:
        refuse_together("--labelled", {"--rows": rows is not None})
    opened = open_library(library, backbone=backbone, origin=origin, data=data)
    (new,) = open_tasks([task], data)
    model = opened.load_backbone(device=device, dtype=dtype, device_map=device_map)
    ranking = rank(
        model,
        opened,
        new,
        labelled=labelled,
        split=split,
        rows=128 if rows is None else rows,
        seed=seed,
        truncate=truncate,
    )
    if json_output:
        print_json({"backbone": model.name, **ranking.to_dict()})
        return
    show_ranking(ranking.to_dict())
    tell(sentence(ranking.verdict))
    if "dev" in new.splits:  # tuning chooses its epoch there
        _say_next(opened, ranking.best, model.name, task, data)


def show_ranking(ranking: dict[str, Any]) -> None:
    """A ranking as a table."""
    labels = ranking["by"] == "labels"
    columns = _LABEL_COLUMNS if labels else _TEXT_COLUMNS
    rows = [
        [i + 1, e["name"], e["score"], *(e["measures"][name] for name in columns)]
        for i, e in enumerate(ranking["entries"])
    ]
    title = f"starts for {ranking['task']}, best first (read: {ranking['touched']})"
    print_table(title, ["place", "prompt", "score", *columns.values()], rows)
    tell(_LABEL_LEGEND if labels else _TEXT_LEGEND)


def _say_next(library: Library, best: str, model: str, task: str, data: Path | None) -> None:
    entry = library.entry(best)
    vector = entry.kind == "vector"
    tune = command_line(
        "tune",
        backbone=model,
        task=task,
        data=data,
        origin=None if vector else entry.folder,
        start="text" if vector else None,
        library=entry.folder if vector else None,
        length=entry.length,
        out="tuned",
    )
    hint("Start from the first", tune)
