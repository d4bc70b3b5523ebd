"""Sentences for pretraining that state the pocket facts and classes, endless and seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator

from pocket.classes import class_tasks, grammar_words, label_words, labelled, unlabelled
from pocket.facts import facts, relations

FACTS, LABELLED = 0.6, 0.33  # shares of the sentences; the rest are texts without their label


def sentences(seed: int) -> Iterator[tuple[str, str]]:
    """Endless stream of (text, word that masking should favour; empty for none).

    Facts of all splits are stated in all templates: a language model must have read a fact before a
    prompt can ask it for one. Half of the draws take every fact alike, half every relation alike.
    Texts of the classification tasks come with and without a statement of their label.
    """
    rng = random.Random(seed)
    templates = {name: values["templates"] for name, values in relations().items()}
    known = facts()
    flat = [(name, *pair) for name, pairs in known.items() for pair in pairs]
    names, classes = sorted(known), sorted(class_tasks())
    while True:
        dice = rng.random()
        if dice > FACTS + LABELLED:
            yield unlabelled(rng, rng.choice(classes)), ""
            continue
        if dice > FACTS:
            yield labelled(rng, rng.choice(classes))
            continue
        if rng.random() < 0.5:
            name, subject, answer = rng.choice(flat)
        else:
            name = rng.choice(names)
            subject, answer = rng.choice(known[name])
        sentence = rng.choice(templates[name]).format(subject=subject, answer=answer)
        yield sentence, answer


def all_words() -> set[str]:
    """Objects of all facts, label words and words of the grammars: single tokens everywhere."""
    answers = {answer for pairs in facts().values() for _, answer in pairs}
    return answers | label_words() | grammar_words()
