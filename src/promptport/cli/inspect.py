"""promptport inspect: what a prompt or a backbone is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.attention import AVERAGED, is_attention
from promptport.cli.console import JsonFlag, print_json, print_table, quiet
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from promptport.prompt import SoftPrompt


def command(
    thing: Annotated[
        str,
        typer.Argument(
            help="Prompt, vector or attention folder, portable file, or a backbone by name, folder "
            "or Hub id."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Nearest tokens to show.")] = 3,
    json_output: JsonFlag = False,
) -> None:
    """Show a prompt (provenance, lengths, nearest tokens) or a backbone (kind, width, memory)."""
    quiet()
    place = Path(thing)
    if (place / "adapter_config.json").is_file():
        described = _describe_prompt(place, top)
        show = _show_prompt
    elif (place / "vector.json").is_file():
        described, show = _describe_vector(place), _show_facts
    elif is_attention(place):
        described, show = _describe_attention(place), _show_facts
    elif place.is_file():
        described, show = _describe_portable(place), _show_facts
    else:
        from promptport.backbone import describe_backbone

        described, show = {"backbone": thing, **describe_backbone(thing)}, _show_facts
    if json_output:
        print_json(described)
    else:
        show(described)


def _show_facts(described: dict[str, Any]) -> None:
    """The first entry is the title."""
    title, *facts = described.items()
    print_table(str(title[1]), ["", ""], [[k.replace("_", " "), v] for k, v in facts])


def _describe_vector(folder: Path) -> dict[str, Any]:
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


def _describe_attention(folder: Path) -> dict[str, Any]:
    """What was tuned for each row, and the mean attention if its ordinary prompt is there."""
    from promptport.storage import load_prompt
    from promptport.storage.attention_folder import read_attention

    provenance, tensors, numbers = read_attention(folder)
    sources, length, width = tensors["sources"].shape
    averaged = folder / AVERAGED
    found = averaged.is_dir()
    tuning = (load_prompt(averaged).provenance.tuning if found else None) or {}
    return {
        "folder": str(folder),
        "kind": "attention over sources",
        "sources": sources,
        "length": length,
        "width": width,
        "projection": tensors["down"].shape[0],
        **numbers,
        "checksum": "verified",
        "averaged": str(averaged) if found else None,
        "mean_attention": tuning.get("attention"),
        "provenance": provenance.to_dict(),
    }


def _describe_portable(file: Path) -> dict[str, Any]:
    from promptport.storage import load_portable

    portable = load_portable(file)
    return {
        "file": str(file),
        "length": portable.length,
        "words": len(portable.words),
        "anchored": portable.mixture is not None,
        "norms_over_mean_row": portable.norms.tolist(),
        "provenance": portable.provenance.to_dict(),
    }


def _describe_prompt(folder: Path, top: int) -> dict[str, Any]:
    from promptport.storage import load_prompt

    prompt = load_prompt(folder)
    norms = prompt.vectors.norm(dim=1)
    described: dict[str, Any] = {
        "folder": str(folder),
        "length": prompt.length,
        "width": prompt.width,
        "norms": norms.tolist(),
        "moved": None
        if prompt.origin is None
        else (prompt.vectors - prompt.origin).norm(dim=1).tolist(),
        "mixture": None if prompt.mixture is None else prompt.mixture.readable(top),
        "provenance": prompt.provenance.to_dict(),
    }
    return {**described, **_in_its_space(prompt, top)}


def _in_its_space(prompt: SoftPrompt, top: int) -> dict[str, Any]:
    from promptport.backbone import check_prompt, open_space

    name = prompt.provenance.backbone
    try:
        space = open_space(name, prompt.provenance.revision)
        check_prompt(prompt, space)
    except PromptPortError as error:
        return {"mean_embedding_norm": None, "nearest": None, "backbone_error": str(error)}
    return {
        "mean_embedding_norm": space.statistics.mean_norm,
        "nearest": space.nearest(prompt.vectors, top),
        "backbone_error": None,
    }


def _told(step: dict[str, Any]) -> str:
    """One entry of the history in a line."""
    from promptport.prompt import step_name

    text = step_name(step).replace("_", " ")
    text += f" by {step['method']}" if "method" in step else ""
    text += f" from {step['source']}" if "source" in step else ""
    counts = {name: step.get(name) for name in ("origins", "rows", "words")}
    facts = [f"{count} {name}" for name, count in counts.items() if isinstance(count, int)]
    if isinstance(step.get("loss"), list):
        facts.append("loss " + " to ".join(f"{x:.3f}" for x in step["loss"]))
    if step.get("labels_used") is False:
        facts.append("no labels")
    return f"{text}: {', '.join(facts)}" if facts else text


def _show_prompt(described: dict[str, Any]) -> None:
    source = described["provenance"]
    facts = [
        ["backbone", source["backbone"]],
        ["kind", source["kind"]],
        ["virtual tokens", f"{described['length']} x {described['width']}"],
        ["task", source["task"]],
        ["template", source["template"]],
        ["origin", source["origin"]],
        ["dev score", (source["tuning"] or {}).get("dev_score")],
        ["fingerprint", source["fingerprint"]],
    ]
    for i, step in enumerate(source["history"], 1):
        facts.append([f"step {i}", _told(step)])
    print_table(described["folder"], ["", ""], facts)
    mean = described["mean_embedding_norm"]
    rows = []
    for i, norm in enumerate(described["norms"]):
        near = described["nearest"][i] if described["nearest"] else []
        moved = described["moved"][i] if described["moved"] else None
        words = "  ".join(f"{word} {cosine:.2f}" for word, cosine in near)
        rows.append([i + 1, norm, norm / mean if mean else None, moved, words])
    columns = ["token", "norm", "x mean embedding", "moved", "nearest tokens (cosine)"]
    print_table("virtual tokens", columns, rows)
    if described["mixture"]:
        mixed = [
            [i + 1, "  ".join(f"{w} {v:.2f}" for w, v in row)]
            for i, row in enumerate(described["mixture"])
        ]
        print_table(
            "anchored: the words that each virtual token mixes", ["token", "words (weight)"], mixed
        )
    if described["backbone_error"]:
        typer.echo(f"The backbone could not be read: {described['backbone_error']}")
