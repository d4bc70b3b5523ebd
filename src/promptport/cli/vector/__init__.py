"""promptport vector: what to do with task vectors."""

from __future__ import annotations

import typer

from promptport.cli.vector import check, combine, make, widen

app = typer.Typer(no_args_is_help=True)
app.command("make")(make.command)
app.command("combine")(combine.command)
app.command("widen")(widen.command)
app.command("check")(check.command)
