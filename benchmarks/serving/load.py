"""Many prompts on one model: mixed batches against PEFT, and the HTTP server under load and kills.

Run from the root of the repository: python -m benchmarks.serving.load
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import torch
from benchmarks._result import environment, merge_summary
from benchmarks.serving.table import table

from promptport.backbone import Backbone, silence_libraries
from promptport.files import write_atomic
from promptport.serving.asks import Ask
from promptport.serving.server import PromptServer
from promptport.storage import save_prompt
from promptport.tasks import Task, open_task
from promptport.tuning import random_prompt

RESULTS = Path(__file__).resolve().parent / "results"
PROMPTS, LENGTH = 16, 10
TASKS = ("sentiment", "topic", "question", "emotion")  # of the prompts, in turn
ROWS_TOGETHER = 64
CLIENTS = (1, 16, 64)


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--backbone", default="nano-gpt2")
    add("--rows", type=int, default=1024, help="rows of a throughput measurement")
    add("--requests", type=int, default=600, help="requests of a load measurement")
    add("--repeats", type=int, default=5)
    add("--kills", type=int, default=3, help="workers that are killed under load")
    add("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    silence_libraries()
    recorded = environment(given.results)
    backbone = Backbone.load(given.backbone, device="cpu", dtype="float32")
    with tempfile.TemporaryDirectory() as folder:
        same, mixed = Path(folder, "same"), Path(folder, "mixed")
        # One task, so that mixing prompts is all that differs; for the load, many tasks.
        figures = throughput(
            backbone, same, _library(backbone, same, TASKS[:1], given.rows), given.repeats
        )
        rows = _library(backbone, mixed, TASKS, given.requests)
        figures |= asyncio.run(_load(given, mixed, rows, backbone))
    given.results.mkdir(parents=True, exist_ok=True)
    runs = {name: value for name, value in figures.items() if not isinstance(value, int | float)}
    summary = {name: value for name, value in figures.items() if name not in runs}
    asked = recorded | {"backbone": given.backbone}
    merge_summary(given.results, summary, asked, "load.json", runs)
    write_atomic(given.results / "load.md", table(summary).encode())
    print((given.results / "load.md").read_text())


def _library(
    backbone: Backbone, folder: Path, tasks: Sequence[str], count: int
) -> list[tuple[str, str]]:
    """Prompts in front of the texts of some tasks; rows as (prompt, text)."""
    opened = [_in_front(open_task(name)) for name in tasks]
    names = []
    for i in range(PROMPTS):
        task = opened[i % len(opened)]
        prompt = random_prompt(backbone, LENGTH, i)
        strong = replace(prompt, vectors=3 * prompt.vectors)  # each answers in its own way
        told = strong.with_provenance(task=task.name, template=task.template.text)
        names.append(f"{task.name}-{i}")
        save_prompt(told, folder / names[-1])
    texts = {
        task.name: [row.fields["text"] for split in ("test", "train") for row in task.load(split)]
        for task in opened
    }
    rows = []
    for i in range(count):
        name = names[i % PROMPTS]
        own = texts[name.rsplit("-", 1)[0]]
        rows.append((name, own[i % len(own)]))  # equal texts would be read once
    random.Random(0).shuffle(rows)
    return rows


def _in_front(task: Task) -> Task:
    return replace(task, template=task.template.with_soft_in_front())


def throughput(
    backbone: Backbone, folder: Path, rows: Sequence[tuple[str, str]], repeats: int
) -> dict[str, Any]:
    """Rows a second: one prompt, all prompts mixed, and PEFT with its adapters in turn."""
    server = PromptServer(backbone, folder)
    mixed = [Ask(name, text) for name, text in rows]
    one = [replace(ask, prompt=f"{TASKS[0]}-0") for ask in mixed]
    peft = _peft(backbone, folder, rows)

    def ours(asks: Sequence[Ask]) -> Callable[[], None]:
        def run() -> None:
            for start in range(0, len(asks), ROWS_TOGETHER):
                server.answer(asks[start : start + ROWS_TOGETHER])

        return run

    ways = {"one_prompt": ours(one), "mixed": ours(mixed), "peft": peft}
    for run in ways.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):  # side by side, since other work comes and goes
        for name, run in ways.items():
            began = time.process_time()
            run()
            times[name].append(time.process_time() - began)
    ratio = [a / b for a, b in zip(times["one_prompt"], times["mixed"], strict=True)]
    over = [a / b for a, b in zip(times["peft"], times["mixed"], strict=True)]
    return {
        "mixed_ratio": statistics.median(ratio),
        "over_peft_ratio": statistics.median(over),
        "rows": len(rows),
        "throughput_seconds": times,
    }


def _peft(backbone: Backbone, folder: Path, rows: Sequence[tuple[str, str]]) -> Callable[[], None]:
    """What PEFT can do with the same rows: those of a batch adapter by adapter."""
    from peft import PeftModel

    names = sorted({name for name, _ in rows})
    model: Any = PeftModel.from_pretrained(
        Backbone.load(backbone.name, device="cpu", dtype="float32").model,
        folder / names[0],
        adapter_name="p0",
    )
    for number, name in enumerate(names[1:], 1):
        model.load_adapter(folder / name, adapter_name=f"p{number}")
    model.eval()
    adapters = {name: f"p{number}" for number, name in enumerate(names)}
    tokenizer, template = backbone.tokenizer, _in_front(open_task(TASKS[0])).template
    before, after = template.without_soft().until_answer().text.split("{text}")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    tokenizer.padding_side = "right"

    def run() -> None:
        for start in range(0, len(rows), ROWS_TOGETHER):
            groups: dict[str, list[str]] = {}
            for name, text in rows[start : start + ROWS_TOGETHER]:
                line = before + text + after.removesuffix("{answer}").rstrip()
                groups.setdefault(name, []).append(line)
            for name, lines in groups.items():
                model.set_adapter(adapters[name])
                batch = tokenizer(lines, return_tensors="pt", padding=True)
                with torch.no_grad():
                    model(**batch).logits.argmax(-1)

    return run


async def _load(
    given: argparse.Namespace, folder: Path, rows: Sequence[tuple[str, str]], backbone: Backbone
) -> dict[str, Any]:
    """Requests a second and waiting times, then the same load while workers are killed."""
    reference = [
        reply.text
        for reply in PromptServer(backbone, folder).answer([Ask(name, text) for name, text in rows])
    ]
    command = [sys.executable, "-m", "promptport", "serve", str(folder), "--port", "0"]
    command += ["--dtype", "float32", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = await asyncio.to_thread(address_of, process)
            figures: dict[str, Any] = {}
            wrong = lost = 0
            for clients in CLIENTS:
                seconds, answers, whole = await _fire(address, rows, clients)
                figures[f"requests_per_second_{clients}"] = len(rows) / whole
                figures[f"p50_ms_{clients}"] = 1000 * _share(seconds, 0.5)
                figures[f"p95_ms_{clients}"] = 1000 * _share(seconds, 0.95)
                wrong += sum(
                    a is not None and a != b for a, b in zip(answers, reference, strict=True)
                )
                lost += answers.count(None)
            killing = asyncio.create_task(_kill(process, given.kills))
            asked, expected = [*rows] * (given.kills + 1), [*reference] * (given.kills + 1)
            _, answers, _ = await _fire(address, asked, CLIENTS[-1])
            killed = await killing
            wrong += sum(a is not None and a != b for a, b in zip(answers, expected, strict=True))
            lost += answers.count(None)
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(process.communicate)
    return {
        **figures,
        "requests_per_second": figures[f"requests_per_second_{CLIENTS[-1]}"],
        "p50_ms": figures[f"p50_ms_{CLIENTS[1]}"],
        "p95_ms": figures[f"p95_ms_{CLIENTS[1]}"],
        "workers_killed": killed,
        "answers_compared": len(rows) * (len(CLIENTS) + given.kills + 1),
        "wrong_answers": wrong,
        "lost_requests": lost,
    }


def address_of(process: subprocess.Popen[str]) -> str:
    """Where a server that was just started listens."""
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"curl (http://\S+)/v1/models", line):
            # Its log is read on, or the pipe would fill up and stop it.
            _drain(process)
            return found[1]
    raise RuntimeError("the server did not start")


def _drain(process: subprocess.Popen[str]) -> None:
    import threading

    threading.Thread(target=lambda: [None for _ in process.stderr or ()], daemon=True).start()


async def _fire(
    address: str, rows: Sequence[tuple[str, str]], clients: int
) -> tuple[list[float], list[str | None], float]:
    """Send every row from some clients, each with one request at a time."""
    answers: list[str | None] = [None] * len(rows)
    seconds: list[float] = []
    waiting = list(enumerate(rows))[::-1]
    bounds = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=address, timeout=300, limits=bounds) as client:

        async def work() -> None:
            while waiting:
                number, (name, text) = waiting.pop()
                began = time.perf_counter()
                try:
                    reply = await client.post("/classify", json={"model": name, "input": text})
                except httpx2.HTTPError:
                    continue  # stays None: lost
                if reply.status_code == 200:
                    answers[number] = reply.json()["results"][0]["label"]
                seconds.append(time.perf_counter() - began)

        began = time.perf_counter()
        await asyncio.gather(*(work() for _ in range(clients)))
        return seconds, answers, time.perf_counter() - began


async def _kill(process: subprocess.Popen[str], times: int) -> int:
    """Kill the worker some times, each time when it takes requests again."""
    killed = 0
    last = 0
    own = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while killed < times:
        await asyncio.sleep(1.0)
        workers = [int(number) for number in own.read_text().split()]
        if workers and workers[0] != last and _is_busy(workers[0]):
            last = workers[0]
            os.kill(last, signal.SIGKILL)
            killed += 1
    return killed


def _is_busy(worker: int) -> bool:
    """Whether a worker has loaded its model: it has used some seconds of processor time."""
    ticks = Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(ticks[11]) + int(ticks[12])) / os.sysconf("SC_CLK_TCK") > _LOADED_SECONDS


_LOADED_SECONDS = 6.0


def _share(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    main()
