"""Laws of encode and decode, on random spaces."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.relative import encode_relative
from promptport.space import EmbeddingSpace
from promptport.transfers import transfer

seeds = st.integers(0, 2**31 - 1)
widths = st.integers(2, 20)
sizes = st.floats(1e-3, 1e3, allow_subnormal=False)
law = settings(max_examples=25, deadline=None, derandomize=True)


def generator_of(seed):
    return torch.Generator().manual_seed(seed)


def random_turn(d, generator):
    return torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=torch.float64)).Q


def space_of(name, matrix):
    tokens = tuple(f"w{i:03d}" for i in range(len(matrix)))
    return EmbeddingSpace(name, matrix.float(), tokens, {t: i for i, t in enumerate(tokens)}, {})


def prompt_of(vectors, name="a"):
    return SoftPrompt(vectors.float(), Provenance(name))


@law
@given(seeds, widths, sizes)
def test_descriptions_ignore_rotation_and_scale(seed, d, size):
    generator = generator_of(seed)
    vectors = torch.randn(4, d, generator=generator, dtype=torch.float64)
    anchors = torch.randn(30, d, generator=generator, dtype=torch.float64)
    lengths = torch.rand(30, 1, generator=generator, dtype=torch.float64) + 0.1
    turn = random_turn(d, generator)
    torch.testing.assert_close(
        encode_relative(size * vectors @ turn, lengths * anchors @ turn),
        encode_relative(vectors, anchors),
    )


@law
@given(seeds, widths, sizes)
def test_a_turned_space_turns_the_prompt_and_keeps_its_lengths(seed, d, size):
    generator = generator_of(seed)
    matrix = torch.randn(40 + 5 * d, d, generator=generator, dtype=torch.float64) + 0.3
    vectors = torch.randn(3, d, generator=generator, dtype=torch.float64)
    turn = random_turn(d, generator)
    source, target = space_of("a", matrix), space_of("b", size * matrix @ turn)
    found = transfer(prompt_of(vectors), source, target).prompt.vectors
    torch.testing.assert_close(found, (size * vectors @ turn).float(), rtol=1e-4, atol=1e-4 * size)


@law
@given(seeds, widths, widths)
def test_the_order_of_the_vocabulary_does_not_matter(seed, d_src, d_tgt):
    generator = generator_of(seed)
    k = 150
    matrix = torch.randn(k, d_src, generator=generator)
    source, target = (
        space_of("a", matrix),
        space_of("b", torch.randn(k, d_tgt, generator=generator)),
    )
    order = torch.randperm(k, generator=generator)
    tokens = tuple(target.tokens[i] for i in order.tolist())
    words = {token: i for i, token in enumerate(tokens)}
    shuffled = EmbeddingSpace("b", target.matrix[order], tokens, words, {})
    prompt = prompt_of(torch.randn(3, d_src, generator=generator))
    torch.testing.assert_close(
        transfer(prompt, source, target).prompt.vectors,
        transfer(prompt, source, shuffled).prompt.vectors,
        rtol=1e-4,
        atol=1e-5,
    )


@law
@given(seeds, sizes)
def test_a_longer_prompt_is_ported_longer_and_otherwise_alike(seed, size):
    generator = generator_of(seed)
    source = space_of("a", torch.randn(100, 12, generator=generator))
    target = space_of("b", torch.randn(100, 8, generator=generator))
    vectors = torch.randn(3, 12, generator=generator)
    plain = transfer(prompt_of(vectors), source, target).prompt.vectors
    scaled = transfer(prompt_of(size * vectors), source, target).prompt.vectors
    torch.testing.assert_close(scaled, size * plain, rtol=1e-3, atol=1e-4 * size)


@pytest.mark.long
@law
@given(seeds)
def test_virtual_tokens_travel_alone(seed):
    generator = generator_of(seed)
    source = space_of("a", torch.randn(100, 12, generator=generator))
    target = space_of("b", torch.randn(100, 8, generator=generator))
    vectors = torch.randn(4, 12, generator=generator)
    together = transfer(prompt_of(vectors), source, target).prompt.vectors
    for i in range(4):
        alone = transfer(prompt_of(vectors[i : i + 1]), source, target).prompt.vectors
        assert float(cosine_similarity(alone[0], together[i], dim=0)) > 1 - 1e-6
