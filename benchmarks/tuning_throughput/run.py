"""Many prompts in one batch against PEFT + Trainer one after another: steps per second and memory.

Run from the root of the repository: python -m benchmarks.tuning_throughput.run
With --place behind ours stands behind the text, theirs where it can only stand, in front.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from benchmarks._result import environment, write_runs, write_summary

from promptport.backbone import Backbone, silence_libraries
from promptport.evaluation import evaluate
from promptport.files import json_bytes, write_atomic
from promptport.objective import Objective
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import MemorySource, Row, Task, Template, open_task
from promptport.tuning import TuneConfig, TuneJob, tune

HERE = Path(__file__).resolve().parent
LENGTH, RELATIVE_LR = 5, 0.1
_MOST_WORDS = 96  # of a text
_EVALUATED = 96  # rows
_FEW_REPEATS_FROM = 50_000_000  # parameters


def made_task(arguments: argparse.Namespace, place: str) -> Task:
    """A task of one-token answers whose training rows are repeated to one epoch of all steps.

    Both sides compute the same function where the prompt stands in front, as PEFT puts it. A
    classification is asked as a probe: its first label words among all words, PEFT's loss.
    """
    task = open_task(arguments.task, arguments.data)
    rows = {split: _as_probe(task, split) for split in ("train", "dev")}
    needed = arguments.steps * arguments.batch
    source = MemorySource(
        {
            "train": (rows["train"] * (needed // len(rows["train"]) + 1))[:needed],
            "dev": rows["dev"][: arguments.dev or None],
        }
    )
    template = Template.parse("{subject} {answer} .")
    if task.kind == "classification":
        text = task.template.without_soft().text
        template = Template.parse(text.replace("{text}", "{subject}"))
    placed = template.with_soft_behind() if place == "behind" else template.with_soft_in_front()
    return Task(task.name, "probe", placed, "p@1", source=source)


def _as_probe(task: Task, split: str) -> tuple[Row, ...]:
    if task.labels is None:
        return task.load(split)
    words = {label: words[0] for label, words in task.labels.items()}
    return tuple(
        Row({"subject": " ".join(row.fields["text"].split()[:_MOST_WORDS])}, words[row.answer])
        for row in task.load(split)
    )


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tune all prompts in one batch; clock the steps between the warm-up and the last."""
    backbone = Backbone.load(arguments.backbone, device="cpu", dtype="float32")
    task = made_task(arguments, arguments.place)
    jobs = [
        TuneJob(task, OriginSpec("vocabulary", seed), LENGTH, seed, relative_lr=RELATIVE_LR)
        for seed in range(arguments.prompts)
    ]
    config = TuneConfig(epochs=1, batch_size=arguments.batch, patience=0, warmup=0.0)
    ticks: list[float] = []
    results = tune(backbone, jobs, config, progress=lambda _: ticks.append(time.perf_counter()))
    # The last tick comes after the dev rows were scored: leave it out.
    seconds = ticks[-2] - ticks[arguments.warm - 1]
    steps = len(ticks) - 1 - arguments.warm
    return {
        "rate": arguments.prompts * steps / seconds,
        "step_seconds": seconds / steps,
        "dev_losses": [r.dev_loss for r in results],
        "dev_scores": [r.dev_score for r in results],
        "megabytes": _peak_megabytes(),
    }


def theirs(arguments: argparse.Namespace) -> dict[str, Any]:
    """PEFT and Trainer, one prompt after another, the same rows in the same order."""
    backbone = Backbone.load(arguments.backbone, device="cpu", dtype="float32")
    task = made_task(arguments, "front")
    runs = [_train_with_peft(arguments, backbone, task, seed) for seed in range(arguments.prompts)]
    return {
        "rate": statistics.mean(run["rate"] for run in runs),
        "step_seconds": statistics.mean(run["step_seconds"] for run in runs),
        "dev_losses": [run["dev_loss"] for run in runs],
        "dev_scores": [run["dev_score"] for run in runs],
        "megabytes": _peak_megabytes(),
    }


def _train_with_peft(
    arguments: argparse.Namespace, backbone: Backbone, task: Task, seed: int
) -> dict[str, Any]:
    import peft
    from transformers import Trainer, TrainerCallback, TrainingArguments

    kinds = {"masked": "FEATURE_EXTRACTION", "causal": "CAUSAL_LM"}
    config = peft.PromptTuningConfig(
        task_type=kinds[backbone.kind], num_virtual_tokens=LENGTH, token_dim=backbone.width
    )
    model = peft.get_peft_model(Backbone.load(arguments.backbone, dtype="float32").model, config)
    origin = make_origin(OriginSpec("vocabulary", seed), backbone, LENGTH)
    embedding = model.prompt_encoder["default"].embedding.weight
    embedding.data.copy_(origin)
    ticks: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_args: Any, **_options: Any) -> None:
            ticks.append(time.perf_counter())

    settings = TrainingArguments(
        output_dir=tempfile.mkdtemp(),
        per_device_train_batch_size=arguments.batch,
        max_steps=arguments.steps,
        learning_rate=RELATIVE_LR * backbone.space.statistics.std,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,
        optim="adamw_torch",
        save_strategy="no",
        logging_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )

    class InOrder(Trainer):
        def _get_train_sampler(self, *_args: Any, **_options: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    trainer = InOrder(
        model=model,
        args=settings,
        train_dataset=_rows_in_our_order(backbone, task, seed),
        data_collator=_Collator(backbone),
        callbacks=[Clock()],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train()
    seconds = ticks[-1] - ticks[arguments.warm - 1]
    steps = len(ticks) - arguments.warm
    provenance = Provenance(backbone.name, template=task.template.text)
    prompt = SoftPrompt(embedding.detach(), provenance)
    score = evaluate(backbone, task, prompt, split="dev")
    return {
        "rate": steps / seconds,
        "step_seconds": seconds / steps,
        "dev_loss": score.loss,
        "dev_score": score.score.value,
    }


def _rows_in_our_order(backbone: Backbone, task: Task, seed: int) -> list[dict[str, Any]]:
    """Tokenised rows without virtual tokens, in the order in which our loop takes them."""
    objective = Objective(backbone, task, length=LENGTH)
    questions = objective.prepare(task.load("train")).questions
    generator = torch.Generator().manual_seed(seed * 100_003)
    rows = []
    for i in torch.randperm(len(questions), generator=generator).tolist():
        encoded = questions[i].inputs[0]
        ids = list(encoded.ids[LENGTH:])
        place = encoded.scored[0] - LENGTH
        if backbone.kind == "causal":  # transformers shifts labels by one
            ids, place = [*ids, *encoded.targets], place + 1
        rows.append({"ids": ids, "place": place, "target": encoded.targets[0]})
    return rows


class _Collator:
    """Pads to the longest row; labels are -100 but at the answer."""

    def __init__(self, backbone: Backbone) -> None:
        self.pad = backbone.special.pad
        # PEFT pads labels with the virtual tokens for causal models only.
        self.lead = LENGTH if backbone.kind == "masked" else 0

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["ids"]) for row in rows)
        ids = torch.full((len(rows), longest), self.pad)
        attention = torch.zeros_like(ids)
        labels = torch.full((len(rows), self.lead + longest), -100)
        for i, row in enumerate(rows):
            ids[i, : len(row["ids"])] = torch.tensor(row["ids"])
            attention[i, : len(row["ids"])] = 1
            labels[i, self.lead + row["place"]] = row["target"]
        return {"input_ids": ids, "attention_mask": attention, "labels": labels}


def where_the_time_goes(arguments: argparse.Namespace) -> dict[str, float]:
    """Shares of one of our steps, and the bare matrix products that it cannot do without."""
    backbone = Backbone.load(arguments.backbone, device="cpu", dtype="float32")
    task = made_task(arguments, arguments.place)
    objective = Objective(backbone, task, length=LENGTH)
    questions = objective.prepare(task.load("train")).questions
    count = arguments.prompts * arguments.batch
    inputs = [q.inputs[0] for q in questions[:count]]
    inputs += inputs[: count - len(inputs)]
    vectors = torch.randn(LENGTH, backbone.width, requires_grad=True)
    tokens = len(inputs) * max(len(row.ids) for row in inputs)

    if arguments.place == "behind":  # texts are passed once, and not again in each step
        tokens -= sum(row.soft[0] for row in inputs)

    def forward() -> torch.Tensor:
        return backbone.answer_logits(inputs, vectors, [0] * len(inputs))

    repeats = 7 if backbone.parameters < _FEW_REPEATS_FROM else 3
    with backbone.keeping_texts():
        loss = forward().logsumexp(-1).sum()
        forward_seconds = _median_seconds(forward, repeats)
    return {
        "tokens_per_step": tokens,
        "forward_seconds": forward_seconds,
        "backward_seconds": _median_seconds(lambda: loss.backward(retain_graph=True), repeats),
        "collate_seconds": _median_seconds(lambda: backbone.collate(inputs, [0] * len(inputs))),
        "bare_products_seconds": _bare_products(backbone, tokens),
    }


def evaluation(arguments: argparse.Namespace) -> dict[str, float]:
    """Scoring with a prompt of ten virtual tokens in front, passed once, and once for each row."""
    backbone = Backbone.load(arguments.backbone, device="cpu", dtype="float32")
    task = made_task(arguments, "front")
    objective = Objective(backbone, task, length=10)
    questions = objective.prepare(task.load("train")[:_EVALUATED]).questions
    inputs = [question.inputs[0] for question in questions]
    vectors = make_origin(OriginSpec("vocabulary", 0), backbone, 10)
    starts = [0] * len(inputs)
    with torch.no_grad():
        ways = [
            lambda: backbone.plain_logits(inputs, vectors, starts),
            lambda: backbone.answer_logits(inputs, vectors, starts),
        ]
        ways[1]()  # tries whether the architecture can share
        plain, shared = (_median_seconds(way, 3) for way in ways)
    return {"plain_seconds": plain, "shared_seconds": shared, "ratio": plain / shared}


def _bare_products(backbone: Backbone, tokens: int) -> float:
    """Forward and backward products of every linear layer in the trunk on so many tokens."""
    layers = [m for m in backbone.trunk.modules() if hasattr(m, "weight") and m.weight.ndim == 2]
    shapes = [tuple(m.weight.shape) for m in layers if not isinstance(m, torch.nn.Embedding)]
    if backbone.model.config.model_type == "gpt2":  # its layers hold transposed weights
        shapes = [(out, into) for into, out in shapes]
    total = 0.0
    for out, into in shapes:
        weight, x, g = torch.randn(out, into), torch.randn(tokens, into), torch.randn(tokens, out)
        total += _median_seconds(lambda w=weight, x=x: x @ w.T)
        total += _median_seconds(lambda w=weight, g=g: g @ w)
    return total


def _median_seconds(call: Any, repeats: int = 7) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _peak_megabytes() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e3 if sys.platform == "linux" else 1e6)


def _in_subprocess(arguments: argparse.Namespace, side: str, prompts: int) -> dict[str, Any]:
    """One side in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, "-m", "benchmarks.tuning_throughput.run", "--side", side]
    for name in ("backbone", "task", "data", "place", "steps", "warm", "batch", "dev", "threads"):
        if getattr(arguments, name) is not None:
            command += [f"--{name}", str(getattr(arguments, name))]
    command += ["--prompts", str(prompts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(arguments: argparse.Namespace) -> None:
    """Both sides in turn, several times; print and write the medians of the ratios."""
    place = "" if arguments.place == "front" else f"-{arguments.place}"
    name = Path(arguments.backbone).stem
    results = HERE / ("results" if (name, place) == ("nano-bert", "") else f"results-{name}{place}")
    recorded = environment(results)
    rows: list[dict[str, Any]] = []
    for repeat in range(arguments.repeats):
        for count in arguments.counts:
            a = _in_subprocess(arguments, "ours", count)
            b = _in_subprocess(arguments, "theirs", min(count, 2))
            rows.append(
                {"repeat": repeat, "prompts": count, "ours": a, "theirs": b,
                 "ratio": a["rate"] / b["rate"]}
            )  # fmt: skip
            print(
                f"{count:3d} prompts: ours {a['rate']:7.3f} prompts x steps/s "
                f"({a['megabytes']:.0f} MB), PEFT + Trainer {b['rate']:6.3f} "
                f"({b['megabytes']:.0f} MB), ratio {rows[-1]['ratio']:.2f}; dev loss of prompt 0 "
                f"{a['dev_losses'][0]:.4f} and {b['dev_losses'][0]:.4f}, "
                f"dev score {a['dev_scores'][0]:.3f} and {b['dev_scores'][0]:.3f}",
                flush=True,
            )
    profile = _in_subprocess(arguments, "profile", max(arguments.counts))
    for name, value in profile.items():
        print(f"{name:24} {value:.4f}")
    ratios = {c: [r["ratio"] for r in rows if r["prompts"] == c] for c in arguments.counts}
    for count, values in ratios.items():
        middle = statistics.median(values)
        print(f"{count:3d} prompts: {middle:.2f} x ({min(values):.2f} to {max(values):.2f})")
    summary = {f"ratio_{count}": statistics.median(values) for count, values in ratios.items()}
    if arguments.place == "front" and Backbone.load(arguments.backbone).kind == "causal":
        scoring = _in_subprocess(arguments, "evaluation", 1)
        print(f"scoring with the prompt passed once: {scoring['ratio']:.2f} x")
        summary["eval_prefix_cache_ratio"] = scoring["ratio"]
    if results == HERE / "results":
        summary |= _others()
    write_summary(results, summary, recorded)
    settings = {key: str(v) if isinstance(v, Path) else v for key, v in vars(arguments).items()}
    settings |= {"backbone": Path(arguments.backbone).name, "data": None}
    write_runs(results, {"config": settings, "runs": rows, "profile": profile})
    _gather()


def _others() -> dict[str, float]:
    """Figures of all other backbones and places, as `nano_gpt2_suffix_ratio_32`."""
    gathered = {}
    for folder in sorted(HERE.glob("results-*")):
        name = folder.name.removeprefix("results-")
        behind = name.endswith("-behind")
        short = name.removesuffix("-behind").removesuffix("-135m").replace("-", "_")
        for key, value in json.loads((folder / "summary.json").read_text()).items():
            gathered[f"{short}_{'suffix_' if behind else ''}{key}"] = value
    own = [v for k, v in gathered.items() if k == "smollm2_eval_prefix_cache_ratio"]
    return gathered | ({"eval_prefix_cache_ratio": own[0]} if own else {})


def _gather() -> None:
    """Put the figures of all backbones into the main summary."""
    main_file = HERE / "results" / "summary.json"
    kept = json.loads(main_file.read_text()) if main_file.exists() else {}
    own = {key: value for key, value in kept.items() if key.startswith("ratio_")}
    write_atomic(main_file, json_bytes(own | _others()))


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backbone", default="nano-bert")
    add("--task", default="city-country", help="or nlu:ag_news with --data")
    add("--data", type=Path, help="folder of nlu: tasks")
    add("--place", choices=("front", "behind"), default="front", help="of our virtual tokens")
    add("--steps", type=int, default=60)
    add("--warm", type=int, default=5, help="first steps that are not timed")
    add("--batch", type=int, default=8)
    add("--dev", type=int, default=0, help="most dev rows; 0 for all")
    add("--threads", type=int, default=2)
    add("--repeats", type=int, default=3)
    add("--counts", type=int, nargs="+", default=[1, 8, 32], help="numbers of prompts")
    add("--side", choices=("ours", "theirs", "profile", "evaluation"))
    add("--prompts", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    silence_libraries()
    sides = {
        "ours": ours,
        "theirs": theirs,
        "profile": where_the_time_goes,
        "evaluation": evaluation,
    }
    if arguments.side is None:
        compare(arguments)
    else:
        print(json.dumps(sides[arguments.side](arguments)))


if __name__ == "__main__":
    main()
