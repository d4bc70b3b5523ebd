"""promptport serve: prompts that answer requests over HTTP."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from promptport.cli.console import (
    BackboneOption,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    note,
    open_tasks,
    say,
)
from promptport.cli.panels import SERVER_PANEL, TASK_PANEL
from promptport.errors import PromptPortError


def command(
    library: Annotated[
        list[Path], typer.Argument(help="Prompt folders, or folders of them, of one model.")
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond this machine it needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = 8000,
    workers: Annotated[
        int,
        typer.Option(
            min=1, help="Processes, each with the whole model.", rich_help_panel=SERVER_PANEL
        ),
    ] = 1,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that clients must send. Usual: the environment variable "
            "PROMPTPORT_TOKEN, if it is set.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    most_rows: Annotated[
        int,
        typer.Option(min=1, help="Rows that are answered together.", rich_help_panel=SERVER_PANEL),
    ] = 64,
    wait_ms: Annotated[
        float,
        typer.Option(
            min=0,
            max=1000,
            help="Milliseconds that an idle server waits for a second request to join the first.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = 4.0,
    most_waiting: Annotated[
        int,
        typer.Option(
            min=1, help="Requests on their way; more get 503.", rich_help_panel=SERVER_PANEL
        ),
    ] = 1024,
    most_new_tokens: Annotated[
        int,
        typer.Option(min=1, help="Tokens that a client may ask for.", rich_help_panel=SERVER_PANEL),
    ] = 1024,
    ray: Annotated[
        bool,
        typer.Option(
            "--ray",
            help="As a Ray Serve deployment, with --workers replicas.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = False,
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="A running Ray cluster. Usual: Ray is started on this machine.",
            rich_help_panel=SERVER_PANEL,
        ),
    ] = None,
    task: Annotated[
        list[Path] | None,
        typer.Option(
            help="Task file of prompts whose task does not come with promptport; repeat for "
            "several.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    data: DataOption = None,
    backbone: BackboneOption = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
) -> None:
    """Answer requests over HTTP with all prompts of a library.

    Routes: /v1/completions, /v1/chat/completions and /v1/models as OpenAI's clients use them, with
    MODEL:PROMPT as the model; /classify for labels with their probabilities; /health; /metrics for
    Prometheus. Requests for different prompts share batches. Prompts that are put into the
    library, or taken out, are noticed while the server runs.

    Example:
        promptport serve prompts
        promptport serve prompts --host 0.0.0.0 --token-file token
    """
    from promptport.serving.running import ServeConfig, need_packages, read_token, run_server
    from promptport.serving.worker import WorkerSettings

    need_packages()
    settings = WorkerSettings(
        prompts=tuple(str(place) for place in library),
        backbone=backbone,
        tasks=tuple(str(file) for file in task or ()),
        data=None if data is None else str(data),
        loading={"device": device, "device_map": device_map, "dtype": dtype},
        rows=most_rows,
        writing=most_rows,
        wait=wait_ms / 1000,
    )
    config = ServeConfig(
        settings,
        host=host,
        port=port,
        workers=workers,
        token=read_token(token_file, os.environ.get("PROMPTPORT_TOKEN")),
        most_waiting=most_waiting,
        limits={"new_tokens": most_new_tokens},
    )
    if ray_address is not None and not ray:
        raise PromptPortError(
            "--ray-address", expected="--ray with it", got="none", fix="Add --ray"
        )
    _note_tasks(library, [each.name for each in open_tasks(list(map(str, task or [])), data)], data)
    say("loading the model ...")
    if ray:
        from promptport.serving.on_ray import serve_on_ray

        serve_on_ray(config, ray_address, ready=_tell_replicas)
    else:
        run_server(config, ready=_tell)


def _note_tasks(library: list[Path], given: Sequence[str], data: Path | None) -> None:
    """Say which tasks of the prompts are not at hand: nobody chooses among their labels then."""
    from promptport.catalog.catalog import Catalog, known_task

    served = [each for each in Catalog.open(library).entries if each.kind in ("free", "mixture")]
    named = {each.task for each in served if each.task is not None}
    unknown = [name for name in sorted(named - {*given}) if known_task(name, data) is None]
    single = [name for name in unknown if " + " not in name]
    if single:
        note(
            f"tasks that are not at hand: {', '.join(single)}. Their prompts write their answers, "
            "and a masked model refuses them: give each task's file with --task"
        )


def _tell_replicas(address: str) -> None:
    say(f"Serving on {address} (Ctrl-C ends it).")
    say("See what can be asked:")
    say(f"  curl {address}/v1/models")


def _tell(address: str, facts: Mapping[str, Any]) -> None:
    names = facts["prompts"]
    say(f"Serving {len(names)} prompts of {facts['backbone']} on {address} (Ctrl-C ends it).")
    say("See what can be asked:")
    say(f"  curl {address}/v1/models")
