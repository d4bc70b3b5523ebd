"""Two text-to-text tasks whose rows are made here, from a seed: dates, and records.

    python -m benchmarks.real_models.made_tasks FOLDER

writes a folder for each with `task.yaml` and a JSONL file for each split. Names, places, jobs,
events and days of a split occur in no other one.

- `dates`: a sentence with a date in words -> the date as year-month-day.
- `records`: the fields of a record in any order -> a sentence.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import yaml

from promptport.tasks import MemorySource, Row, Task, Template, WritingConfig

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


def made_tasks(seed: int = SEED) -> list[Task]:
    """Both tasks, with their rows.

    Args:
        seed: of all choices.
    """
    return [
        _task(
            "dates",
            "A sentence with a date in words; the date as year-month-day is asked for",
            "Text: {text} Date as YYYY-MM-DD: {answer}",
            "exact-match",
            _date_row,
            seed,
        ),
        _task(
            "records",
            "The fields of a record, in any order; a sentence that tells them is asked for",
            "Record: {text} Sentence: {answer}",
            "token-f1",
            _record_row,
            seed,
        ),
    ]


def write_made_tasks(folder: Path, seed: int = SEED) -> list[Path]:
    """Write both tasks.

    Args:
        folder: gets a folder for each.
        seed: of all choices.

    Returns:
        The task files.
    """
    return [_write(task, folder / task.name) for task in made_tasks(seed)]


_Thing = TypeVar("_Thing")
_MakeRow = Callable[[random.Random, str], Row]


def _task(
    name: str, description: str, template: str, metric: str, make: _MakeRow, seed: int
) -> Task:
    rows = {split: _rows(make, split, number, seed) for split, number in ROWS.items()}
    return Task(
        name,
        "text2text",
        Template.parse(f"{{soft}} {template}"),
        metric,
        manual=Template.parse(template),
        description=description,
        source=MemorySource(rows),
        writing=WritingConfig(max_new_tokens=40, stop=("\n",)),
    )


def _rows(make: _MakeRow, split: str, number: int, seed: int) -> tuple[Row, ...]:
    """Rows of a split, all different."""
    dice = random.Random(f"{seed} {split}")
    rows: dict[str, Row] = {}
    while len(rows) < number:
        row = make(dice, split)
        rows.setdefault(row.fields["text"], row)
    return tuple(rows.values())


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
    return Row({"text": text}, day.isoformat())


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
    return Row({"text": "; ".join(fields)}, f"{name} {verb} as {article} {job} in {city}{since}.")


def _write(task: Task, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for split in task.splits:
        lines = [
            json.dumps({**row.fields, "target": row.answer}, ensure_ascii=False)
            for row in task.load(split)
        ]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    values = {
        "schema": 1,
        "name": task.name,
        "kind": task.kind,
        "description": task.description,
        "template": task.template.text,
        "manual": "" if task.manual is None else task.manual.text,
        "metric": task.metric,
        "writing": {
            "max_new_tokens": task.writing.max_new_tokens,
            "stop": list(task.writing.stop),
        },
        "data": {split: f"{split}.jsonl" for split in task.splits},
    }
    file = folder / "task.yaml"
    file.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return file


def main() -> None:
    """Write the tasks into the folder that is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    for file in write_made_tasks(given.folder, given.seed):
        print(file)


if __name__ == "__main__":
    main()
