"""Seeds: one range, refused with one line wherever one is taken."""

from __future__ import annotations

import pytest
import torch

from promptport.distillation import DistillConfig
from promptport.errors import PromptPortError
from promptport.library import AdaptConfig
from promptport.merging import SearchConfig, merge
from promptport.objective import pick_rows
from promptport.parameters import OriginSpec
from promptport.provenance import Provenance
from promptport.seeds import MOST, later_seed
from promptport.transfers import encode_prompt, transfer
from promptport.tuning import TuneJob, few_shot
from promptport.vector import TaskPromptVector


def _merged(seed, task):
    return merge([TaskPromptVector(torch.ones(2, 3), Provenance("m"))], seed=seed)


TAKERS = {
    "origin": lambda seed, task: OriginSpec(seed=seed),
    "written origin": lambda seed, task: OriginSpec.parse(f"seed:{seed}", 0),
    "job": lambda seed, task: TuneJob(task, seed=seed),
    "lesson": lambda seed, task: DistillConfig(seed=seed),
    "consensus": lambda seed, task: AdaptConfig(seed=seed),
    "search": lambda seed, task: SearchConfig(seed=seed),
    "rows": lambda seed, task: pick_rows(task.load("train"), 2, seed),
    "few rows": lambda seed, task: few_shot(task, 2, seed),
    "merge": _merged,
}


@pytest.mark.parametrize("taker", sorted(TAKERS))
def test_seeds_out_of_range_are_refused(films, taker) -> None:
    for seed in (MOST, 0):
        TAKERS[taker](seed, films)
    for seed in (MOST + 1, 2**64, 10**22):
        with pytest.raises(PromptPortError, match=f"seed: expected a number from 0 .*, got {seed}"):
            TAKERS[taker](seed, films)
    message = "origin: expected" if taker == "written origin" else "seed: expected .*, got -1"
    with pytest.raises(PromptPortError, match=message):
        TAKERS[taker](-1, films)


def test_transfer_refuses_them(backbone) -> None:
    from promptport.tuning import random_prompt

    model = backbone("bert")
    with pytest.raises(PromptPortError, match="seed: expected"):
        transfer(random_prompt(model, 2, 0), model.space, model.space, seed=2**64)
    portable = encode_prompt(random_prompt(model, 2, 0), model.space)
    with pytest.raises(PromptPortError, match="seed: expected"):
        transfer(portable, model.space, seed=2**64)


def test_a_seed_of_a_damaged_record_is_refused() -> None:
    with pytest.raises(PromptPortError, match="seed: expected a number from 0 .*, got '3'"):
        OriginSpec.drawn_again({"kind": "vocabulary", "seed": "3"})


def test_other_seeds_stay_in_range() -> None:
    assert later_seed(3, 5) == 8
    assert later_seed(MOST, 1) == 0
    seeds = [spec.seed for spec in OriginSpec(seed=MOST).others(3)]
    assert len(set(seeds)) == 3
    assert max(seeds) == MOST


@pytest.mark.parametrize("text", ["seed:\u0663", "seed:", "seed:-1", "seed:3.5", "normal*\u0663"])
def test_numbers_are_written_in_ascii(text) -> None:
    with pytest.raises(PromptPortError, match="origin: expected vocabulary, .*seed:NUMBER"):
        OriginSpec.parse(text, 0)
