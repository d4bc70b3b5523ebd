"""Rows of the pocket text-to-text tasks, made from a seed: dates, and records.

Names, places, jobs, events and days of a split occur in no other one.

- `dates`: a sentence with a date in words -> the date as year-month-day.
- `records`: the fields of a record in any order -> a sentence.
"""

from __future__ import annotations

import datetime
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

ROWS = {"train": 600, "dev": 100, "test": 300}
SEED = 0
_SHARES = {"train": 0.6, "dev": 0.15, "test": 0.25}  # of every list of words


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST = _words(
    """
    Anna Ben Clara David Elena Felix Grace Henry Irene Jakob Karin Louis Maria Nikolai
    Olivia Peter Quentin Rosa Samuel Teresa Ursula Victor Wanda Xavier Yvonne Zoe Adam Bella
    Carlos Diana Edgar Fiona George Helen Ivan Julia Kevin Laura Martin Nora Oscar Paula
    Robert Sarah Thomas Vera Walter Alice Bruno Cecilia Daniel Emma Frank Gloria Hugo Ingrid
    James Kate
    """
)
LAST = _words(
    """
    Keller Novak Rossi Berger Silva Moreau Hansen Weber Kovacs Fischer Costa Dubois Larsen
    Meyer Horvath Santos Lambert Nilsson Wagner Petrov Romano Bauer Jensen Varga Gomez
    Laurent Olsen Hoffmann Ivanov Marino Schmidt Andersen Szabo Torres Girard Berg Becker
    Popov Greco Winter Nielsen Toth Ramos Fontaine Lindberg Vogel Sokolov Conti Brandt Holm
    Farkas Vidal
    """
)
CITIES = _words(
    """
    Oslo Lima Cairo Dublin Madrid Toronto Nairobi Vienna Prague Lisbon Athens Warsaw
    Helsinki Boston Sydney Mumbai Santiago Geneva Budapest Chicago Hamburg Naples Seville
    Porto Bergen Glasgow Denver Osaka Manila Havana Bogota Tunis Zagreb Riga Tallinn Munich
    Turin Marseille Antwerp Krakow Rotterdam Edinburgh Seattle Houston Perth Nagoya Quito
    Accra
    """
)
JOBS = _words(
    """
    nurse teacher engineer baker lawyer architect driver pilot farmer chemist editor
    gardener librarian mechanic painter plumber surgeon tailor waiter actor barber butcher
    carpenter dentist electrician fisherman florist geologist interpreter journalist
    locksmith musician optician pharmacist photographer physicist policeman programmer
    sailor secretary singer translator accountant astronomer biologist cook designer
    economist
    """
)
EVENTS = _words(
    """
    meeting wedding concert exam flight interview workshop trial lecture party race
    exhibition conference auction festival match hearing seminar opening premiere election
    delivery repair inspection training reunion rehearsal parade market tournament launch
    visit
    """
)
MONTHS = _words(
    """
    January February March April May June July August September October November December
    """
)
SENTENCES = (
    "The {event} in {city} takes place on {date}.",
    "On {date} there is a {event} for {first}.",
    "{first} moved the {event} to {date}.",
    "Please come to the {event} in {city} on {date}.",
    "{date} is the day of the {event}, says {first}.",
)


_Thing = TypeVar("_Thing")
Row = dict[str, str]  # text, target
_MakeRow = Callable[[random.Random, str], Row]


@dataclass(frozen=True)
class WritingTask:
    """What a task file says of a text-to-text task, and how its rows are made.

    Attributes:
        description: one line.
        template: without virtual tokens, which stand in front of it.
        metric: how written answers are compared with the right ones.
        make: a row of a split.
    """

    description: str
    template: str
    metric: str
    make: _MakeRow


def writing_tasks() -> dict[str, WritingTask]:
    """Both tasks by name."""
    return {
        "dates": WritingTask(
            "the date of a sentence as year-month-day; for pretrained models",
            "Text: {text} Date as YYYY-MM-DD: {answer}",
            "exact-match",
            _date_row,
        ),
        "records": WritingTask(
            "a sentence that tells the fields of a record; for pretrained models",
            "Record: {text} Sentence: {answer}",
            "token-f1",
            _record_row,
        ),
    }


def writing_rows(name: str, seed: int = SEED) -> dict[str, list[Row]]:
    """Rows of each split, all different.

    Args:
        name: of a task.
        seed: of all choices.
    """
    make = writing_tasks()[name].make
    return {split: _rows(make, split, number, seed) for split, number in ROWS.items()}


def _rows(make: _MakeRow, split: str, number: int, seed: int) -> list[Row]:
    dice = random.Random(f"{seed} {split}")
    rows: dict[str, Row] = {}
    while len(rows) < number:
        row = make(dice, split)
        rows.setdefault(row["text"], row)
    return list(rows.values())


def part_of(words: Sequence[_Thing], split: str) -> Sequence[_Thing]:
    """The words of a list that a split uses; no other one does."""
    begin = 0.0
    for name, share in _SHARES.items():
        end = begin + share
        if name == split:
            return words[round(begin * len(words)) : round(end * len(words))]
        begin = end
    raise KeyError(split)


def _date_row(dice: random.Random, split: str) -> Row:
    day = dice.choice(_days(split))
    text = dice.choice(SENTENCES).format(
        event=dice.choice(part_of(EVENTS, split)),
        city=dice.choice(part_of(CITIES, split)),
        first=dice.choice(part_of(FIRST, split)),
        date=_in_words(day, dice),
    )
    return {"text": text, "target": day.isoformat()}


@functools.cache
def _days(split: str) -> Sequence[datetime.date]:
    """Days from 1990 to 2029, in an order that is the same for all splits."""
    first = datetime.date(1990, 1, 1)
    days = [first + datetime.timedelta(days=n) for n in range(40 * 365)]
    random.Random(1).shuffle(days)
    return part_of(days, split)


def _in_words(day: datetime.date, dice: random.Random) -> str:
    month = MONTHS[day.month - 1]
    ending = {1: "st", 2: "nd", 3: "rd"}.get(0 if 10 < day.day < 14 else day.day % 10, "th")
    return dice.choice(
        (
            f"{month} {day.day}, {day.year}",
            f"{month} {day.day}{ending}, {day.year}",
            f"{day.day} {month} {day.year}",
            f"the {day.day}{ending} of {month} {day.year}",
        )
    )


def _record_row(dice: random.Random, split: str) -> Row:
    def pick(words: Sequence[str]) -> str:
        return dice.choice(part_of(words, split))

    name, job, city = f"{pick(FIRST)} {pick(LAST)}", pick(JOBS), pick(CITIES)
    fields = [f"name: {name}", f"city: {city}", f"job: {job}"]
    since = ""
    if dice.random() < 0.5:
        year = dice.randint(1985, 2024)
        fields.append(f"since: {year}")
        since = f" since {year}"
    dice.shuffle(fields)
    article = "an" if job[0] in "aeiou" else "a"
    verb = "has worked" if since else "works"
    sentence = f"{name} {verb} as {article} {job} in {city}{since}."
    return {"text": "; ".join(fields), "target": sentence}
