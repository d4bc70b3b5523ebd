"""What a backbone knows: P@1 of the manual templates of the pocket facts, whole vocabulary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml
from torch import Tensor
from transformers import (
    GPT2LMHeadModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5ForConditionalGeneration,
)

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Relation:
    """One pocket fact task: a template and its rows."""

    name: str
    template: str  # with {subject} and {answer}
    rows: tuple[tuple[str, str], ...]  # subject, object


@dataclass(frozen=True)
class Score:
    """P@1 of one relation over the rows whose object is one token."""

    correct: int
    rows: int
    skipped: int  # rows whose object is several tokens

    @property
    def precision(self) -> float:
        """Share of correct rows, 0 to 1."""
        return self.correct / max(self.rows, 1)


def load_relations(folder: Path) -> list[Relation]:
    """All fact tasks in a folder of pocket tasks (those with subjects and objects)."""
    relations = []
    for description in sorted(folder.glob("*/task.yaml")):
        rows = tuple(_rows(description.parent))
        task = yaml.safe_load(description.read_text(encoding="utf-8"))
        template = task.get("manual")
        if rows and template and "{subject}" in str(template):
            relations.append(Relation(description.parent.name, str(template), rows))
    return relations


def _rows(folder: Path) -> Iterator[tuple[str, str]]:
    for split in SPLITS:
        file = folder / f"{split}.jsonl"
        for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
            row = json.loads(line)
            if "subject" in row and "object" in row:
                yield row["subject"], row["object"]


def probe(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, relations: Iterable[Relation]
) -> dict[str, Score]:
    """Score every relation."""
    was_training = model.training
    model.eval()
    scores = {relation.name: _probe_relation(model, tokenizer, relation) for relation in relations}
    model.train(was_training)
    return scores


def mean_precision(scores: dict[str, Score]) -> float:
    """P@1 over all rows of all relations."""
    rows = sum(score.rows for score in scores.values())
    return sum(score.correct for score in scores.values()) / max(rows, 1)


def _probe_relation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, relation: Relation
) -> Score:
    wanted = [_object_id(tokenizer, word) for _, word in relation.rows]
    kept = [(row[0], token) for row, token in zip(relation.rows, wanted, strict=True) if token]
    correct = 0
    for start in range(0, len(kept), 256):
        part = kept[start : start + 256]
        answers = _answers(model, tokenizer, relation.template, [subject for subject, _ in part])
        correct += int((answers == torch.tensor([token for _, token in part])).sum())
    return Score(correct, len(kept), len(relation.rows) - len(kept))


def _object_id(tokenizer: PreTrainedTokenizerFast, word: str) -> int | None:
    """The one word-initial token of an object, or None."""
    head = tokenizer("the", add_special_tokens=False)["input_ids"]
    ids = tokenizer(f"the {word}", add_special_tokens=False)["input_ids"]
    single = len(ids) == len(head) + 1 and ids[-1] != tokenizer.unk_token_id
    return ids[-1] if single else None


@torch.inference_mode()
def _answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, template: str, subjects: list[str]
) -> Tensor:
    """Most probable token in the place of the answer. (B,)"""
    device = model.device
    if isinstance(model, GPT2LMHeadModel):
        prefix = template.split("{answer}")[0].rstrip()
        texts = [prefix.replace("{subject}", subject) for subject in subjects]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="right")
        last = inputs["attention_mask"].sum(dim=1) - 1
        logits = model(**inputs.to(device)).logits
        return logits[torch.arange(len(texts)), last.to(device)].argmax(dim=-1).cpu()
    hole = tokenizer.mask_token or "<extra_id_0>"
    filled = template.replace("{answer}", hole)
    texts = [filled.replace("{subject}", subject) for subject in subjects]
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
