"""Finding prompts of a library by words: plain matching, no model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from promptport.errors import PromptPortError
from promptport.library.entry import LibraryEntry

# How much a word counts where it stands: a name says more of a prompt than its template.
WEIGHTS = {"name": 4.0, "task": 3.0, "label words": 2.0, "mixture words": 2.0, "template": 1.0}
_WITHIN = 0.5  # of the weight, for a word that is only part of another
_FEWEST = 3  # letters of such a word


@dataclass(frozen=True)
class SearchHit:
    """A prompt that holds some of the words.

    Attributes:
        name: of the prompt.
        score: the weights of `WEIGHTS` summed over the words, each at its best place; half of it
            where a word is only part of another.
        where: place -> the words that stand there.
    """

    name: str
    score: float
    where: dict[str, tuple[str, ...]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        where = {place: list(words) for place, words in self.where.items()}
        return {"name": self.name, "score": self.score, "where": where}


def search_entries(entries: Sequence[LibraryEntry], text: str) -> tuple[SearchHit, ...]:
    """Entries that hold words of a text, the best match first.

    Raises:
        PromptPortError: no word.
    """
    wanted = list(dict.fromkeys(_words(text)))
    if not wanted:
        raise PromptPortError(
            "search", expected="one word or more", got=repr(text), fix="Write for instance: capital"
        )
    hits = [_hit(entry, wanted) for entry in entries]
    return tuple(sorted((hit for hit in hits if hit.score), key=lambda hit: -hit.score))


def _hit(entry: LibraryEntry, wanted: Sequence[str]) -> SearchHit:
    best = dict.fromkeys(wanted, 0.0)
    where: dict[str, list[str]] = {}
    for place, texts in entry.words().items():
        there = {word for text in texts for word in _words(text)}
        for word in wanted:
            inside = len(word) >= _FEWEST and any(word in other for other in there)
            share = 1.0 if word in there else _WITHIN * inside
            if share:
                best[word] = max(best[word], share * WEIGHTS[place])
                where.setdefault(place, []).append(word)
    places = {place: tuple(words) for place, words in where.items()}
    return SearchHit(entry.name, sum(best.values()), places)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold().replace("_", " "))
