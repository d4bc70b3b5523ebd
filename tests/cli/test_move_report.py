"""What `move` says of its result."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from promptport.cli.move_report import _show_answers


def report(falling: float) -> dict:
    aligned = {
        **{"before": 2.0, "after": 1.0, "floor": 0.5, "rows": 64, "labelled": 0},
        **{"steps": 60, "falling": falling},
    }
    agreement = {"same": 0.5, "divergence": 0.25, "rows": 12}
    return {
        **{"mixtures": [], "transfers": [], "began": "vocabulary", "cue_word": None},
        **{"before": agreement, "after": agreement, "aligned": aligned, "texts": "task"},
    }


@pytest.mark.parametrize(("falling", "told"), [(0.25, True), (0.04, False), (0.0, False)])
def test_a_move_that_has_not_finished_learning_says_so(capsys, falling, told) -> None:
    prepared = SimpleNamespace(sources=[], task=None, target=SimpleNamespace(name="B"))
    _show_answers(prepared, report(falling))
    said = " ".join(capsys.readouterr().err.split())
    line = "still came closer when the 60 updates were over (by 25% at the last look): --steps 120"
    assert (line in said) is told
