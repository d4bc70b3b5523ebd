"""Which LAMA relations the pretrained models know: the manual template on training facts.

Run from the root of the repository: python -m benchmarks.real_models.relations --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptport.backbone import Backbone, silence_libraries
from promptport.errors import BackboneError
from promptport.evaluation import evaluate
from promptport.experiments.pretrained import MODELS, models_folder
from promptport.files import json_bytes, write_atomic
from promptport.recipes.bench import model_place
from promptport.tasks import open_task

RESULTS = Path(__file__).resolve().parent / "results" / "relations.json"
# Relations whose objects are countries, cities, languages, religions, makers: often one token.
CANDIDATES = (
    *("P17", "P36", "P37", "P103", "P140", "P176"),
    *("P407", "P495", "P1001", "P1412", "P159"),
)
FACTS = 60  # training facts of each relation that are asked: the first ones
LEAST_ASKED = 0.7  # share of the facts whose object must be one token in every model

Known = dict[str, dict[str, float]]  # model -> manual, majority, asked


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask every model every relation, and print the relations in the order of what is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with lama/")
    parser.add_argument("--models", type=Path, default=models_folder(), help="folder of the models")
    parser.add_argument("--relations", nargs="*", default=list(CANDIDATES))
    parser.add_argument("--facts", type=int, default=FACTS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    folder = given.data / "lama"
    names = [f"lama:{relation}" for relation in given.relations]
    found: dict[str, Known] = {name: {} for name in names}
    for model in MODELS:
        backbone = open_model(model, given.models)
        for name in names:
            found[name][model] = asked(backbone, name, folder, given.facts)
            print(f"{model} {name}: {found[name][model]}", file=sys.stderr, flush=True)
    write_atomic(given.results, json_bytes(found))
    print(json.dumps(ranked(found), indent=1))


def open_model(name: str, folder: Path) -> Backbone:
    """A model of a folder of models, loaded.

    Raises:
        BackboneError: it is not there, or cannot be opened.
    """
    place = model_place(name, folder)
    if place == name:
        out = "" if folder == models_folder() else f" --out {folder}"
        raise BackboneError(
            str(folder),
            expected=f"the model {name}",
            got="neither its folder nor its file",
            fix=f"Run python -m benchmarks.real_models.fetch {name}{out}",
        )
    silence_libraries()
    return Backbone.load(place)


def asked(backbone: Any, name: str, folder: Path, facts: int) -> dict[str, float]:
    """Share of training facts that the manual template gets right, and what it is compared with.

    Returns:
        `manual`: P@1 of the facts that can be asked; `majority`: share of their most frequent
        object; `asked`: share of the facts whose object is one token.
    """
    task = open_task(name, folder)
    rows = task.load("train")[:facts]
    result = evaluate(backbone, task.with_rows(train=rows), split="train")
    kept = len(rows) - result.skipped
    most = max(sum(r.answer == other.answer for r in rows) for other in rows)
    return {
        "manual": round(result.score.value, 4),
        "majority": round(min(1.0, most / kept), 4),
        "asked": round(kept / len(rows), 4),
    }


def ranked(found: Mapping[str, Known]) -> list[tuple[str, float]]:
    """Relations whose objects are tokens of every model, by what the models know of them.

    Returns:
        Relation, and the least P@1 over the models.
    """
    least = {
        name: min(values["manual"] for values in known.values())
        for name, known in found.items()
        if all(values["asked"] >= LEAST_ASKED for values in known.values())
    }
    return sorted(((n, round(m, 4)) for n, m in least.items()), key=lambda pair: -pair[1])


if __name__ == "__main__":
    main()
