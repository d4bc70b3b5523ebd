"""How much of a prompt's score survives the move: every road, every ordered pair of backbones.

Run from the root of the repository: python -m benchmarks.transfer_quality.run [--data FOLDER]

Prompts are kept in build/transfer_quality and finished cells in results/cells.jsonl, so a stopped
run goes on where it was. Seeds are the outermost loop: a run that is cut short has whole seeds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks._inputs import backbone, limited, weights_of
from benchmarks._result import ROOT, environment, write_summary
from benchmarks.transfer_quality.table import summarise, write_table

from promptport.distillation import (
    DistillConfig,
    Teacher,
    Texts,
    agreement,
    align,
    choose_cue_word,
    fit_mixture,
)
from promptport.distillation.cue_word import CUE_WORDS
from promptport.evaluation import evaluate
from promptport.experiments.result_store import ResultStore
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, open_task
from promptport.transfers import Source, transfer
from promptport.tuning import TuneConfig, TuneJob, random_prompt, tune, tune_jointly

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
WORK = ROOT / "build" / "transfer_quality"
# One of each kind and tokenizer; neighbours in this order are never of one family.
BACKBONES = ("nano-bert", "nano-gpt2", "nano-t5", "nano-roberta")
# Relations that can hardly be guessed from the template alone (`no prompt` below 0.45 on nano-bert
# and nano-roberta), and classifications; defaults were chosen on others (choose.py).
EMBEDDED = (
    *("country-capital", "country-currency", "past-tense", "company-country"),
    *("person-country", "opposite", "sentiment", "topic"),
)
LAMA = ("P17", "P106", "P1412")
NLU = ("ag_news",)
ROWS = {"train": 128, "dev": 48, "test": 150}
WORDS = 24  # most words of a text that are read
LENGTHS = {"probe": 5, "classification": 8}
CONFIG = TuneConfig(epochs=12, patience=4, batch_size=16, truncate=True)
DISTIL = DistillConfig(rows=128, truncate=True)
PAPER_STEPS = 2000
Key = tuple[str, str, Task, int]  # sources joined by "+", target, task, seed


def main() -> None:
    """Parse the command line, make what is missing, write the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with lama/ and nlu/; without it: no such")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--backbones", nargs="*", default=list(BACKBONES))
    parser.add_argument("--skip", nargs="*", default=[], help="columns to leave for later")
    arguments = parser.parse_args()
    recorded = environment(RESULTS)
    run = Run(benchmark_tasks(arguments.data), arguments.backbones, set(arguments.skip))
    for seed in arguments.seeds:
        run.seed(seed)
    summary, tables = summarise(run.book.rows)
    write_summary(RESULTS, summary, recorded)
    write_table(RESULTS / "table.md", tables)
    print((RESULTS / "table.md").read_text())


def benchmark_tasks(data: Path | None) -> list[Task]:
    """The tasks, with a seeded sample of their rows."""
    found = [open_task(name) for name in EMBEDDED]
    if data is None:
        print("LAMA and NLU tasks are left out: no --data")
    else:
        found += [open_task(f"lama:{name}", data / "lama") for name in LAMA]
        found += [open_task(f"nlu:{name}", data / "nlu") for name in NLU]
    return [limited(task, ROWS, WORDS) for task in found]


def without_prompt(name: str, task: Task, word: str = "") -> float:
    """Score of the tuning template without its virtual tokens: what needs no prompt at all."""
    template = task.template.with_cue_word(word) if word else task.template
    asked = template.without_soft()
    return evaluate(backbone(name), task, template=asked, truncate=True).score.value


def best_word(name: str, task: Task) -> float:
    """The same with the best read-out word, known afterwards; for causal models."""
    readable = backbone(name).kind == "causal" and task.template.answers_from_soft
    return max(without_prompt(name, task, word) for word in ("", *(CUE_WORDS * readable)))


class Run:
    """All cells; prompts and scores are made once."""

    def __init__(self, tasks: Sequence[Task], backbones: Sequence[str], skip: set[str]) -> None:
        self.tasks, self.backbones, self.skip = list(tasks), list(backbones), skip
        words = set.intersection(*(set(backbone(name).space.words) for name in backbones))
        self.words = tuple(sorted(words))
        stamp = weights_of(*backbones)
        self.book = ResultStore(RESULTS / "cells.jsonl", lambda _: stamp, "score")

    def seed(self, seed: int) -> None:
        """All columns for one seed, the cheap ones first."""
        start = time.perf_counter()
        for name in self.backbones:
            self.plain(name, seed)
            self.tuned([name], seed, "free")
            self.tuned([name], seed, "anchored")
        self.say(seed, "tuned", start)
        for name in self.backbones:
            self.single(name, seed)
        self.say(seed, "single sources", start)
        for target in self.backbones:
            self.several(target, seed)
        self.say(seed, "several sources", start)

    @staticmethod
    def say(seed: int, what: str, start: float) -> None:
        print(f"seed {seed}: {what} done after {time.perf_counter() - start:.0f} s", flush=True)

    def score(
        self,
        column: str,
        source: str,
        target: str,
        task: Task,
        seed: int,
        make: Callable[[], SoftPrompt | float],
    ) -> None:
        """One cell, unless it is there."""
        place = {"column": column, "source": source, "target": target, "task": task.name}
        place |= {"seed": seed}
        if column in self.skip or self.book.has(**place):
            return
        made = make()
        if isinstance(made, SoftPrompt):
            made = evaluate(backbone(target), task, made, truncate=True).score.value
        self.book.add({"score": made}, **place)

    def plain(self, name: str, seed: int) -> None:
        """What a prompt is compared with."""
        for task in self.tasks:
            kind = task.kind
            self.score("majority", "", name, task, seed, lambda t=task: t.majority_score().value)
            self.score(
                "manual",
                "",
                name,
                task,
                seed,
                lambda t=task: evaluate(backbone(name), t, truncate=True).score.value,
            )
            self.score("no prompt", "", name, task, seed, lambda t=task: without_prompt(name, t))
            self.score("no prompt, word", "", name, task, seed, lambda t=task: best_word(name, t))
            self.score(
                "random",
                "",
                name,
                task,
                seed,
                lambda k=kind: random_prompt(backbone(name), LENGTHS[k], 100 + seed),
            )

    def folder(self, names: Sequence[str], kind: str, task: Task, seed: int) -> Path:
        """Where a tuned prompt is kept."""
        stamp = "+".join(f"{name}-{weights_of(name)}" for name in names)
        return WORK / stamp / f"{task.name.replace(':', '-')}-{kind}-{seed}"

    def tuned(self, names: Sequence[str], seed: int, kind: str) -> None:
        """Tune what is missing on one backbone, or one mixture on several."""
        spec = (
            OriginSpec("vocabulary", seed)
            if kind == "free"
            else OriginSpec("mixture", seed, words=self.words)
        )
        missing = [t for t in self.tasks if not self.folder(names, kind, t, seed).is_dir()]
        jobs = [TuneJob(task, spec, LENGTHS[task.kind], seed) for task in missing]
        if not jobs:
            return
        if len(names) == 1:
            prompts = [result.prompt for result in tune(backbone(names[0]), jobs, CONFIG)]
        else:
            models = [backbone(name) for name in names]
            results = tune_jointly(models, jobs, CONFIG, words=self.words)
            prompts = [result.prompts[0] for result in results]
        for task, prompt in zip(missing, prompts, strict=True):
            if prompt is None:
                raise RuntimeError(f"{names} {task.name}: tuning failed")
            save_prompt(prompt, self.folder(names, kind, task, seed))

    def load(self, names: Sequence[str], kind: str, task: Task, seed: int) -> SoftPrompt:
        return load_prompt(self.folder(names, kind, task, seed))

    def single(self, target: str, seed: int) -> None:
        """Tuned on the target itself, and every single source."""
        goal = backbone(target).space
        for task in self.tasks:
            here = self.load([target], "free", task, seed)
            self.score("tuned", target, target, task, seed, lambda p=here: p)
            own = self.load([target], "anchored", task, seed)
            self.score("tuned anchored", target, target, task, seed, lambda p=own: p)
            for source in self.backbones:
                if source == target:
                    continue
                origin = backbone(source).space
                free = self.load([source], "free", task, seed)
                mixed = self.load([source], "anchored", task, seed)
                key = (source, target, task, seed)
                self.score(
                    "paper",
                    *key,
                    lambda p=free, o=origin: (
                        transfer(
                            p,
                            o,
                            goal,
                            method="gradient",
                            magnitude="paper",
                            seed=seed,
                            options={"steps": PAPER_STEPS},
                            roundtrip=False,
                        ).prompt
                    ),
                )
                self.score(
                    "least squares",
                    *key,
                    lambda p=free, o=origin: transfer(p, o, goal, roundtrip=False).prompt,
                )
                self.score("anchored", *key, lambda p=mixed, k=key: self.carried(p, k))
                self.score(
                    "anchored, read out",
                    *key,
                    lambda p=mixed, k=key: self.read_out(self.carried(p, k), p, k),
                )
                self.score(
                    "re-anchored, read out",
                    *key,
                    lambda p=free, k=key: self.read_out(self.reanchored(*k), p, k, "task"),
                )
                self.score("re-anchored", *key, lambda k=key: self.reanchored(*k))
                self.score("words", *key, lambda k=key: self.reanchored(*k, "words"))
                self.score("no data", *key, lambda k=key: self.no_data(*k))
                self.score("calibrated", *key, lambda k=key, p=free: self.calibrated(p, *k))

    def reanchored(
        self, source: str, target: str, task: Task, seed: int, texts: Texts = "task"
    ) -> SoftPrompt:
        """The free prompt as a mixture found on its source without labels, then carried."""
        place = self.folder([source], f"re-anchored-{texts}", task, seed)
        if not place.is_dir():
            config = replace(DISTIL, texts=texts, epochs=30, patience=5, seed=seed)
            free = self.load([source], "free", task, seed)
            found = fit_mixture(free, backbone(source), task, words=self.words, config=config)
            save_prompt(found.prompt, place)
        spaces = backbone(source).space, backbone(target).space
        return transfer(load_prompt(place), *spaces, roundtrip=False).prompt

    def calibrated(
        self, free: SoftPrompt, source: str, target: str, task: Task, seed: int
    ) -> SoftPrompt:
        """The re-anchored prompt, then a few steps on unlabelled text towards the free one."""
        carried = self.reanchored(source, target, task, seed)
        config = replace(DISTIL, seed=seed)
        teacher = [Teacher(backbone(source), free)]
        start = choose_cue_word(carried, backbone(target), teacher, task, config=config).prompt
        return align(start, backbone(target), teacher, task, config=config).prompt

    def read_out(
        self, moved: SoftPrompt, asked: SoftPrompt, key: Key, texts: Texts = "words"
    ) -> SoftPrompt:
        """A carried prompt with a word in front of the answer for a causal target, chosen by the
        answers of `asked` on its backbone, the first of the sources."""
        source, target, task, seed = key
        teacher = Teacher(backbone(source.split("+")[0]), asked)
        config = replace(DISTIL, texts=texts, seed=seed)
        return choose_cue_word(moved, backbone(target), [teacher], task, config=config).prompt

    def carried(self, prompt: SoftPrompt, key: Key) -> SoftPrompt:
        """An anchored prompt of the first source on the target."""
        spaces = backbone(key[0].split("+")[0]).space, backbone(key[1]).space
        return transfer(prompt, *spaces, roundtrip=False).prompt

    def no_data(self, sources: str, target: str, task: Task, seed: int) -> SoftPrompt:
        """Re-anchored and then calibrated on random words: no text and no label is read.

        Of several sources the one whose mixture answers most like all of them is the start.
        """
        names = sources.split("+")
        goal = backbone(target)
        teachers = [Teacher(backbone(n), self.load([n], "free", task, seed)) for n in names]
        config = replace(DISTIL, texts="words", seed=seed)
        carried = [self.reanchored(n, target, task, seed, "words") for n in names]
        starts = [choose_cue_word(p, goal, teachers, task, config=config).prompt for p in carried]
        if len(starts) > 1:
            apart = [
                agreement(start, goal, teachers, task, config=config).divergence for start in starts
            ]
            starts = [starts[apart.index(min(apart))]]
        return align(starts[0], goal, teachers, task, config=config).prompt

    def several(self, target: str, seed: int) -> None:
        """Two and three sources, none of them the target: finished prompts, and joint mixtures."""
        place = self.backbones.index(target)
        count = len(self.backbones)
        others = [self.backbones[(place + i) % count] for i in range(1, count)]
        goal = backbone(target).space
        for count in range(2, min(3, len(others)) + 1):
            # Of all pairs the one in a fixed order, so that nobody chose it.
            names = sorted(others[:count])
            if f"joint {count}" not in self.skip:
                self.tuned(names, seed, "joint")
            for task in self.tasks:
                key = ("+".join(names), target, task, seed)
                sources = [
                    Source(self.load([n], "free", task, seed), backbone(n).space) for n in names
                ]
                self.score(
                    f"least squares {count}",
                    *key,
                    lambda s=sources: transfer(s, target=goal, roundtrip=False).prompt,
                )
                self.score(
                    f"no data {count}",
                    *key,
                    lambda k=key: self.no_data(*k),
                )
                for column, is_read_out in (("joint", False), ("joint, read out", True)):
                    name, comma, rest = column.partition(",")
                    self.score(
                        f"{name} {count}{comma}{rest}",
                        *key,
                        lambda n=names, k=key, r=is_read_out: self.joint(n, k, r),
                    )

    def joint(self, names: Sequence[str], key: Key, is_read_out: bool) -> SoftPrompt:
        """A mixture of several sources on the target."""
        prompt = self.load(names, "joint", key[2], key[3])
        moved = self.carried(prompt, key)
        return self.read_out(moved, prompt, key) if is_read_out else moved


if __name__ == "__main__":
    main()
