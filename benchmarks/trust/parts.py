"""Results of several programs in one folder: each writes its part, the summary holds them all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptport.files import json_bytes, write_atomic


def write_part(
    results: Path,
    name: str,
    figures: Mapping[str, float],
    recorded: Mapping[str, Any],
    more: Mapping[str, Any],
) -> None:
    """Write `parts/NAME.json`, and the summary with its figures in place of its old ones.

    Args:
        results: folder of the results.
        name: of the part.
        figures: for `summary.json`.
        recorded: what `environment` said at the start of the run.
        more: anything else that was measured.
    """
    part = {"figures": dict(figures), "environment": dict(recorded), **more}
    write_atomic(results / "parts" / f"{name}.json", json_bytes(part))
    file = results / "summary.json"
    before = json.loads(file.read_text()) if file.is_file() else {}
    write_atomic(file, json_bytes({**before, **figures}))
