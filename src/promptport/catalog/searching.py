"""Finding prompts of a library by words: plain matching, no model."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from promptport.errors import PromptPortError

# How much a word counts where it stands: a name says more of a prompt than its template.
WEIGHTS = {
    **{"name": 4.0, "task": 3.0, "tags": 3.0, "label words": 2.0, "mixture words": 2.0},
    "near words": 1.5,
    "template": 1.0,
}
_WITHIN = 0.5  # of the weight, for a word that is only part of another
_FEWEST = 3  # letters of such a word


class Searched(Protocol):
    """A prompt that can be found by words."""

    @property
    def name(self) -> str:
        """In the library."""

    def words(self) -> Mapping[str, Sequence[str]]:
        """What can be searched: where -> texts as they stand there."""


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


def search_entries(entries: Sequence[Searched], text: str) -> tuple[SearchHit, ...]:
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


def _hit(entry: Searched, wanted: Sequence[str]) -> SearchHit:
    best = dict.fromkeys(wanted, 0.0)
    where: dict[str, list[str]] = {}
    there: Collection[str]
    for place, texts in entry.words().items():
        # Every one has another name; the rest is shared by many.
        there = _words(" ".join(texts)) if place == "name" else _words_of(tuple(texts))
        for word in wanted:
            inside = len(word) >= _FEWEST and any(word in other for other in there)
            share = 1.0 if word in there else _WITHIN * inside
            if share:
                best[word] = max(best[word], share * WEIGHTS[place])
                where.setdefault(place, []).append(word)
    places = {place: tuple(words) for place, words in where.items()}
    return SearchHit(entry.name, sum(best.values()), places)


@lru_cache(maxsize=4096)
def _words_of(texts: tuple[str, ...]) -> frozenset[str]:
    """Tasks, labels and templates, which many prompts of a library share."""
    return frozenset(word for text in texts for word in _words(text))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold().replace("_", " "))
