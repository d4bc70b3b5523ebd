"""From the specification of a figure to its SVG."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptport.recipes.reports.figures import bars, curves, heat_map, scatter
from promptport.recipes.reports.figures.style import styled, svg_text
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord
from promptport.recipes.reports.selecting import fits
from promptport.recipes.reports.specs import FigureSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Plot = Callable[[RunRecord, FigureSpec, list[MeasuredCell]], "tuple[Figure, list[str]] | None"]
_PLOTS: dict[str, Plot] = {
    "heat_map": heat_map.plot,
    "curves": curves.plot,
    "bars": bars.plot,
    "scatter": scatter.plot,
}


@dataclass(frozen=True)
class Drawn:
    """A figure of a report.

    Attributes:
        spec: what the recipe asks for.
        svg: the figure; empty where there is nothing to draw.
        notes: what a reader must know, a sentence each.
    """

    spec: FigureSpec
    svg: str
    notes: tuple[str, ...]


def draw(run: RunRecord, spec: FigureSpec) -> Drawn:
    """Draw a figure of a run.

    Args:
        run: with the cells.
        spec: what is asked for.
    """
    cells = [cell for cell in run.cells if fits(cell.kind, cell.place, spec.of)]
    notes = [spec.note.rstrip(".") + "."] if spec.note else []
    with styled():
        made = _PLOTS[spec.figure](run, spec, cells)
        if made is None:
            return Drawn(spec, "", (*notes, "Nothing to draw: no finished cell has its numbers."))
        figure, more = made
        return Drawn(spec, svg_text(figure), (*notes, *more))
