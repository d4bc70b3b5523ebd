"""What a backbone knows: P@1 of the manual templates of the pocket tasks, whole vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
)

from .architectures import is_causal

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Relation:
    """One pocket task: texts with a hole, and the word that belongs there."""

    name: str
    rows: tuple[tuple[str, str], ...]  # text with {answer}, answer
    is_fact: bool


@dataclass(frozen=True)
class Score:
    """P@1 of one relation over the rows whose object is one token."""

    is_fact: bool
    correct: int
    rows: int
    skipped: int  # rows whose object is several tokens

    @property
    def precision(self) -> float:
        """Share of correct rows, 0 to 1."""
        return self.correct / max(self.rows, 1)


def load_relations(folder: Path) -> list[Relation]:
    """Pocket tasks of a folder with their manual templates, but for those of text to text.

    Facts of all splits; test rows of classifications, which pretraining never reads.
    """
    relations = []
    for description in sorted(folder.glob("*/task.yaml")):
        task = yaml.safe_load(description.read_text(encoding="utf-8"))
        if task["kind"] == "text2text":
            continue
        is_fact = task["kind"] == "probe"
        rows = tuple(
            _asked(task, row)
            for split in (SPLITS if is_fact else ("test",))
            for row in _rows(description.parent / f"{split}.jsonl")
        )
        relations.append(Relation(description.parent.name, rows, is_fact))
    return relations


def _asked(task: dict[str, Any], row: dict[str, str]) -> tuple[str, str]:
    answer = row["object"] if task["kind"] == "probe" else task["labels"][row["label"]][0]
    return task["manual"].format(**{**row, "answer": "{answer}"}), answer


def _rows(file: Path) -> Iterator[dict[str, str]]:
    for line in file.read_text(encoding="utf-8").splitlines():
        yield json.loads(line)


def probe(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, relations: Iterable[Relation]
) -> dict[str, Score]:
    """Score every relation."""
    was_training = model.training
    model.eval()
    scores = {relation.name: _probe_relation(model, tokenizer, relation) for relation in relations}
    model.train(was_training)
    return scores


def mean_precision(scores: dict[str, Score], *, facts: bool) -> float:
    """Mean P@1 of the facts, or of the classifications."""
    chosen = [score.precision for score in scores.values() if score.is_fact == facts]
    return sum(chosen) / max(len(chosen), 1)


def _probe_relation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, relation: Relation
) -> Score:
    wanted = [_object_id(tokenizer, word) for _, word in relation.rows]
    kept = [(row[0], token) for row, token in zip(relation.rows, wanted, strict=True) if token]
    correct = 0
    for start in range(0, len(kept), 256):
        part = kept[start : start + 256]
        answers = _answers(model, tokenizer, [text for text, _ in part])
        correct += int((answers == torch.tensor([token for _, token in part])).sum())
    return Score(relation.is_fact, correct, len(kept), len(relation.rows) - len(kept))


def _object_id(tokenizer: PreTrainedTokenizerFast, word: str) -> int | None:
    """The one word-initial token of an object, or None."""
    head = tokenizer("the", add_special_tokens=False)["input_ids"]
    ids = tokenizer(f"the {word}", add_special_tokens=False)["input_ids"]
    single = len(ids) == len(head) + 1 and ids[-1] != tokenizer.unk_token_id
    return ids[-1] if single else None


@torch.inference_mode()
def _answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, asked: list[str]
) -> Tensor:
    """Most probable token in the place of the answer. (B,)"""
    device = model.device
    if is_causal(model):
        texts = [text.split("{answer}")[0].rstrip() for text in asked]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        last = inputs["attention_mask"].sum(dim=1) - 1
        logits = model(**inputs.to(device)).logits
        return logits[torch.arange(len(texts)), last.to(device)].argmax(dim=-1).cpu()
    hole = tokenizer.mask_token or "<extra_id_0>"
    texts = [text.replace("{answer}", hole) for text in asked]
    inputs = tokenizer(texts, return_tensors="pt", padding=True).to(device)
    if isinstance(model, T5ForConditionalGeneration):
        start = [model.config.decoder_start_token_id, tokenizer.convert_tokens_to_ids(hole)]
        decoder = torch.tensor([start] * len(texts), device=device)
        logits = model(**inputs, decoder_input_ids=decoder).logits[:, -1]
        return logits.argmax(dim=-1).cpu()
    inputs.pop("token_type_ids", None)
    logits = model(**inputs).logits
    place = (inputs["input_ids"] == tokenizer.mask_token_id).int().argmax(dim=1)
    return logits[torch.arange(len(texts)), place].argmax(dim=-1).cpu()
