"""Cosines to anchors."""

from __future__ import annotations

import pytest
import torch

from promptport.errors import AnchorError, ShapeError
from promptport.relative import encode_relative, matching, topk_mask


def test_cosines_by_hand():
    vectors = torch.tensor([[3.0, 4.0], [-2.0, 0.0]])
    anchors = torch.tensor([[10.0, 0.0], [0.0, 0.1], [1.0, 1.0]])
    expected = torch.tensor([[0.6, 0.8, 7 / 50**0.5], [-1.0, 0.0, -(0.5**0.5)]])
    torch.testing.assert_close(encode_relative(vectors, anchors), expected)


def test_precision_follows_the_inputs():
    vectors, anchors = torch.ones(1, 2), torch.ones(3, 2)
    assert encode_relative(vectors.bfloat16(), anchors.half()).dtype == torch.float32
    assert encode_relative(vectors, anchors.double()).dtype == torch.float64


def test_values_never_leave_the_range():
    rows = torch.randn(200, 7, generator=torch.Generator().manual_seed(0)) * 1e3
    relative = encode_relative(rows, rows)
    assert relative.max() == 1.0
    assert relative.min() >= -1.0


def test_widths_must_agree():
    with pytest.raises(
        ShapeError, match=r"vectors: expected \(n, d\) as wide as .*\(4, 3\), got \(1, 2\)"
    ):
        encode_relative(torch.ones(1, 2), torch.ones(4, 3))
    with pytest.raises(ShapeError, match=r"got \(3,\)"):
        encode_relative(torch.ones(3), torch.ones(4, 3))


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_rows_without_direction_are_refused(bad):
    rows = torch.ones(3, 2)
    rows[1] = bad
    with pytest.raises(ShapeError, match="vectors: .*got 1 of 3 rows that are zero"):
        encode_relative(rows, torch.ones(4, 2))
    with pytest.raises(ShapeError, match="anchors: .*got 1 of 3 rows that are zero"):
        encode_relative(torch.ones(4, 2), rows)


def test_matching_is_one_for_the_same_space_and_by_hand_else():
    anchors = torch.eye(3)[:, :2] + 0.1
    vectors = torch.tensor([[1.0, 2.0]])
    relative = encode_relative(vectors, anchors)
    torch.testing.assert_close(matching(relative, anchors, 5 * vectors), torch.ones(1))
    other = encode_relative(torch.tensor([[2.0, -1.0]]), anchors)
    expected = (relative * other).sum() / relative.norm() / other.norm()
    found = matching(relative, anchors, torch.tensor([[2.0, -1.0]]))
    torch.testing.assert_close(found, expected[None])
    with pytest.raises(ShapeError, match=r"relative: expected shape \(1, 3\), got \(1, 2\)"):
        matching(relative[:, :2], anchors, vectors)


def test_topk_keeps_the_largest_of_each_row():
    relative = torch.tensor([[0.1, -0.9, 0.5, 0.2], [0.3, 0.2, 0.1, -0.2]])
    assert topk_mask(relative, 2).int().tolist() == [[0, 0, 1, 1], [1, 1, 0, 0]]
    assert topk_mask(relative, 1, absolute=True).int().tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]
    assert topk_mask(relative, 4) is None
    assert topk_mask(relative, None) is None
    with pytest.raises(AnchorError, match="topk: expected 1 or more, got 0"):
        topk_mask(relative, 0)
