"""What is trained: its tables, its gradients, and that rows do not touch each other."""

from __future__ import annotations

import pytest
import torch

from promptport.parameters.factors import FactoredPrompts
from promptport.parameters.mixtures import (
    PromptRows,
    SharedMixtures,
    WordMixtures,
    mixture_words,
    starting_logits,
)
from promptport.parameters.parametrisation import FreeVectors

CPU = torch.device("cpu")
RATE = 1e-9  # so that one update leaves the values where they are


def seeded(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def step(parameters, gradients, rate=RATE, active=None):
    tables = parameters.forward()
    rates = torch.full((len(gradients[0]), 1), rate, dtype=torch.float64)
    used = torch.ones(len(rates), 1, dtype=torch.bool) if active is None else active
    parameters.step(tables, gradients, rates, used)


def first_moment(adam):
    """The gradient that a first update was given."""
    return adam.first / (1 - 0.9)


@pytest.fixture
def mixtures(backbone):
    def make(name="bert", words=None, **options):
        space = backbone(name).space
        chosen = mixture_words(space, words)
        logits = starting_logits(len(chosen), 2, seed=1)
        return WordMixtures(space, chosen, logits, CPU, **options)

    return make


def test_the_gradient_of_the_logits_is_that_of_torch(mixtures) -> None:
    own = mixtures(rows=torch.tensor([1, 2]))
    width = own.anchors.shape[1]
    gradient = seeded(4, width)
    leaf = own.logits.detach().clone().requires_grad_(True)
    (leaf.softmax(1) @ own.anchors * gradient[1:3]).sum().backward()
    step(PromptRows(torch.zeros(4, width), own), [gradient])
    found = first_moment(own.trained[0].adam)
    torch.testing.assert_close(found, leaf.grad, rtol=1e-3, atol=1e-6)


def test_mixtures_and_free_vectors_stand_in_one_table(mixtures) -> None:
    own = mixtures(rows=torch.tensor([0, 3]))
    vectors = seeded(4, own.anchors.shape[1])
    (table,) = PromptRows(vectors.clone(), own).tables()
    assert torch.equal(table[1:3], vectors[1:3])
    assert torch.equal(table[[0, 3]], own.tables()[0])
    torch.testing.assert_close(own.tables()[0], own.mixture(slice(0, 4)).weights @ own.anchors)


@pytest.mark.parametrize("rest", [0.0, 0.5])
def test_a_row_that_is_left_alone_keeps_its_bits_whatever_its_gradient(mixtures, rest) -> None:
    own = mixtures(rows=torch.tensor([1, 2]), rest=torch.tensor([[rest, 0.1]] * 2))
    parameters = PromptRows(seeded(4, own.anchors.shape[1]), own)
    before = {name: part.detach().clone() for name, part in parameters.state().items()}
    start = parameters.tables()[0].clone()
    gradient = seeded(4, own.anchors.shape[1], seed=2)
    gradient[[0, 2]] = float("nan")
    active = torch.tensor([[False], [True], [False], [True]])
    step(parameters, [gradient], rate=0.1, active=active)
    (after,) = parameters.tables()
    assert torch.equal(after[[0, 2]], start[[0, 2]])
    assert bool((after[[1, 3]] != start[[1, 3]]).any(1).all())
    assert bool(after.isfinite().all())
    assert torch.equal(parameters.state()["logits"][1], before["logits"][1])


def test_a_rest_stays_within_its_limit(mixtures) -> None:
    own = mixtures(rest=torch.tensor([[0.2, 1.0], [0.0, 1.0]]))
    for seed in range(5):
        step(own, [seeded(2, own.anchors.shape[1], seed=seed)], rate=1.0)
    mixed = own.logits.detach().softmax(1) @ own.anchors
    share = own.rest.detach().norm(dim=1) / mixed.norm(dim=1)
    assert float(share[0]) == pytest.approx(0.2, rel=1e-4)
    assert float(share[1]) == 0


def test_shared_mixtures_move_along_the_mean_of_their_backbones(backbone, mixtures) -> None:
    words = backbone("bert").space.words.keys() & backbone("gpt2").space.words.keys()
    parts = [mixtures(name, words) for name in ("bert", "gpt2")]
    logits = parts[0].logits.detach().clone()
    shared = SharedMixtures(parts)
    gradients = [seeded(2, part.anchors.shape[1], seed=i) for i, part in enumerate(parts)]
    leaf = logits.requires_grad_(True)
    for part, gradient in zip(parts, gradients, strict=True):
        (leaf.softmax(1) @ part.anchors * gradient / 2).sum().backward()
    step(shared, gradients)
    torch.testing.assert_close(
        first_moment(shared.trained[0].adam), leaf.grad, rtol=1e-3, atol=1e-6
    )
    assert torch.equal(parts[0].logits, parts[1].logits)


@pytest.mark.parametrize("factor_rate", [0.0, 0.5])
def test_factors_move_along_the_mean_of_their_tasks(factor_rate) -> None:
    parameters = FactoredPrompts(seeded(2, 5), 3, factor_rate)
    with torch.no_grad():
        parameters.left.copy_(1 + 0.1 * seeded(3, 2, seed=1))
        parameters.right.copy_(1 + 0.1 * seeded(3, 5, seed=2))
    gradient = seeded(6, 5, seed=3)
    names = ("shared", "left", "right")
    parts = [getattr(parameters, n).detach().clone().requires_grad_(True) for n in names]
    table = (parts[0] * parts[1][:, :, None] * parts[2][:, None, :]).flatten(0, 1)
    torch.testing.assert_close(parameters.tables()[0], table.detach())
    table.backward(gradient / 3)
    step(parameters, [gradient])
    used = names if factor_rate else names[:1]
    assert len(parameters.trained) == len(used)
    for trained, part in zip(parameters.trained, parts, strict=False):
        torch.testing.assert_close(first_moment(trained.adam), part.grad, rtol=1e-4, atol=1e-6)


def test_factors_have_a_rate_of_their_own() -> None:
    parameters = FactoredPrompts(torch.ones(2, 5), 3, 0.5)
    step(parameters, [torch.ones(6, 5)], rate=0.01)
    torch.testing.assert_close(parameters.shared.detach(), torch.full((2, 5), 0.99))
    torch.testing.assert_close(parameters.left.detach(), torch.full((3, 2), 0.995))
    parameters.keep(slice(0, 6))
    torch.testing.assert_close(parameters.start(), torch.full((2, 5), 0.99 * 0.995**2))


def test_a_restored_state_goes_on_to_the_same_bits(mixtures) -> None:
    def made():
        own = mixtures(rows=torch.tensor([1, 2]), rest=torch.tensor([[0.3, 0.1]] * 2))
        return PromptRows(seeded(4, own.anchors.shape[1]), own)

    whole, stopped, resumed = made(), made(), made()
    gradients = [seeded(*whole.vectors.shape, seed=i) for i in range(4)]
    for gradient in gradients:
        step(whole, [gradient], rate=0.1)
    for gradient in gradients[:2]:
        step(stopped, [gradient], rate=0.1)
    for name, part in resumed.state().items():
        part.detach().copy_(stopped.state()[name].detach())
    for gradient in gradients[2:]:
        step(resumed, [gradient], rate=0.1)
    assert torch.equal(resumed.tables()[0], whole.tables()[0])


def test_free_vectors_take_their_gradient_as_it_is() -> None:
    parameters, gradient = FreeVectors(seeded(3, 4)), seeded(3, 4, seed=1)
    step(parameters, [gradient])
    torch.testing.assert_close(first_moment(parameters.adam), gradient)
