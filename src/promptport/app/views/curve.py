"""The loss curve as a picture of ours: numbers alone go into it."""

from __future__ import annotations

from collections.abc import Sequence

from nicegui import ui

from promptport.app.views.elements import attributes, scrolled, table, tag, textual
from promptport.catalog.showing import Curve

_WIDTH, _HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 48, 14, 34


def show_curve(curve: Curve) -> None:
    """Draw losses and scores, and tell them in a table for those who do not see."""
    best = "" if curve.best is None else f" The look of number {curve.best} was kept."
    worst = max(*curve.train, *curve.dev, 1e-9)
    drawing = ui.html(_drawing(curve, worst), sanitize=False).classes("pp-curve")
    said = (
        f"Loss and dev score over {int(curve.epochs[-1])} looks at the dev rows: dev loss "
        f"{curve.dev[0]:.2f} to {curve.dev[-1]:.2f}, dev score {curve.scores[0]:.2f} to "
        f"{curve.scores[-1]:.2f}.{best}"
    )
    attributes(drawing, role="img", aria_label=said)
    with tag("p", "pp-legend"):
        for name, label in (
            ("train", "training loss"),
            ("dev", "dev loss"),
            ("score", "dev score (right axis)"),
        ):
            with tag("span"):
                attributes(ui.element("span").classes(f"pp-key pp-key-{name}"), aria_hidden="true")
                textual("span", label)
    textual("p", said, "pp-note")
    with tag("details"):
        textual("summary", "The numbers")
        rows = [
            [f"{epoch:g}", f"{train:.4g}", f"{dev:.4g}", f"{score:.3f}"]
            for epoch, train, dev, score in zip(
                curve.epochs, curve.train, curve.dev, curve.scores, strict=True
            )
        ]
        with scrolled("Numbers of the curve"):
            columns = ["look", "training loss", "dev loss", "dev score"]
            table("Numbers of the curve", columns, rows, numbers=(1, 2, 3), cards=False)


def _drawing(curve: Curve, worst: float) -> str:
    """SVG in the colours of the page."""
    first, last = curve.epochs[0], max(curve.epochs[-1], curve.epochs[0] + 1)

    def across(epoch: float) -> float:
        return _LEFT + (epoch - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    def down(share: float) -> float:
        return _TOP + (1 - max(0.0, min(1.0, share))) * (_HEIGHT - _TOP - _BOTTOM)

    def line(values: Sequence[float], scale: float, name: str) -> str:
        points = " ".join(
            f"{across(x):.1f},{down(y / scale):.1f}"
            for x, y in zip(curve.epochs, values, strict=True)
        )
        return f'<polyline class="pp-line-{name}" points="{points}"/>'

    grid = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = down(share)
        grid.append(
            f'<line class="pp-grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * worst:.2g}</text>'
            f'<text x="{_WIDTH - _RIGHT + 6}" y="{y + 4:.1f}">{share:g}</text>'
        )
    ends = (
        f'<text x="{_LEFT}" y="{_HEIGHT - 12}">look {curve.epochs[0]:g}</text>'
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 12}" text-anchor="end">'
        f"{curve.epochs[-1]:g}</text>"
    )
    kept = ""
    if curve.best is not None and curve.epochs[0] <= curve.best <= curve.epochs[-1]:
        x = across(curve.best)
        kept = f'<line class="pp-kept" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{down(0):.1f}"/>'
    lines = line(curve.train, worst, "train") + line(curve.dev, worst, "dev")
    lines += line(curve.scores, 1.0, "score")
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" aria-hidden="true" focusable="false"'
    return f"<svg {box}>{''.join(grid)}{ends}{kept}{lines}</svg>"
