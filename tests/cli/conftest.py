"""A task written to disk, and what every failure of a command looks like."""

from __future__ import annotations

import json
import re
import shlex

import pytest
import yaml
from tests.conftest import CAPITALS


def fails(result, *parts):
    """One line on standard error that holds all parts, and nothing else."""
    code, out, err = result
    assert (code, out) == (1, ""), (code, out, err)
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    for part in parts:
        assert part in err, err


@pytest.fixture
def task_file(tmp_path):
    rows = [json.dumps({"subject": s, "object": o}) for s, o in CAPITALS.items()]
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
    task = {
        "schema": 1,
        "name": "capitals",
        "kind": "probe",
        "template": "{subject} {soft} {answer} .",
        "manual": "The capital of {subject} is {answer} .",
        "metric": "p@1",
        "data": {s: f"{s}.jsonl" for s in ("train", "dev", "test")},
    }
    path = tmp_path / "capitals.yaml"
    path.write_text(yaml.safe_dump(task))
    return path


def printed_commands(text: str) -> list[list[str]]:
    """The commands that a message prints: from `promptport` to the end of the line.

    Returns:
        The words of each behind `promptport`, as a shell would split them.
    """
    return [shlex.split(line) for line in re.findall(r"\bpromptport (.+)$", text, flags=re.M)]


@pytest.fixture
def run_printed(run_cli):
    """Run every command that a message prints; each must succeed as it stands.

    Called with the text and words to add to each (`--epochs 1`); returns the results of `run_cli`.
    """

    def run(text: str, *more: str) -> list[tuple[int, str, str]]:
        commands = printed_commands(text)
        assert commands, f"no command in: {text}"
        results = [run_cli(*words, *more) for words in commands]
        for words, (code, _, err) in zip(commands, results, strict=True):
            assert code == 0, f"promptport {shlex.join(words)}: {err}"
        return results

    return run
