"""A library as one HTML file that needs no server: table, every prompt, how alike they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.showing import Curve, curve_of, history_sentences, score_facts
from promptport.files import write_atomic
from promptport.history import origin_text, public_name
from promptport.library.near_words import words_of
from promptport.library.profiles import CosineMap, Profile, profiles
from promptport.pages import ColourScale, render_page, script_of

MOST = 300  # prompts with a section of their own
_MOST_IN_MAP = 40
_COLUMNS = ("name", "task", "model", "kind", "tokens", "dev score", "written", "tags")
_SCALE = ColourScale("diverging", -1, 1)


def write_library_report(
    catalog: Catalog, path: str | Path, *, title: str | None = None, most: int = MOST
) -> list[str]:
    """Write the report of a library.

    Args:
        catalog: of the library, filtered and sorted as it shall be shown.
        path: HTML file to write, whole or not at all.
        title: of the page; None for the names of its folders.
        most: so many prompts are shown, the first ones.

    Returns:
        What could not be read or is not shown, one line each.

    Raises:
        StorageError: the place cannot be written.
    """
    shown = catalog.first(most)
    looked = profiles(shown)
    notes = [*catalog.notes, *looked.notes]
    if len(shown) < len(catalog):
        notes.append(f"{len(catalog) - len(shown)} more prompts are not shown")
    ids = {entry.name: f"p{number}" for number, entry in enumerate(shown.entries, 1)}
    models = {name: label for label, names in shown.backbones.items() for name in names}
    rows = [_row(e, ids, public_name(models[e.name]), looked.by_name) for e in shown.entries]
    script, digest = script_of("library.js")
    page = render_page(
        "library.html",
        title=title or ", ".join(place.resolve().name for place in catalog.places),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        found=len(catalog),
        rows=rows,
        columns=list(zip(_COLUMNS, range(len(_COLUMNS)), strict=True)),
        models=sorted({row["model"] for row in rows}),
        tasks=sorted({e.task for e in shown.entries if e.task}),
        kinds=sorted({e.kind for e in shown.entries}),
        maps=[_map(own) for own in looked.maps],
        notes=[_without_folders(note, catalog) for note in dict.fromkeys(notes)],
        script=script,
        script_hash=digest,
    )
    write_atomic(Path(path), page)
    return notes


def _without_folders(note: str, catalog: Catalog) -> str:
    """A note for readers of other machines: paths of the library from its own folder on."""
    for place in catalog.places:
        if str(place) != os.curdir:
            path = re.compile(rf"(?<![\w./-]){re.escape(str(place))}(?![\w-])")
            note = place.resolve().name.join(path.split(note))
    return note


def _row(
    entry: CatalogEntry,
    ids: Mapping[str, str],
    model: str,
    looked: Mapping[str, Profile],
) -> dict[str, Any]:
    """All that the page shows of a prompt."""
    profile, curve = looked.get(entry.name), curve_of(entry)
    near = [] if profile is None or profile.near is None else words_of(profile.near)
    words = [entry.name, entry.task or "", model, entry.kind, *entry.tags, *near]
    words += entry.more.get("mixture_words", ())
    made = entry.provenance
    size = " x ".join(str(n) for n in (entry.length, entry.width) if n is not None)
    origin = made.get("origin")
    return {
        "entry": entry,
        "id": ids[entry.name],
        "model": model,
        "words": " ".join(words).lower(),
        "facts": [
            ("model", model),
            ("kind", entry.kind),
            ("virtual tokens", size),
            ("template", entry.template),
            ("tuning started from", origin_text(origin) if isinstance(origin, dict) else None),
            ("tags", ", ".join(entry.tags)),
            ("written", entry.written),
            ("checksum", entry.checksum or "none recorded"),
        ],
        "scores": score_facts(entry),
        "curve": None if curve is None else curve_figure(curve),
        "history": history_sentences(entry),
        "profile": None if profile is None else _with_links(profile, ids),
    }


def _with_links(profile: Profile, ids: Mapping[str, str]) -> dict[str, Any]:
    similar = [{**vars(own), "id": ids.get(own.name)} for own in profile.similar]
    return {**vars(profile), "similar": similar}


def _map(own: CosineMap) -> dict[str, Any]:
    names = own.names[:_MOST_IN_MAP]
    cosines = own.cosines[: len(names), : len(names)].tolist()
    return {
        "backbone": public_name(own.backbone),
        "length": own.length,
        "names": names,
        "left_out": len(own.names) - len(names),
        "lines": [[{"value": v, "colour": _SCALE.colour(v)} for v in line] for line in cosines],
        "legend": _SCALE.legend(),
    }


@dataclass(frozen=True)
class CurveFigure:
    """A learning curve in the coordinates of a figure.

    Attributes:
        train: points of the polyline, like `dev` and `scores`.
        dev: of the dev loss.
        scores: of the dev score, on a scale of its own.
        best: x of the epoch that was kept; None if it is not recorded.
        ticks: `y`, and the loss and the score that stand there.
        label: in words.
        first: epoch.
        last: epoch.
    """

    train: str
    dev: str
    scores: str
    best: float | None
    ticks: tuple[Mapping[str, Any], ...]
    label: str
    first: int
    last: int
    width: int = 480
    height: int = 190
    left: int = 56
    right: int = 430
    top: int = 10
    bottom: int = 160


def curve_figure(curve: Curve) -> CurveFigure:
    """Lay a learning curve out."""
    frame = CurveFigure("", "", "", None, (), "", 0, 0)
    low_x, high_x = curve.epochs[0], curve.epochs[-1]
    losses = _scale([*curve.train, *curve.dev])
    scores = _scale(curve.scores)

    def x(epoch: float) -> float:
        share = (epoch - low_x) / (high_x - low_x) if high_x > low_x else 0.0
        return round(frame.left + share * (frame.right - frame.left), 1)

    def line(values: Sequence[float], scale: tuple[float, float]) -> str:
        low, high = scale
        points = zip(curve.epochs, values, strict=True)
        span = frame.bottom - frame.top
        return " ".join(
            f"{x(e)},{frame.bottom - span * (v - low) / (high - low):.1f}" for e, v in points
        )

    ticks = []
    for i in range(5):
        share = i / 4
        ticks.append(
            {
                "y": frame.bottom - share * (frame.bottom - frame.top),
                "loss": f"{losses[0] + share * (losses[1] - losses[0]):.2g}",
                "score": f"{scores[0] + share * (scores[1] - scores[0]):.2f}",
            }
        )
    label = (
        f"Training loss from {curve.train[0]:.3g} to {curve.train[-1]:.3g}, dev loss from "
        f"{curve.dev[0]:.3g} to {curve.dev[-1]:.3g}, dev score from {curve.scores[0]:.3f} to "
        f"{curve.scores[-1]:.3f}"
    )
    known = curve.best is not None and low_x <= curve.best <= high_x
    return CurveFigure(
        line(curve.train, losses),
        line(curve.dev, losses),
        line(curve.scores, scores),
        x(float(curve.best)) if known and curve.best is not None else None,
        tuple(ticks),
        label,
        round(low_x),
        round(high_x),
    )


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the most, with some room where all are the same."""
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-9 else (low - 0.5, high + 0.5)
