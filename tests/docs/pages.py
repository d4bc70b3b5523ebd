"""Pages of the documentation: their blocks, in order, and what must be there before they run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"(?:<!-- (?:file: (?P<file>\S+)|needs: (?P<needs>\S+)) -->\n+)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    flags=re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: `sh`, `python`, ...
        text: what stands in it.
        file: where the reader is asked to save it, if anywhere.
        needs: a package without which it is not run.
    """

    language: str
    text: str
    file: str | None
    needs: str | None = None


def blocks(page: str) -> Iterator[Block]:
    """The fenced blocks of a page, first to last."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        yield Block(match["language"], match["text"], match["file"], match["needs"])


def prose_files() -> list[Path]:
    """Every page that people write."""
    written = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/**/*.md")]
    return [page for page in written if "generated" not in page.parts]


def reviews_csv(folder: Path) -> None:
    """`reviews.csv`, as a reader would have it."""
    import csv

    from promptport import open_task

    with (folder / "reviews.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["text", "label"])
        for row in open_task("sentiment").load("train")[:200]:
            table.writerow([row.fields["text"], row.answer])


def peft_folder(folder: Path) -> None:
    """`my-peft`, written by PEFT for nano-bert, and the reader's data as JSON lines."""
    import torch
    from peft import PromptTuningConfig, get_peft_model
    from transformers import AutoModelForMaskedLM

    from promptport import open_task
    from promptport.zoo import embedded_folder

    torch.manual_seed(0)  # the prompt is drawn
    base = AutoModelForMaskedLM.from_pretrained(embedded_folder("nano-bert"))
    config = PromptTuningConfig(task_type="FEATURE_EXTRACTION", num_virtual_tokens=5)
    get_peft_model(base, config).save_pretrained(folder / "my-peft")
    task = open_task("sentiment")
    for split in ("train", "dev", "test"):
        rows = task.load(split)[:64]
        lines = [json.dumps({"text": r.fields["text"], "label": r.answer}) for r in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def gguf_file(folder: Path) -> None:
    """`model.gguf`: a tiny random Llama."""
    from tests.tiny_gguf import write_llama

    write_llama(folder / "model.gguf")


def written_answers(folder: Path) -> None:
    """Texts and targets as JSON lines."""
    from promptport import open_task

    task = open_task("country-capital")
    for split in ("train", "dev", "test"):
        rows = task.load(split)
        lines = [json.dumps({"text": r.fields["subject"], "target": r.answer}) for r in rows]
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def sentences_folder(folder: Path) -> None:
    """`data/sst2`, rows of one's own under the name of a data set."""
    from promptport import open_task

    rows = open_task("sentiment").load("train")[:200]
    (folder / "data" / "sst2").mkdir(parents=True)
    for split, first, last in (("train", 0, 120), ("dev", 120, 160), ("test", 160, 200)):
        lines = [
            json.dumps({"text": row.fields["text"], "label": row.answer}) + "\n"
            for row in rows[first:last]
        ]
        file = folder / "data" / "sst2" / f"{split}.jsonl"
        file.write_text("".join(lines), encoding="utf-8")


def two_runs(folder: Path) -> None:
    """`run` and `other-run`, of drawn numbers."""
    from tests.runs import make_run

    make_run(folder / "run")
    make_run(folder / "other-run", better={"paper": 0.2})


SETUPS: dict[str, Callable[[Path], None]] = {
    "docs/howto/csv.md": reviews_csv,
    "docs/howto/gguf.md": gguf_file,
    "docs/howto/paper-data.md": sentences_folder,
    "docs/howto/peft-folder.md": peft_folder,
    "docs/howto/reports.md": two_runs,
    "docs/howto/serve.md": gguf_file,
    "docs/howto/text-to-text.md": written_answers,
}
