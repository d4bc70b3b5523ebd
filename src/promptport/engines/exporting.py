"""An export: what an engine's writer makes, a README with the lines that load it, a manifest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptport._version import __version__
from promptport.engines.material import Carried, Material, Part, gather
from promptport.engines.readme import readme
from promptport.engines.registry import Engine
from promptport.errors import PromptPortError
from promptport.files import atomic_folder, json_bytes, read_json
from promptport.history import public_name
from promptport.progress import stage
from promptport.scratch import scratch_folder, sweep
from promptport.tasks import Task

MANIFEST = "promptport-export.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Export:
    """What was written.

    Attributes:
        engine: for which engine.
        material: of what.
        place: the folder, or the file.
        manifest: plain JSON values, as they lie beside it.
    """

    engine: Engine
    material: Material
    place: Path
    manifest: Mapping[str, Any]


def export_prompts(
    folders: Sequence[Path],
    engine: Engine,
    out: Path,
    *,
    backbone: str | None = None,
    base: str | None = None,
    tasks: Mapping[Path, Task] | None = None,
    python: Path,
) -> Export:
    """Write prompts of one model for an engine; the place appears whole or not at all.

    Args:
        folders: one or more prompt folders.
        engine: for which engine.
        out: a new folder, or a new file.
        backbone: the model of the prompts, if it is not where they say.
        base: the same model in the format of the engine, if it was tuned on another.
        tasks: of the prompts, by their folders, as far as they could be opened.
        python: interpreter that has the engine's packages.

    Raises:
        PromptPortError: what the engine cannot do, a place that is taken, prompts of several
            models, or a package that is missing.
    """
    sweep(out.parent)
    _check_place(engine, out)
    material = gather(folders, backbone=backbone, base=base, tasks=tasks or {}, python=python)
    for item in material.items:
        engine.check(item, material.kind)
    with stage(f"writing {out}"):
        if engine.is_file:
            return _written_file(engine, material, out)
        with atomic_folder(out) as staging:
            facts = engine.write(material, staging)
            made = Export(engine, material, out, _manifest(engine, material, facts))
            (staging / "README.md").write_text(readme(engine, material, made.manifest), "utf-8")
            (staging / MANIFEST).write_bytes(json_bytes(dict(made.manifest)))
    return made


def _written_file(engine: Engine, material: Material, out: Path) -> Export:
    """The file last, so that nothing stands there without what says how to use it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(out.parent, out.name) as scratch:
        staged = scratch / out.name
        facts = engine.write(material, staged)
        made = Export(engine, material, out, _manifest(engine, material, facts))
        beside(staged, ".md").write_text(readme(engine, material, made.manifest), "utf-8")
        beside(staged, ".json").write_bytes(json_bytes(dict(made.manifest)))
        for ending in (".md", ".json", ""):
            os.replace(beside(staged, ending), beside(out, ending))
    return made


def beside(file: Path, ending: str) -> Path:
    """A file beside an exported one: `X.gguf` -> `X.gguf.md`."""
    return file.with_name(file.name + ending)


def _check_place(engine: Engine, out: Path) -> None:
    if engine.is_file:
        if out.suffix != ".gguf":
            raise PromptPortError(
                "--out", expected="a file X.gguf", got=str(out), fix="Name such a file"
            )
        own = [] if _is_manifest(beside(out, ".json")) else [".md", ".json"]
        taken = [file for file in (beside(out, end) for end in ["", *own]) if file.exists()]
    else:
        taken = [out] if out.exists() and not (out.is_dir() and not any(out.iterdir())) else []
    if taken:
        raise PromptPortError(
            "--out",
            expected="a new file" if engine.is_file else "a new folder, or an empty one",
            got=f"{taken[0]}, which is there",
            fix="Name another place, or remove it first",
        )


def _is_manifest(file: Path) -> bool:
    """Whether it was left by an earlier export, so that it may be replaced."""
    try:
        return str(read_json(file).get("written_by")).startswith("promptport ")
    except PromptPortError:
        return False


def _manifest(engine: Engine, material: Material, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA_VERSION,
        "written_by": f"promptport {__version__}",
        "engine": engine.name,
        "model": public_name(material.base),
        "kind": material.kind,
        "fingerprint": material.space.fingerprint,
        **facts,
        "prompts": [_told(item, engine) for item in material.items],
    }


def _told(item: Carried, engine: Engine) -> dict[str, Any]:
    answers = {word: list(ids) for word, ids in item.label_ids.items()}
    labels = {} if item.task is None else {k: list(w) for k, w in (item.task.labels or {}).items()}
    return {
        "name": item.name,
        "task": item.prompt.provenance.task or (item.task and item.task.name),
        "template": item.template.text,
        "virtual_tokens": item.prompt.length,
        "tokens": list(item.tokens) if engine.in_vocabulary else [],
        "ids": list(item.ids),
        "row": [_told_part(part) for part in item.parts],
        "decoder_row": [_told_part(part) for part in item.decoder_parts],
        "labels": labels,
        "label_ids": answers,
    }


def _told_part(part: Part) -> dict[str, Any]:
    if isinstance(part, tuple):
        return {"text": list(part)}
    return {"virtual_tokens": [part.start, part.stop]} if isinstance(part, slice) else {"ids": part}
