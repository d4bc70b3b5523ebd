"""Numbers that could be wrong in silence: one thing asked in two ways that must agree.

Run from the root of the repository: python -m benchmarks.trust.silent
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from benchmarks._result import environment
from benchmarks.trust.parts import write_part
from tests.models import ARCHITECTURES, save_model

from promptport.backbone import Backbone, silence_libraries
from promptport.evaluation import evaluate
from promptport.parameters.origins import OriginSpec
from promptport.prediction import Prediction, predict
from promptport.prompt import SoftPrompt
from promptport.serving.asks import Ask
from promptport.serving.server import PromptServer
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import MemorySource, Row, Task, Template
from promptport.transfers import transfer
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.tuning.baselines import random_prompt

RESULTS = Path(__file__).resolve().parent / "results"
TEXTS = (
    "a great film", "bad", "Caf\u00e9 na\u00efve", "Cafe\u0301 nai\u0308ve",
    "\u05e1\u05e8\u05d8 \u05d8\u05d5\u05d1", "\U0001f468\u200d\U0001f469\u200d\U0001f467 film",
    "a\u200bb \u200d", "\u7535\u5f71\u5f88\u597d\u770b", "\u6620\u753b\u306f\u9762\u767d\u3044",
    "two\r\nlines", "\ufeffa film", "'one' \"two\" ``three''", "NaN", "0", "None",
    " ".join(["the old dog"] * 12),
)  # fmt: skip
EXACT = 2e-5  # of a probability: the order in which float32 numbers are added
ROUNDED = 0.05  # of a probability in bfloat16, on models of two layers
Gap = tuple[str, float, float]  # what was asked in two ways, the largest difference, the bound


def task_of(template: str = "{text} {soft} It was {answer} .") -> Task:
    """A classification of odd texts."""
    rows = tuple(Row({"text": text}, ("good", "bad")[i % 2]) for i, text in enumerate(TEXTS))
    return Task(
        name="odd",
        kind="classification",
        template=Template.parse(template),
        metric="accuracy",
        manual=Template.parse("{text} It was {answer} ."),
        labels={"good": ("great", "good"), "bad": ("terrible", "unhappy")},
        source=MemorySource({"train": rows, "dev": rows, "test": rows}),
    )


def gaps_of(name: str, folder: Path) -> Iterator[Gap]:
    """What differs between two ways that must agree, for one architecture.

    Args:
        name: of an architecture.
        folder: for its model, and what is written.
    """
    place = save_model(name, folder / "model")
    model = Backbone.load(str(place), dtype="float32", device="cpu")
    task = task_of()
    prompts = {f"p{seed}": _strong(model, 2 + seed, seed, task) for seed in range(3)}
    prompt = prompts["p1"]
    alone = [predict(prompt, [text], backbone=model, task=task)[0] for text in TEXTS]
    together = predict(prompt, TEXTS, backbone=model, task=task)
    yield "a text alone and among others", _gap(alone, together), EXACT
    turned = predict(prompt, TEXTS[::-1], backbone=model, task=task)[::-1]
    yield "texts in another order", _gap(alone, turned), EXACT

    scored = evaluate(model, task, prompt)
    parts = [evaluate(model, _only(task, i), prompt) for i in range(len(TEXTS))]
    mean = sum(part.loss for part in parts) / len(parts)
    yield "rows scored alone and together", abs(scored.loss - mean) / abs(mean), EXACT
    right = tuple(bool(part.score.value) for part in parts)
    yield "which rows are right", float(scored.right != right), 0.0
    said = [each.answer for each in together]
    hits = [answer == row.answer for answer, row in zip(said, task.load("test"), strict=True)]
    yield "what is scored and what is predicted", float(tuple(hits) != tuple(right)), 0.0

    kept = load_prompt(save_prompt(prompt, folder / "kept"))
    yield "vectors saved and read", float(not torch.equal(kept.vectors, prompt.vectors)), 0.0
    again = predict(kept, TEXTS, backbone=model, task=task)
    yield "a prompt saved and read", _gap(together, again), 0.0

    asks = [Ask(key, text) for text in TEXTS for key in prompts]
    replies = PromptServer(model, prompts, tasks=[task]).answer(asks)
    wanted = [predict(prompts[ask.prompt or ""], [ask.text], backbone=model, task=task)[0]
              for ask in asks]  # fmt: skip
    served = [replace(own, answer=reply.text, probabilities=reply.probabilities)
              for own, reply in zip(wanted, replies, strict=True)]  # fmt: skip
    yield "served beside other prompts", _gap(wanted, served), EXACT

    for change in ({"padding_side": "left"}, {"padding_side": "right"}, {"pad_token": None}):
        other = _with_tokenizer(place, folder / "other", change)
        (key, value) = next(iter(change.items()))
        asked = predict(prompt, TEXTS, backbone=other, task=task)
        yield f"a tokenizer with {key} {value}", _gap(together, asked), EXACT

    half = Backbone.load(str(place), dtype="bfloat16", device="cpu")
    yield "bfloat16", _gap(together, predict(prompt, TEXTS, backbone=half, task=task)), ROUNDED

    jobs = [TuneJob(task, OriginSpec("vocabulary", seed=seed), 3, seed=seed) for seed in (0, 1)]
    config = TuneConfig(epochs=1, batch_size=4, patience=0)
    beside = tune(model, jobs, config)
    for number, job in enumerate(jobs):
        (lonely,) = tune(model, [job], config)
        yield (
            "tuned alone and beside another",
            _distance(lonely.prompt, beside[number].prompt),
            1e-3,
        )

    order = torch.tensor([2, 0, 1])
    moved = transfer(prompt, model.space, model.space, minimum_anchors=1).prompt.vectors
    permuted = transfer(
        replace(prompt, vectors=prompt.vectors[order]), model.space, model.space, minimum_anchors=1
    ).prompt.vectors
    yield "virtual tokens moved in another order", _share(moved[order], permuted), 1e-3


def _strong(model: Backbone, length: int, seed: int, task: Task) -> SoftPrompt:
    """A prompt that changes what a random model answers."""
    made = random_prompt(model, length, seed)
    return replace(made, vectors=made.vectors * 4).with_provenance(
        task=task.name, template=task.template.text
    )


def _only(task: Task, number: int) -> Task:
    return task.with_rows(test=(task.load("test")[number],))


def _with_tokenizer(place: Path, other: Path, change: dict[str, Any]) -> Backbone:
    """The same model; some settings of its tokenizer are others."""
    import shutil

    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(place, other)
    file = other / "tokenizer_config.json"
    settings = json.loads(file.read_text()) | change
    file.write_text(json.dumps({k: v for k, v in settings.items() if v is not None}))
    return Backbone.load(str(other), dtype="float32", device="cpu")


def _gap(first: Sequence[Prediction], second: Sequence[Prediction]) -> float:
    """The largest difference of a label's probability."""
    return max(
        abs(value - (b.probabilities or {})[label])
        for a, b in zip(first, second, strict=True)
        for label, value in (a.probabilities or {}).items()
    )


def _distance(first: SoftPrompt | None, second: SoftPrompt | None) -> float:
    assert first is not None
    assert second is not None
    return _share(first.vectors, second.vectors)


def _share(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest difference as a share of the largest number."""
    return float((first - second).abs().max() / first.abs().max())


def measured(gaps: Callable[[], Iterator[Gap]]) -> dict[str, dict[str, Any]]:
    """All that was asked in two ways: the largest difference, its bound, and whether it holds.

    A way that raises is wrong: nothing here is bad input.
    """
    found: dict[str, dict[str, Any]] = {}
    asked = gaps()
    while True:
        try:
            what, gap, bound = next(asked)
        except StopIteration:
            return found
        except Exception as error:  # whatever it is, it is no answer
            found["raised"] = {"said": f"{type(error).__name__}: {error}"[:300], "ok": False}
            return found
        known = found.get(what, {"gap": 0.0})["gap"]
        found[what] = {"gap": max(gap, known), "bound": bound, "ok": max(gap, known) <= bound}


def main() -> int:
    """Ask everything of every architecture; 1 if two ways disagree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=list(ARCHITECTURES))
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    recorded = environment(given.results)
    silence_libraries()
    warnings.simplefilter("ignore")
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in given.architectures:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            found[name] = measured(lambda name=name, place=place: gaps_of(name, place))  # type: ignore[misc]
        wrong = {what: each for what, each in found[name].items() if not each["ok"]}
        print(json.dumps({name: wrong or "all agree"}), flush=True)
    checks = [each for one in found.values() for each in one.values()]
    figures = {
        "silent_checks": len(checks),
        "silent_wrong": sum(not each["ok"] for each in checks),
    }
    if set(given.architectures) == set(ARCHITECTURES):
        write_part(given.results, "silent", figures, recorded, {"architectures": found})
    print(figures)
    return 1 if figures["silent_wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
