"""A self-contained HTML report: tables and plots in one file, no network, no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.experiments.demo import SEEN_OF_TARGET, DemoResult
from promptport.files import write_atomic
from promptport.pages import render_page, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {
    "majority": "#9aa5b1",
    "random": "#9aa5b1",
    "no prompt": "#9aa5b1",
    "manual": "#616e7c",
    "manual, prior off": "#616e7c",
    "free prompt, paper A's search": "#e8a33d",
    "free prompt, least squares": "#d9743a",
    "free prompt, moved": "#7a4fa3",
    "mixture prompt, moved": "#2f7d5b",
    "tuned here": "#3c6e9f",
}


def write_report(result: DemoResult, path: str | Path) -> Path:
    """Write the report of a demo.

    Args:
        result: what `run_demo` gave.
        path: HTML file to write, whole or not at all.

    Raises:
        StorageError: the place cannot be written.
    """
    means, retention = result.means(), result.retention()
    page = render_page(
        "demo.html",
        settings=result.settings,
        anchors=result.anchors,
        metric=result.outcomes[0].on_target["tuned here"].metric.upper(),
        rows=[
            {
                "name": name,
                "seen": SEEN_OF_TARGET[name],
                "mean": means[name],
                "retention": retention[name],
                "scores": [o.on_target[name] for o in result.outcomes],
            }
            for name in means
        ],
        outcomes=result.outcomes,
        seconds=result.seconds,
        bars=svg_of(_bars(result)),
        curves=svg_of(_curves(result)),
    )
    target = Path(path)
    write_atomic(target, page)
    return target


def _bars(result: DemoResult) -> Figure:
    from matplotlib.figure import Figure

    names = list(result.means())
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for j, name in enumerate(names):
        scores = [outcome.on_target[name] for outcome in result.outcomes]
        places = [i + j * width - 0.4 + width / 2 for i in range(len(scores))]
        spread = [[s.value - s.low for s in scores], [s.high - s.value for s in scores]]
        axes.bar(
            places,
            [s.value for s in scores],
            width * 0.92,
            yerr=spread,
            label=name,
            color=_COLOURS[name],
            error_kw={"elinewidth": 0.8, "ecolor": "#323f4b"},
        )
    axes.set_xticks(range(len(result.outcomes)), [o.task for o in result.outcomes])
    axes.set_ylabel(f"{result.outcomes[0].on_target[names[0]].metric} on {result.settings.target}")
    axes.set_ylim(0, 1.02)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(ncols=4, fontsize=7.5, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _curves(result: DemoResult) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 2.2), layout="constrained")
    panels: Any = figure.subplots(1, len(result.outcomes), sharey=True, squeeze=False)[0]
    for axes, outcome in zip(panels, result.outcomes, strict=True):
        for name, colour in (("free", "#d9743a"), ("mixture", "#2f7d5b")):
            losses = outcome.curve[name]
            axes.plot(range(1, len(losses) + 1), losses, color=colour, label=name, linewidth=1.4)
        axes.set_title(outcome.task, fontsize=8)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("dev loss", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    return figure
