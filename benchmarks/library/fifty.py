"""A library of prompts of several models, made in a minute or two: for trying the page.

Run from the root of the repository: python -m benchmarks.library.fifty prompts
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from promptport import OriginSpec, TuneConfig, TuneJob, open_task, save_prompt, tune

BACKBONES = ("nano-bert", "nano-roberta", "nano-gpt2", "nano-albert")
TASKS = ("sentiment", "topic", "emotion", "plural", "country-capital", "entailment")
SEEDS = (0, 1)


def make_prompts(folder: Path, count: int, *, epochs: int = 3, rows: int = 64) -> list[Path]:
    """Tune prompts with few updates, and save them as `MODEL/TASK-seedN`.

    Args:
        folder: of the library.
        count: how many, over all models alike.
        epochs: passes over the training rows.
        rows: training and dev rows of each.

    Returns:
        Their folders.
    """
    kinds = [("vocabulary", task, seed) for seed in SEEDS for task in TASKS]
    kinds += [("mixture", task, 0) for task in TASKS]
    wanted = [(name, *kind) for kind in kinds for name in BACKBONES][:count]
    config = TuneConfig(epochs=epochs, max_train_rows=rows, max_dev_rows=rows)
    saved = []
    for name in dict.fromkeys(each[0] for each in wanted):
        own = [each[1:] for each in wanted if each[0] == name]
        jobs = [
            TuneJob(open_task(task), OriginSpec(origin, seed=seed), seed=seed)
            for origin, task, seed in own
        ]
        for (origin, task, seed), result in zip(own, tune(name, jobs, config), strict=True):
            if result.prompt is not None:
                called = f"{name.removeprefix('nano-')}-{task}-{origin}-{seed}"
                saved.append(save_prompt(result.prompt, folder / called))
    return saved


def main(arguments: Sequence[str] | None = None) -> int:
    """Make them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--prompts", type=int, default=50)
    given = parser.parse_args(arguments)
    saved = make_prompts(given.folder, given.prompts)
    print(f"{len(saved)} prompts are in {given.folder}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
