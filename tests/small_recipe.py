"""A small recipe that tests change."""

from typing import Any

SMALL: dict[str, Any] = {
    "question": "Does it work?",
    "expected": "Yes.",
    "time": "a second",
    "lists": {"backbones": ["nano-bert", "nano-gpt2"]},
    "settings": {"rows": {"train": 32, "dev": 16, "test": 20}},
    "grid": [
        {
            "kind": "transfer",
            "source": "$backbones",
            "target": "$backbones",
            "task": "sentiment",
            "method": ["least_squares", "random"],
            "except": [{"source": "=target"}],
        }
    ],
}


def changed(**values: Any) -> dict[str, Any]:
    return {**SMALL, **values}
