"""Soft prompts and their records."""

from __future__ import annotations

import pytest

from promptport.provenance import step_name


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ({"step": "calibrate"}, "align"),
        ({"step": "anchor"}, "fit_mixture"),
        ({"step": "reconcile"}, "distill_merge"),
        ({"step": "widen"}, "distill_over_origins"),
        ({"step": "readout"}, "cue_word"),
        ({"step": "align"}, "align"),
        ({"step": "adapt"}, "adapt"),
        ({"method": "least_squares.v1"}, "transfer"),
    ],
)
def test_former_names_of_steps_are_read(written, name) -> None:
    assert step_name(written) == name
