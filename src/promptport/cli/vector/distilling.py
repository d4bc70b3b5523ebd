"""Options of the commands that let a vector learn without labels, as a configuration."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from promptport.distillation import DistillConfig, Texts


def distill_settings(
    usual: DistillConfig,
    texts: str,
    rows: int | None,
    steps: int | None,
    seed: int,
    truncate: bool,
) -> DistillConfig:
    """The usual configuration with what the user changes.

    Args:
        usual: of this kind of distillation.
        texts: `task` or `words`.
        rows: most unlabelled rows; None for the usual number, which is smaller for random words:
            four times as many of them are made as are kept.
        steps: most updates; None for the usual number.
        seed: of texts and order.
        truncate: cut long texts.
    """
    few = usual.rows if texts == "task" else type(usual).rows
    return replace(
        usual,
        texts=cast("Texts", texts),
        rows=few if rows is None else rows,
        steps=usual.steps if steps is None else steps,
        seed=seed,
        truncate=truncate,
    )
