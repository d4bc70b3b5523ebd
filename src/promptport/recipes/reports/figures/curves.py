"""Curves: a mean against a number of the places, a line for each label, bands of 95%."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from promptport.recipes.reports.figures.style import line_look, new_figure, short
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord, Value
from promptport.recipes.reports.selecting import label, labels_of, varying
from promptport.recipes.reports.specs import FigureSpec
from promptport.recipes.reports.summaries import Mean, mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE = 12  # largest over smallest, from which on steps are ratios
_NEAR = 1.45  # ratio below which the labels of two steps would run into each other
_BAND = 0.14  # opacity


def plot(
    run: RunRecord, spec: FigureSpec, cells: list[MeasuredCell]
) -> tuple[Figure, list[str]] | None:
    """See `drawing.draw`."""
    assert spec.x is not None
    assert spec.lines is not None
    assert spec.value is not None
    key, lines = spec.x, spec.lines
    done = [c for c in cells if c.state == "finished" and key in c.place and lines in c.place]
    done = [cell for cell in done if cell.number(spec.value) is not None]
    if not done:
        return None
    numbers = all(_is_number(cell.place[key]) for cell in done)
    order = _steps([cell.place[key] for cell in done], numbers=numbers)
    figure, axes = new_figure(3.1)
    bands = False
    for i, name in enumerate(dict.fromkeys(labels_of(c.place, [lines])[0] for c in done)):
        own = [cell for cell in done if labels_of(cell.place, [lines])[0] == name]
        points = _points(own, order, key, spec.value, numbers=numbers)
        bands |= _draw(axes, points, i, name)
    _ticks(axes, order, numbers=numbers)
    axes.set_xlabel(short(key))
    axes.set_ylabel(short(spec.value))
    axes.grid(axis="y")
    axes.legend(title=lines, loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    return figure, _notes(cells, done, [key, lines], bands=bands)


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _steps(values: Sequence[Value], *, numbers: bool) -> list[Value]:
    known = list(dict.fromkeys(values))
    return sorted(known, key=lambda v: float(v)) if numbers else known  # type: ignore[arg-type]


def _points(
    cells: Sequence[MeasuredCell], order: Sequence[Value], key: str, value: str, *, numbers: bool
) -> list[tuple[float, Mean]]:
    found = []
    for place, step in enumerate(order):
        mean = mean_of([cell for cell in cells if cell.place[key] == step], value)
        if mean is not None:
            found.append((float(step) if numbers else float(place), mean))  # type: ignore[arg-type]
    return found


def _draw(axes: Axes, points: Sequence[tuple[float, Mean]], number: int, name: str) -> bool:
    """Draw a line; whether any of it has a band."""
    look = line_look(number)
    axes.plot([x for x, _ in points], [m.value for _, m in points], label=short(name), **look)
    sure = [(x, m.low, m.high) for x, m in points if m.low is not None and m.high is not None]
    if sure:
        steps, low, high = zip(*sure, strict=True)
        axes.fill_between(steps, low, high, color=look["color"], alpha=_BAND, linewidth=0)
    return bool(sure)


def _ticks(axes: Axes, order: Sequence[Value], *, numbers: bool) -> None:
    if not numbers:
        axes.set_xticks(range(len(order)), [short(label(step)) for step in order])
        return
    steps = [float(step) for step in order]  # type: ignore[arg-type]
    above = [step for step in steps if step > 0]
    if above and min(steps) >= 0 and max(steps) / min(above) > _WIDE:
        # Ratios from the smallest on; 0 stands one step before it.
        axes.set_xscale("symlog", linthresh=min(above), linscale=0.5)
        axes.minorticks_off()
        right = max(steps) * (max(steps) / min(above)) ** 0.04
        axes.set_xlim(min(steps) - 0.12 * min(above), right)
        hidden = {a for a, b in pairwise(above) if b / a < _NEAR}
        order = ["" if step in hidden else step for step in order]
    axes.set_xticks(steps, [label(step) for step in order])


def _notes(
    asked: Sequence[MeasuredCell], done: Sequence[MeasuredCell], keys: Sequence[str], *, bands: bool
) -> list[str]:
    averaged = varying(done, keys)
    notes = [f"Means over {' and '.join(averaged)}."] if averaged else []
    if bands:
        notes.append("Bands: 95% bootstrap intervals.")
    if len(done) < len(asked):
        notes.append(f"{len(done)} of {len(asked)} cells are finished.")
    return notes
