"""The facts of the pocket probes: read from the text files beside this module."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
SPLIT_SHARES = {"train": 0.6, "dev": 0.15}
Facts = dict[str, list[tuple[str, str]]]


def relations() -> dict[str, dict[str, Any]]:
    """Relation -> description and templates (the first is the manual one)."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "relations.yaml").read_text())
    return found


def facts() -> Facts:
    """Relation -> (subject, object) pairs; each subject once per relation, objects single words."""
    found = {**_from_countries(), **_from_lists()}
    capitals = found["state-capital"]
    found["capital-state"] = [(city, state) for state, city in capitals if " " not in state]
    for name, pairs in found.items():
        subjects = [subject for subject, _ in pairs]
        repeated = {s for s in subjects if subjects.count(s) > 1}
        if repeated or any(" " in answer for _, answer in pairs):
            raise ValueError(
                f"{name}: repeated subjects {sorted(repeated)} or objects of two words"
            )
    return found


def _from_countries() -> Facts:
    lines = [line.split("|") for line in _lines("countries.txt")]
    columns = {"capital": 1, "continent": 2, "language": 3, "currency": 4, "demonym": 5}
    found: Facts = {
        f"country-{name}": [(row[0], row[i]) for row in lines if "-" not in (row[0], row[i])]
        for name, i in columns.items()
    }
    found["capital-country"] = [(capital, country) for country, capital in found["country-capital"]]
    found["capital-continent"] = [(row[1], row[2]) for row in lines if "-" not in (row[1], row[2])]
    demonyms = found["country-demonym"]
    found["demonym-country"] = [(demonym, country) for country, demonym in demonyms]
    return found


def _from_lists() -> Facts:
    found: Facts = {}
    name = ""
    for line in (FOLDER / "facts.txt").read_text().splitlines():
        if line.startswith("# "):
            continue
        if line.startswith("#"):
            name = line[1:].strip()
        elif line.strip():
            pairs = [pair.partition("=")[::2] for pair in line.split(";")]
            found[name] = [(subject.strip(), answer.strip()) for subject, answer in pairs]
    return found


def _lines(file: str) -> list[str]:
    lines = (FOLDER / file).read_text().splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def split(name: str, pairs: list[tuple[str, str]]) -> dict[str, list[tuple[str, str]]]:
    """Train, dev and test by subject: 60, 15 and 25 percent, seeded by the relation's name."""
    shuffled = sorted(pairs)
    random.Random(f"promptport {name}").shuffle(shuffled)
    train = round(len(shuffled) * SPLIT_SHARES["train"])
    dev = train + round(len(shuffled) * SPLIT_SHARES["dev"])
    return {"train": shuffled[:train], "dev": shuffled[train:dev], "test": shuffled[dev:]}
