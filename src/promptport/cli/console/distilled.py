"""How a prompt that was distilled is told about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptport.cli.console.output import print_facts


def show_distillation(title: str, result: Mapping[str, Any], names: Sequence[str] = ()) -> None:
    """What a prompt learned from the answers of other prompts.

    Args:
        title: of the table.
        result: of a `DistillResult`, as a dictionary.
        names: of the teachers, if each has a task of its own.
    """
    shares = zip(names or [""] * len(result["missed"]), result["missed"], strict=True)
    missed = ", ".join(f"{name} {share:.2f}".strip() for name, share in shares)
    own = result.get("missed_own")
    facts = [
        ["cross-entropy to the teacher's answers, before", result["before"]],
        ["after", result["after"]],
        ["the teacher's own entropy (no prompt can go below)", result["floor"]],
        ["missed of what the teacher tells the texts apart by (0: nothing, 1: all)", missed],
        *([["the same on its own origin", f"{own:.2f}"]] if own is not None else []),
        ["unlabelled rows read or made", result["rows"]],
        ["steps", result["steps"]],
        ["labels used", "no"],
    ]
    print_facts(title, facts)
