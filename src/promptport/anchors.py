"""AnchorSet: the words that are one token in each of several backbones, and how well they agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from promptport.errors import AnchorError
from promptport.space import EmbeddingSpace, row_blocks

SAMPLED_ANCHORS = 1500
_SHARE = re.compile(r"(\d+\.?\d*|\.\d+)")
SAMPLE_SEED = 0
LARGE_MATRIX = 2**23  # numbers: 32 MB
FEW_ANCHORS = 500
LOW_AGREEMENT = 0.3
NO_WARNING = "Nothing in these figures speaks against a transfer."


@dataclass(frozen=True)
class AnchorReport:
    """What the backbones share, and how far it can carry a transfer.

    Attributes:
        backbones: one name per space; the tuples below have the same order.
        count: k, number of anchors.
        coverage: share of each space's words that are anchors, in [0, 1].
        vocabulary_coverage: share of each space's tokens that are anchors, in [0, 1].
        agreement: Pearson correlation between two spaces' anchor-to-anchor cosines after each
            space's mean anchor was subtracted; the lowest over all pairs; None for one space.
        agreement_raw: the same without the subtraction; a shared mean direction distorts it.
        sampled: anchors on which the agreement was computed.
        zero_rows: shared words left out because a row is zero (or not finite).
        words_left_out: asked words that are not one token in every space.
        dropped: for each space, why its other tokens are no words: reason -> count.
        warnings: in plain words, what speaks against a transfer; empty if nothing does.
    """

    backbones: tuple[str, ...]
    count: int
    coverage: tuple[float, ...]
    vocabulary_coverage: tuple[float, ...]
    agreement: float | None
    agreement_raw: float | None
    sampled: int
    zero_rows: int
    words_left_out: int
    dropped: tuple[dict[str, int], ...]
    warnings: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """The warnings as one text, or that there are none."""
        return " ".join(self.warnings) or NO_WARNING

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {**vars(self), "verdict": self.verdict}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def parse_rule(text: str) -> tuple[str, float]:
    """Read `all`, `frequent:4000` or `agreeing:0.8`.

    Returns:
        The rule, and its number: how many words, or which share of them.

    Raises:
        AnchorError: none of these.
    """
    name, _, number = text.partition(":")
    if text == "all":
        return "all", 0.0
    if name == "frequent" and number.isdecimal() and int(number) >= 1:
        return "frequent", float(number)
    if name == "agreeing" and _SHARE.fullmatch(number) and 0 < float(number) <= 1:
        return "agreeing", float(number)
    raise AnchorError(
        "rule for anchors",
        expected="all, frequent:COUNT or agreeing:SHARE",
        got=repr(text),
        fix="Write for instance frequent:4000 or agreeing:0.8",
    )


def check_words(words: Sequence[str] | None) -> None:
    """Refuse one text where a list of words is meant.

    Raises:
        AnchorError: it is.
    """
    if isinstance(words, str):
        raise AnchorError(
            "words", expected="a list of words", got="one text", fix="Give words=[...]"
        )


def check_minimum(minimum: int) -> None:
    """Refuse a minimum of anchors below 1.

    Raises:
        AnchorError: it is.
    """
    if minimum < 1:
        raise AnchorError(
            "minimum of anchors", expected="1 or more", got=str(minimum), fix="32 is usual"
        )


@dataclass(frozen=True, eq=False)
class AnchorSet:
    """Words shared by several spaces, sorted, and their rows. Made by `AnchorSet.shared`.

    Attributes:
        words: k words in code point order.
        spaces: the spaces that share them.
        ids: for each space, (k,) the token of every word.
        zero_rows: shared words left out because a row is zero.
        words_left_out: asked words that are not one token in every space.
    """

    words: tuple[str, ...]
    spaces: tuple[EmbeddingSpace, ...]
    ids: tuple[Tensor, ...]
    zero_rows: int = 0
    words_left_out: int = 0

    @classmethod
    def shared(
        cls, *spaces: EmbeddingSpace, words: Sequence[str] | None = None, minimum: int = 32
    ) -> AnchorSet:
        """Find the words that are one word-initial token in every space.

        Args:
            spaces: one or more.
            words: use only these; None for all.
            minimum: refuse fewer anchors than this.

        Raises:
            AnchorError: fewer than `minimum` words, or a minimum below 1.
        """
        if not spaces:
            raise AnchorError(
                "anchors", expected="one space or more", got="none", fix="Name a backbone"
            )
        check_words(words)
        check_minimum(minimum)
        tables = _tables(spaces, asked=words is not None)
        common = set.intersection(*(set(table) for table in tables))
        asked = common if words is None else set(words)
        names = sorted(common & asked)
        ids = tuple(
            torch.tensor([table[word] for word in names], dtype=torch.long) for table in tables
        )
        good = torch.ones(len(names), dtype=torch.bool)
        for space, index in zip(spaces, ids, strict=True):
            good &= _has_direction(space, index)
        kept = tuple(word for word, keep in zip(names, good.tolist(), strict=True) if keep)
        zero_rows = len(names) - len(kept)
        _check_enough(spaces, len(kept), zero_rows, minimum, asked=words is not None)
        return cls(kept, spaces, tuple(i[good] for i in ids), zero_rows, len(asked - common))

    def __len__(self) -> int:
        return len(self.words)

    def __repr__(self) -> str:
        return f"AnchorSet({len(self)} words of {', '.join(s.backbone for s in self.spaces)})"

    def keep(self, rule: str) -> AnchorSet:
        """Fewer anchors.

        Args:
            rule: `all`; `frequent:4000`, the words with the lowest token ids, which is how
                tokenizers order them by frequency (mean rank over the spaces); `agreeing:0.8`,
                the share of the words whose cosines to the others agree best between the spaces.

        Raises:
            AnchorError: no such rule.
        """
        name, number = parse_rule(rule)
        if name == "all" or (name == "agreeing" and len(self.spaces) < 2):
            return self
        if name == "frequent":
            ranks = torch.stack([ids.argsort().argsort().float() for ids in self.ids]).mean(0)
            chosen = ranks.argsort(stable=True)[: int(number)]
        else:
            count = max(1, round(number * len(self)))
            chosen = self._row_agreement().argsort(descending=True, stable=True)[:count]
        kept = chosen.sort().values
        words = tuple(self.words[i] for i in kept.tolist())
        ids = tuple(own[kept] for own in self.ids)
        return replace(self, words=words, ids=ids)

    def _row_agreement(self) -> Tensor:
        """(k,): correlation of each word's cosines to a sample of the others, of the worst pair."""
        picked = _sample(len(self))
        units = []
        for i in range(len(self.spaces)):
            rows = self.matrix(i)
            rows = torch.nn.functional.normalize(rows - rows.mean(0), dim=1)
            cosines = rows @ rows[picked].T  # (k, m)
            # A word's cosine to itself is 1 everywhere and says nothing.
            cosines[picked, torch.arange(len(picked))] = 0.0
            units.append(
                torch.nn.functional.normalize(cosines - cosines.mean(1, keepdim=True), dim=1)
            )
        pairs = [(a * b).sum(1) for a, b in combinations(units, 2)]
        return torch.stack(pairs).amin(0)

    def matrix(self, i: int) -> Tensor:
        """Anchor matrix (k, d_i), float32: the words' input rows in space i.

        That of a large backbone is gathered where it is used; see `RowsOnDemand`.
        """
        space, ids = self.spaces[i], self.ids[i]
        large = len(ids) * space.width > LARGE_MATRIX
        return space.rows_on_demand(ids) if large else space.rows(ids)

    @cached_property
    def report(self) -> AnchorReport:
        """Coverage, agreement and warnings."""
        count = len(self)
        picked = _sample(count)
        raw, centred = self._agreement(picked)
        return AnchorReport(
            backbones=tuple(space.backbone for space in self.spaces),
            count=count,
            coverage=tuple(count / len(_known(space, self.words)) for space in self.spaces),
            vocabulary_coverage=tuple(count / space.trained_rows for space in self.spaces),
            agreement=centred,
            agreement_raw=raw,
            sampled=len(picked),
            zero_rows=self.zero_rows,
            words_left_out=self.words_left_out,
            dropped=tuple(dict(space.dropped) for space in self.spaces),
            warnings=_warnings(count, centred),
        )

    def _agreement(self, picked: Tensor) -> tuple[float | None, float | None]:
        if len(self.spaces) < 2 or len(picked) < 3:
            return None, None
        raw, centred = [], []
        for i in range(len(self.spaces)):
            rows = self.matrix(i)
            raw.append(_pair_cosines(rows[picked]))
            centred.append(_pair_cosines(rows[picked] - _mean_row(rows)))
        pairs = list(combinations(range(len(self.spaces)), 2))
        lowest = [min(_pearson(c[i], c[j]) for i, j in pairs) for c in (raw, centred)]
        return lowest[0], lowest[1]


def _tables(spaces: Sequence[EmbeddingSpace], *, asked: bool) -> list[dict[str, int]]:
    """Word -> id of each space, of which the shared ones are anchors.

    Words of scripts without spaces count if they are asked for, or if the spaces share more of them
    than of other words: between models of spaced scripts nothing changes by a few of them.
    """
    plain = [_reachable(space, space.words) for space in spaces]
    if not all(space.unspaced for space in spaces):
        return plain
    whole = [_reachable(space, space.all_words) for space in spaces]
    spaced = set.intersection(*(set(table) for table in plain))
    more = set.intersection(*(set(table) for table in whole)) - spaced
    return whole if asked or len(more) > len(spaced) else plain


def _known(space: EmbeddingSpace, words: Sequence[str]) -> Mapping[str, int]:
    """The words of a space of which these are a share."""
    return space.words if all(word in space.words for word in words) else space.all_words


def _reachable(space: EmbeddingSpace, words: Mapping[str, int]) -> dict[str, int]:
    # A tokenizer may know more tokens than the matrix has rows.
    return {word: index for word, index in words.items() if 0 <= index < space.matrix.shape[0]}


def _has_direction(space: EmbeddingSpace, ids: Tensor) -> Tensor:
    norms = torch.empty(len(ids))  # (k,)
    for part, rows in row_blocks(space.rows_on_demand(ids), torch.float32):
        norms[part] = torch.linalg.vector_norm(rows, dim=1)
    return (norms > 0) & norms.isfinite()


def _check_enough(
    spaces: Sequence[EmbeddingSpace], count: int, zero_rows: int, minimum: int, *, asked: bool
) -> None:
    if count >= minimum:
        return
    names = ", ".join(space.backbone for space in spaces)
    zeros = f"; {zero_rows} more have rows of zeros" if zero_rows else ""
    fix = "Give more words, lower the minimum" if asked else "Lower the minimum"
    raise AnchorError(
        "anchors",
        expected=f"at least {minimum} shared words",
        got=f"{count} ({names}{zeros})",
        fix=f"{fix} or choose another pair of backbones",
    )


def _sample(count: int) -> Tensor:
    if count <= SAMPLED_ANCHORS:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(SAMPLE_SEED)
    return torch.randperm(count, generator=generator)[:SAMPLED_ANCHORS].sort().values


def _mean_row(rows: Tensor) -> Tensor:
    total = torch.zeros(rows.shape[1], dtype=torch.float64, device=rows.device)
    for _, block in row_blocks(rows, torch.float64):
        total += block.sum(0)
    return (total / len(rows)).to(rows.dtype)  # (d,)


def _pair_cosines(rows: Tensor) -> Tensor:
    """(m, d) -> (m (m - 1) / 2,) cosines of all pairs."""
    unit = torch.nn.functional.normalize(rows, dim=1)
    upper = torch.ones(len(rows), len(rows), dtype=torch.bool).triu(1)
    return (unit @ unit.T)[upper]


def _pearson(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a - a.mean(), b - b.mean(), dim=0))


def _warnings(count: int, agreement: float | None) -> tuple[str, ...]:
    lines = []
    if count < FEW_ANCHORS:
        lines.append(
            f"Only {count} shared words: below {FEW_ANCHORS} a transfer is coarse at best; "
            "choose backbones with more alike tokenizers."
        )
    if agreement is not None and agreement < LOW_AGREEMENT:
        lines.append(
            f"The backbones arrange their shared words differently (agreement {agreement:.2f}, "
            f"low below {LOW_AGREEMENT}): expect a ported prompt to do little better than chance."
        )
    return tuple(lines)
