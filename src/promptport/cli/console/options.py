"""Options that several commands have, each with its panel of the help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from promptport.cli.panels import MODEL_PANEL, OUTPUT_PANEL, TASK_PANEL
from promptport.seeds import MOST

JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON object and nothing else.", rich_help_panel=OUTPUT_PANEL
    ),
]
ForceFlag = Annotated[
    bool,
    typer.Option(
        "--force", help="Write over what --out holds already.", rich_help_panel=OUTPUT_PANEL
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="The model that the prompt belongs to, if it is not where the prompt says.",
        rich_help_panel=MODEL_PANEL,
    ),
]
OwnBackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="The model that the prompts belong to, if it is not where they say.",
        rich_help_panel=MODEL_PANEL,
    ),
]
BackbonesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone",
        help="The model that a prompt belongs to, if it is not where the prompt says; "
        "repeat, one per prompt.",
        rich_help_panel=MODEL_PANEL,
    ),
]
DeviceOption = Annotated[
    str, typer.Option(help="auto, cpu, cuda, mps ...", rich_help_panel=MODEL_PANEL)
]
DeviceMapOption = Annotated[
    str | None,
    typer.Option(
        help="Spread a large model over devices, for instance auto.", rich_help_panel=MODEL_PANEL
    ),
]
DtypeOption = Annotated[
    str, typer.Option(help="auto, float32, bfloat16 or float16.", rich_help_panel=MODEL_PANEL)
]
DataOption = Annotated[
    Path | None,
    typer.Option(help="Data folder of lama:, nlu: and tpv: tasks.", rich_help_panel=TASK_PANEL),
]
SplitOption = Annotated[
    str, typer.Option(help="Split whose texts are read.", rich_help_panel=TASK_PANEL)
]
TextsOption = Annotated[
    str,
    typer.Option(
        help="words: random words, no data. task: unlabelled texts of the task.",
        rich_help_panel=TASK_PANEL,
    ),
]
TruncateFlag = Annotated[
    bool,
    typer.Option(
        "--truncate",
        help="Cut texts that are too long instead of refusing them.",
        rich_help_panel=TASK_PANEL,
    ),
]
LibraryArgument = Annotated[
    list[Path],
    typer.Argument(help="Prompt or vector folders of one model, or folders of such."),
]
VectorOriginOption = Annotated[
    str | None,
    typer.Option(
        help="What vectors are put on: seed:3 (random words), normal, mixture, text:SOME WORDS, or "
        "a prompt folder; usually seed:0."
    ),
]


def seed_option(text: str, panel: str | None = None) -> Any:
    """An option that takes a seed."""
    return typer.Option(help=text, min=0, max=MOST, rich_help_panel=panel)
