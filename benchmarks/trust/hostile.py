"""Hostile files of every kind for every reader: nothing of them runs, nothing outside is reached.

Run from the root of the repository: python -m benchmarks.trust.hostile [--kind K ...]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._result import environment
from benchmarks.trust.hostile_checks import (
    card_faults,
    control_faults,
    page_faults,
    printed_commands,
    shell_arguments,
)
from benchmarks.trust.hostile_files import Hostile, all_hostile
from benchmarks.trust.parts import write_part
from benchmarks.trust.readers import MODEL, make_seeds
from benchmarks.trust.watching import SECRET, Outside, leaks, watching

from promptport.analysis.heat_map import write_heat
from promptport.analysis.similarity import compare
from promptport.backbone import Backbone, checkpoint, open_space, silence_libraries, with_origin
from promptport.backbone.chat import has_chat, read_chat
from promptport.backbone.loading import find_checkpoint, load_tokenizer
from promptport.catalog import Catalog
from promptport.catalog.changing import add_folder, restore
from promptport.errors import PromptPortError
from promptport.storage import (
    load_portable,
    load_prompt,
    load_vector,
    prompt_of_tensor,
    save_prompt,
)
from promptport.tasks import Template, import_task, open_task

RESULTS = Path(__file__).resolve().parent / "results"
Read = Callable[[Path, Path], Any]  # what is read, a folder for what is written
FAULTS = ("executed", "reached", "not refused", "traceback", "not one line", "shown")


@dataclass(frozen=True)
class Reading:
    """What became of a file with a reader.

    Attributes:
        what: `read`, `refused`, or one of `FAULTS`.
        told: the line, or what was seen.
    """

    what: str
    told: str = ""


def _once(find: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The words of equal tokenizers, looked for once: it takes a second, and tells nothing new."""
    known: dict[str, Any] = {}

    def get(tokenizer: Any) -> Any:
        key = tokenizer.backend_tokenizer.to_str()
        if key not in known:
            known[key] = find(tokenizer)
        return known[key]

    return get


def path_readers() -> dict[str, Read]:
    """All that reads a file or folder, by name."""
    checkpoint.word_table = _once(checkpoint.word_table)
    space = open_space(MODEL)
    return {
        "prompt": lambda place, out: load_prompt(place),
        "origin": lambda place, out: with_origin(load_prompt(place)),
        "again": _saved_again,
        "page": _page,
        "vector": lambda place, out: load_vector(place),
        "portable": lambda place, out: load_portable(place),
        "tensor": lambda place, out: prompt_of_tensor(place, space),
        "catalog": _listed,
        "add": lambda place, out: add_folder(place, out / "library", name="added"),
        "restore": lambda place, out: restore("gone", place),
        "space": lambda place, out: open_space(place),
        "model": lambda place, out: Backbone.load(str(place), device="cpu", dtype="float32"),
        "chat": _chatted,
        "task": _asked,
        "table": lambda place, out: import_task(place, out / "task"),
    }


def command_lines(place: Path, out: Path) -> list[list[str]]:
    """Commands of the command line that read a file or folder, and print what to do next."""
    named = out / place.name
    return [
        ["inspect", str(place)],
        ["inspect", str(place), "--json"],
        ["library", "list", str(place.parent)],
        ["library", "add", str(place), str(out / "library")],
        ["library", "verify", str(place.parent)],
        ["vector", "make", str(place), "--out", str(named)],
        ["tasks", "init", str(place), "--out", str(named)],
        ["compat", MODEL, str(place)],
    ]


def read_all(
    hostile: Hostile, seeds: Path, work: Path, readers: Mapping[str, Read]
) -> dict[str, Reading]:
    """What every reader makes of a hostile file.

    Args:
        hostile: it.
        seeds: valid files, as `make_seeds` makes them.
        work: a new folder.
        readers: by name.
    """
    outside, here = _outside(seeds, work), work / "here"
    here.mkdir()
    place = hostile.make(seeds, here / "given", outside)
    found = {}
    for name, read in readers.items():
        out = work / "out" / name
        out.mkdir(parents=True)
        found[name] = _reading(lambda read=read, out=out: read(place, out), outside, work)
        if name in hostile.refused and found[name].what == "read":
            found[name] = Reading("not refused", "it was read")
    if hostile.kind in ("name", "markup", "link"):
        for number, words in enumerate(command_lines(place, work / "out")):
            found[f"promptport {' '.join(words[:2])} {number}"] = _command(words, outside, work)
    return found


def _outside(seeds: Path, work: Path) -> Outside:
    work.mkdir(parents=True)
    outside = Outside(work / "outside")
    outside.folder.mkdir()
    outside.secret.write_text(f'{{"text": "{SECRET}", "label": "{SECRET}"}}\n')
    shutil.copytree(seeds / "model", outside.folder / "model")
    return outside


def _reading(read: Callable[[], Any], outside: Outside, work: Path) -> Reading:
    said, result = io.StringIO(), Reading("read")
    with watching(outside) as seen:
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                read()
        except PromptPortError as error:
            line = str(error)
            one = "\n" not in line and not control_faults(line)
            result = Reading("refused" if one else "not one line", line)
        except AssertionError as error:
            result = Reading("shown", str(error))
        except Exception:
            result = Reading("traceback", traceback.format_exc())
    if seen.executed:
        return Reading("executed", "; ".join(seen.executed))
    if seen.reached:
        return Reading("reached", "; ".join(seen.reached))
    if SECRET in said.getvalue() + result.told or leaks(work / "out"):
        return Reading("reached", f"the secret came out: {leaks(work / 'out')} {result.told[:200]}")
    return result


def _command(words: list[str], outside: Outside, work: Path) -> Reading:
    """A command in this process, and what it says to run next in a shell."""
    from promptport.cli import main

    out, err = io.StringIO(), io.StringIO()

    def run() -> None:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            contextlib.suppress(SystemExit),
        ):
            main(words)

    found = _reading(run, outside, work)
    if found.what in FAULTS:
        return found
    said = out.getvalue() + err.getvalue()
    if faults := control_faults(said):
        return Reading("shown", f"{faults[0]} in {said[:300]!r}")
    shell = work / "shell"
    shell.mkdir(exist_ok=True)
    for command in printed_commands(said):
        shell_arguments(command, shell)
        if outside.canary.exists() or any(shell.iterdir()):
            return Reading("executed", f"the printed command {command!r}")
    errors = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    return Reading("refused" if errors else "read", said)


def _saved_again(place: Path, out: Path) -> None:
    """A prompt with its card: the card shows names, and does nothing with them."""
    save_prompt(load_prompt(place), out / "saved")
    faults = card_faults((out / "saved" / "README.md").read_text("utf-8"))
    assert not faults, f"README.md: {faults}"


def _page(place: Path, out: Path) -> None:
    prompt = load_prompt(place)
    name = prompt.provenance.task or place.name
    write_heat(compare({name: prompt, f"{name} <b>2</b>": prompt}), out / "page.html")
    faults = page_faults((out / "page.html").read_text("utf-8", "surrogateescape"))
    assert not faults, f"page: {faults}"


def _listed(place: Path, out: Path) -> None:
    catalog = Catalog.open(place if place.is_dir() else place.parent)
    for entry in catalog.damaged:
        assert "\n" not in str(entry.problem), f"several lines: {entry.problem!r}"


def _chatted(place: Path, out: Path) -> None:
    tokenizer = load_tokenizer(find_checkpoint(str(place)))
    if has_chat(tokenizer):
        read_chat(tokenizer, str(place))


def _asked(place: Path, out: Path) -> None:
    task = open_task(str(place if place.is_file() else place / "task.yaml"))
    for split in task.splits:
        for row in task.load(split):
            task.template.render(row.fields)
    Template.parse(task.template.text)


def main() -> int:
    """Make, read, count; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--kind", nargs="*", default=[], help="only these")
    add("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    recorded = environment(given.results)
    os.environ["HF_HUB_OFFLINE"] = "1"
    silence_libraries()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    faults: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        seeds = Path(folder) / "seeds"
        make_seeds(seeds)
        readers = path_readers()
        for number, hostile in enumerate(all_hostile()):
            if given.kind and hostile.kind not in given.kind:
                continue
            work = Path(folder) / str(number)
            kinds[hostile.kind] += 1
            for name, reading in read_all(hostile, seeds, work, readers).items():
                counts[reading.what] += 1
                if reading.what in FAULTS:
                    key = f"{hostile.kind}, {hostile.name}, {name}: {reading.what}"
                    faults[key] = reading.told[-1500:]
                    print(f"{key}\n{reading.told[-600:]}\n", file=sys.stderr, flush=True)
            shutil.rmtree(work, ignore_errors=True)
    summary = {
        "hostile_files": sum(kinds.values()),
        "hostile_readings": sum(counts.values()),
        "hostile_refused": counts["refused"],
        "hostile_executed": counts["executed"],
        "hostile_reached": counts["reached"],
        "hostile_faults": len(faults) - counts["executed"] - counts["reached"],
    }
    if not given.kind:
        write_part(given.results, "hostile", summary, recorded, {"kinds": kinds, "faults": faults})
    print({**summary, "kinds": dict(kinds)})
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
