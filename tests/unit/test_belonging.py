"""One check decides whether prompts, vectors and embedding tables are of one backbone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptport.belonging import check_same_backbone
from promptport.errors import MismatchError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance


def refused(left, right, match: str) -> None:
    with pytest.raises(MismatchError, match=match):
        check_same_backbone(left, right, name="thing", fix="Do better")


@pytest.fixture
def pair(alike_pair):
    return alike_pair()


def prompt_of(space, **facts):
    return SoftPrompt(space.rows([1, 2]), Provenance(space.backbone, **facts))


def test_a_table_is_taken_by_its_values_whatever_it_is_called(pair):
    source, target = pair
    known = prompt_of(source, fingerprint=source.fingerprint)
    check_same_backbone(known, replace(source, backbone="elsewhere"))
    changed = replace(source, matrix=source.matrix + 1)
    refused(
        known, changed, r"thing: expected the embedding matrix \w{12} of left, got \w{12} \(left\)"
    )
    check_same_backbone(prompt_of(source), changed)  # nobody knows its table
    refused(known, target, r"virtual tokens 16 wide \(right\), got 24 \(left\)\. Do better\.")


def test_tables_are_not_read_where_nothing_is_known_to_compare(pair):
    space = replace(pair[0])
    check_same_backbone(prompt_of(space), space)
    assert "fingerprint" not in vars(space)
    check_same_backbone(space, pair[0])
    refused(space, replace(space, matrix=space.matrix + 1), "embedding matrix")


def test_without_tables_name_and_revision_decide():
    plain = Provenance("m")
    check_same_backbone(plain, Provenance("m", revision="a"))
    refused(plain, Provenance("n"), "expected m, got n")
    first, second = (Provenance("m", revision=r) for r in "ab")
    refused(first, second, r"expected m \(revision a\), got m \(revision b\)")
    check_same_backbone(Provenance("m", fingerprint="1"), Provenance("elsewhere", fingerprint="1"))
    refused(Provenance("m", fingerprint="1"), Provenance("m", fingerprint="2"), "matrix 1 of m")
    refused(Provenance("m", fingerprint="1"), Provenance("n"), "expected m, got n")
