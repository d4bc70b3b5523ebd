"""The figures of the serving benchmark as a table."""

from __future__ import annotations

from collections.abc import Mapping

TOLD = {
    "mixed_ratio": "16 prompts mixed over one prompt, rows a second",
    "over_peft_ratio": "16 prompts mixed over PEFT's `set_adapter` in turn, rows a second",
    "requests_per_second_1": "requests a second, 1 client",
    "requests_per_second_16": "the same, 16 clients",
    "requests_per_second_64": "the same, 64 clients",
    "p50_ms_1": "median time of a request (ms), 1 client",
    "p50_ms_16": "the same, 16 clients",
    "p50_ms_64": "the same, 64 clients",
    "p95_ms_1": "95% of the requests within (ms), 1 client",
    "p95_ms_16": "the same, 16 clients",
    "p95_ms_64": "the same, 64 clients",
    "workers_killed": "workers killed under load",
    "answers_compared": "answers compared with those of one process without HTTP",
    "wrong_answers": "of them, wrong",
    "lost_requests": "of them, lost",
}


def table(figures: Mapping[str, float]) -> str:
    """A Markdown table of what was measured."""
    rows = [f"| {told} | {_number(figures[name])} |" for name, told in TOLD.items()
            if name in figures]  # fmt: skip
    return "\n".join(["| what | figure |", "|---|---|", *rows, ""])


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"
