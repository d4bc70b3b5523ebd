"""How much noise mixtures should be tuned and re-anchored under, so that they move best: on tasks
and backbones that the benchmark does not report.

Run from the root of the repository: python -m benchmarks.transfer_quality.noise
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from statistics import fmean

from benchmarks._inputs import backbone, limited, weights_of
from benchmarks._result import environment, write_runs, write_summary
from benchmarks.transfer_quality.choose import BACKBONES, TASKS, compared
from benchmarks.transfer_quality.run import CONFIG, DISTIL, LENGTHS, RESULTS, ROWS, WORDS, WORK

from promptport.distillation import fit_mixture
from promptport.evaluation import evaluate
from promptport.experiments.result_store import rounded
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, open_task
from promptport.transfers import transfer
from promptport.tuning import TuneJob, tune

LEVELS = (0.0, 0.5, 1.0, 2.0)
Prompts = dict[tuple[str, str], SoftPrompt]


def main() -> None:
    """Tune and re-anchor under every level of noise, carry everything, print mean scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbones", nargs="*", default=list(BACKBONES))
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--levels", type=float, nargs="*", default=list(LEVELS))
    parser.add_argument("--seed", type=int, default=10)
    given = parser.parse_args()
    recorded = environment(RESULTS)
    tasks = [limited(open_task(name), ROWS, WORDS) for name in given.tasks]
    spaces = [backbone(name).space for name in given.backbones]
    words = sorted(set.intersection(*(set(space.words) for space in spaces)))
    ways = {
        "free, least squares": lambda noise: tuned(given, tasks, "vocabulary", noise, None),
        "anchored": lambda noise: tuned(given, tasks, "mixture", noise, words),
        "re-anchored on random words": lambda noise: reanchored(given, tasks, noise, words),
    }
    rows = []
    for way, make in ways.items():
        reference: list[float] = []
        for noise in given.levels:
            prompts = make(noise)
            own = [score(place[0], tasks, place[1], p) for place, p in prompts.items()]
            there = carried(given.backbones, tasks, prompts)
            reference = reference or there
            gain = compared(there, reference)
            row = {"way": way, "noise": noise, "source": fmean(own), "target": fmean(there)}
            rows.append(rounded({**row, "gain": [gain["low"], gain["high"]]}))
            print(rows[-1], flush=True)
    summary = {f"{r['way']}, noise {r['noise']:g}": r["target"] for r in rows}
    described = {"backbones": given.backbones, "tasks": given.tasks, "seed": given.seed}
    write_summary(RESULTS / "noise", summary, recorded)
    write_runs(RESULTS / "noise", {"levels": rows, **described})


def tuned(
    given: argparse.Namespace,
    tasks: Sequence[Task],
    kind: str,
    noise: float,
    words: Sequence[str] | None,
) -> Prompts:
    """Prompts of all backbones and tasks; what is missing is tuned and kept."""
    found: Prompts = {}
    for name in given.backbones:
        base = WORK / "noise" / f"{name}-{weights_of(name)}"
        places = {t.name: base / f"{t.name}-{kind}-{noise:g}-{given.seed}" for t in tasks}
        missing = [t for t in tasks if not places[t.name].is_dir()]
        spec = OriginSpec(kind, given.seed, words=None if words is None else tuple(words))  # type: ignore[arg-type]
        jobs = [TuneJob(t, spec, LENGTHS[t.kind], given.seed, noise=noise) for t in missing]
        for result in tune(backbone(name), jobs, CONFIG) if jobs else []:
            assert result.prompt is not None, result.error
            save_prompt(result.prompt, places[result.job.task.name])
        found |= {(name, task.name): load_prompt(places[task.name]) for task in tasks}
    return found


def reanchored(
    given: argparse.Namespace, tasks: Sequence[Task], noise: float, words: Sequence[str]
) -> Prompts:
    """The free prompts that were tuned without noise, as mixtures."""
    config = replace(DISTIL, texts="words", epochs=30, patience=5, noise=noise, seed=given.seed)
    free = tuned(given, tasks, "vocabulary", 0.0, None)
    known = {task.name: task for task in tasks}
    return {
        (name, task): fit_mixture(p, backbone(name), known[task], words=words, config=config).prompt
        for (name, task), p in free.items()
    }


def carried(backbones: Sequence[str], tasks: Sequence[Task], prompts: Prompts) -> list[float]:
    """Scores on every other backbone."""
    scores = []
    for source, target in permutations(backbones, 2):
        for task in tasks:
            spaces = backbone(source).space, backbone(target).space
            moved = transfer(prompts[source, task.name], *spaces, roundtrip=False).prompt
            scores.append(score(target, tasks, task.name, moved))
    return scores


def score(name: str, tasks: Sequence[Task], task: str, prompt: SoftPrompt) -> float:
    """On the test rows of a task, by its name."""
    known: Mapping[str, Task] = {each.name: each for each in tasks}
    return evaluate(backbone(name), known[task], prompt, truncate=True).score.value


if __name__ == "__main__":
    main()
