"""Heat maps: a mean for every pair of labels, as a colour and a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptport.pages import ColourScale
from promptport.recipes.reports.figures.style import WIDTH, new_figure, number_text, short
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord
from promptport.recipes.reports.selecting import JOINED, labels_of, varying
from promptport.recipes.reports.specs import FigureSpec
from promptport.recipes.reports.summaries import mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 0.3  # inches of height
_LETTER = 0.075  # inches of a letter, about
_MOST_NUMBERS = 16  # columns, beyond which colours alone are shown
_EMPTY = "#eef1f4"


def plot(
    run: RunRecord, spec: FigureSpec, cells: list[MeasuredCell]
) -> tuple[Figure, list[str]] | None:
    """See `drawing.draw`."""
    assert spec.rows is not None
    assert spec.columns is not None
    assert spec.value is not None
    groups: dict[tuple[str, str], list[MeasuredCell]] = {}
    for cell in cells:
        row = JOINED.join(labels_of(cell.place, spec.rows))
        groups.setdefault((row, labels_of(cell.place, [spec.columns])[0]), []).append(cell)
    rows = list(dict.fromkeys(row for row, _ in groups))
    columns = list(dict.fromkeys(column for _, column in groups))
    if set(rows) == set(columns):
        columns = rows  # the diagonal is that of equal labels
    values = {
        place: mean.value
        for place, own in groups.items()
        if (mean := mean_of([c for c in own if c.state == "finished"], spec.value)) is not None
    }
    if not values:
        return None
    scale = _scale(list(values.values()))
    figure, axes = new_figure(*_size(rows, columns))
    lacking = False
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            value = values.get((row, column))
            asked = (row, column) in groups
            lacking |= value is None and asked
            _square(axes, x, y, value, scale, asked=asked, written=len(columns) <= _MOST_NUMBERS)
    _label(axes, rows, columns, spec)
    _legend(figure, axes, scale, spec.value)
    averaged = varying(cells, [*spec.rows, spec.columns])
    notes = [f"Means over {' and '.join(averaged)}."] if averaged else []
    if lacking:
        notes.append("Hatched: failed or not run.")
    return figure, notes


def _scale(values: Sequence[float]) -> ColourScale:
    low, high = min(values), max(values)
    if low < 0:
        far = max(-low, high)
        return ColourScale("diverging", -far, far)
    return ColourScale("sequential", low, high if high > low else low + 1)


def _size(rows: Sequence[str], columns: Sequence[str]) -> tuple[float, float]:
    """Height and width in inches: room for the labels beside the squares."""
    beside, below = (_LETTER * max(len(short(name)) for name in names) for names in (rows, columns))
    height = 0.9 + _CELL * max(2, len(rows)) + (0.7 * below if _slanted(columns) else 0.2)
    return height, max(WIDTH * 0.75, 1.7 + beside + 0.62 * len(columns))


def _slanted(columns: Sequence[str]) -> bool:
    return max(map(len, columns)) > 9


def _square(
    axes: Axes,
    x: int,
    y: int,
    value: float | None,
    scale: ColourScale,
    *,
    asked: bool,
    written: bool,
) -> None:
    from matplotlib.patches import Rectangle

    where = ((x - 0.5, y - 0.5), 1, 1)
    if value is None:
        hatch = "////" if asked else None
        axes.add_patch(
            Rectangle(*where, facecolor=_EMPTY, edgecolor="#9aa5b1", hatch=hatch, linewidth=0)
        )
        return
    colour = scale.colour(value)
    axes.add_patch(Rectangle(*where, facecolor=colour.background, edgecolor="white", linewidth=1))
    if written:
        text = number_text(value)
        axes.text(x, y, text, ha="center", va="center", color=colour.text, fontsize=8)


def _label(axes: Axes, rows: Sequence[str], columns: Sequence[str], spec: FigureSpec) -> None:
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    slanted = _slanted(columns)
    axes.set_xticks(
        range(len(columns)),
        [short(column) for column in columns],
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )
    axes.set_yticks(range(len(rows)), [short(row) for row in rows])
    axes.set_xlabel(short(str(spec.columns)))
    axes.set_ylabel(short(JOINED.join(spec.rows or [])))
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)


def _legend(figure: Figure, axes: Axes, scale: ColourScale, value: str) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    shades = ListedColormap([colour.background for _, colour in scale.legend()])
    mapped = ScalarMappable(Normalize(scale.low, scale.high), shades)
    bar = figure.colorbar(mapped, ax=axes, fraction=0.05, pad=0.02, aspect=18)
    bar.set_label(short(value))
    bar.outline.set_visible(False)
