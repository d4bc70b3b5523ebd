"""Bars of means, or of the share that is kept of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from promptport.recipes.reports.figures.style import (
    COLOURS,
    INK,
    new_figure,
    number_text,
    short,
)
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord
from promptport.recipes.reports.selecting import JOINED, KIND, fits, labels_of, varying
from promptport.recipes.reports.specs import FigureSpec
from promptport.recipes.reports.summaries import Mean, mean_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHARE = "share kept"


def plot(
    run: RunRecord, spec: FigureSpec, cells: list[MeasuredCell]
) -> tuple[Figure, list[str]] | None:
    """See `drawing.draw`."""
    assert spec.rows is not None
    assert spec.value is not None
    done = [c for c in cells if c.state == "finished" and c.number(spec.value) is not None]
    notes: list[str] = []
    value = spec.value
    if spec.relative_to is not None:
        shares = kept_shares(run, spec, done)
        notes.append(f"Share of the {value} of {_named(spec.relative_to)} that is kept; 1: all.")
        if lost := len(done) - len(shares):
            notes.append(f"{lost} cells have no one reference cell above 0, and are left out.")
        done, value = shares, _SHARE
    groups: dict[str, list[MeasuredCell]] = {}
    for cell in done:
        groups.setdefault(JOINED.join(labels_of(cell.place, spec.rows)), []).append(cell)
    means = {name: mean for name, own in groups.items() if (mean := mean_of(own, value))}
    if not means:
        return None
    figure, axes = new_figure(0.75 + 0.32 * len(means))
    least = 0.0 if spec.relative_to is None else 1.0  # all of the reference is in sight
    _draw(axes, means, {name: _points(groups[name], value) for name in means}, least)
    axes.set_xlabel(short(f"{spec.value} kept" if spec.relative_to is not None else value))
    if spec.relative_to is not None:
        axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    averaged = varying(done, spec.rows)
    if averaged:
        notes.append(f"Means over {' and '.join(averaged)}; a dot is a cell.")
    if any(mean.low is not None for mean in means.values()):
        notes.append("Lines: 95% bootstrap intervals.")
    if len(done) < len(cells):
        notes.append(f"{len(done)} of {len(cells)} cells are shown.")
    return figure, notes


def kept_shares(
    run: RunRecord, spec: FigureSpec, cells: Sequence[MeasuredCell]
) -> list[MeasuredCell]:
    """Each cell with its number over that of its reference cell.

    The reference of a cell is the one cell that the filter `relative_to` names whose other keys,
    of those that both have, are equal.

    Args:
        run: with the reference cells.
        spec: with `relative_to` and `value`.
        cells: finished ones.

    Returns:
        Cells whose only number is the share; those without one reference above 0 are left out.
    """
    assert spec.relative_to is not None
    assert spec.value is not None
    wanted = spec.relative_to
    found: dict[tuple[Any, ...], list[MeasuredCell]] = {}
    references = [c for c in run.cells if c.state == "finished" and fits(c.kind, c.place, wanted)]
    shares = []
    for cell in cells:
        kind = (cell.kind, *sorted(cell.place.items(), key=str))
        if kind not in found:
            found[kind] = [
                reference
                for reference in references
                if (KIND in wanted or reference.kind == cell.kind)
                and _same_others(cell, reference, wanted)
            ]
        own = found[kind]
        below = own[0].number(spec.value) if len(own) == 1 else None
        above = cell.number(spec.value)
        if below is not None and below > 0 and above is not None:
            shares.append(replace(cell, values={_SHARE: above / below}))
    return shares


def _same_others(cell: MeasuredCell, reference: MeasuredCell, wanted: Mapping[str, Any]) -> bool:
    keys = (set(cell.place) & set(reference.place)) - set(wanted)
    return all(cell.place[key] == reference.place[key] for key in keys)


def _named(wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {labels_of(wanted, [key])[0]}" for key in wanted)


def _points(cells: Sequence[MeasuredCell], value: str) -> list[float]:
    numbers = [cell.number(value) for cell in cells]
    return [number for number in numbers if number is not None] if len(cells) > 1 else []


def _draw(
    axes: Axes, means: Mapping[str, Mean], points: Mapping[str, Sequence[float]], least: float
) -> None:
    places = range(len(means))
    values = [mean.value for mean in means.values()]
    axes.barh(places, values, height=0.62, color=COLOURS[5], edgecolor=COLOURS[0], linewidth=0.8)
    ends = []
    for y, (name, mean) in zip(places, means.items(), strict=True):
        dots = points[name]
        axes.plot(dots, [y + 0.2] * len(dots), "o", color=INK, markersize=2.2, alpha=0.55)
        if mean.low is not None and mean.high is not None:
            axes.plot([mean.low, mean.high], [y, y], color=INK, linewidth=1.3)
        ends.append(max([mean.value, mean.high or mean.value, *points[name]]))
    far = max([*ends, least])
    near = min([0.0, *values, *(low for m in means.values() if (low := m.low) is not None)])
    step = 0.015 * ((far - near) or 1.0)
    for y, (end, value) in enumerate(zip(ends, values, strict=True)):
        text = number_text(value)
        axes.text(max(end, 0.0) + step, y, text, va="center", ha="left", fontsize=8)
    axes.set_xlim(near, far + 8 * step)
    axes.set_yticks(places, [short(name) for name in means])
    axes.set_ylim(len(means) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
