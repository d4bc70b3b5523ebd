"""Colours of numbers in tables: equal colours mean equal numbers, and the text stays readable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

# Made for readers of every colour vision: `cividis` is perceptually uniform, from light to dark
# where it is reversed; `PuOr` has a light middle and sides of equal strength.
_MAPS = {"sequential": "cividis_r", "diverging": "PuOr_r"}
_DARK, _LIGHT = "#1f2933", "#ffffff"  # of the text
_STEPS = 11  # colours of a legend


@dataclass(frozen=True)
class Colour:
    """Of a cell.

    Attributes:
        background: as `#rrggbb`.
        text: dark or light, whichever is read better on it.
    """

    background: str
    text: str


@dataclass(frozen=True)
class ColourScale:
    """A fixed scale from numbers to colours.

    Attributes:
        kind: `sequential` (light at `low`, ever darker up to `high`) or `diverging` (light in the
            middle of the two).
        low: number at one end.
        high: at the other.
        ratio: the numbers are ratios from 0 on, 1 in the middle: `low` and `high` are not used.
    """

    kind: Literal["sequential", "diverging"]
    low: float = 0.0
    high: float = 1.0
    ratio: bool = False

    def colour(self, value: float) -> Colour:
        """The colour of a number; beyond the ends it is that of the end."""
        return _colour(self._share(value), self.kind)

    def legend(self) -> list[tuple[float, Colour]]:
        """Numbers over the whole scale, with their colours."""
        shares = [i / (_STEPS - 1) for i in range(_STEPS)]
        return [(self._number(share), _colour(share, self.kind)) for share in shares]

    def _share(self, value: float) -> float:
        """0 at one end, 1 at the other. A ratio r and 1 / r are as far from the middle."""
        if self.ratio:
            return 1.0 if math.isinf(value) else value / (1 + value)
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def _number(self, share: float) -> float:
        if self.ratio:
            return math.inf if share == 1 else share / (1 - share)
        return self.low + share * (self.high - self.low)


def _colour(share: float, kind: str) -> Colour:
    import matplotlib as mpl

    red, green, blue, _ = mpl.colormaps[_MAPS[kind]](share)
    background = "#" + "".join(f"{round(255 * part):02x}" for part in (red, green, blue))
    # Contrast as WCAG 2 defines it, against white and against the dark text.
    light = _luminance(red, green, blue)
    dark = _luminance(*(int(_DARK[i : i + 2], 16) / 255 for i in (1, 3, 5)))
    on_white, on_dark = 1.05 / (light + 0.05), (light + 0.05) / (dark + 0.05)
    return Colour(background, _LIGHT if on_white > on_dark else _DARK)


def _luminance(red: float, green: float, blue: float) -> float:
    parts = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in (red, green, blue)
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
