"""Variants of a prompt: which one each row is asked behind, and where gradients go."""

from __future__ import annotations

import torch

from promptport.distillation.variants import Itself, OnOrigins, UnderNoise

WIDTH = 6


def prompt():
    return torch.arange(2.0)[:, None].expand(2, WIDTH).contiguous()


def on_origins():
    learned, unseen = (
        torch.tensor(x).view(-1, 1, 1).expand(-1, 2, WIDTH) for x in ([0.0, 10.0, 20.0], [5.0, 7.0])
    )
    return OnOrigins(learned, unseen)


def of_rows(prompts, places):
    """(Q, n, d): what each of these rows is asked behind."""
    table, starts = prompts(places)
    return torch.stack([table[start : start + 2] for start in starts])


def test_a_prompt_is_itself() -> None:
    vectors = prompt()
    assert Itself().for_step(vectors, 3, 1, 7) is vectors
    assert UnderNoise(0.0).for_step(vectors, 3, 1, 7) is vectors
    assert UnderNoise(0.5).for_check(vectors, 3) is vectors


def test_held_back_rows_take_the_unseen_origins_in_turn() -> None:
    found = of_rows(on_origins().for_check(prompt(), 5), [4, 0, 1])
    assert found[:, :, 0].tolist() == [[5, 6], [5, 6], [7, 8]]


def test_rows_of_a_step_draw_their_origin_and_move_one_vector() -> None:
    leaf = prompt().requires_grad_(True)
    found = of_rows(on_origins().for_step(leaf, 40, 1, 7), list(range(40)))
    assert set(found[:, 0, 0].tolist()) == {0, 10, 20}
    assert torch.equal(found[:, 1] - found[:, 0], torch.ones(40, WIDTH))
    found.sum().backward()
    assert torch.equal(leaf.grad, torch.full_like(leaf, 40.0))


def test_a_row_has_the_same_variant_in_whichever_pass_it_is_asked() -> None:
    for variants in (on_origins(), UnderNoise(0.5)):
        whole = of_rows(variants.for_step(prompt(), 9, 1, 7), list(range(9)))
        part = of_rows(variants.for_step(prompt(), 9, 1, 7), [6, 2, 8])
        assert torch.equal(part, whole[[6, 2, 8]])
        other = of_rows(variants.for_step(prompt(), 9, 1, 8), list(range(9)))
        assert not torch.equal(other, whole)
