"""Several sources: prompts of one task from different backbones, moved together.

Paper A's dual mode is the case of two. The sum of matching cosines Σ wᵢ cos(rᵢ, Āx) over the same
anchors has one denominator, |Āx|, so it is the cosine to Σ wᵢ rᵢ/|rᵢ|: one more closed form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from promptport.backbone import SpaceLike, as_space
from promptport.belonging import check_same_backbone
from promptport.errors import MismatchError, PromptPortError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.registry import unknown_name
from promptport.space import EmbeddingSpace
from promptport.storage import PromptLike, as_prompt
from promptport.transfers.problem import TransferProblem

_NEWTON_STEPS = 50


@dataclass(frozen=True, init=False)
class Source:
    """A prompt and where it comes from.

    Attributes:
        prompt: (n, d_s), belongs to `space`; may be given by its folder.
        space: of the backbone that it was tuned on; may be given by the backbone, its name or its
            folder, and is that which the prompt remembers if it is left out.
        weight: its say among the sources, above 0; only ratios matter.
    """

    prompt: SoftPrompt
    space: EmbeddingSpace
    weight: float = 1.0

    def __init__(
        self, prompt: PromptLike, space: SpaceLike | None = None, weight: float = 1.0
    ) -> None:
        opened = as_prompt(prompt)
        object.__setattr__(self, "prompt", opened)
        object.__setattr__(self, "space", home_space(opened.provenance, space))
        object.__setattr__(self, "weight", weight)

    def check(self) -> None:
        """Refuse a prompt of another backbone.

        Raises:
            MismatchError: another width or embedding matrix.
            PromptPortError: a weight that is not above 0.
        """
        fix = "Name the backbone, and the revision, that it was tuned on as the source"
        check_same_backbone(self.prompt, self.space, name="prompt", fix=fix)
        if not 0 < self.weight < float("inf"):
            raise PromptPortError(
                "weight of a source",
                expected="a number above 0",
                got=str(self.weight),
                fix="Leave a source out instead of weighting it with nothing",
            )


def home_space(made: Provenance, named: SpaceLike | None = None) -> EmbeddingSpace:
    """The space that a prompt or vector belongs to: the named one, or that which it remembers."""
    return as_space(made.backbone, made.revision) if named is None else as_space(named)


def the_target(
    source: SpaceLike | None, target: SpaceLike | None
) -> tuple[SpaceLike | None, EmbeddingSpace]:
    """The source if it is named, and the target's space.

    One backbone alone is the target, as the only bound of a range is its end.

    Raises:
        MismatchError: none is named.
    """
    if target is None:
        source, target = None, source
    if target is None:
        raise MismatchError(
            "target",
            expected="the backbone that the prompt shall work on",
            got="none",
            fix='Name it, for instance transfer(prompt, target="nano-roberta")',
        )
    return source, as_space(target)


def both_spaces(
    made: Provenance, source: SpaceLike | None, target: SpaceLike | None
) -> tuple[EmbeddingSpace, EmbeddingSpace]:
    """The space that a prompt or vector belongs to, and the target's."""
    source, space = the_target(source, target)
    return home_space(made, source), space


def in_fixed_order(sources: Sequence[Source]) -> list[Source]:
    """The sources in an order that does not depend on how they were given.

    Sums of floating point numbers depend on their order in the last digits.
    """
    return sorted(
        sources,
        key=lambda s: (s.space.backbone, s.space.fingerprint, s.prompt.vectors.tolist(), s.weight),
    )


def shares(sources: Sequence[Source]) -> list[float]:
    """Weights of the sources, scaled to sum to 1."""
    total = sum(source.weight for source in sources)
    return [source.weight / total for source in sources]


def _cut(rows: Tensor, length: int) -> Tensor:
    return rows[:length]


def _repeat(rows: Tensor, length: int) -> Tensor:
    return rows[torch.arange(length) % len(rows)]


def _stretch(rows: Tensor, length: int) -> Tensor:
    """Virtual tokens at even distances along the line through the given ones."""
    if len(rows) == 1 or length == len(rows):
        return _repeat(rows, length)
    place = torch.linspace(0, len(rows) - 1, length, dtype=torch.float64)
    low = place.floor().long().clamp_max(len(rows) - 2)
    share = (place - low)[:, None].to(rows.dtype)
    return rows[low] * (1 - share) + rows[low + 1] * share


LENGTHS: Mapping[str, tuple[Callable[[Sequence[int]], int], Callable[[Tensor, int], Tensor]]] = (
    MappingProxyType({"cut": (min, _cut), "repeat": (max, _repeat), "stretch": (max, _stretch)})
)


def check_length_rule(rule: str) -> None:
    """Refuse a rule that `fit_lengths` does not know.

    Raises:
        UnknownNameError: no such rule.
    """
    if rule not in ("same", *LENGTHS):
        raise unknown_name("length rule", rule, ("same", *LENGTHS))


def fit_lengths(prompts: Sequence[Tensor], rule: str) -> list[Tensor]:
    """Bring prompts (n_i, d_i) to one length.

    Args:
        prompts: one or more.
        rule: `same` refuses other lengths; `cut` keeps the first virtual tokens, as many as the
            shortest prompt has; `repeat` begins again until the length of the longest; `stretch`
            interpolates to that length.

    Raises:
        MismatchError: lengths differ and the rule is `same`.
        UnknownNameError: no such rule.
    """
    lengths = [len(rows) for rows in prompts]
    check_length_rule(rule)
    if len(set(lengths)) == 1:
        return list(prompts)
    if rule == "same":
        raise MismatchError(
            "sources",
            expected="prompts of one length",
            got=", ".join(str(length) for length in lengths),
            fix=f"Choose a length rule: {', '.join(LENGTHS)}",
        )
    choose, fit = LENGTHS[rule]
    return [fit(rows, choose(lengths)) for rows in prompts]


def joint_description(problems: Sequence[TransferProblem], weights: Sequence[float]) -> Tensor:
    """Σ wᵢ rᵢ/|rᵢ|: the description whose best vectors are the best for all sources together.

    Args:
        problems: one per source, over the same k words.
        weights: of the sources.

    Returns:
        (n, k) float64.
    """
    first = problems[0]
    total = torch.zeros(len(first.vectors), len(first.anchors_tgt), dtype=torch.float64)
    for problem, weight in zip(problems, weights, strict=True):
        total += weight * normalize(problem.describe(torch.float64), dim=1)
    return total


def refine(
    start: Tensor,
    descriptions: Sequence[Tensor],
    anchors: Sequence[Tensor],
    weights: Sequence[float],
) -> Tensor:
    """Maximise Σ wᵢ cos(rᵢ, Āᵢx) where every source has anchors of its own.

    There is no closed form: the denominators |Āᵢx| differ. L-BFGS from the closed form of the
    common anchors needs some ten evaluations.

    Args:
        start: (n, d_t) to begin with.
        descriptions: (n, k_i) per source.
        anchors: (k_i, d_t) rows of the target for the words of each source.
        weights: of the sources.

    Returns:
        (n, d_t) of any norm.
    """
    units = [normalize(rows.double(), dim=1) for rows in anchors]
    wanted = [described.double() for described in descriptions]
    vectors = normalize(start.double(), dim=1).requires_grad_()
    search = torch.optim.LBFGS(
        [vectors], max_iter=_NEWTON_STEPS, line_search_fn="strong_wolfe", tolerance_grad=1e-10
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = torch.zeros((), dtype=torch.float64)
        for described, rows, weight in zip(wanted, units, weights, strict=True):
            value = value - weight * cosine_similarity(described, vectors @ rows.T, dim=1).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    return vectors.detach().float()
