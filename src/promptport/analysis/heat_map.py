"""Heat maps of similarities as one HTML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from promptport.analysis.similarity import Similarity
from promptport.files import write_atomic
from promptport.pages import ColourScale, render_page


@dataclass(frozen=True)
class _Map:
    """How one measure is shown."""

    title: str
    meaning: str
    scale: ColourScale


_MAPS = {
    "cosine": _Map(
        "Cosine of the whole",
        "1: the same direction; 0: nothing in common; -1: opposite.",
        ColourScale("diverging", -1, 1),
    ),
    "token_cosine": _Map(
        "Mean cosine per virtual token",
        "The same, virtual token by virtual token.",
        ColourScale("diverging", -1, 1),
    ),
    "sign_conflict": _Map(
        "Sign conflict",
        "Share of entries with opposite signs. 0: no conflict; 0.5: as by chance.",
        ColourScale("sequential"),
    ),
    "subspace_overlap": _Map(
        "Overlap of the row spaces",
        "1: one lies in the other; 0: at right angles.",
        ColourScale("sequential"),
    ),
    "norm_ratio": _Map(
        "Norm ratio",
        "Norm of the row's over the column's. 1: equal.",
        ColourScale("diverging", ratio=True),
    ),
}


def write_heat(similarity: Similarity, path: str | Path) -> Path:
    """Write the heat maps of all measures.

    Args:
        similarity: of m prompts or vectors.
        path: HTML file to write, whole or not at all.

    Raises:
        StorageError: the place cannot be written.
    """
    page = render_page(
        "similarity.html",
        similarity=similarity,
        maps=[
            {
                "title": shown.title,
                "meaning": shown.meaning,
                "rows": _cells(similarity.matrices[name], shown.scale),
                "legend": shown.scale.legend(),
            }
            for name, shown in _MAPS.items()
        ],
        groups=similarity.groups(),
    )
    target = Path(path)
    write_atomic(target, page)
    return target


def _cells(matrix: Tensor, scale: ColourScale) -> list[list[dict[str, Any]]]:
    return [
        [{"value": value, "colour": scale.colour(value)} for value in row]
        for row in matrix.tolist()
    ]
