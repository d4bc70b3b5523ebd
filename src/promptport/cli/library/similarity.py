"""promptport similarity: how alike prompts, or task prompt vectors, are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptport.cli.console import HTML_MARK, JsonFlag, check_file, print_json, print_table, quiet
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.analysis import Similarity


def command(
    prompts: Annotated[
        list[Path], typer.Argument(help="Two prompt folders or more; vector folders for vectors.")
    ],
    of: Annotated[
        str,
        typer.Option(
            help="prompts, or vectors: prompt minus origin, what tuning added. Prompts of one "
            "origin look alike because of it."
        ),
    ] = "prompts",
    out: Annotated[Path | None, typer.Option(help="HTML file of heat maps to write.")] = None,
    json_output: JsonFlag = False,
) -> None:
    """Compare prompts of one backbone: cosines, signs, lengths, subspaces."""
    quiet()
    from promptport.analysis import compare, write_heat
    from promptport.storage import load_prompt, load_vector

    if of not in ("prompts", "vectors"):
        raise PromptPortError(
            "--of", expected="prompts or vectors", got=repr(of), fix="Choose one of them"
        )
    if out is not None:
        check_file(out, HTML_MARK)
    places = _names(prompts)
    if of == "prompts":
        found = compare({name: load_prompt(place) for name, place in places.items()})
    else:
        found = compare({name: load_vector(place, name) for name, place in places.items()})
    if out is not None:
        write_heat(found, out)
    if json_output:
        print_json({**found.to_dict(), "file": None if out is None else str(out)})
        return
    _show(found)
    if out is not None:
        typer.echo(f"Written to {out}.")


def _names(places: list[Path]) -> dict[str, Path]:
    """The last part of each path, or the whole path where that is not enough."""
    short = [place.name.removesuffix(".prompt") for place in places]
    unique = len(set(short)) == len(short)
    return dict(zip(short if unique else map(str, places), places, strict=True))


def _show(found: Similarity) -> None:
    names = found.names
    numbered = [f"{i + 1}. {name}" for i, name in enumerate(names)]
    print_table(
        f"cosine of {found.of}",
        ["", *(str(i + 1) for i in range(len(names)))],
        [[n, *row] for n, row in zip(numbered, found.matrices["cosine"].tolist(), strict=True)],
    )
    print_table(
        "pairs",
        ["", *(name.replace("_", " ") for name in found.matrices)],
        [
            [f"{names[i]}, {names[j]}", *(float(m[i, j]) for m in found.matrices.values())]
            for i, j in combinations(range(len(names)), 2)
        ],
    )
    if groups := found.groups():
        rows = [[group, *mean.values()] for group, mean in groups.items()]
        print_table("means over pairs", ["", "pairs", "cosine", "token cosine"], rows)
