"""TransferConfig: how a transfer is done, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from promptport.anchors import AnchorSet, check_minimum, check_words, parse_rule
from promptport.errors import AnchorError, MismatchError
from promptport.seeds import check_seed
from promptport.space import EmbeddingSpace
from promptport.transfers import methods  # noqa: F401  (they register)
from promptport.transfers.magnitude import find_magnitude
from promptport.transfers.problem import TransferProblem
from promptport.transfers.registry import TransferMethod, find_method
from promptport.transfers.sources import check_length_rule


@dataclass(frozen=True)
class TransferConfig:
    """How a transfer is done.

    Attributes:
        method: name of a transfer method, with or without version; None for `mixture` if all
            prompts are mixture prompts, else `least_squares`.
        options: of the method, by name.
        magnitude: rule for the norms of the virtual tokens: `token`, `paper`, `dimension` or
            `keep`; None for `keep` with the method `mixture`, else `token`.
        anchors: which of the shared words: `all`, `frequent:COUNT` or `agreeing:SHARE`
            (`AnchorSet.keep`).
        words: use only these words as anchors; None for all that all backbones know.
        minimum_anchors: refuse fewer anchors than this; 1 or more.
        lengths: rule for prompts with different numbers of virtual tokens: `same` (refuse), `cut`,
            `repeat`, `stretch`.
        own_anchors: let every source use all words that it shares with the target, not only those
            that all share (`least_squares` alone, without options; a few steps of L-BFGS from the
            closed form).
        seed: of methods that draw random numbers.
        roundtrip: also carry the result back for the report: as much work again.

    Raises:
        AnchorError: a rule, words or a minimum of anchors that cannot be.
        MismatchError: own anchors with another method, or with options.
        PromptPortError: a seed, or an option of another type.
        UnknownNameError: no such method, option or rule.
    """

    method: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    magnitude: str | None = None
    anchors: str = "all"
    words: Sequence[str] | None = None
    minimum_anchors: int = 32
    lengths: str = "same"
    own_anchors: bool = False
    seed: int = 0
    roundtrip: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", dict(self.options or {}))
        check_seed(self.seed)
        check_words(self.words)
        check_minimum(self.minimum_anchors)
        check_length_rule(self.lengths)
        parse_rule(self.anchors)
        if self.magnitude is not None:
            find_magnitude(self.magnitude)
        if self.method is not None:
            self._check_method(find_method(self.method))

    def plan(self, *, mixture: bool) -> Plan:
        """What is done: the method and rule that are asked for, or the usual ones.

        Args:
            mixture: whether all prompts are mixture prompts.
        """
        method = find_method(self.method or ("mixture" if mixture else "least_squares"))
        self._check_method(method)
        magnitude = self.magnitude or ("keep" if method.from_mixture else "token")
        return Plan(self, method, method.complete(self.options), magnitude)

    def _check_method(self, method: TransferMethod) -> None:
        method.complete(self.options)
        if self.own_anchors and (not method.own_anchors or self.options):
            raise MismatchError(
                "own anchors",
                expected="the method least_squares, without options",
                got=", ".join((method.name, *self.options)),
                fix="Leave one of the two out",
            )


@dataclass(frozen=True)
class Plan:
    """A configuration whose open choices are made.

    Attributes:
        config: what was asked for.
        method: of the transfer.
        options: all of the method, defaults included.
        magnitude: rule for the norms.
    """

    config: TransferConfig
    method: TransferMethod
    options: dict[str, Any]
    magnitude: str

    def decode(self, problem: TransferProblem) -> Tensor:
        """The method, then the rule for the norms: (n, d_t)."""
        return find_magnitude(self.magnitude)(self.direct(problem), problem)

    def direct(self, problem: TransferProblem) -> Tensor:
        """The method alone: (n, d_t) of any norm."""
        vectors: Tensor = self.method(problem, self.options)
        return vectors


def shared_anchors(config: TransferConfig, *spaces: EmbeddingSpace) -> AnchorSet:
    """The words that several spaces share, as far as a configuration uses them.

    Raises:
        AnchorError: too few.
    """
    shared = AnchorSet.shared(*spaces, words=config.words, minimum=config.minimum_anchors)
    return kept_anchors(shared, config)


def kept_anchors(shared: AnchorSet, config: TransferConfig) -> AnchorSet:
    """Those of the shared words that a configuration keeps.

    Raises:
        AnchorError: too few.
    """
    kept = shared.keep(config.anchors)
    if len(kept) < config.minimum_anchors:
        raise AnchorError(
            "anchors",
            expected=f"at least {config.minimum_anchors} words",
            got=f"{len(kept)} of {len(shared)} shared ones ({config.anchors})",
            fix="Keep more of them, or lower the minimum",
        )
    return kept
