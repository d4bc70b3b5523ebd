"""promptport app: the page of a library, in a browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from promptport.cli.console import (
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    quiet,
    say,
)
from promptport.cli.panels import MODEL_PANEL, SERVER_PANEL, TASK_PANEL


def command(
    library: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders of prompts, of any models; new prompts are put into the first. Usual: "
            "the folder that you are in."
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; beyond this machine it needs a token.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="0: any that is free.", rich_help_panel=SERVER_PANEL),
    ] = 8080,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that browsers must send. Usual: the environment variable "
            "PROMPTPORT_TOKEN, if it is set.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option("--open", help="Open it in your browser.", rich_help_panel=SERVER_PANEL),
    ] = False,
    task: Annotated[
        list[Path] | None,
        typer.Option(
            help="Task file of prompts whose task does not come with promptport; repeat for "
            "several.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    data: DataOption = None,
    backbone: Annotated[
        list[str] | None,
        typer.Option(
            help="A model that prompts belong to, if it is not where they say; repeat for several.",
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Show a library on a page in the browser: find, try, compare, move, combine.

    The page is for this machine alone, unless --host says another address. What takes long is
    done in processes of its own, and goes on when the page is closed.

    Example:
        promptport app prompts
        promptport app prompts --open
    """
    from promptport.app.running import AppConfig, need_packages, run_app
    from promptport.serving.running import read_token

    need_packages()
    _check_models(backbone or [])
    token = read_token(token_file, os.environ.get("PROMPTPORT_TOKEN"))
    settings = {
        "data": None if data is None else str(data),
        "tasks": [str(file) for file in task or ()],
        "models": list(backbone or ()),
        "loading": {"device": device, "device_map": device_map, "dtype": dtype},
    }
    config = AppConfig(tuple(library or [Path()]), host, port, token, settings)

    def ready(address: str) -> None:
        say(f"Open {address} in a browser (Ctrl-C ends it).")
        if show:
            import webbrowser

            webbrowser.open(address)

    say("reading the library ...")
    run_app(config, ready)


def _check_models(places: list[str]) -> None:
    """Refuse what is no model before anything is shown.

    Raises:
        BackboneError: one cannot be opened.
    """
    if places:
        quiet()
        from promptport.backbone import open_space

        for place in places:
            open_space(place)
