"""Options of the commands that let a vector learn without labels, as a configuration."""

from __future__ import annotations

from typing import Any


def distill_changes(
    texts: str, rows: int | None, steps: int | None, seed: int, truncate: bool
) -> dict[str, Any]:
    """What the user changes of the usual `DistillConfig`.

    Args:
        texts: `task` or `words`.
        rows: most unlabelled rows; None for the usual number, which is smaller for random words:
            four times as many of them are made as are kept.
        steps: most updates; None for the usual number.
        seed: of texts and order.
        truncate: cut long texts.

    Raises:
        TuningError: a value out of its range.
    """
    from promptport.distillation import DistillConfig

    changes: dict[str, Any] = {"texts": texts, "seed": seed, "truncate": truncate}
    if rows is not None:
        changes["rows"] = rows
    elif texts != "task":
        changes["rows"] = DistillConfig.rows
    if steps is not None:
        changes["steps"] = steps
    DistillConfig(**changes)  # told before a model is loaded
    return changes
