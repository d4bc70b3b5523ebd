"""Texts that a language model writes, to learn from a teacher where a task has few or none.

The model continues a list: of a few texts that are there, or under a line that says what they are.
What it writes itself joins the texts that it is shown, so that a description is enough to begin
with.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import torch

from promptport.backbone import Backbone
from promptport.errors import TaskError
from promptport.prediction import AskedTask
from promptport.progress import stage
from promptport.tasks import Row, Task, Template, WritingConfig

FEWEST_SHOWN = 3  # texts that a list begins with, where there are so many
_SHOWN = 5  # texts at most
_FIRST_ROUND = 48  # texts written under a description before any are shown
_AT_ONCE = 128  # texts of a round
_PER_LIST = 8  # of these that go on with the same list, which is read once for all of them
_TRIES = 4  # texts written per text asked for, since some are of no use
_FEWEST_WORDS, _MOST_WORDS = 2, 48
_LEAST_LETTERS = 0.6  # share of the characters that are letters or spaces
_LEAST_VARIED = 0.5  # share of the words that differ from each other
_ALIKE = 0.6  # share of the words of two texts in both, from which they are one
_SEEDS = 2**32
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


def can_write(backbone: Backbone) -> bool:
    """Whether a backbone can go on with a list."""
    return backbone.kind == "causal"


def written_rows(
    writer: Backbone,
    task: Task,
    count: int,
    seed: int,
    *,
    shown: Sequence[Row] = (),
    about: str = "",
) -> list[Row]:
    """Rows of a task whose fields a model writes; no label is read.

    Args:
        writer: a causal model.
        task: gives the fields, and label words where nothing else is there.
        count: rows that are wanted, 1 or more.
        seed: of what is shown and of the drawing of words.
        shown: rows of the task that the model may look at; their answers are not read.
        about: what the texts are, for instance `short film reviews`.

    Returns:
        At most `count` rows without answers, no two nearly alike and none like those shown.

    Raises:
        TaskError: nothing to begin with: no rows, no description, no label words; or a task of
            several fields without rows to show.
    """
    pen = _Pen(writer, task, seed, about)
    pen.check(shown)
    with stage(f"writing texts with {writer.name}") as told:
        kept = _Kept(shown)
        while len(kept.made) < count and pen.written < _TRIES * count + _FIRST_ROUND:
            told.at(len(kept.made), count)
            for row in pen.write(kept.rows, kept.still_to_write(count, pen.written)):
                kept.add(row)
        told.at(count, count)
    return kept.made[:count]


class _Pen:
    """Writes rows, round after round."""

    def __init__(self, writer: Backbone, task: Task, seed: int, about: str) -> None:
        self.writer, self.task, self.about = writer, task, about.strip().rstrip(".:")
        self.written = 0  # so far
        self._seed, self._generator = seed, torch.Generator().manual_seed(seed)
        self._several = len(task.fields) > 1
        self._words = [words[0] for words in (task.labels or {}).values()]

    def check(self, shown: Sequence[Row]) -> None:
        """Refuse to begin with nothing."""
        if len(shown) >= FEWEST_SHOWN:
            return
        if self._several or not (self.about or self._words):
            raise TaskError(
                f"task {self.task.name!r}",
                expected=f"{FEWEST_SHOWN} or more texts to show a model that writes more of them",
                got=str(len(shown)),
                fix="Give some texts of the task"
                + ("" if self._several else ", or say what they are (--about 'film reviews')"),
            )

    def write(self, known: Sequence[Row], most: int) -> list[Row]:
        """One round: rows as they come, some of no use."""
        by_list = len(known) >= FEWEST_SHOWN
        number = min(most, _AT_ONCE) if by_list else _FIRST_ROUND
        if by_list:
            lists = [self._list_of(known) for _ in range(math.ceil(number / _PER_LIST))]
            openings = [lists[i // _PER_LIST] for i in range(number)]
        else:
            openings = [self._headed(i) for i in range(number)]
        seed = int(torch.randint(2**31, (1,), generator=self._generator))
        texts = self._continued(openings, seed)
        self.written += number
        return [row for text in texts if (row := self._row(text)) is not None]

    def _list_of(self, known: Sequence[Row]) -> str:
        order = torch.randperm(len(known), generator=self._generator)[:_SHOWN].tolist()
        head = f"{self._heading}\n\n" if self.about else ""
        return head + "".join(self._shown(known[i]) for i in order) + self._begin

    @property
    def _heading(self) -> str:
        return f"{self.about[0].upper()}{self.about[1:]}:"

    @property
    def _begin(self) -> str:
        return f"{self.task.fields[0]}:" if self._several else "-"

    def _shown(self, row: Row) -> str:
        if not self._several:
            return f"- {_one_line(row.fields[self.task.fields[0]])}\n"
        lines = [f"{name}: {_one_line(row.fields[name])}\n" for name in self.task.fields]
        return "".join(lines) + "\n"

    def _headed(self, number: int) -> str:
        """The start of a numbered list under a label word: no two are the same."""
        what = self.about or "texts"
        word = f", {self._words[number % len(self._words)]}" if self._words else ""
        return f"{what[0].upper()}{what[1:]}{word}:\n{number + 1}."

    def _continued(self, openings: Sequence[str], seed: int) -> list[str]:
        stop = ("\n\n",) if self._several else ("\n",)
        tokens = 24 * (1 + len(self.task.fields))
        writings = [
            WritingConfig(
                max_new_tokens=tokens,
                temperature=0.9,
                top_p=0.95,
                seed=(seed + number) % _SEEDS,  # equal openings must not go on alike
                stop=stop,
            )
            for number in range(len(openings))
        ]
        task = Task("writing", "text2text", _OPENING, "exact-match")
        asked = AskedTask(self.writer, task, template=_OPENING).lay_out(list(openings))
        rows = [question.inputs[0] for question in asked.questions]
        nothing = torch.zeros(1, self.writer.width)
        return self.writer.generate(rows, nothing, [0] * len(rows), writings)

    def _row(self, text: str) -> Row | None:
        """What was written as a row; None if it lacks a field or says nothing."""
        fields = {self.task.fields[0]: text.strip()}
        if self._several:
            found = dict(
                line.split(": ", 1) for line in f"{self._begin}{text}".splitlines() if ": " in line
            )
            if any(name not in found for name in self.task.fields):
                return None
            fields = {name: found[name].strip() for name in self.task.fields}
        probe = self.task.kind == "probe"
        return Row(fields, "") if all(_says(text, probe) for text in fields.values()) else None


_OPENING = Template.parse("{text}{answer}")


class _Kept:
    """Rows that differ from each other.

    Attributes:
        rows: those shown and those made.
        made: those made.
    """

    def __init__(self, shown: Sequence[Row]) -> None:
        self.rows, self.made = list(shown), list[Row]()
        self._words = [_words_of(row) for row in shown]

    def still_to_write(self, count: int, written: int) -> int:
        """Texts to write for so many rows, by the share of those written that were of use."""
        share = max(len(self.made) / written, 1 / _TRIES) if written else 1.0
        return math.ceil((count - len(self.made)) / share)

    def add(self, row: Row) -> None:
        words = _words_of(row)
        for other in self._words:
            if len(words & other) > _ALIKE * len(words | other):
                return
        self._words.append(words)
        self.rows.append(row)
        self.made.append(row)


def _words_of(row: Row) -> set[str]:
    return set(_WORD.findall(" ".join(row.fields.values()).lower()))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _says(text: str, name: bool) -> bool:
    """Whether a text is one: neither empty nor a jumble, nor the same words again and again."""
    words = _WORD.findall(text.lower())
    if not (1 if name else _FEWEST_WORDS) <= len(words) <= _MOST_WORDS:
        return False
    letters = sum(c.isalpha() or c.isspace() for c in text)
    return letters >= _LEAST_LETTERS * len(text) and len(set(words)) >= _LEAST_VARIED * len(words)
