"""Many prompts in one batch against PEFT + Trainer one after another: steps per second and memory.

Run from the root of the repository: python -m benchmarks.tuning_throughput.run
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
from promptport.objective import Objective
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import Provenance, SoftPrompt
from promptport.tasks import MemorySource, Task, Template, open_task
from promptport.tuning import TuneConfig, TuneJob, tune

HERE = Path(__file__).resolve().parent
LENGTH, WARM_STEPS, RELATIVE_LR = 5, 5, 0.1


def made_task(name: str, steps: int, batch: int) -> Task:
    """A pocket task whose training rows are repeated to one epoch of `steps` steps.

    The prompt stands in front, where PEFT puts it, so that both sides compute the same function.
    """
    task = open_task(name)
    rows = task.load("train")
    repeated = (rows * (steps * batch // len(rows) + 1))[: steps * batch]
    source = MemorySource({"train": repeated, "dev": task.load("dev")})
    template = Template.parse("{soft} {subject} {answer} .")
    return Task(task.name, task.kind, template, task.metric, source=source)


def ours(arguments: argparse.Namespace) -> dict[str, Any]:
    """Tune all prompts in one batch; clock the steps between the warm-up and the last."""
    backbone = Backbone.load(arguments.backbone, device="cpu", dtype="float32")
    task = made_task(arguments.task, arguments.steps, arguments.batch)
    jobs = [
        TuneJob(task, OriginSpec("vocabulary", seed), LENGTH, seed, relative_lr=RELATIVE_LR)
        for seed in range(arguments.prompts)
    ]
    config = TuneConfig(epochs=1, batch_size=arguments.batch, patience=0, warmup=0.0)
    ticks: list[float] = []
    results = tune(backbone, jobs, config, progress=lambda _: ticks.append(time.perf_counter()))
    # The last tick comes after the dev rows were scored: leave it out.
    seconds = ticks[-2] - ticks[WARM_STEPS - 1]
    steps = len(ticks) - 1 - WARM_STEPS
    return {
        "rate": arguments.prompts * steps / seconds,
        "step_seconds": seconds / steps,
        "dev_losses": [r.dev_loss for r in results],
        "megabytes": _peak_megabytes(),
    }


def theirs(arguments: argparse.Namespace) -> dict[str, Any]:
    """PEFT and Trainer, one prompt after another, the same rows in the same order."""
    backbone = Backbone.load(arguments.backbone, device="cpu", dtype="float32")
    task = made_task(arguments.task, arguments.steps, arguments.batch)
    runs = [_train_with_peft(arguments, backbone, task, seed) for seed in range(arguments.prompts)]
    return {
        "rate": statistics.mean(run["rate"] for run in runs),
        "step_seconds": statistics.mean(run["step_seconds"] for run in runs),
        "dev_losses": [run["dev_loss"] for run in runs],
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
    seconds = ticks[-1] - ticks[WARM_STEPS - 1]
    steps = len(ticks) - WARM_STEPS
    provenance = Provenance(backbone.name, template=task.template.text)
    prompt = SoftPrompt(embedding.detach(), provenance)
    score = evaluate(backbone, task, prompt, split="dev")
    return {"rate": steps / seconds, "step_seconds": seconds / steps, "dev_loss": score.loss}


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
    task = made_task(arguments.task, arguments.steps, arguments.batch)
    objective = Objective(backbone, task, length=LENGTH)
    questions = objective.prepare(task.load("train")).questions
    count = arguments.prompts * arguments.batch
    inputs = [q.inputs[0] for q in questions[:count]]
    inputs += inputs[: count - len(inputs)]
    vectors = torch.randn(LENGTH, backbone.width, requires_grad=True)
    tokens = len(inputs) * max(len(row.ids) for row in inputs)

    def forward() -> torch.Tensor:
        return backbone.answer_logits(inputs, vectors, [0] * len(inputs))

    loss = forward().logsumexp(-1).sum()
    return {
        "tokens_per_step": tokens,
        "forward_seconds": _median_seconds(forward),
        "backward_seconds": _median_seconds(lambda: loss.backward(retain_graph=True)),
        "collate_seconds": _median_seconds(lambda: backbone.collate(inputs, [0] * len(inputs))),
        "bare_products_seconds": _bare_products(backbone, tokens),
    }


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
    for name in ("backbone", "task", "steps", "batch", "threads"):
        command += [f"--{name}", str(getattr(arguments, name))]
    command += ["--prompts", str(prompts)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(arguments: argparse.Namespace) -> None:
    """Both sides in turn, several times; print and write the medians of the ratios."""
    suffix = "" if arguments.backbone == "nano-bert" else f"-{arguments.backbone}"
    results = HERE / f"results{suffix}"
    recorded = environment(results)
    rows: list[dict[str, Any]] = []
    for repeat in range(arguments.repeats):
        for count in (1, 8, 32):
            a = _in_subprocess(arguments, "ours", count)
            b = _in_subprocess(arguments, "theirs", min(count, 2))
            rows.append(
                {"repeat": repeat, "prompts": count, "ours": a, "theirs": b,
                 "ratio": a["rate"] / b["rate"]}
            )  # fmt: skip
            print(
                f"{count:3d} prompts: ours {a['rate']:7.1f} prompts x steps/s "
                f"({a['megabytes']:.0f} MB), PEFT + Trainer {b['rate']:6.1f} "
                f"({b['megabytes']:.0f} MB), ratio {rows[-1]['ratio']:.2f}; dev loss of prompt 0 "
                f"{a['dev_losses'][0]:.4f} and {b['dev_losses'][0]:.4f}",
                flush=True,
            )
    profile = _in_subprocess(arguments, "profile", 32)
    for name, value in profile.items():
        print(f"{name:24} {value:.4f}")
    ratios = {c: [r["ratio"] for r in rows if r["prompts"] == c] for c in (1, 8, 32)}
    for count, values in ratios.items():
        middle = statistics.median(values)
        print(f"{count:3d} prompts: {middle:.2f} x ({min(values):.2f} to {max(values):.2f})")
    summary = {f"ratio_{count}": statistics.median(values) for count, values in ratios.items()}
    write_summary(results, summary, recorded)
    write_runs(results, {"config": vars(arguments), "runs": rows, "profile_32": profile})


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="nano-bert")
    parser.add_argument("--task", default="city-country")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", choices=("ours", "theirs", "profile"))
    parser.add_argument("--prompts", type=int, default=32)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    silence_libraries()
    sides = {"ours": ours, "theirs": theirs, "profile": where_the_time_goes}
    if arguments.side is None:
        compare(arguments)
    else:
        print(json.dumps(sides[arguments.side](arguments)))


if __name__ == "__main__":
    main()
