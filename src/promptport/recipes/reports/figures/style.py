"""One look for all figures: fonts, colours that every reader tells apart, saving."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008), without the yellow that is hard to see on white; markers and dashes say
# the same once more, for print without colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1, 1, 1)))
INK, SOFT, GRID = "#1f2933", "#52606d", "#d9dee4"
WIDTH = 6.6  # inches: the width of a printed page's text
_SETTINGS = {
    "font.family": "sans-serif",
    "font.size": 9.0,
    "text.color": INK,
    "text.parse_math": False,  # names of others are no formulas
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
_UNUSED_ID = re.compile(r' id="[A-Za-z][A-Za-z0-9.]*_\d+"')
_LONGEST = 34  # characters of a label


@contextmanager
def styled() -> Iterator[None]:
    """Everything within is drawn in this look, whatever the user's own settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def new_figure(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """An empty figure; needs no display.

    Args:
        height: inches.
        width: inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def line_look(number: int) -> dict[str, Any]:
    """Colour, marker and dashes of the n-th line: none of the first 35 look alike."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": DASHES[number % len(DASHES)],
    }


def short(text: str) -> str:
    """A label that fits beside an axis."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def svg_text(figure: Figure) -> str:
    """The figure as SVG, text as text; the same numbers give the same bytes.

    Ids that nothing points to are left out: several figures stand in one page.
    """
    from promptport.pages import svg_of

    return _UNUSED_ID.sub("", str(svg_of(figure)))


def number_text(value: float) -> str:
    """A number with three digits behind the point, fewer where it is large."""
    size = abs(value)
    return (
        f"{value:.0f}"
        if size >= 100
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.3g}"
        if (0 < size < 0.001)
        else f"{value:.3f}"
    )
