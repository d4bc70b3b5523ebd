"""The history of a prompt in sentences, without the paths of the machine that it was made on."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from promptport.provenance import step_name

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w./-]+\.gguf)?")

_NO_LABEL = " No label was read."

Entry = Mapping[str, Any]


def public_name(backbone: str) -> str:
    """What a backbone may be called where others read it: of a local folder its last part alone.

    Args:
        backbone: embedded name, Hub id or local folder.
    """
    if _HUB_ID.fullmatch(backbone) and not Path(backbone).exists():
        return backbone
    return re.split(r"[/\\]", backbone.rstrip("/\\"))[-1] or "a local model"


def step_sentence(entry: Entry) -> str:
    """One entry of `Provenance.history` as a sentence.

    Args:
        entry: of any step, also of those that a later version writes.
    """
    tell = _SENTENCES.get(step_name(entry), _unknown)
    try:
        text = tell(entry)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError):  # not written by us
        text = _unknown(entry)
    labels = entry.get("labels_used")
    return text + ("" if labels is None else " Labels were used." if labels else _NO_LABEL)


def makes_another(entry: Entry) -> bool:
    """Whether a step made another prompt of what was tuned: a sum, or a vector put on an origin."""
    return entry.get("step") in ("apply", "merge", "search")


def origin_text(origin: Mapping[str, Any] | None) -> str | None:
    """How an origin was made, in a few words; None if nobody knows."""
    if not origin:
        return None
    kind = str(origin.get("kind", "unknown"))
    seed = f", seed {origin['seed']}" if "seed" in origin else ""
    names = {
        "vocabulary": f"rows of random words{seed}",
        "normal": f"normal noise{seed}",
        "mixture": f"a random mixture of words{seed}",
        "text": f"the text {origin.get('text')!r}",
        "prompt": "another prompt",
    }
    return names.get(kind, kind)


def _unknown(entry: Entry) -> str:
    return f"Step {step_name(entry)!r}."


def _transfer(entry: Entry) -> str:
    parts = [part for part in entry.get("sources") or () if "source" in part]
    names = [public_name(part["source"]) for part in parts] or [_name(entry, "source")]
    facts = [f"{entry['anchors']} shared words"] if "anchors" in entry else []
    if isinstance(entry.get("matching"), float):
        facts.append(f"matching {entry['matching']:.2f}")
    return (
        f"Carried from {' and '.join(names)} to {_name(entry, 'target')} by the embedding tables, "
        f"with the method {_method(entry)}{_bracket(facts)}."
    )


def _carried_vector(entry: Entry) -> str:
    return (
        f"Its task vector was carried from {_name(entry, 'source')} to {_name(entry, 'target')}, "
        f"with the method {_method(entry)}."
    )


def _begin(entry: Entry) -> str:
    start = origin_text(entry.get("start")) or "nothing"
    return (
        f"Begun anew on {_name(entry, 'target')}, from {start}, to answer like the prompt on "
        f"{_name(entry, 'source')}."
    )


def _align(entry: Entry) -> str:
    names = [public_name(teacher["backbone"]) for teacher in entry.get("teachers") or ()]
    whose = f" of its source on {' and '.join(names)}" if names else " of its source"
    return f"Aligned: learned the answers{whose}{_texts(entry)}."


def _write(entry: Entry) -> str:
    names = [public_name(teacher["backbone"]) for teacher in entry.get("teachers") or ()]
    whose = f" what its source wrote on {' and '.join(names)}" if names else " what others wrote"
    return f"Learned to write{whose}{_texts(entry)}."


def _fit_mixture(entry: Entry) -> str:
    count = entry.get("words")
    words = f"{count} words" if isinstance(count, int) else "words"
    return f"Written as a mixture of {words} that answers like the free prompt{_texts(entry)}."


def _cue_word(entry: Entry) -> str:
    return f"The cue word {entry.get('word')!r} was put in front of the answer."


def _distill_merge(entry: Entry) -> str:
    tasks = ", ".join(entry.get("tasks") or ()) or "several tasks"
    return f"Learned to answer like the single prompts of {tasks}{_texts(entry)}."


def _over_origins(entry: Entry) -> str:
    count = entry.get("origins", "several")
    return f"Its task vector learned to work on {count} origins{_texts(entry)}."


def _adapt(entry: Entry) -> str:
    count = entry.get("labelled", 0)
    rows = f" and {count} labelled rows" if count else ""
    return f"Adapted to {entry.get('task', 'a new task')} from a library of prompts{rows}."


def _merge(entry: Entry) -> str:
    return f"Combined: {entry.get('source', 'several parts')}, with the method {_method(entry)}."


def _apply(entry: Entry) -> str:
    return f"The task vector {entry.get('source', '')} was added to an origin.".replace("  ", " ")


def _search(entry: Entry) -> str:
    numbers = ", ".join(f"{value:g}" for value in entry.get("coefficients") or ())
    split = entry.get("split", "dev")
    return f"Coefficients {numbers} were chosen by labelled {split} rows."


def _import(entry: Entry) -> str:
    return f"Its rows were read from the file {entry.get('source', '')}.".replace("  ", " ")


def _name(entry: Entry, field: str) -> str:
    return public_name(str(entry.get(field, "an unknown model")))


def _method(entry: Entry) -> str:
    return str(entry.get("method", "unknown"))


def _texts(entry: Entry) -> str:
    """Which questions it learned from."""
    kinds = {
        "words": "random words",
        "task": "unlabelled texts",
        "write": "texts that a model wrote",
    }
    kind = kinds.get(str(entry.get("texts")), "texts without labels")
    rows, loss = entry.get("rows"), entry.get("loss")
    count = f"{rows} rows of " if isinstance(rows, int) else ""
    change = f" (loss {loss[0]:.3f} to {loss[1]:.3f})" if isinstance(loss, list | tuple) else ""
    return f" on {count}{kind}{change}"


def _bracket(facts: list[str]) -> str:
    return f" ({', '.join(facts)})" if facts else ""


_SENTENCES: Mapping[str, Callable[[Entry], str]] = {
    "transfer": _transfer,
    "decode": _transfer,
    "transfer vector": _carried_vector,
    "begin": _begin,
    "align": _align,
    "write": _write,
    "fit_mixture": _fit_mixture,
    "cue_word": _cue_word,
    "distill_merge": _distill_merge,
    "distill_over_origins": _over_origins,
    "adapt": _adapt,
    "merge": _merge,
    "apply": _apply,
    "search": _search,
    "import": _import,
}
