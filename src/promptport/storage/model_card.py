"""The model card of a prompt folder: a README.md that says what the prompt is and how to use it.

It is made from the prompt alone, so the same prompt always has the same card, and it names no
folder of the machine that the prompt was made on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from promptport._version import __version__
from promptport.catalog.facts import finite
from promptport.errors import PromptPortError
from promptport.history import origin_text, public_name, step_sentence
from promptport.pages.markdown import code, prose, python_text
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Template
from promptport.zoo import embedded_folder

CARD_FILE = "README.md"
_MARK = "<!-- model card written by promptport"
_PIPELINES = {
    "masked": "fill-mask",
    "causal": "text-generation",
    "seq2seq": "text2text-generation",
}
_CLASSES = {
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}


def model_card(prompt: SoftPrompt, name: str, published: Mapping[str, Any] | None = None) -> str:
    """The card of a prompt, as Markdown.

    Args:
        prompt: the prompt.
        name: of the prompt, for the title: that of its folder.
        published: further fields of its head; `tags` come behind those that every card has.
    """
    parts = [
        _front_matter(prompt.provenance, published or {}),
        f"{_MARK} {__version__}; a later save replaces it -->",
        f"# {prose(name)}",
        _introduction(prompt),
        _facts(prompt),
        "## Scores",
        _scores(prompt.provenance),
        "## History",
        _history(prompt.provenance),
        "## How to use it",
        _usage(prompt.provenance),
        "## Limits",
        _limits(prompt.provenance),
    ]
    return "\n\n".join(parts) + "\n"


def may_write_card(folder: Path) -> bool:
    """Whether the README.md of a folder is missing, or a card of ours that may be replaced."""
    place = folder / CARD_FILE
    if not place.exists():
        return True
    try:
        return _MARK in place.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def _front_matter(made: Provenance, published: Mapping[str, Any]) -> str:
    fields: dict[str, Any] = {
        "library_name": "peft",
        "base_model": public_name(made.backbone),
        "base_model_relation": "adapter",
        "tags": ["soft-prompt", "prompt-tuning", "promptport"],
    }
    if made.kind in _PIPELINES:
        fields["pipeline_tag"] = _PIPELINES[made.kind]
    fields |= {**published, "tags": [*fields["tags"], *published.get("tags", ())]}
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    if not text.replace("\n", "").isprintable():  # signs that turn the text behind them
        text = yaml.safe_dump(fields, sort_keys=False)
    return f"---\n{text}---"


def _introduction(prompt: SoftPrompt) -> str:
    made = prompt.provenance
    kind = f"a {made.kind} language model" if made.kind else "a language model"
    task = f" It was made for the task {code(made.task)}." if made.task else ""
    return (
        f"A soft prompt of {prompt.length} virtual tokens for {code(public_name(made.backbone))}, "
        f"{kind} that stays as it is.{task}"
    )


def _facts(prompt: SoftPrompt) -> str:
    made, mixture = prompt.provenance, prompt.mixture
    origin = origin_text(made.origin)
    form = "free vectors" if mixture is None else f"mixtures of {len(mixture.words)} words"
    revision = f", revision {prose(made.revision)}" if made.revision else ""
    rows = {
        "base model": f"{code(public_name(made.backbone))}{revision}",
        "task": code(made.task) if made.task else None,
        "template": ", ".join(map(code, made.known_templates)) or None,
        "virtual tokens": f"{prompt.length}, {prompt.width} wide, {form}",
        "tuning started from": None if origin is None else prose(origin),
        "file of the base model": _file(made),
        "embedding table": code(made.fingerprint) if made.fingerprint else None,
    }
    return _table(("", ""), [(key, value) for key, value in rows.items() if value is not None])


def _file(made: Provenance) -> str | None:
    if made.file is None:
        return None
    known = [made.file.get(key) for key in ("name", "quantisation", "sha256")]
    name, quantisation, digest = (str(value) for value in known)
    return f"{code(name)}, {prose(quantisation)}, SHA-256 {code(digest)}"


def _scores(made: Provenance) -> str:
    """What is recorded of the prompt, or else of those that it was made from."""
    own = _dev_score(made.backbone, made.tuning)
    if own is not None:
        note = "The epoch was chosen by these rows: expect a little less on new ones."
        return f"{_table(_SCORE_COLUMNS, [own])}\n\n{note}"
    steps = [part for entry in made.history for part in entry.get("sources") or (entry,)]
    scores = [_dev_score(str(step.get("source", "")), step.get("tuning")) for step in steps]
    sources = [row for row in scores if row is not None]
    if not sources:
        return "No score is recorded."
    note = "These are scores of what it was made from. Of this prompt itself none is recorded."
    return f"{_table(_SCORE_COLUMNS, list(dict.fromkeys(sources)))}\n\n{note}"


_SCORE_COLUMNS = ("metric", "value", "rows", "model")


def _dev_score(backbone: str, tuning: dict[str, Any] | None) -> tuple[str, ...] | None:
    score = finite((tuning or {}).get("dev_score"))
    if tuning is None or score is None:
        return None
    model = code(public_name(backbone)) if backbone else "the same"
    return prose(str(tuning.get("metric", "score"))), f"{score:.3f}", "dev", model


def _history(made: Provenance) -> str:
    lines = []
    for entry in made.history:
        lines += (
            [_tuned(str(entry.get("source", "")), entry["tuning"])] if entry.get("tuning") else []
        )
        lines.append(step_sentence(entry))
    if made.tuning:
        lines.append(_tuned(made.backbone, made.tuning))
    if not lines:
        return "Nothing is recorded."
    return "\n".join(f"{i}. {prose(line)}" for i, line in enumerate(lines, 1))


def _tuned(backbone: str, tuning: Any) -> str:
    known = tuning if isinstance(tuning, dict) else {}
    model = f" on {public_name(backbone)}" if backbone else ""
    steps = f" in {known['steps']} steps" if "steps" in known else ""
    rows = f" with {known['train_rows']} labelled rows" if "train_rows" in known else ""
    return f"Tuned{model}{steps}{rows}."


def _usage(made: Provenance) -> str:
    lines = ["With promptport, `FOLDER` being this folder:"]
    lines += ["", "```bash", "promptport inspect FOLDER"]
    lines += ["promptport predict FOLDER 'TEXT'"] if made.task else []
    lines += ["```", "", "```python", "import promptport as pp", ""]
    lines += ['prompt = pp.load_prompt("FOLDER")']
    lines += ['answers = pp.predict(prompt, ["TEXT"])'] if made.task else []
    lines += ["```", ""]
    return "\n".join([*lines, _usage_with_peft(made)])


def _usage_with_peft(made: Provenance) -> str:
    if not all(map(_leads_with_soft, made.known_templates)):
        return (
            "PEFT puts the virtual tokens in front of everything. This prompt was made for another "
            "place, that of `{soft}` in its template, so use it with promptport."
        )
    cls = _CLASSES.get(made.kind or "causal", _CLASSES["causal"])
    name = public_name(made.backbone)
    embedded = embedded_folder(made.backbone) is not None
    lines = ["With PEFT:", "", "```python", "from peft import PeftModel"]
    lines += [f"from transformers import {cls}", ""]
    if embedded:
        lines += ["from promptport.zoo import embedded_folder", ""]
        lines.append(f"model = {cls}.from_pretrained(embedded_folder({python_text(name)}))")
    else:
        lines.append(f"model = {cls}.from_pretrained({python_text(name)})")
    lines += ['model = PeftModel.from_pretrained(model, "FOLDER")', "```"]
    return "\n".join(lines)


def _leads_with_soft(template: str) -> bool:
    try:
        return Template.parse(template).leads_with_soft
    except PromptPortError:  # one that nobody can lay a text out in
        return False


def _limits(made: Provenance) -> str:
    name = public_name(made.backbone)
    lines = [
        f"It fits {code(name)} alone. For another model, also a fine-tuned one with other "
        "embeddings, carry it over with `promptport move`.",
    ]
    if made.known_templates:
        lines.append("It was made for texts laid out as in its template, and does less elsewhere.")
    if made.tuning is None and made.history:
        lines.append("It was not tuned on labelled rows of this model: measure it before use.")
    if not made.known_templates:
        lines.append("Its template is not recorded: try which layout of the text suits it.")
    return "\n".join(f"- {line}" for line in lines)


def _table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...]) -> str:
        return (
            "| " + " | ".join(cell.replace("\\|", "|").replace("|", "\\|") for cell in cells) + " |"
        )

    return "\n".join([line(columns), "|" + "---|" * len(columns), *map(line, rows)])
