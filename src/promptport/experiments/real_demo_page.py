"""The page of the demo on real models: tables and plots in one file, no network, no scripts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promptport.experiments.real_demo import CEILING, MOVED, SEEN, RealDemoResult
from promptport.files import write_atomic
from promptport.pages import render_page, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"source": "#9aa5b1", "target": "#2f7d5b"}


def write_real_report(
    result: RealDemoResult, path: str | Path, following: Mapping[str, str] | None = None
) -> Path:
    """Write the page of a demo on real models.

    Args:
        result: what `run_real_demo` gave.
        path: HTML file to write, whole or not at all.
        following: what can be done next -> the command.

    Raises:
        StorageError: the place cannot be written.
    """
    page = render_page(
        "real_demo.html",
        result=result,
        moved=MOVED,
        ceiling=CEILING,
        seen={name: SEEN[name] for name in SEEN if name in result.scores["target"]},
        bars=svg_of(_bars(result)),
        curves=svg_of(_curves(result)),
        following=dict(following or {}),
    )
    target = Path(path)
    write_atomic(target, page)
    return target


def _bars(result: RealDemoResult) -> Figure:
    """A bar for each way and model, with its interval."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = figure.subplots()
    names = [name for name in reversed(SEEN) if name in result.scores["target"]]
    for offset, side in ((0.2, "source"), (-0.2, "target")):
        own = result.scores[side]
        places = [i + offset for i, name in enumerate(names) if name in own]
        scores = [own[name] for name in names if name in own]
        axes.barh(
            places,
            [s.value for s in scores],
            0.38,
            xerr=[[s.value - s.low for s in scores], [s.high - s.value for s in scores]],
            label=f"on {result.names[side]}",
            color=_COLOURS[side],
            error_kw={"elinewidth": 0.8, "ecolor": "#323f4b"},
        )
    axes.axvline(
        result.scores["target"]["majority"].value, color="#616e7c", linewidth=0.8, linestyle=":"
    )
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel(f"{result.scores['target'][CEILING].metric}, test rows")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower center", ncols=2, bbox_to_anchor=(0.5, 1.0))
    return figure


def _curves(result: RealDemoResult) -> Figure:
    """Loss on dev rows while tuning, on both models."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 2.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, column, what in zip(panels, (2, 3), ("loss", "score"), strict=True):
        for side in ("source", "target"):
            points = result.curves[f"tuned-{side}"]
            axes.plot(
                [point[0] for point in points],
                [point[column] for point in points],
                color=_COLOURS[side],
                marker="o",
                markersize=3,
                label=result.names[side],
            )
        axes.set_ylabel(f"dev {what}", fontsize=8)
        axes.set_xlabel("updates", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(fontsize=7, frameon=False)
    return figure
