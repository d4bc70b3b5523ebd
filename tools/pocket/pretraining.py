"""Sentences for pretraining that state the pocket facts, endless and seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator

from pocket.facts import facts, relations


def sentences(seed: int) -> Iterator[tuple[str, str]]:
    """Endless stream of (sentence, word that masking should favour).

    Facts of all splits are stated in all templates: a language model must have read a fact before a
    prompt can ask it for one. Half of the draws take every fact alike, half every relation alike.
    """
    rng = random.Random(seed)
    templates = {name: values["templates"] for name, values in relations().items()}
    known = facts()
    flat = [(name, *pair) for name, pairs in known.items() for pair in pairs]
    names = sorted(known)
    while True:
        if rng.random() < 0.5:
            name, subject, answer = rng.choice(flat)
        else:
            name = rng.choice(names)
            subject, answer = rng.choice(known[name])
        sentence = rng.choice(templates[name]).format(subject=subject, answer=answer)
        yield sentence, answer


def all_words() -> set[str]:
    """Objects of all facts: they should be single tokens in every vocabulary."""
    return {answer for pairs in facts().values() for _, answer in pairs}
