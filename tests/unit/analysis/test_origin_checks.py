"""Vectors on other origins: of finished prompts, and of a task that is tuned anew."""

from __future__ import annotations

import pytest
import torch

from promptport.analysis.origin_checks import (
    OriginCheckConfig,
    check_prompt_origins,
    check_task_origins,
    is_wide,
)
from promptport.errors import MismatchError, PromptPortError
from promptport.parameters import OriginSpec
from promptport.storage import load_prompt
from promptport.tuning import TuneConfig

CONFIG = OriginCheckConfig(samples=2, unseen=1, seed=3, length=2)
FEW = TuneConfig(epochs=1)


def test_origins_are_drawn_apart(capitals) -> None:
    assert [job.origin for job in CONFIG.jobs(capitals)] == [
        OriginSpec("vocabulary", 3),
        OriginSpec("vocabulary", 4),
    ]
    assert [spec.seed for spec in CONFIG.strangers()] == [500_005]
    for settings in ({"samples": 0}, {"unseen": -1}, {"samples": 1, "unseen": 0}):
        with pytest.raises(PromptPortError, match="--origin-samples and --unseen: expected one"):
            OriginCheckConfig(**settings)


def test_a_task_and_its_finished_prompts_agree(backbone, capitals, tmp_path) -> None:
    model = backbone("bert")
    found = check_task_origins(model, capitals, CONFIG, tuning=FEW, folder=tmp_path / "kept")
    assert [len(row) for row in found.other] == [2, 2]
    again = check_task_origins(model, capitals, CONFIG, tuning=FEW, folder=tmp_path / "kept")
    assert again == found
    with pytest.raises(PromptPortError, match="expected epochs 2, got epochs 1. Ask as it was"):
        check_task_origins(
            model, capitals, CONFIG, tuning=TuneConfig(epochs=2), folder=tmp_path / "kept"
        )
    places = sorted(path for path in (tmp_path / "kept").iterdir() if path.is_dir())
    checks = check_prompt_origins(model, places, [capitals] * 2, unseen=2)
    assert [check.result.own[0] for check in checks] == list(found.own)
    assert [check.kind for check in checks] == ["vocabulary"] * 2
    described = checks[0].to_dict()
    assert (described["origin"], described["own"]) == ("vocabulary", found.own[0])
    assert len(described["other"]) == 2
    assert "cosine" not in described
    (alone,) = check_prompt_origins(model, places[1:], [capitals], unseen=2)
    assert alone == checks[1]
    prompt = load_prompt(places[0])
    with pytest.raises(PromptPortError, match="--unseen: expected 1 or more"):
        check_prompt_origins(model, [prompt], [capitals], unseen=0)
    with pytest.raises(MismatchError, match=r"tasks: expected one per prompt \(1\), got 2"):
        check_prompt_origins(model, [prompt], [capitals] * 2)
    assert torch.equal(prompt.vectors, load_prompt(places[0]).vectors)


def test_wide_prompts(backbone, capitals) -> None:
    from promptport.prompt import SoftPrompt
    from promptport.provenance import Provenance

    made = Provenance("m", "masked")
    assert not is_wide(SoftPrompt(torch.ones(1, 2), made))
    steps = ({"step": "distill_over_origins"},)
    assert is_wide(SoftPrompt(torch.ones(1, 2), Provenance("m", "masked", history=steps)))
    tuned = Provenance("m", "masked", tuning={"origins": 64})
    assert is_wide(SoftPrompt(torch.ones(1, 2), tuned))
