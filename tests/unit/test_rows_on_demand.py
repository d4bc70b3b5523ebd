"""Rows that are gathered where they are used give the numbers of rows that are there."""

from __future__ import annotations

import pytest
import torch

from promptport.space import RowsOnDemand, block_rows, row_blocks

ID = [5, 3, 3, 0, 9, 7, 1]


@pytest.fixture
def pair(made_space):
    """A space of half precision with a scale: its rows, and the same on demand."""
    matrix = torch.randn(11, 6, generator=torch.Generator().manual_seed(0)).bfloat16()
    space = made_space("small", matrix, scale=2.5)
    return space.rows(ID), space.rows_on_demand(torch.tensor(ID))


@pytest.mark.parametrize(
    "use",
    [
        lambda r: r[2:5],
        lambda r: r[:, 1:3],
        lambda r: r[1:6:2, 2:],
        lambda r: r[torch.tensor([4, 0, 4])],
        lambda r: r[torch.tensor([[4, 0], [1, 2]])],
        lambda r: r[torch.arange(7) % 2 == 0],
        lambda r: r[3],
        lambda r: r.double() @ torch.ones(6, 2, dtype=torch.float64),
        lambda r: torch.ones(2, 7) @ r,
        lambda r: torch.nn.functional.normalize(r - r.mean(0), dim=1),
        lambda r: torch.cat([r, r]),
        lambda r: torch.cat([rows for _, rows in row_blocks(r, torch.float64)]),
        lambda r: r.T[2:4],
        lambda r: r.detach().float(),
    ],
)
def test_the_same_numbers(pair, use) -> None:
    dense, lazy = pair
    assert isinstance(lazy, RowsOnDemand)
    assert lazy.shape == dense.shape
    assert lazy.dtype == dense.dtype
    assert torch.equal(use(lazy) + 0, use(dense))


def test_parts_gather_no_more_than_they_name(pair, monkeypatch) -> None:
    gathered = []
    monkeypatch.setattr(
        "promptport.space._gather", lambda table, ids, scale: gathered.append(len(ids)) or ids
    )
    _, lazy = pair
    lazy[2:4], lazy[torch.tensor([6, 6, 6])]
    assert gathered == [2, 3]


def test_gradients_flow_through(pair) -> None:
    dense, lazy = pair
    grads = []
    for rows in (dense, lazy):
        weights = torch.full((2, 7), 0.3, requires_grad=True)
        (weights.softmax(1) @ rows).square().sum().backward()
        grads.append(weights.grad)
    assert torch.equal(*grads)


def test_they_cannot_be_changed(pair) -> None:
    with pytest.raises(RuntimeError, match="cannot be changed"):
        pair[1].mul_(2)


def test_blocks_cover_all_rows() -> None:
    width = 2**19  # four rows at once
    assert block_rows(width) == 4
    rows = torch.zeros(1, 1).expand(10, width)
    assert [(p.start, len(b)) for p, b in row_blocks(rows, torch.float32)] == [
        (0, 4),
        (4, 4),
        (8, 2),
    ]
    assert [len(b) for _, b in row_blocks(torch.zeros(0, 3), torch.float32)] == [0]
