"""One prompt through PEFT and through `promptport serve`: the same answers as ours, row by row.

Run from the root of the repository:
    python -m benchmarks.serving.roads --prompt P --model FOLDER --data DATA
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import torch
from benchmarks._result import environment, merge_summary
from benchmarks.serving.load import address_of

from promptport.backbone import Backbone, silence_libraries
from promptport.objective import Objective, blind_rows
from promptport.prediction import Prediction, predict
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Row, Task, Template, open_task

RESULTS = Path(__file__).resolve().parent / "results"
NAME = "asked"


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, compare, write; 1 if an answer differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--prompt", type=Path, required=True, help="tuned prompt folder")
    add("--model", type=Path, required=True, help="folder of its model")
    add("--task", default="nlu:sst2", help="a classification")
    add("--data", type=Path, help="data folder of nlu: tasks")
    add("--rows", type=int, default=200, help="test rows")
    add("--results", type=Path, default=RESULTS)
    return _run(parser.parse_args(arguments))


def _run(given: argparse.Namespace) -> int:
    silence_libraries()
    recorded = environment(given.results)
    task = open_task(given.task, given.data)
    rows = list(task.texts("test")[: given.rows])
    model = Backbone.load(str(given.model), dtype="float32", device="cpu")
    prompt = load_prompt(given.prompt)
    # PEFT puts virtual tokens in front of everything; the server gets them there as well.
    own = Template.parse(prompt.provenance.template or task.template.text)
    template = own.with_soft_in_front()
    prompt = prompt.with_provenance(template=template.text, task=given.task)
    with tempfile.TemporaryDirectory(prefix="promptport-roads-") as scratch:
        library = Path(scratch) / "library"
        save_prompt(prompt, library / NAME)
        ours = predict(prompt, rows, backbone=model, task=task, template=template)
        with stage("asking PEFT"):
            peft = _peft(model, task, template, prompt, rows, library / NAME)
        with stage("asking the server"):
            server = _server(given, library, rows, ours)
    figures = {**peft, **server}
    runs = {**figures, "rows": len(rows)}
    merge_summary(given.results, figures, recorded, "roads.json", runs)
    print(figures)
    return int(figures["peft.labels_equal"] < 1 or figures["server.labels_equal"] < 1)


@torch.no_grad()
def _peft(
    model: Backbone,
    task: Task,
    template: Template,
    prompt: SoftPrompt,
    rows: Sequence[Row],
    folder: Path,
) -> dict[str, float]:
    """The log-probabilities where the answer begins, by our backbone and by PEFT on the folder."""
    from peft import PeftModel

    objective = Objective(model, task, template, length=prompt.length, truncate=True)
    questions = objective.prepare(blind_rows(rows, objective)).questions
    fresh: Any = Backbone.load(model.name, dtype="float32", device="cpu").model
    theirs: Any = PeftModel.from_pretrained(fresh, folder).eval()
    words = [word for label in task.label_names for word in (task.labels or {})[label]]
    label_ids = model.layout.answer_ids(words)
    first = sorted({each[0] for each in label_ids})
    gap, equal = 0.0, 0
    for question in questions:
        row = question.inputs[0]
        assert row.soft == tuple(range(prompt.length)), "PEFT needs them in front"
        ours = model.answer_logits([row], prompt.vectors, [0])[0, 0].double().log_softmax(-1)
        ids = torch.tensor([row.ids[prompt.length : row.scored[0] + 1]])
        logits = theirs(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        told = logits[: len(ours)].double().log_softmax(-1)
        watched = sorted({*ours.topk(10).indices.tolist(), *first})
        gap = max(gap, float((ours - told)[watched].abs().max()))
        equal += max(first, key=lambda i: ours[i]) == max(first, key=lambda i: told[i])
    return {"peft.max_logprob_gap": gap, "peft.labels_equal": equal / len(questions)}


def _server(
    given: argparse.Namespace, library: Path, rows: Sequence[Row], ours: Sequence[Prediction]
) -> dict[str, float]:
    """Labels and their probabilities over HTTP."""
    command = [sys.executable, "-m", "promptport", "serve", str(library), "--port", "0"]
    command += ["--backbone", str(given.model), "--dtype", "float32", "--device", "cpu"]
    if given.data is not None:
        command += ["--data", str(given.data)]
    gap, equal = 0.0, 0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            with httpx2.Client(base_url=address_of(process), timeout=300) as client:
                for row, own in zip(rows, ours, strict=True):
                    (found,) = _asked(client, row.fields)
                    equal += found["label"] == own.answer
                    shares: Mapping[str, float] = own.probabilities or {}
                    gap = max(gap, *(abs(found["probabilities"][k] - v) for k, v in shares.items()))
        finally:
            process.terminate()
            process.communicate()
    return {"server.max_probability_gap": gap, "server.labels_equal": equal / len(rows)}


def _asked(client: httpx2.Client, fields: Mapping[str, str]) -> list[dict[str, Any]]:
    reply = client.post("/classify", json={"model": NAME, "input": fields["text"]})
    found: list[dict[str, Any]] = reply.raise_for_status().json()["results"]
    return found


if __name__ == "__main__":
    sys.exit(main())
