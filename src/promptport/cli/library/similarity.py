"""promptport library similarity: how alike prompts, or task prompt vectors, are."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from promptport.cli.console import (
    HTML_MARK,
    JsonFlag,
    LibraryArgument,
    OwnBackboneOption,
    check_file,
    command_line,
    hint,
    print_json,
    print_table,
    quiet,
    tell,
    written,
)
from promptport.cli.library.shared import open_library, sentence
from promptport.cli.panels import OUTPUT_PANEL
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.analysis import Similarity
    from promptport.analysis.similarity import Of

_SHORT = {
    "cosine": "cosine",
    "token_cosine": "per token",
    "sign_conflict": "sign conflict",
    "norm_ratio": "norm ratio",
    "subspace_overlap": "overlap",
}
_LEGEND = (
    "Cosine: 1 the same direction, 0 nothing in common. Sign conflict: 0.5 is chance, less is more "
    "alike. Overlap: 1 if one lies in the span of the other."
)


def command(
    library: LibraryArgument,
    of: Annotated[
        str,
        typer.Option(
            help="prompts, or vectors: prompt minus origin, what tuning added. Prompts of one "
            "origin look alike because of it."
        ),
    ] = "prompts",
    backbone: OwnBackboneOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="HTML file of heat maps to write.", rich_help_panel=OUTPUT_PANEL),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Compare prompts of one model: cosines, signs, norms, spans.

    Example:
        promptport library similarity prompts --of vectors --out alike.html
    """
    quiet()
    from promptport.analysis import compare, write_heat

    if of not in ("prompts", "vectors"):
        raise PromptPortError(
            "--of", expected="prompts or vectors", got=repr(of), fix="Choose one of them"
        )
    if out is not None:
        check_file(out, HTML_MARK)
    opened = open_library(library, backbone=backbone, keep_equal=True)
    similarity = compare(opened, cast("Of", of))
    if out is not None:
        write_heat(similarity, out)
    if json_output:
        print_json({**similarity.to_dict(), "file": None if out is None else str(out)})
        return
    _show(similarity)
    if out is not None:
        written(out)
    if all(opened.tasks.get(name) for name in opened):
        hint("Which of them survive together", command_line("library", "forecast", *library))


def _show(similarity: Similarity) -> None:
    names = similarity.names
    numbered = [f"{i + 1}. {name}" for i, name in enumerate(names)]
    cosines = similarity.matrices["cosine"].tolist()
    print_table(
        f"cosine of {similarity.of}",
        ["prompt", *(str(i + 1) for i in range(len(names)))],
        [[name, *row] for name, row in zip(numbered, cosines, strict=True)],
    )
    print_table(
        "pairs",
        ["pair", *(_SHORT[name] for name in similarity.matrices)],
        [
            [f"{names[i]}, {names[j]}", *(float(m[i, j]) for m in similarity.matrices.values())]
            for i, j in combinations(range(len(names)), 2)
        ],
    )
    if groups := similarity.groups():
        rows = [[group, *mean.values()] for group, mean in groups.items()]
        print_table("means over pairs", ["of", "pairs", "cosine", "token cosine"], rows)
    tell(_LEGEND)
    tell(sentence(similarity.verdict))
