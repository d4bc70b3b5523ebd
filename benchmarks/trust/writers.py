"""Every command that writes, on models so small that it takes a moment."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.trust.forking import run_command
from tests.models import save_model
from tests.tiny_gguf import write_llama

_CAPITALS = {
    "France": "Paris",
    "Germany": "Berlin",
    "Italy": "Rome",
    "Spain": "Madrid",
    "Poland": "Warsaw",
    "Greece": "Athens",
    "Paris": "France",
    "Berlin": "Germany",
    "Rome": "Italy",
    "Madrid": "Spain",
}
_FILMS = (
    *(("a great film", "good"), ("a terrible film", "bad"), ("a good story", "good")),
    *(("a bad story", "bad"), ("the old film was great", "good"), ("sad and short", "bad")),
    *(("a good river", "good"), ("a sad story of the old dog", "bad")),
    *(("a happy morning", "good"), ("a terrible dog", "bad")),
)
_PROBE = """\
schema: 1
name: capitals
kind: probe
template: "{subject} {soft} {answer} ."
manual: "The capital of {subject} is {answer} ."
metric: p@1
data: {train: capitals.jsonl, dev: capitals.jsonl, test: capitals.jsonl}
"""
_REVIEWS = """\
schema: 1
name: films
kind: classification
template: "{soft} {text} It was {answer} ."
manual: "{text} It was {answer} ."
metric: accuracy
labels:
  good: [great, good]
  bad: [terrible, bad]
data: {train: films.jsonl, dev: films.jsonl, test: films.jsonl}
"""
_SHORT = ("--epochs", "3", "--length", "3")


@dataclass(frozen=True)
class Writer:
    """A command that writes.

    Attributes:
        name: for figures.
        arguments: behind `promptport`.
        before: commands that are run first, so that it meets what stands there.
        keeps: a library that it changes: what is in it and in its trash is never lost.
        parts: the files of a folder belong together, so that all of them are old or new.
        grows: files that are added to line by line.
        prepare: called in the process of the command.
        slow: takes longer than others, and is killed half as often.
    """

    name: str
    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    keeps: str = ""
    parts: bool = True
    grows: tuple[str, ...] = ()
    prepare: Callable[[], Any] | None = None
    slow: bool = False


def make_models(root: Path) -> None:
    """Tiny random models, as folders and as a GGUF file.

    Args:
        root: gets `bert`, `roberta`, `gpt2` and `tiny.gguf`.
    """
    for name in ("bert", "roberta", "gpt2"):
        save_model(name, root / name)
    write_llama(root / "tiny.gguf")


def make_place(place: Path, models: Path) -> None:
    """A folder as a user has it: tasks, a table, prompts, a library.

    Args:
        place: gets `in` (tasks and prompts) and `lib` (a library).
        models: of `make_models`.
    """
    inside = place / "in"
    inside.mkdir(parents=True)
    rows = [json.dumps({"subject": s, "object": o}) for s, o in _CAPITALS.items()]
    (inside / "capitals.jsonl").write_text("\n".join(rows) + "\n")
    (inside / "capitals.yaml").write_text(_PROBE)
    rows = [json.dumps({"text": text, "label": label}) for text, label in _FILMS]
    (inside / "films.jsonl").write_text("\n".join(rows) + "\n")
    (inside / "films.yaml").write_text(_REVIEWS)
    lines = [f"{text} {i},{label}" for i in range(4) for text, label in _FILMS]
    (inside / "table.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    bert = ("tune", "--backbone", str(models / "bert"), "--length", "3", "--epochs", "30")
    for command in (
        (*bert, "--task", "in/capitals.yaml", "--out", "in/capital"),
        (*bert, "--task", "in/films.yaml", "--out", "in/film"),
        (*bert, "--task", "in/capitals.yaml", "--mixture", "--out", "in/mixture"),
        ("tune", "--backbone", str(models / "tiny.gguf"), *_SHORT, "--task", "in/films.yaml",
         "--out", "in/gguf-film"),
        ("vector", "make", "in/capital", "--out", "in/vector"),
        ("export", "in/capital", "--to", "portable", "--out", "in/capital.portable"),
        ("library", "add", "in/capital", "lib"),
        ("library", "add", "in/film", "lib"),
        ("library", "add", "in/film", "lib", "--name", "film-again"),
        ("library", "tag", "film-again", "lib", "--add", "mine"),
        ("library", "add", "in/mixture", "lib"),
        ("library", "remove", "mixture", "lib"),
    ):  # fmt: skip
        must(command, place)


def must(command: tuple[str, ...], place: Path) -> None:
    """Run a command that must succeed."""
    ended = run_command(command, place)
    if ended.code:
        raise RuntimeError(f"promptport {' '.join(command)}: {ended.code}\n{ended.err}")


def writers(models: Path) -> list[Writer]:
    """All of them.

    Left out are `demo`, which takes a minute, and `library pairs`, which needs prompts that are
    good: both write as `tune` and `library curves` do.

    Args:
        models: of `make_models`.
    """
    bert, roberta, gpt2 = (str(models / name) for name in ("bert", "roberta", "gpt2"))
    gguf = str(models / "tiny.gguf")
    probe, reviews = ("--task", "in/capitals.yaml"), ("--task", "in/films.yaml")
    tune = ("tune", "--backbone", bert, *_SHORT)
    out = ("--out", "P")
    older = (*tune, *probe, "--seed", "5", *out)
    moved = ("move", "in/capital", "--to", roberta, *probe, "--out", "Q")
    answers = (*moved, "--method", "answers", "--texts", "task", "--steps", "4", "--epochs", "2")
    vectors = ("vector", "combine", "capital + film", *_loads("capital", "film"), *out)
    return [
        Writer("tune", (*tune, *probe, *out)),
        Writer("tune, over an older one", (*tune, *probe, *out), (older,)),
        Writer("tune, several", (*tune, *probe, *reviews, "--seed", "0", "--seed", "1", *out)),
        Writer("tune --mixture", (*tune, *probe, "--mixture", *out)),
        Writer("tune --with", (*tune, *probe, "--with", roberta, *out), slow=True),
        Writer("tune --together", (*tune, *probe, *reviews, "--together", "one", *out)),
        Writer("tune --start attention",
               (*tune, *probe, "--start", "attention", "--library", "in/film", *out)),
        Writer("tune --start text",
               (*tune, *reviews, "--start", "text", "--library", "in/film", *out)),
        Writer("tune, a GGUF model",
               ("tune", "--backbone", gguf, *_SHORT, *reviews, *out),
               (("cache", "clear"),), slow=True),
        Writer("transfer", ("transfer", "in/capital", "--to", roberta, "--no-check", "--out", "Q")),
        Writer("transfer, over an older one",
               ("transfer", "in/capital", "--to", roberta, "--no-check", "--out", "Q"),
               (("transfer", "in/capital", "--to", roberta, "--no-check", "--magnitude", "paper",
                 "--out", "Q"),)),
        Writer("move --method answers", (*answers, "--no-check"), slow=True),
        Writer("move --method answers, over an older one", (*answers, "--no-check"),
               ((*answers, "--no-check", "--seed", "3"),), slow=True),
        Writer("move --only mixture",
               ("move", "in/capital", "--only", "mixture", *probe, "--texts", "task", "--epochs",
                "2", "--out", "Q")),
        Writer("move, a vector",
               ("move", "in/mixture", "--vector", "--to", roberta, "--out", "Q")),
        Writer("import", ("import", "in/capital.portable", "--to", roberta, "--out", "Q")),
        Writer("export --to portable",
               ("export", "in/film", "--to", "portable", "--out", "film.portable"), parts=False),
        Writer("export --to portable, over an older one",
               ("export", "in/film", "--to", "portable", "--out", "film.portable"),
               (("export", "in/capital", "--to", "portable", "--out", "film.portable"),),
               parts=False),
        Writer("export --to gguf",
               ("export", "in/gguf-film", "--to", "gguf", "--out", "film.gguf"), parts=False),
        Writer("export --to llama.cpp-embd",
               ("export", "in/gguf-film", "--to", "llama.cpp-embd", "--out", "E")),
        Writer("vector make", ("vector", "make", "in/film", "--out", "V")),
        Writer("vector combine", vectors),
        Writer("vector combine --distill",
               (*vectors, "--distill", *probe, *reviews, "--texts", "task", "--steps", "4"),
               slow=True),
        Writer("vector widen",
               ("vector", "widen", "in/capital", *probe, "--texts", "task", "--steps", "3",
                "--origin-samples", "2", *out)),
        Writer("vector check --out",
               ("vector", "check", "--backbone", bert, *probe, "--length", "3", "--epochs", "1",
                "--origin-samples", "2", "--unseen", "1", *out)),
        Writer("library add", ("library", "add", "in/vector", "lib"), keeps="lib"),
        Writer("library add, a new library", ("library", "add", "in/vector", "lib2")),
        Writer("library remove", ("library", "remove", "film", "lib"), keeps="lib"),
        Writer("library restore", ("library", "restore", "mixture", "lib"), keeps="lib"),
        Writer("library tag", ("library", "tag", "film", "lib", "--add", "good"), keeps="lib"),
        Writer("library dedupe", ("library", "dedupe", "lib", "--remove"), keeps="lib"),
        Writer("library adapt",
               ("library", "adapt", "lib", *reviews, "--steps", "3", *out)),
        Writer("library curves --out",
               ("library", "curves", "lib", *reviews, "--start", "random", "--start", "single",
                "--rows", "0", "--rows", "4", "--steps", "2", *out),
               parts=False, grows=("cells.jsonl",), slow=True),
        Writer("library similarity --out",
               ("library", "similarity", "lib/capital", "lib/film", "--out", "heat.html"),
               parts=False),
        Writer("library list", ("library", "list", "lib"), keeps="lib"),
        Writer("tasks init", ("tasks", "init", "in/table.csv", "--out", "made")),
        Writer("pull", ("pull", "someone/prompt", *out), prepare=_fake_hub),
        Writer("pull, over an older one", ("pull", "someone/prompt", *out), (older,),
               prepare=_fake_hub),
        Writer("push --dry-run",
               ("push", "in/capital", "someone/prompt", "--base-model", "nano-bert", "--dry-run")),
        Writer("cache clear", ("cache", "clear")),
        Writer("predict, a GGUF model",
               ("predict", "in/gguf-film", "a great film", *reviews), (("cache", "clear"),)),
        Writer("eval, words of a tokenizer", ("compat", gpt2, roberta)),
    ]  # fmt: skip


def _loads(*names: str) -> tuple[str, ...]:
    return tuple(part for name in names for part in ("--load", f"{name}=in/{name}"))


def _fake_hub() -> None:
    """A snapshot of a repository is there, as after fetching it."""
    from promptport.storage import hub_prompts

    hub_prompts._snapshot = lambda repo, revision: Path("in") / "capital"
