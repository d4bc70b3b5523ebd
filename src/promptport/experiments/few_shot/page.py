"""Few-shot curves on disk: a JSON file, and a page with plot and tables, no network, no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from promptport.experiments.few_shot.summary import Curves
from promptport.files import json_bytes, write_atomic
from promptport.pages import render_page, svg_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT_FILE, CURVES_PAGE = "curves.json", "curves.html"


def write_curves(curves: Curves, folder: str | Path) -> Path:
    """Write `curves.json` and `curves.html`, each whole or not at all.

    Args:
        curves: what `few_shot_curves` gave.
        folder: made if missing.

    Returns:
        The folder.

    Raises:
        StorageError: the place cannot be written.
    """
    page = render_page(CURVES_PAGE, curves=curves, plot=svg_of(_plot(curves)))
    target = Path(folder)
    write_atomic(target / RESULT_FILE, json_bytes(curves.to_dict()))
    write_atomic(target / CURVES_PAGE, page)
    return target


def _plot(curves: Curves) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for curve in curves.curves:
        line = "--" if curve.start == curves.reference else "-"
        axes.plot(*zip(*curve.means.items(), strict=True), line, label=curve.start, marker="o")
    axes.axhline(curves.majority.value, color="#9aa5b1", linestyle=":", label="majority answer")
    # Logarithmic from the fewest rows on; 0 stands one step before them.
    fewest = min((count for count in curves.rows if count), default=1)
    axes.set_xscale("symlog", linthresh=fewest, linscale=0.5)
    axes.set_xlim(-0.2 * fewest, 1.1 * max(fewest, *curves.rows))
    axes.set_xticks(curves.rows, [str(count) for count in curves.rows])
    axes.minorticks_off()
    axes.set_xlabel("labelled rows")
    axes.set_ylabel(f"{curves.metric} on {curves.task}, test")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
