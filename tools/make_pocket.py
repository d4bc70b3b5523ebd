"""Write the embedded (pocket) tasks: `python tools/make_pocket.py`. The same bytes every time."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent))

from pocket.classes import class_rows, class_tasks
from pocket.facts import facts, relations, split
from pocket.writing import writing_rows, writing_tasks

TARGET = Path(__file__).parents[1] / "src" / "promptport" / "tasks" / "pocket"


def main(target: Path = TARGET) -> None:
    """Write one folder per task."""
    write_facts(target)
    write_classes(target)
    write_writing(target)


def write_classes(target: Path) -> None:
    """The classification tasks."""
    for name, made in sorted(class_tasks().items()):
        manual, *paraphrases = made.templates
        task = {
            "schema": 1,
            "name": name,
            "kind": "classification",
            "description": f"{made.description}, {len(made.labels)} classes",
            "template": f"{'{text} {text_b}' if made.is_pair else '{text}'} {{soft}} {{answer}} .",
            "manual": manual,
            "paraphrases": paraphrases,
            "metric": "accuracy",
            "labels": {label: list(words) for label, words in made.labels.items()},
        }
        rows = class_rows(name)
        write_task(target / name, task, rows)
        print(f"{name}: {sum(map(len, rows.values()))} rows")


def write_facts(target: Path) -> None:
    """The probes."""
    described = relations()
    total = 0
    for name, pairs in sorted(facts().items()):
        templates = described[name]["templates"]
        task = {
            "schema": 1,
            "name": name,
            "kind": "probe",
            "description": described[name]["description"],
            "template": "{subject} {soft} {answer} .",
            "manual": templates[0],
            "paraphrases": templates[1:],
            "metric": "p@1",
        }
        parts = split(name, pairs)
        rows = {k: [{"subject": s, "object": o} for s, o in v] for k, v in parts.items()}
        write_task(target / name, task, rows)
        total += len(pairs)
        print(f"{name}: {len(pairs)} facts")
    print(f"{len(described)} relations, {total} facts")


def write_writing(target: Path) -> None:
    """The text-to-text tasks."""
    for name, made in sorted(writing_tasks().items()):
        task = {
            "schema": 1,
            "name": name,
            "kind": "text2text",
            "description": made.description,
            "template": f"{{soft}} {made.template}",
            "manual": made.template,
            "metric": made.metric,
            "writing": {"max_new_tokens": 40, "stop": ["\n"]},
        }
        rows = writing_rows(name)
        write_task(target / name, task, rows)
        print(f"{name}: {sum(map(len, rows.values()))} rows")


def write_task(folder: Path, task: dict[str, Any], rows: dict[str, list[dict[str, str]]]) -> None:
    """Write task.yaml and one JSONL file per split."""
    folder.mkdir(parents=True, exist_ok=True)
    task = {**task, "data": {name: f"{name}.jsonl" for name in rows}}
    text = yaml.safe_dump(task, sort_keys=False, allow_unicode=True, width=1000)
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    for name, values in rows.items():
        lines = [json.dumps(row, ensure_ascii=False) for row in values]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*[Path(argument) for argument in sys.argv[1:2]])
