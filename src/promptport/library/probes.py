"""Answers of prompts to a fixed set of probe texts: what is known of a prompt before any new task.

A prompt is asked which word comes next to 48 texts of many kinds, in one template for all. Kept are
its log-probabilities of the 1,024 most frequent words of its model. The answer to a new task with
labels of its own is read from these columns, so that no model is run for it.

The probe texts are training texts of embedded tasks; no label is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.evaluation import collect_scores, prompted
from promptport.objective import Objective, blind_rows, pool_words, word_ids
from promptport.progress import counted, stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task, Template, open_task

_VERSION = 1
_TASKS = ("sentiment", "topic", "question", "tense", "truth", "paraphrase")
_PER_TASK = 8
_WORDS = 1024
_FEWEST_LETTERS = 3
# The prompt stands behind the text, as in most embedded tasks: a causal model reads a text once for
# all prompts.
_TEMPLATE = "{text} {soft} {answer} ."


@cache
def probe_texts() -> tuple[str, ...]:
    """The texts, the same on every machine."""
    texts = []
    for name in _TASKS:
        rows = open_task(name).texts("train")
        chosen = [rows[i * len(rows) // _PER_TASK] for i in range(_PER_TASK)]
        texts += [" ".join(row.fields.values()) for row in chosen]
    return tuple(texts)


class Probes:
    """The probe texts, as a backbone is asked them.

    Args:
        backbone: the frozen model of the prompts.

    Attributes:
        model: fingerprint of all weights of the backbone, and their type: what answers hang on.
        version: of texts, template and words.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.task = Task("probe texts", "probe", Template.parse(_TEMPLATE), "p@1")
        words = backbone.space.words
        # Tokenizers number frequent words first.
        frequent = sorted((number, w) for w, number in words.items() if _is_word(w))[:_WORDS]
        self.ids = torch.tensor([number for number, _ in frequent])
        self.model = f"{backbone.weights_hash()[:16]}-{backbone.dtype}"
        asked = [_VERSION, _TEMPLATE, probe_texts(), self.ids.tolist()]
        self.version = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]

    def ask(self, prompts: Mapping[str, SoftPrompt]) -> dict[str, Tensor]:
        """For every prompt (U, W) log-probabilities of the words."""
        objectives = {
            n: Objective(self.backbone, self.task, length=n, truncate=True)
            for n in {prompt.length for prompt in prompts.values()}
        }
        answers = {}
        parts = [1] * len(prompts)
        with self.backbone.keeping_texts():
            for name, prompt in counted(
                list(prompts.items()), parts, parts, "asking the prompts the probe texts"
            ):
                objective = objectives[prompt.length]
                rows = blind_rows([Row({"text": t}, "") for t in probe_texts()], objective)
                queries = prompted(objective, objective.prepare(rows).questions)
                with stage(name):
                    answers[name] = collect_scores(
                        self.backbone, queries, prompt.vectors, of_batch=self._columns
                    )
        return answers

    def _columns(self, scores: Tensor) -> Tensor:
        return scores.log_softmax(1).cpu()[:, self.ids]

    def read_for(self, task: Task, answers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What kept answers say about the labels of a task.

        A label word stands for its first token; where that is not among the words, the word whose
        embedding is nearest to it stands for it.

        Args:
            task: a classification, or a probe: of that all words are candidates.
            answers: (U, W) by name.

        Returns:
            (U, C) log-probabilities of the labels, or (U, W) of the words, by name.
        """
        if task.kind != "classification":
            return {name: own.log_softmax(1) for name, own in answers.items()}
        labels = [(task.labels or {})[name] for name in task.label_names]
        words = [word for own in labels for word in own]
        owners = [label for label, own in enumerate(labels) for _ in own]
        ids = [i[0] for i in word_ids(self.backbone.layout, task, task.template, words)]
        columns = self._nearest(ids)
        return {
            name: pool_words(own[:, columns], owners, len(labels)).log_softmax(1)
            for name, own in answers.items()
        }

    def _nearest(self, ids: list[int]) -> Tensor:
        """The columns of tokens, or of the words next to them."""
        space = self.backbone.space

        def rows(numbers: Tensor) -> Tensor:
            centred = space.rows(numbers).float() - space.statistics.centre
            return torch.nn.functional.normalize(centred, dim=1)

        wanted = torch.tensor(ids)
        nearest: Tensor = (rows(wanted) @ rows(self.ids).T).argmax(1)
        known = {int(number): column for column, number in enumerate(self.ids)}
        return torch.tensor([known.get(n, int(c)) for n, c in zip(ids, nearest, strict=True)])


def _is_word(word: str) -> bool:
    return len(word) >= _FEWEST_LETTERS and word.isalpha()


def packed(answers: Tensor) -> bytes:
    """Answers as they are kept: shape, then float16 values."""
    rows, columns = answers.shape
    head = np.array([rows, columns], dtype="<i4").tobytes()
    # Half precision has no number below about -65,000; nothing hangs on how unlikely such are.
    return head + answers.clamp(-60_000, 60_000).numpy().astype("<f2").tobytes()


def unpacked(data: bytes) -> Tensor | None:
    """What `packed` made; None for anything else."""
    if len(data) < 8:
        return None
    rows, columns = (int(n) for n in np.frombuffer(data[:8], dtype="<i4"))
    values = np.frombuffer(data[8:], dtype="<f2") if len(data) % 2 == 0 else np.zeros(0)
    if rows < 1 or columns < 1 or len(values) != rows * columns or not np.isfinite(values).all():
        return None
    return torch.from_numpy(values.reshape(rows, columns).astype("float32"))
