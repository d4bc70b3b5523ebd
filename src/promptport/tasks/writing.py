"""How answers are written in text to text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from promptport.errors import TaskError
from promptport.seeds import check_seed


@dataclass(frozen=True)
class WritingConfig:
    """How a backbone writes its answers in text to text.

    Attributes:
        max_new_tokens: limit of an answer, 1 or more.
        temperature: 0 takes the likeliest token (greedy), as does less than 1e-6; above 0 tokens
            are drawn, from probabilities that are the flatter the higher it is.
        top_p: draw among the likeliest tokens that have this probability together, above 0 to 1.
        seed: of the drawing; a row with the same text and seed gets the same answer, whatever
            the batch.
        stop: texts at which an answer ends; they are cut off.

    Raises:
        TaskError: a value out of its range.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", tuple(self.stop))
        check_seed(self.seed)
        checks = (
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature < float("inf"), "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, at most 1"),
            ("stop", all(self.stop), "texts of one character or more"),
            (
                "top_p",
                self.top_p == 1 or self.temperature > 0,
                "1 without a temperature, which draws tokens",
            ),
        )
        for name, right, expected in checks:
            if not right:
                raise TaskError(
                    name,
                    expected=expected,
                    got=repr(getattr(self, name)),
                    fix="Give a value in this range, or leave it out",
                )

    def changed(self, given: Mapping[str, Any]) -> WritingConfig:
        """With other values; a temperature of 0 takes a `top_p` that is not given to 1.

        Args:
            given: fields by name.

        Raises:
            TaskError: a value out of its range.
        """
        greedy = {"top_p": 1.0} if given.get("temperature") == 0 else {}
        return replace(self, **{**greedy, **given})

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"stop": list(self.stop)}
