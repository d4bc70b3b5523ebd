"""Texts of the pocket classification tasks, from the grammars in classes.yaml and pairs.yaml.

Lists of words and frames are divided before any text is made, so test rows are made of words and
frames that no training row has.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

from pocket.facts import facts, relations
from pocket.facts import split as split_facts

FOLDER = Path(__file__).parent
ROWS = {"train": 800, "dev": 100, "test": 240}
FRAMES = {"train": "train", "dev": "train", "test": "test"}  # dev differs in its words alone
SLOT = re.compile(r"\{(\w+)\}")
Item = TypeVar("Item")
Row = dict[str, str]  # text, label, and text_b in the tasks on pairs
Grammar = dict[str, Any]


@dataclass(frozen=True)
class ClassTask:
    """A classification task that can draw texts for every label.

    Attributes:
        description: one line.
        templates: statements of the label, with {text} and {answer}; the first is the manual one.
        labels: label -> label words.
        draw: (seeded source, label, split of the words, split of the frames) -> row without its
            label; None instead of a split: of all splits.
    """

    description: str
    templates: tuple[str, ...]
    labels: dict[str, tuple[str, ...]]
    draw: Callable[[random.Random, str, str | None, str | None], Row]

    @property
    def is_pair(self) -> bool:
        """Whether rows have a second text."""
        return "{text_b}" in self.templates[0]


@cache
def class_tasks() -> dict[str, ClassTask]:
    """All classification tasks by name."""
    described: Grammar = yaml.safe_load((FOLDER / "classes.yaml").read_text())
    found = {name: _from_grammar(name, grammar) for name, grammar in described.items()}
    return {**found, "truth": _truth(), "entailment": _entailment(), "paraphrase": _paraphrase()}


@cache
def class_rows(name: str) -> dict[str, list[Row]]:
    """Rows of a task: train, dev and test, balanced, no text twice."""
    task = class_tasks()[name]
    taken: set[str] = set()
    parts = {}
    for split, count in ROWS.items():
        rng = random.Random(f"promptport {name} {split}")
        labels = [list(task.labels)[index % len(task.labels)] for index in range(count)]
        parts[split] = []
        for label in labels:
            row = _fresh(task, rng, label, split, taken)
            parts[split].append({**row, "label": label})
        rng.shuffle(parts[split])
    return parts


def _fresh(task: ClassTask, rng: random.Random, label: str, split: str, taken: set[str]) -> Row:
    for _ in range(1000):
        row = task.draw(rng, label, split, FRAMES[split])
        if (key := "|".join(row.values())) not in taken:
            taken.add(key)
            return row
    raise ValueError(f"{label}: the grammar is too small for {ROWS[split]} rows of {split}")


@cache
def held_back() -> frozenset[str]:
    """Texts of all dev and test rows: pretraining must not read them."""
    return frozenset(
        "|".join(value for key, value in row.items() if key != "label")
        for name in class_tasks()
        for split in ("dev", "test")
        for row in class_rows(name)[split]
    )


def divided(name: str, items: Sequence[Item]) -> dict[str | None, list[Item]]:
    """Split -> its part of a list (55, 20 and 25 percent, at least two each); None -> the list."""
    order = list(items)
    random.Random(f"promptport {name}").shuffle(order)
    dev, test = (max(2, round(share * len(order))) for share in (0.2, 0.25))
    return {
        "train": order[dev + test :],
        "dev": order[:dev],
        "test": order[dev : dev + test],
        None: list(items),
    }


def sentence(text: str) -> str:
    """With a capital letter at the beginning, and after every full stop within."""
    return re.sub(r"(^|[.!?] )([a-z])", lambda m: m[1] + m[2].upper(), text)


def _from_grammar(name: str, grammar: Grammar) -> ClassTask:
    aligned = set(grammar.get("aligned", ()))
    general = {
        slot: divided(f"{name} {slot}", words) for slot, words in grammar.get("slots", {}).items()
    }
    slots, frames = {}, {}
    for label, part in grammar["labels"].items():
        # Aligned slots are divided alike for every label: the same verbs in other forms.
        own = {
            slot: divided(f"{name} {slot}" if slot in aligned else f"{name} {label} {slot}", words)
            for slot, words in part.get("slots", {}).items()
        }
        slots[label] = {**general, **own}
        own_frames = part.get("frames")
        frames[label] = divided(
            f"{name} {label}" if own_frames else name, own_frames or grammar["frames"]
        )
        frames[label]["train"] += part.get("more_frames", [])
        frames[label][None] += part.get("more_frames", [])

    def draw(rng: random.Random, label: str, split: str | None, form: str | None) -> Row:
        frame = rng.choice(frames[label][form])
        used: dict[str, set[str]] = {}

        def fill(match: re.Match[str]) -> str:
            slot = match[1]
            left = [w for w in slots[label][slot][split] if w not in used.setdefault(slot, set())]
            word = rng.choice(left or slots[label][slot][split])
            used[slot].add(word)
            return SLOT.sub(fill, word)

        return {"text": sentence(SLOT.sub(fill, frame))}

    return ClassTask(
        grammar["description"],
        tuple(grammar["templates"]),
        {label: tuple(part["words"]) for label, part in grammar["labels"].items()},
        draw,
    )


def _truth() -> ClassTask:
    """Statements of facts, half of them with another object of the same relation."""
    described, known = relations(), facts()
    parts: dict[str, dict[str | None, list[tuple[str, str]]]] = {}
    wordings = {}
    for name, pairs in known.items():
        parts[name] = {**split_facts(name, pairs), None: pairs}
        wordings[name] = divided(f"truth {name}", described[name]["templates"])
    objects = {name: sorted({answer for _, answer in pairs}) for name, pairs in known.items()}
    names = sorted(known)

    def draw(rng: random.Random, label: str, split: str | None, form: str | None) -> Row:
        name = rng.choice(names)
        subject, answer = rng.choice(parts[name][split])
        right = {other for who, other in known[name] if who == subject}
        if label == "false":
            answer = rng.choice([word for word in objects[name] if word not in right])
        template = rng.choice(wordings[name][form])
        return {"text": sentence(template.format(subject=subject, answer=answer))}

    return ClassTask(
        "whether a statement is true or false",
        (
            "{text} That is {answer} .",
            "{text} This statement is {answer} .",
            "{text} What you read is {answer} .",
            "{text} One must call it {answer} .",
            "It is {answer} : {text}",
            "{text} The claim is {answer} .",
        ),
        {"true": ("true",), "false": ("false",)},
        draw,
    )


def _words() -> Grammar:
    found: Grammar = yaml.safe_load((FOLDER / "pairs.yaml").read_text())
    return found


def _entailment() -> ClassTask:
    """What follows from a scene: the general name of what is done, and whether in or out of doors.

    Half of the hypotheses that contradict deny what is so; the others have the form of hypotheses
    that follow, so that the second sentence alone does not give the answer.
    """
    words = _words()
    people = {kind: divided(f"people {kind}", who) for kind, who in words["people"].items()}
    deeds = {
        kind: {general: divided(f"deeds {kind} {general}", done) for general, done in part.items()}
        for kind, part in words["deeds"].items()
    }
    deeds["child"] = deeds["person"]
    places = {side: divided(f"places {side}", some) for side, some in words["places"].items()}
    unknown = divided("unknown", words["unknown"])
    premises = divided(
        "premises",
        [
            "A {who} is {deed} {place} .",
            "{place} a {who} is {deed} .",
            "There is a {who} {deed} {place} .",
            "Look , a {who} {place} is {deed} .",
            "We can see a {who} {deed} {place} .",
            "The {who} {place} has been {deed} for an hour .",
            "All day the {who} was {deed} {place} .",
            "A {who} {place} keeps {deed} .",
        ],
    )
    claims = divided(
        "claims",
        [
            "The {kind} is {claim} .",
            "A {kind} is {claim} .",
            "Some {kind} is {claim} .",
            "It is a {kind} that is {claim} .",
            "Here a {kind} is {claim} .",
            "Then one {kind} is {claim} .",
            "The scene shows a {kind} {claim} .",
            "Somewhere a {kind} is {claim} .",
        ],
    )
    more = divided(
        "more",
        [
            "The {kind} {more} .",
            "A {kind} {more} .",
            "This {kind} {more} .",
            "It is a {kind} that {more} .",
            "Perhaps the {kind} {more} .",
            "The same {kind} {more} .",
            "Some {kind} {more} .",
            "The {kind} here {more} .",
        ],
    )

    denials = divided(
        "denials",
        [
            "No {kind} is {claim} .",
            "The {kind} is not {claim} .",
            "There is no {kind} {claim} .",
            "Not one {kind} is {claim} .",
            "It is not true that a {kind} is {claim} .",
            "Never is the {kind} {claim} .",
            "A {kind} is not {claim} at all .",
            "Surely no {kind} is {claim} .",
        ],
    )

    def draw(rng: random.Random, label: str, split: str | None, form: str | None) -> Row:
        kind = rng.choice(sorted(people))
        done = rng.choice(sorted(deeds[kind]))
        side = rng.choice(sorted(places))
        text = rng.choice(premises[form]).format(
            who=rng.choice(people[kind][split]),
            deed=rng.choice(deeds[kind][done][split]),
            place=rng.choice(places[side][split]),
        )
        if label == "neutral":
            claim = rng.choice(more[form]).format(kind=kind, more=rng.choice(unknown[split]))
        else:
            about_deed = rng.random() < 0.5
            known, others = (done, deeds[kind]) if about_deed else (side, places)
            other = rng.choice([name for name in sorted(others) if name != known])
            denied = label == "contradiction" and rng.random() < 0.5
            said = known if label == "entailment" or denied else other
            chosen = rng.choice((denials if denied else claims)[form])
            claim = chosen.format(kind=kind, claim=said)
        return {"text": sentence(text), "text_b": sentence(claim)}

    return ClassTask(
        "whether a sentence follows from another",
        (
            "{text} Question : {text_b} Answer : {answer} .",
            "{text} Does it follow ? {text_b} We say {answer} .",
            "{text} Is it so ? {text_b} The reply is {answer} .",
            "{text} So {text_b} I think {answer} .",
            "Answer with {answer} : {text} {text_b}",
            "{text} {text_b} Sure ? They said {answer} .",
        ),
        {"entailment": ("yes",), "neutral": ("maybe",), "contradiction": ("no",)},
        draw,
    )


def _paraphrase() -> ClassTask:
    """An event told twice, in other words; or another event with one part exchanged."""
    words = _words()["events"]
    agents = divided("agents", words["agents"])
    objects = divided("objects", words["objects"])
    verbs = divided("verbs", [tuple(pair.split("|")) for pair in words["verbs"]])
    frames = divided(
        "told",
        [
            "The {agent} {verb} the {object} .",
            "The {object} was {verb} by the {agent} .",
            "It was the {agent} who {verb} the {object} .",
            "It was the {object} that the {agent} {verb} .",
            "We know that the {agent} {verb} the {object} .",
            "By the {agent} the {object} was {verb} .",
            "The {object} , they say , was {verb} by the {agent} .",
            "A {agent} {verb} a {object} .",
            "What the {agent} {verb} was the {object} .",
            "Last year the {agent} {verb} the {object} .",
            "One {object} was {verb} , namely by the {agent} .",
            "The {agent} is said to have {verb} the {object} .",
        ],
    )

    def draw(rng: random.Random, label: str, split: str | None, form: str | None) -> Row:
        agent, other_agent = rng.sample(agents[split], 2)
        thing, other_thing = rng.sample(objects[split], 2)
        verb, other_verb = rng.sample(verbs[split], 2)
        told = {"agent": agent, "object": thing, "verb": rng.choice(verb)}
        again = {"agent": agent, "object": thing, "verb": rng.choice(verb)}
        if label == "different":
            others = {"agent": other_agent, "object": other_thing, "verb": rng.choice(other_verb)}
            for part in rng.sample(sorted(others), rng.randint(1, 2)):
                again[part] = others[part]
        first, second = rng.sample(frames[form], 2)
        return {"text": sentence(first.format(**told)), "text_b": sentence(second.format(**again))}

    return ClassTask(
        "whether two sentences tell the same",
        (
            "{text} {text_b} The meaning is {answer} .",
            "{text} {text_b} What they tell is {answer} .",
            "{text} Compare : {text_b} It is {answer} .",
            "{text} And now : {text_b} The event is {answer} .",
            "Two texts , {answer} in meaning : {text} {text_b}",
            "{text} {text_b} Both are {answer} .",
        ),
        {"same": ("same",), "different": ("different",)},
        draw,
    )


def labelled(rng: random.Random, name: str) -> tuple[str, str]:
    """A text with a statement of its label, and the label word; frames of training rows only.

    Words come from all splits: a language model must have read a word before a prompt can ask for
    its meaning. Rows of dev and test never appear.
    """
    task = class_tasks()[name]
    label = rng.choice(sorted(task.labels))
    while True:
        row = task.draw(rng, label, None, "train")
        if "|".join(row.values()) not in held_back():
            break
    word = rng.choice(task.labels[label])
    return rng.choice(task.templates).format(**row, answer=word), word


def unlabelled(rng: random.Random, name: str) -> str:
    """A text by itself."""
    task = class_tasks()[name]
    while True:
        row = task.draw(rng, rng.choice(sorted(task.labels)), None, None)
        if "|".join(row.values()) not in held_back():
            return " ".join(row.values())


def label_words() -> set[str]:
    """Label words of all tasks: they should be single tokens in every vocabulary."""
    return {
        word for task in class_tasks().values() for words in task.labels.values() for word in words
    }


def grammar_words() -> set[str]:
    """Words that the grammars are made of."""
    found: set[str] = set()
    for name in ("classes.yaml", "pairs.yaml"):
        left = [yaml.safe_load((FOLDER / name).read_text())]
        while left:
            part = left.pop()
            if isinstance(part, str):
                found.update(re.findall(r"(?<![\w{])[A-Za-z]{2,}(?![\w}])", part))
            else:
                left += part.values() if isinstance(part, dict) else part
    return found
