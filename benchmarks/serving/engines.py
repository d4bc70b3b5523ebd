"""Every engine that is installed answers as our own backbone does: one prompt, the same rows.

Run from the root of the repository: python -m benchmarks.serving.engines --prompt P --gguf FILE
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks._command import measured
from benchmarks._result import environment, merge_summary

from promptport.backbone import Backbone, find_checkpoint, silence_libraries
from promptport.engines import ENGINES, Check, Engine, Reference, check_export, export_prompts
from promptport.errors import PromptPortError
from promptport.files import read_json, write_atomic
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Task, Template, open_task

HERE = Path(__file__).resolve().parent
NEEDS_FILE = ("gguf", "llama.cpp-embd", "llama.cpp-slot")


def run(given: argparse.Namespace) -> int:
    """Check every engine that is installed; how many failed."""
    silence_libraries()
    recorded = environment(given.results)
    prompt = load_prompt(given.prompt)
    task = open_task(given.task or prompt.provenance.task or "", given.data)
    file = given.results / "engines.json"
    known = read_json(file) if file.is_file() else {}
    engines = known.get("engines", {})
    loaded: dict[str, Reference] = {}
    failed = 0
    for name in given.engine or ENGINES:
        engine = ENGINES[name]
        if not engine.runner:
            continue
        try:
            found = _checked(engine, given, task, loaded)
        except PromptPortError as error:
            if "pip install" not in str(error):
                raise
            print(f"left out: {error}", file=sys.stderr)
            engines.setdefault(name, {"left_out": str(error).partition(" in ")[0]})
            continue
        engines[name] = {**found.to_dict(), **_place(engine, given.front)}
        failed += not found.passed
        _write(given.results, engines, recorded)
    _write(given.results, engines, recorded)
    return failed


def _checked(
    engine: Engine, given: argparse.Namespace, task: Task, loaded: dict[str, Reference]
) -> Check:
    """Export the prompt for an engine, and ask both the same rows."""
    base = str(given.gguf if engine.name in NEEDS_FILE else given.model)
    prompt = load_prompt(given.prompt if engine.anywhere else given.front or given.prompt)
    if not engine.anywhere:
        front = Template.parse(prompt.provenance.template or "{soft} {text} {answer}")
        prompt = prompt.with_provenance(template=front.with_soft_in_front().text)
    with tempfile.TemporaryDirectory(prefix="promptport-engines-") as scratch:
        folder = Path(scratch) / "P"
        save_prompt(prompt, folder)
        out = Path(scratch) / ("X.gguf" if engine.is_file else "X")
        python = given.torch_python if engine.name in ("hf", "vllm") else given.engine_python
        made = export_prompts(
            [folder],
            engine,
            out,
            backbone=str(given.model),
            base=base,
            tasks={folder: task},
            python=python,
        )
        if base not in loaded:
            loaded[base] = _reference(base, loaded)
        return check_export(made, given.rows, reference=loaded[base])


def _reference(base: str, loaded: Mapping[str, Reference]) -> Reference:
    """The backbone in float32; one that is loaded already, if its weights are the same."""
    model = Backbone.load(base, dtype="float32", device="cpu")
    digest = model.weights_hash()
    same = (other for other in loaded.values() if other.model.weights_hash() == digest)
    return next(same, Reference(model))


def _place(engine: Engine, front: Path | None) -> dict[str, str]:
    as_tuned = engine.anywhere or front is not None
    return {"virtual_tokens": "as tuned" if as_tuned else "put in front"}


def _write(
    results: Path, engines: Mapping[str, Mapping[str, Any]], recorded: Mapping[str, Any]
) -> None:
    """Figures in `summary.json`; `engines.json` with all that a check said, and `table.md`."""
    ran = {name: found for name, found in engines.items() if "gap" in found}
    figures: dict[str, Any] = {"engines_checked": sum(bool(f["passed"]) for f in ran.values())}
    for name, found in ran.items():
        figures[f"{name}.max_logprob_gap"] = found["gap"]
        figures[f"{name}.answers_equal"] = found["answers_equal"]
        figures[f"{name}.labels_equal"] = found["labels_equal"]
        figures[f"{name}.slip"] = found["slip"]
    merge_summary(results, figures, recorded, "engines.json", {"engines": dict(engines)})
    write_atomic(results / "table.md", _table(ran).encode())


def _table(ran: Mapping[str, Mapping[str, Any]]) -> str:
    columns = ("engine", "rows", "prompt", "gap", "answers equal", "slip", "labels equal")
    lines = ["# Engines against our own backbone", ""]
    lines += ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, found in ran.items():
        cells = [
            *(f"{name} ({found['ran']})", str(found["rows"]), found["virtual_tokens"]),
            *(f"{found['gap']:.3g}", f"{found['answers_equal']:.3f}"),
            *(f"{found['slip']:.3g}", f"{found['labels_equal']:.3f}"),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--prompt", type=Path, required=True, help="tuned prompt folder")
    add("--front", type=Path, help="one tuned in front, for engines that keep a prefix")
    add("--model", type=Path, required=True, help="folder of its model")
    add("--gguf", type=Path, required=True, help="the same model as a GGUF file")
    add("--task", help="task of the prompt, if it names none")
    add("--data", type=Path, help="data folder of nlu: tasks")
    add("--rows", type=int, default=200, help="test rows")
    add("--engine", action="append", choices=list(ENGINES), help="one engine; repeat")
    add("--engine-python", type=Path, default=Path(sys.executable))
    add("--torch-python", type=Path, default=Path(sys.executable), help="for hf and vllm")
    add("--results", type=Path, default=HERE / "results")
    given = parser.parse_args()
    _ = find_checkpoint(str(given.model))
    return measured(run, given)


if __name__ == "__main__":
    sys.exit(main())
