"""What rows of a causal backbone begin with in common, and where each row is cut.

A causal model's keys and values of a position depend on what stands before it alone. Rows that
begin alike (the same virtual tokens, the same text) share them: they are computed once for all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from promptport.backbone.encoded import EncodedRow

FEWEST_KEPT = 4  # tokens of a text that are worth keeping
_LEAST_SAVED = 0.1  # share of the tokens of a batch that sharing must save

Key = tuple[int | None, tuple[int, ...]]  # first row of the prompt if it is in, and the line


@dataclass(frozen=True)
class Shared:
    """Prefixes of a batch.

    Attributes:
        prefixes: distinct beginnings as rows of their own, scored at their last token; the empty
            one is not among them.
        starts: for each of them the first row of its prompt in the table.
        owners: for each row of the batch the number of its prefix, -1 for none.
        cuts: for each row of the batch the tokens of its prefix.
    """

    prefixes: list[EncodedRow]
    starts: list[int]
    owners: list[int]
    cuts: list[int]


def share(
    rows: Sequence[EncodedRow],
    starts: Sequence[int],
    *,
    keep_texts: bool,
    keep_prompts: bool = False,
) -> Shared | None:
    """Find what rows begin with in common; None if it is not worth it.

    Args:
        rows: B rows of a causal backbone.
        starts: for each row the first row of its prompt in the table.
        keep_texts: text in front of all virtual tokens is kept for later passes, so that it is
            worth a cut even where no other row of the batch has it.
        keep_prompts: the same of virtual tokens that lead a row.
    """
    lines = [line_of(row) for row in rows]
    cuts = _cuts(rows, lines, starts, keep_texts, keep_prompts)
    keys = [
        _key(row, line, s, c) for row, line, s, c in zip(rows, lines, starts, cuts, strict=True)
    ]
    numbers: dict[Key, int] = {}
    first: list[int] = []
    owners = []
    for i, (key, cut) in enumerate(zip(keys, cuts, strict=True)):
        if cut and key not in numbers:
            numbers[key] = len(first)
            first.append(i)
        owners.append(numbers[key] if cut else -1)
    if not first:
        return None
    saved = sum(cuts) - sum(cuts[i] for i in first)
    kept = keep_texts and any(FEWEST_KEPT <= cuts[i] == _text_length(rows[i]) for i in first)
    kept = kept or (keep_prompts and any(leading(rows[i]) for i in first))
    if not kept and saved < _LEAST_SAVED * sum(map(len, lines)):
        return None
    return Shared(
        [beginning(rows[i], cuts[i]) for i in first], [starts[i] for i in first], owners, cuts
    )


def beginning(row: EncodedRow, cut: int) -> EncodedRow:
    """The first tokens of a row as a row of its own, scored at the last of them."""
    soft = tuple(place for place in row.soft if place < cut)
    return EncodedRow(row.ids[:cut], soft, (cut - 1,), ())


def remainder(row: EncodedRow, cut: int) -> EncodedRow:
    """What follows the first tokens of a row; its first virtual tokens may be among them."""
    return EncodedRow(
        row.ids[cut:],
        tuple(place - cut for place in row.soft if place >= cut),
        tuple(place - cut for place in row.scored),
        row.targets,
    )


def _is_text(row: EncodedRow, cut: int) -> bool:
    """Whether a beginning has no virtual tokens, so that it never changes."""
    return not row.soft or row.soft[0] >= cut


def leading(row: EncodedRow) -> int:
    """Virtual tokens that a row begins with, but for a scored one."""
    count = next((i for i, place in enumerate(row.soft) if i != place), len(row.soft))
    return min(count, row.scored[0])


def kept_tokens(row: EncodedRow) -> int:
    """Tokens of the text in front of all virtual tokens that are worth keeping."""
    length = _text_length(row)
    return length if length >= FEWEST_KEPT else 0


def line_of(row: EncodedRow) -> tuple[int, ...]:
    """Token ids with virtual tokens as numbers below 0, so that equal lines are equal inputs."""
    if not row.soft:
        return row.ids
    line = list(row.ids)
    for number, place in enumerate(row.soft):
        line[place] = -1 - number
    return tuple(line)


def _key(row: EncodedRow, line: tuple[int, ...], start: int, cut: int) -> Key:
    return (None if _is_text(row, cut) else start), line[:cut]


def _cuts(
    rows: Sequence[EncodedRow],
    lines: Sequence[tuple[int, ...]],
    starts: Sequence[int],
    keep_texts: bool,
    keep_prompts: bool,
) -> list[int]:
    """Tokens of each row that it shares with others, or that are kept; 0 for none."""
    # Answers of several tokens to one question: all that stands in front of the answer.
    heads = [
        _key(row, line, start, row.scored[0])
        for row, line, start in zip(rows, lines, starts, strict=True)
    ]
    times = Counter(heads)
    cuts = [row.scored[0] if times[head] > 1 else 0 for row, head in zip(rows, heads, strict=True)]
    if keep_prompts:
        cuts = [c or leading(row) for c, row in zip(cuts, rows, strict=True)]
    texts = [_text_length(row) for row in rows]
    if keep_texts:
        cuts = [c or kept_tokens(row) for c, row in zip(cuts, rows, strict=True)]
    else:
        shared = Counter(line[:t] for line, t in zip(lines, texts, strict=True))
        cuts = [
            c or (t if t and shared[line[:t]] > 1 else 0)
            for c, t, line in zip(cuts, texts, lines, strict=True)
        ]
    return _with_common(rows, lines, starts, cuts)


def _text_length(row: EncodedRow) -> int:
    """Tokens in front of the first virtual token, all of which are text."""
    return min(row.soft[0], row.scored[0]) if row.soft else 0


def _with_common(
    rows: Sequence[EncodedRow],
    lines: Sequence[tuple[int, ...]],
    starts: Sequence[int],
    cuts: list[int],
) -> list[int]:
    """Rows that are not cut yet are cut behind what all rows of their prompt begin with."""
    groups: dict[int | None, list[int]] = {}
    for i, (row, start, cut) in enumerate(zip(rows, starts, cuts, strict=True)):
        if not cut:
            groups.setdefault(start if row.soft else None, []).append(i)
    for members in groups.values():
        if len(members) > 1:
            own = [lines[i] for i in members]
            common = _common_length(min(own), max(own))
            common = min(common, *(rows[i].scored[0] for i in members))
            for i in members:
                cuts[i] = common
    return cuts


def _common_length(a: Sequence[int], b: Sequence[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
