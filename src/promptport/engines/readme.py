"""The README of an export: what it is, and the lines that load it and answer a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from promptport._version import __version__
from promptport.engines.lines import LINES
from promptport.engines.material import Carried, Material
from promptport.history import public_name
from promptport.pages.markdown import code, prose

if TYPE_CHECKING:
    from promptport.engines.registry import Engine


def readme(engine: Engine, material: Material, facts: Mapping[str, Any]) -> str:
    """The README, as Markdown.

    Args:
        engine: for which engine.
        material: of what.
        facts: the manifest.
    """
    count = len(material.items)
    what = "A soft prompt" if count == 1 else f"{count} soft prompts"
    parts = [
        f"# {', '.join(item.name for item in material.items)} for {engine.name}",
        f"{what} of {code(public_name(material.place.name))}, exported by promptport "
        f"{__version__}: {engine.summary}.",
        *(_prompt(item, engine) for item in material.items),
        "## Answer a row",
        LINES[engine.name](material, facts),
        _reading(material),
        "## Traps",
        "\n".join(f"- {line}" for line in [*_traps(engine, material, facts)]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prompt(item: Carried, engine: Engine) -> str:
    rows = {
        "task": code(item.prompt.provenance.task) if item.prompt.provenance.task else "unknown",
        "template": code(item.template.text),
        "virtual tokens": str(item.prompt.length),
    }
    if engine.in_vocabulary:
        rows["tokens"] = f"`{item.tokens[0]}` to `{item.tokens[-1]}`"
        rows["ids"] = f"{item.ids[0]} to {item.ids[-1]}"
    if item.label_ids and item.task is not None:
        words = [f"{label}: {', '.join(w)}" for label, w in (item.task.labels or {}).items()]
        rows["label words"] = prose("; ".join(words))
        rows["ids of label words"] = code(str(dict(item.label_ids)))
    table = ["| | |", "|---|---|", *(_line(key, value) for key, value in rows.items())]
    return f"## {item.name}\n\n" + "\n".join(table)


def _line(key: str, value: str) -> str:
    escaped = value.replace("\\|", "|").replace("|", "\\|")  # names of tokens have bars
    return f"| {key} | {escaped} |"


def _reading(material: Material) -> str:
    """How an answer is read off."""
    item = material.items[0]
    if item.label_ids:
        return (
            "Compare the log-probabilities of the label words, at their first token, and take the "
            "largest. The words are in the table above."
        )
    return ""


def _traps(engine: Engine, material: Material, facts: Mapping[str, Any]) -> Sequence[str]:
    lines = []
    if engine.in_vocabulary:
        lines.append(
            "Send ids, as above. In a text, a tokenizer puts its special tokens in front of the "
            "prompt, and some put a space behind a token of the prompt."
        )
        if facts.get("tied_head") or not facts.get("own_head", True):
            lines.append(
                "The head shares the table of the new tokens, so it gives them large logits. They "
                "are barred where the lines above say so."
            )
        if facts.get("chat_template"):
            lines.append("The chat template puts the prompt in front of every chat by itself.")
    if engine.name == "hf":
        lines.append(f"The weights are in {facts['dtype']}, as those of the checkpoint.")
    if engine.name == "gguf" and not facts["table_kept"]:
        lines.append(
            f"The table of input rows is in {facts['table']}: gguf cannot write rows in the type "
            "that it had."
        )
    if engine.name == "llama.cpp-slot":
        lines += [
            f"The files belong to the build that made them: {facts['made_by']}.",
            "Restore before every row, and assert that `cache_n` is at least the number of virtual "
            "tokens: otherwise the placeholders were read as words.",
        ]
    if engine.name == "llama.cpp-embd":
        lines.append("llama.cpp scales tokens alone: these rows are scaled already.")
    for item in material.items:
        made = item.prompt.provenance
        if made.template is None:
            said = "The prompt names no template: the row above puts it in front of the text."
            if made.templates:
                said = "The prompt answers several tasks, each in a template of its own: "
                said += ", ".join(f"{task} `{text}`" for task, text in made.templates.items())
                said += f". The row above is `{item.template.text}` (`--task` chooses)."
            if said not in lines:
                lines.append(said)
    lines.append("A prompt fits this very model alone; carry it to others with `promptport move`.")
    return lines
