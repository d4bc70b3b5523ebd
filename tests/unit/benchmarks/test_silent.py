"""The benchmark of silent faults finds one where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.trust import silent
from benchmarks.trust.silent import Gap, gaps_of, measured


def test_what_differs_and_what_raises_is_wrong() -> None:
    def asked() -> Iterator[Gap]:
        yield "one", 0.1, 0.2
        yield "one", 0.3, 0.2
        yield "two", 0.0, 0.0
        raise ValueError("no answer")

    found = measured(asked)
    assert found["one"] == {"gap": 0.3, "bound": 0.2, "ok": False}
    assert found["two"]["ok"] is True
    assert found["raised"] == {"said": "ValueError: no answer", "ok": False}


@pytest.mark.long
def test_two_ways_agree_and_a_fault_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = measured(lambda: gaps_of("gpt2", tmp_path / "right"))
    assert len(found) == 14
    assert all(each["ok"] for each in found.values()), found
    real = silent.predict

    def careless(prompt, texts, **options):  # the place in the batch leaks into the answer
        made = real(prompt, texts, **options)
        return [
            replace(each, probabilities={k: v + i / 100 for k, v in each.probabilities.items()})
            for i, each in enumerate(made)
        ]

    monkeypatch.setattr(silent, "predict", careless)
    found = measured(lambda: gaps_of("gpt2", tmp_path / "wrong"))
    assert found["a text alone and among others"]["ok"] is False
    assert found["texts in another order"]["ok"] is False
    assert found["vectors saved and read"]["ok"] is True
