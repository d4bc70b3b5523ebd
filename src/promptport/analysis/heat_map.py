"""A heat map of similarities: one HTML file, no network, no scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from promptport._version import __version__
from promptport.analysis.similarity import Similarity
from promptport.files import write_atomic

_HIGH, _LOW = (104, 184, 143), (240, 162, 112)  # light enough for dark text
# Measure -> title, and the value that stays white.
_SHOWN = {
    "cosine": ("Cosine of the whole", 0.0),
    "token_cosine": ("Mean cosine per virtual token", 0.0),
    "sign_conflict": ("Share of entries with opposite signs (0.5 is chance)", 0.5),
    "subspace_overlap": ("Overlap of the row spaces (1: one lies in the other)", 0.0),
    "norm_ratio": ("Length of the row's over the column's", 1.0),
}


def write_heat(similarity: Similarity, path: str | Path) -> Path:
    """Write the heat maps of all measures.

    Args:
        similarity: of m prompts or vectors.
        path: HTML file to write, whole or not at all.

    Raises:
        StorageError: the place cannot be written.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    html = environment.get_template("heat_map.html").render(
        version=__version__,
        similarity=similarity,
        maps=[
            {"title": title, "rows": _cells(similarity.matrices[name], white)}
            for name, (title, white) in _SHOWN.items()
        ],
        groups=similarity.groups(),
    )
    target = Path(path)
    write_atomic(target, html.encode())
    return target


def _cells(matrix: Tensor, white: float) -> list[list[dict[str, Any]]]:
    """Value and colour; the scale is that of the pairs, since the diagonal would drown them."""
    values = matrix.tolist()
    pairs = [v for i, row in enumerate(values) for j, v in enumerate(row) if i != j]
    most = max((abs(v - white) for v in pairs if abs(v) != float("inf")), default=0.0) or 1.0
    return [
        [{"value": v, "colour": _colour(min(1.0, max(-1.0, (v - white) / most)))} for v in row]
        for row in values
    ]


def _colour(share: float) -> str:
    """White at 0, green towards 1, orange towards -1."""
    full = _HIGH if share > 0 else _LOW
    return "#" + "".join(f"{round(255 + (c - 255) * abs(share)):02x}" for c in full)
