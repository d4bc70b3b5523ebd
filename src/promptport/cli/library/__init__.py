"""promptport library: what to do with prompts of many tasks."""

from __future__ import annotations

import typer

from promptport.cli.library import adapt, curves, forecast, pairs, rank, similarity

app = typer.Typer(no_args_is_help=True)
app.command("rank")(rank.command)
app.command("similarity")(similarity.command)
app.command("forecast")(forecast.command)
app.command("pairs")(pairs.command)
app.command("curves")(curves.command)
app.command("adapt")(adapt.command)
