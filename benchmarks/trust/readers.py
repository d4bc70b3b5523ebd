"""Everything that reads files or texts of strangers, each with a valid seed."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.trust.breaking import (
    ODD,
    break_bytes,
    break_gguf,
    break_json,
    break_tensors,
    break_text,
    break_value,
)
from benchmarks.trust.front import Front, draw_request
from tests.tiny_gguf import write_llama

from promptport.backbone import Backbone, open_space
from promptport.backbone.gguf.header import read_header
from promptport.backbone.gguf.table import table_blocks
from promptport.cache import clear_cache
from promptport.catalog.changing import check_facts
from promptport.merging.expressions import parse_expression
from promptport.parameters import OriginSpec
from promptport.prediction import predict
from promptport.serving.asks import Ask
from promptport.serving.messages import job_of
from promptport.serving.server import PromptServer
from promptport.storage import (
    load_portable,
    load_prompt,
    load_vector,
    prompt_of_tensor,
    save_portable,
    save_prompt,
    save_vector,
)
from promptport.storage.attention_folder import read_attention
from promptport.tasks import Template, import_task, open_task
from promptport.transfers import encode_prompt
from promptport.tuning import random_prompt
from promptport.vector import TaskPromptVector
from promptport.zoo import embedded_folder

MODEL = "nano-gpt2"
_ATTENTION = Path(__file__).resolve().parents[2] / "tests" / "golden" / "schema_1" / "attention"
_ROWS = [
    (f"A {word} film , number {i} .", label)
    for i in range(6)
    for word, label in (("warm", "good"), ("dull", "bad"))
]
_TASK = """\
schema: 1
name: films
kind: classification
template: "{soft} {text} It was {answer} ."
manual: "{text} It was {answer} ."
metric: accuracy
description: whether a review is good
labels:
  good: [good, great]
  bad: [bad]
data:
  train: rows.jsonl
  dev: rows.jsonl
  test: rows.jsonl
columns:
  text: text
  label: label
"""


@dataclass(frozen=True)
class Reader:
    """Something that reads.

    Attributes:
        name: for figures.
        read: reads what lies in a folder.
        files: that are broken -> how; others of the seed are left as they are.
        texts: in place of files, what is drawn and given to `read_text`.
        read_text: reads a drawn value.
    """

    name: str
    read: Callable[[Path], Any] | None = None
    files: dict[str, Callable[[bytes, random.Random], bytes]] = field(default_factory=dict)
    draw: Callable[[random.Random], Any] | None = None
    read_text: Callable[[Any], Any] | None = None


def make_seeds(root: Path) -> None:
    """A folder with valid files for every reader."""
    backbone = Backbone.load(MODEL, device="cpu", dtype="float32")
    made = random_prompt(backbone, 3, 0)
    prompt = replace(made, origin=random_prompt(backbone, 3, 1).vectors).with_provenance(
        task="sentiment",
        template="{soft} {text} It was {answer} .",
        tuning={"dev_score": 0.9, "metric": "accuracy"},
        history=({"step": "align", "source": "nano-bert"},),
    )
    save_prompt(prompt, root / "prompt")
    save_prompt(prompt, root / "peft")
    for name in ("promptport.json", "README.md"):
        (root / "peft" / name).unlink()
    save_vector(TaskPromptVector.of(prompt, "sentiment"), root / "vector")
    (root / "portable").mkdir()
    save_portable(encode_prompt(prompt, backbone.space), root / "portable" / "p.portable")
    task = root / "task"
    task.mkdir()
    rows = "".join(json.dumps({"text": t, "label": a}) + "\n" for t, a in _ROWS)
    (task / "task.yaml").write_text(_TASK)
    (task / "rows.jsonl").write_text(rows)
    for name, comma in (("rows.csv", ","), ("rows.tsv", "\t")):
        lines = [f'"{t}"{comma}{a}' for t, a in _ROWS]
        (task / name).write_text("\n".join([f"text{comma}label", *lines]) + "\n")
    tensor = root / "tensor"
    tensor.mkdir()
    import numpy as np

    np.save(tensor / "p.npy", prompt.vectors.numpy())
    shutil.copytree(_ATTENTION, root / "attention")
    (root / "gguf").mkdir()
    write_llama(root / "gguf" / "tiny.gguf")
    model = embedded_folder(MODEL)
    assert model is not None
    shutil.copytree(model, root / "model", ignore=shutil.ignore_patterns("README.md"))


def readers(root: Path) -> list[Reader]:
    """All readers.

    Args:
        root: where `make_seeds` put the valid files.
    """
    backbone = Backbone.load(MODEL, device="cpu", dtype="float32")
    prompt = load_prompt(root / "prompt")
    server = PromptServer(backbone, {"films": prompt})
    json_files = {"adapter_config.json": break_json, "promptport.json": break_json}
    tensors = {"adapter_model.safetensors": break_tensors, "origin.safetensors": break_tensors}
    return [
        Reader("prompt", lambda place: load_prompt(place / "prompt"), {
            f"prompt/{name}": how for name, how in (json_files | tensors).items()
        }),
        Reader("peft", lambda place: load_prompt(place / "peft"), {
            "peft/adapter_config.json": break_json,
            "peft/adapter_model.safetensors": break_tensors,
        }),
        Reader("vector", lambda place: load_vector(place / "vector"), {
            "vector/vector.json": break_json, "vector/vector.safetensors": break_tensors,
        }),
        Reader("attention", lambda place: read_attention(place / "attention"), {
            "attention/attention.json": break_json,
            "attention/attention.safetensors": break_tensors,
        }),
        Reader("facts", lambda place: check_facts(place / "prompt"), {
            f"prompt/{name}": how for name, how in (json_files | tensors).items()
        }),
        Reader("gguf header", lambda place: _blocks(place / "gguf" / "tiny.gguf"), {
            "gguf/tiny.gguf": break_gguf,
        }),
        Reader("gguf", lambda place: _opened(place / "gguf" / "tiny.gguf"), {
            "gguf/tiny.gguf": break_gguf,
        }),
        Reader("portable", lambda place: load_portable(place / "portable" / "p.portable"), {
            "portable/p.portable": break_tensors,
        }),
        Reader("tensor", lambda place: prompt_of_tensor(place / "tensor/p.npy", backbone.space), {
            "tensor/p.npy": break_bytes,
        }),
        Reader("task", lambda place: _whole(open_task(place / "task" / "task.yaml")), {
            "task/task.yaml": break_text, "task/rows.jsonl": break_text,
        }),
        *(
            Reader(ending, _importing(ending), {f"task/rows.{ending}": break_text})
            for ending in ("jsonl", "csv", "tsv")
        ),
        Reader("checkpoint", lambda place: open_space(str(place / "model")), {
            "model/config.json": break_json,
            "model/tokenizer.json": break_json,
            "model/tokenizer_config.json": break_json,
            "model/model.safetensors": break_tensors,
        }),
        Reader("template", draw=_line(b"{soft} {text} It was {answer} ."),
               read_text=lambda text: Template.parse(text)),
        Reader("expression", draw=_line(b"0.5*a + b - 2*(c + a)"),
               read_text=lambda text: parse_expression(text)),
        Reader("origin", draw=_line(b"text:some words"),
               read_text=lambda text: OriginSpec.parse(text, 0)),
        Reader("predict", draw=_line(b"A warm and funny film , it was great ."),
               read_text=lambda text: predict(prompt, [text], backbone=backbone)),
        Reader("request", draw=_request, read_text=lambda message: _asked(server, message)),
        Reader("http", draw=draw_request, read_text=Front(server).ask),
    ]  # fmt: skip


def _blocks(file: Path) -> int:
    """All rows of the embedding table."""
    header = read_header(file)
    return sum(len(block) for _, block in table_blocks(header, header.embedding))


def _opened(file: Path) -> Any:
    """As a model is opened: header, table, configuration and tokenizer, kept in the cache."""
    try:
        return open_space(str(file))
    finally:
        clear_cache()


def _whole(task: Any) -> list[Any]:
    return [task.load(split) for split in task.splits]


def _importing(ending: str) -> Callable[[Path], Any]:
    def read(place: Path) -> Any:
        shutil.rmtree(place / "made", ignore_errors=True)
        return import_task(place / "task" / f"rows.{ending}", place / "made")

    return read


def _line(seed: bytes) -> Callable[[random.Random], str]:
    def draw(chance: random.Random) -> str:
        if chance.random() < 0.1:
            return str(chance.choice(ODD))
        text = break_text(seed, chance).decode("utf-8", "replace")
        return text if chance.random() < 0.9 else text + "\ud800"

    return draw


def _request(chance: random.Random) -> Any:
    asks = [{"prompt": "films", "text": "A warm film .", "writing": {"max_new_tokens": 2}}]
    return break_value({"number": 1, "asks": asks, "streams": False}, chance)


def _asked(server: PromptServer, message: Any) -> Any:
    """As the worker does. The front checks shapes: others never reach a worker."""
    try:
        job = job_of(message)
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    asks = [ask for ask in getattr(job, "asks", ()) if isinstance(ask, Ask)]
    shapes = (type(None), str, dict)
    if not asks or not all(isinstance(a.text, shapes) and isinstance(a.prompt, str) for a in asks):
        return None
    try:
        return server.answer(asks)
    except TypeError as error:
        if "WritingConfig" in str(error) or "replace" in str(error):
            return None
        raise
