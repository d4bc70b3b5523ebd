"""promptport inspect: what a prompt, vector, file, library or model is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.attention import AVERAGED, is_attention
from promptport.cli.console import (
    BackboneOption,
    JsonFlag,
    backbone_reference,
    command_line,
    hint,
    note,
    print_facts,
    print_json,
    print_table,
    prompt_folders,
    quiet,
    readable,
    say,
)
from promptport.errors import PromptPortError
from promptport.files import is_gguf_file
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt

Described = dict[str, Any]

_STEPS = {
    "transfer": "moved by the embedding tables",
    "fit_mixture": "fitted by a mixture of words",
    "align": "aligned to the answers of its source",
    "cue_word": "given a word in front of the answer",
    "distill_merge": "distilled from the prompts that it combines",
    "distill_over_origins": "learned again over several origins",
    "move": "moved by its answers",
    "transfer vector": "moved as a vector",
    "apply": "put on an origin",
    "merge": "combined",
    "search": "combined with coefficients that dev rows chose",
    "adapt": "adapted from prompts of other tasks",
    "import": "read from a file of rows alone",
}


def command(
    thing: Annotated[
        str,
        typer.Argument(
            help="Prompt, vector or attention folder, folder of prompts, portable file, or a model "
            "by name, folder, GGUF file or Hub id."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Nearest words to show.")] = 3,
    backbone: BackboneOption = None,
    json_output: JsonFlag = False,
) -> None:
    """Show what a prompt, vector, file, library or model is.

    Of a prompt: where it comes from, the norm of every virtual token and the words next to it.

    Example:
        promptport inspect capital
        promptport inspect nano-bert
    """
    quiet()
    with stage(f"looking at {thing}"):
        described, show = _describe(thing, top, backbone)
    if json_output:
        print_json(described)
    else:
        show(described)


def _describe(
    thing: str, top: int, backbone: str | None
) -> tuple[Described, Callable[[Described], None]]:
    """What it is, and how to show that.

    Raises:
        PromptPortError: nothing of this name can be read.
    """
    place = Path(thing)
    if (place / "adapter_config.json").is_file():
        return _describe_prompt(place, top, backbone), _show_prompt
    if (place / "vector.json").is_file():
        return _describe_vector(place), _show_facts
    if is_attention(place):
        return _describe_attention(place), _show_facts
    if place.is_file() and not is_gguf_file(place):
        return _describe_portable(place), _show_facts
    if not (place / "config.json").is_file() and (inside := prompt_folders(place)):
        return _describe_library(place, inside), _show_library
    from promptport.backbone import describe_backbone

    return {"backbone": thing, **describe_backbone(thing)}, _show_backbone


def _show_facts(described: Described) -> None:
    """The first entry is the title."""
    title, *facts = described.items()
    print_facts(str(title[1]), [[k.replace("_", " "), v] for k, v in facts])


def _show_backbone(described: Described) -> None:
    _show_facts({name: value for name, value in described.items() if name != "warnings"})
    for line in described["warnings"]:
        say(f"warning: {line}")


def _describe_library(place: Path, folders: list[Path]) -> Described:
    from promptport.storage import load_prompt
    from promptport.storage.prompt_folder import CONFIG_FILE

    entries: list[Described] = []
    for folder in folders:
        name = folder.relative_to(place).as_posix()
        if not (folder / CONFIG_FILE).is_file():
            entries.append({"name": name, "kind": "vector"})
            continue
        try:
            prompt = load_prompt(folder)
        except PromptPortError as error:
            entries.append({"name": name, "kind": "cannot be read", "error": str(error)})
            continue
        made = prompt.provenance
        entries.append(
            {
                "name": name,
                "kind": "mixture prompt" if prompt.mixture else "prompt",
                "task": made.task,
                "backbone": made.backbone,
                "length": prompt.length,
            }
        )
    return {"library": str(place), "entries": entries}


def _show_library(described: Described) -> None:
    columns = ["name", "kind", "task", "backbone", "length"]
    rows = [[entry.get(column) for column in columns] for entry in described["entries"]]
    place = described["library"]
    print_table(f"{place}: a folder of {len(rows)} prompts and vectors", columns, rows)
    hint("More about them", command_line("library", "list", place))
    hint("One of them", command_line("inspect", Path(place) / described["entries"][0]["name"]))


def _describe_vector(folder: Path) -> Described:
    from promptport.storage import load_vector

    vector = load_vector(folder)
    return {
        "folder": str(folder),
        "coefficients": dict(vector.coefficients),
        "length": vector.delta.shape[0],
        "width": vector.delta.shape[1],
        "norms": vector.delta.norm(dim=1).tolist(),
        "provenance": vector.provenance.to_dict(),
    }


def _describe_attention(folder: Path) -> Described:
    """What was tuned for each row, and the mean attention if its ordinary prompt is there."""
    from promptport.storage import load_prompt
    from promptport.storage.attention_folder import read_attention

    provenance, tensors, numbers = read_attention(folder)
    sources, length, width = tensors["sources"].shape
    averaged = folder / AVERAGED
    is_there = averaged.is_dir()
    tuning = (load_prompt(averaged).provenance.tuning if is_there else None) or {}
    return {
        "folder": str(folder),
        "kind": "attention over sources",
        "sources": sources,
        "length": length,
        "width": width,
        "projection": tensors["down"].shape[0],
        **numbers,
        "checksum": "verified",
        "averaged": str(averaged) if is_there else None,
        "mean_attention": tuning.get("attention"),
        "provenance": provenance.to_dict(),
    }


def _describe_portable(file: Path) -> Described:
    from promptport.storage import load_portable

    portable = load_portable(file)
    return {
        "file": str(file),
        "length": portable.length,
        "words": len(portable.words),
        "mixture": portable.mixture is not None,
        "norms_over_mean_row": portable.norms.tolist(),
        "provenance": portable.provenance.to_dict(),
    }


def _describe_prompt(folder: Path, top: int, backbone: str | None) -> Described:
    from promptport.storage import load_prompt

    prompt = load_prompt(folder)
    origin = prompt.origin
    moved = None if origin is None else (prompt.vectors - origin).norm(dim=1).tolist()
    described: Described = {
        "folder": str(folder),
        "length": prompt.length,
        "width": prompt.width,
        "norms": prompt.vectors.norm(dim=1).tolist(),
        "moved": moved,
        "mixture": None if prompt.mixture is None else prompt.mixture.readable(top),
        "provenance": prompt.provenance.to_dict(),
    }
    return {**described, **_in_its_space(prompt, top, backbone, folder)}


def _in_its_space(prompt: SoftPrompt, top: int, backbone: str | None, folder: Path) -> Described:
    from promptport.backbone import check_prompt, open_space

    try:
        space = open_space(**backbone_reference(prompt.provenance, backbone, folder))
        check_prompt(prompt, space)
    except PromptPortError as error:
        return {"mean_embedding_norm": None, "nearest": None, "backbone_error": str(error)}
    nearest = space.nearest(prompt.vectors, top)
    return {
        "mean_embedding_norm": space.statistics.mean_norm,
        "nearest": [[(readable(token), cosine) for token, cosine in row] for row in nearest],
        "backbone_error": None,
    }


def _told(step: Described) -> str:
    """One entry of the history in a line."""
    from promptport.provenance import step_name

    name = step_name(step)
    text = _STEPS.get(name, name.replace("_", " "))
    text += f" ({step['method']})" if "method" in step else ""
    text += f" from {step['source']}" if "source" in step else ""
    counts = {name: step.get(name) for name in ("origins", "rows", "words")}
    facts = [f"{count} {name}" for name, count in counts.items() if isinstance(count, int)]
    if isinstance(step.get("loss"), list):
        facts.append("loss " + " to ".join(f"{x:.3f}" for x in step["loss"]))
    if step.get("labels_used") is False:
        facts.append("no labels")
    return f"{text}: {', '.join(facts)}" if facts else text


def _show_prompt(described: Described) -> None:
    source = described["provenance"]
    facts = [
        ["backbone", source["backbone"]],
        ["kind", source["kind"]],
        ["virtual tokens", f"{described['length']} x {described['width']}"],
        ["task", source["task"]],
        ["template", source["template"]],
        *([f"template of {task}", text] for task, text in source.get("templates", {}).items()),
        ["origin", source["origin"]],
        ["dev score", (source["tuning"] or {}).get("dev_score")],
        ["fingerprint", source["fingerprint"]],
        *_file_facts(source.get("file")),
    ]
    for i, step in enumerate(source["history"], 1):
        facts.append([f"step {i}", _told(step)])
    print_facts(described["folder"], facts)
    _show_tokens(described)
    if described["mixture"]:
        mixed = [
            [i, ", ".join(f"{word}\xa0{share:.2f}" for word, share in row)]
            for i, row in enumerate(described["mixture"], 1)
        ]
        title = "a mixture prompt: the words that each virtual token mixes"
        print_table(title, ["token", "words (weight)"], mixed)
    if described["backbone_error"]:
        note(f"the backbone could not be read: {described['backbone_error']}")


def _file_facts(file: Described | None) -> list[list[str]]:
    """The GGUF file that the prompt was made on, if it was."""
    if not file:
        return []
    made = f"{file.get('name')} ({file.get('quantisation')}: {file.get('tensor_types')})"
    return [["made on the file", made], ["its SHA-256", str(file.get("sha256"))]]


def _show_tokens(described: Described) -> None:
    mean = described["mean_embedding_norm"]
    rows = []
    for i, norm in enumerate(described["norms"]):
        near = described["nearest"][i] if described["nearest"] else []
        moved = described["moved"][i] if described["moved"] else None
        words = ", ".join(f"{word}\xa0{cosine:.2f}" for word, cosine in near)
        rows.append([i + 1, norm, norm / mean if mean else None, moved, words])
    columns = ["token", "norm", "x mean embedding", "from origin", "nearest words (cosine)"]
    print_table("virtual tokens", columns, rows)
