"""Which words are shared, and what the report says of them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from promptport.anchors import AnchorSet
from promptport.errors import AnchorError


def test_shared_words_are_sorted_and_rows_belong_to_them(made_space):
    a = made_space("a", torch.arange(8.0).reshape(4, 2) + 1, ["pear", "apple", "#x", "fig"])
    b = made_space("b", torch.arange(12.0).reshape(4, 3) + 1, ["fig", "kiwi", "pear", "apple"])
    anchors = AnchorSet.shared(a, b, minimum=1)
    assert anchors.words == ("apple", "fig", "pear")
    assert anchors.matrix(0).tolist() == [[3, 4], [7, 8], [1, 2]]
    assert anchors.matrix(1).tolist() == [[10, 11, 12], [1, 2, 3], [7, 8, 9]]
    swapped = AnchorSet.shared(b, a, minimum=1)
    assert swapped.words == anchors.words
    assert torch.equal(swapped.matrix(1), anchors.matrix(0))


def test_rows_are_float32_and_scaled_as_the_backbone_sees_them(made_space):
    space = made_space("a", torch.ones(40, 2, dtype=torch.bfloat16), scale=3.0)
    rows = AnchorSet.shared(space).matrix(0)
    assert rows.dtype == torch.float32
    assert torch.equal(rows, torch.full((40, 2), 3.0))


def test_three_spaces_share_what_all_have(made_space):
    spaces = [
        made_space(n, torch.ones(3, 2), t)
        for n, t in [("a", ["x", "y", "z"]), ("b", ["z", "y", "w"]), ("c", ["y", "q", "z"])]
    ]
    assert AnchorSet.shared(*spaces, minimum=2).words == ("y", "z")


def test_too_few_words(made_space):
    names = [f"only{i}" for i in range(40)]
    a = made_space("a", torch.ones(47, 2), [f"word{i}" for i in range(7)] + names)
    b = made_space("b", torch.ones(7, 2), [f"word{i}" for i in range(7)])
    with pytest.raises(
        AnchorError, match=r"anchors: expected at least 32 shared words, got 7 \(a, b\)\."
    ):
        AnchorSet.shared(a, b)
    assert len(AnchorSet.shared(a, b, minimum=7)) == 7


def test_no_words_at_all_even_if_none_are_asked(made_space):
    a, b = made_space("a", torch.ones(1, 2), ["x"]), made_space("b", torch.ones(1, 2), ["y"])
    with pytest.raises(AnchorError, match="minimum of anchors: expected 1 or more, got 0"):
        AnchorSet.shared(a, b, minimum=0)


def test_given_words_narrow_the_choice(made_space):
    a, b = made_space("a", torch.ones(40, 2)), made_space("b", torch.ones(50, 3))
    asked = ["word0003", "word0001", "word0001", "word0045", "nowhere"]
    anchors = AnchorSet.shared(a, b, words=asked, minimum=2)
    assert anchors.words == ("word0001", "word0003")
    assert anchors.report.words_left_out == 2
    with pytest.raises(AnchorError, match="got 2 .*Give more words"):
        AnchorSet.shared(a, b, words=asked)
    with pytest.raises(AnchorError, match="words: expected a list of words, got one text"):
        AnchorSet.shared(a, b, words="word0001")


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_rows_without_direction_are_left_out_and_counted(made_space, bad):
    matrix = torch.ones(40, 2)
    matrix[5] = bad
    anchors = AnchorSet.shared(made_space("a", torch.ones(40, 3)), made_space("b", matrix))
    assert len(anchors) == 39
    assert "word0005" not in anchors.words
    assert anchors.report.zero_rows == 1
    with pytest.raises(AnchorError, match="got 39 .*1 more have rows of zeros"):
        AnchorSet.shared(made_space("a", torch.ones(40, 3)), made_space("b", matrix), minimum=40)


def test_tokens_beyond_the_matrix_are_no_anchors(made_space):
    short = made_space("b", torch.ones(35, 2), [f"word{i:04d}" for i in range(40)])
    assert len(AnchorSet.shared(made_space("a", torch.ones(40, 2)), short)) == 35


def test_coverage_counts_words_and_tokens(made_space):
    a = made_space("a", torch.ones(4, 2), ["x", "y", "z", "#s"], dropped={"special token": 1})
    b = made_space("b", torch.ones(8, 2), ["x", "y", "p", "q", "#1", "#2", "#3", "#4"])
    report = AnchorSet.shared(a, b, minimum=1).report
    assert report.count == 2
    assert report.coverage == (2 / 3, 2 / 4)
    assert report.vocabulary_coverage == (2 / 4, 2 / 8)
    assert report.dropped == ({"special token": 1}, {})


def test_a_rotated_copy_agrees_fully_and_noise_not_at_all(made_space):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(800, 16, generator=generator) + 1
    turn = torch.linalg.qr(torch.randn(16, 16, generator=generator)).Q
    same = AnchorSet.shared(made_space("a", matrix), made_space("b", 7 * matrix @ turn)).report
    assert same.agreement == pytest.approx(1, abs=1e-4)
    assert same.agreement_raw == pytest.approx(1, abs=1e-4)
    assert same.warnings == ()
    assert same.verdict.startswith("Nothing in these figures")
    noise = torch.randn(800, 12, generator=generator) + 1
    other = AnchorSet.shared(made_space("a", matrix), made_space("b", noise)).report
    assert abs(other.agreement) < 0.05
    assert any("arrange their shared words differently" in line for line in other.warnings)


def test_agreement_is_the_correlation_of_all_pairs(made_space, alike_pair):
    a, b = alike_pair(k=60)
    cosines = []
    for space in (a, b):
        rows = space.matrix - space.matrix.mean(0)
        unit = rows / rows.norm(dim=1, keepdim=True)
        i, j = torch.triu_indices(60, 60, 1)
        cosines.append((unit[i] * unit[j]).sum(1))
    expected = float(torch.corrcoef(torch.stack(cosines))[0, 1])
    report = AnchorSet.shared(a, b).report
    assert report.agreement == pytest.approx(expected, abs=1e-5)
    assert 0.3 < report.agreement < 1
    assert any("Only 60 shared words" in line for line in report.warnings)


def test_agreement_takes_the_lowest_pair_and_a_seeded_sample(made_space, alike_pair):
    a, b = alike_pair(k=2000)
    pair = AnchorSet.shared(a, b).report
    assert pair.sampled == 1500
    assert AnchorSet.shared(a, b).report.agreement == pair.agreement
    noise = made_space("n", torch.randn(2000, 8, generator=torch.Generator().manual_seed(1)))
    assert AnchorSet.shared(a, b, noise).report.agreement < 0.05 < pair.agreement
    assert AnchorSet.shared(a).report.agreement is None


def test_report_is_plain_json(alike_pair):
    values = AnchorSet.shared(*alike_pair()).report.to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["backbones"] == ["left", "right"]


def test_frequent_words_have_the_lowest_tokens(alike_pair) -> None:
    first, second = alike_pair(k=100)
    anchors = AnchorSet.shared(first, second)
    kept = anchors.keep("frequent:7")
    assert kept.words == tuple(sorted(first.words, key=first.words.__getitem__)[:7])
    assert torch.equal(kept.matrix(1), second.rows([second.words[w] for w in kept.words]))


def test_words_that_do_not_agree_are_left_out(alike_pair) -> None:
    first, second = alike_pair(k=400, noise=0.05)
    spoiled = list(range(0, 400, 10))
    matrix = second.matrix.clone()
    matrix[spoiled] = matrix[[*spoiled[1:], spoiled[0]]]
    mixed = replace(second, matrix=matrix)
    anchors = AnchorSet.shared(first, mixed)
    kept = anchors.keep("agreeing:0.9")
    assert len(kept) == 360
    left_out = {first.words[w] for w in set(anchors.words) - set(kept.words)}
    assert len(left_out & set(spoiled)) >= 36
    assert kept.report.agreement > anchors.report.agreement


@pytest.mark.parametrize("rule", ["", "some", "frequent", "frequent:0", "agreeing:1.5", "all:3"])
def test_bad_rules(alike_pair, rule) -> None:
    with pytest.raises(AnchorError, match="rule for anchors"):
        AnchorSet.shared(*alike_pair(k=100)).keep(rule)
