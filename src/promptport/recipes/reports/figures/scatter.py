"""Scatter of two numbers of cells, with their rank correlation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptport.recipes.reports.figures.style import COLOURS, MARKERS, new_figure, short
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord
from promptport.recipes.reports.selecting import labels_of
from promptport.recipes.reports.specs import FigureSpec
from promptport.tasks.metrics import rank_correlation

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST = 4  # points that a correlation takes


def plot(
    run: RunRecord, spec: FigureSpec, cells: list[MeasuredCell]
) -> tuple[Figure, list[str]] | None:
    """See `drawing.draw`."""
    assert spec.x is not None
    assert spec.y is not None
    assert spec.colour is not None
    points: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        x, y = cell.number(spec.x), cell.number(spec.y)
        if cell.state == "finished" and x is not None and y is not None:
            points.setdefault(labels_of(cell.place, [spec.colour])[0], []).append((x, y))
    if not points:
        return None
    figure, axes = new_figure(3.6)
    for i, (name, own) in enumerate(points.items()):
        axes.scatter(
            [x for x, _ in own],
            [y for _, y in own],
            s=22,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            alpha=0.8,
            linewidths=0.4,
            edgecolors="white",
            label=short(name),
        )
    axes.set_xlabel(short(spec.x))
    axes.set_ylabel(short(spec.y))
    axes.grid()
    axes.set_axisbelow(True)
    axes.legend(title=spec.colour, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure, _notes(points)


def _notes(points: dict[str, list[tuple[float, float]]]) -> list[str]:
    everything = [point for own in points.values() for point in own]
    parts = [f"over all {len(everything)} cells {_correlation(everything)}"]
    if len(points) > 1:
        parts += [f"{name} {_correlation(own)}" for name, own in points.items()]
    return [f"Rank correlation (Spearman) {', '.join(parts)}."]


def _correlation(points: Sequence[tuple[float, float]]) -> str:
    x, y = zip(*points, strict=True)
    if len(points) < _FEWEST or len(set(x)) == 1 or len(set(y)) == 1:
        return "not defined"
    return f"{rank_correlation(x, y):+.2f}"
