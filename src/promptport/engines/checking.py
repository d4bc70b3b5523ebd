"""Checking an export: the engine and our own backbone answer the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from promptport.backbone import Backbone, EncodedRow
from promptport.backbone.generation import end_tokens
from promptport.distillation.synthetic_text import synthetic_rows
from promptport.engines.exporting import Export
from promptport.engines.material import Carried, filled, slot_file
from promptport.engines.requests import engine_places
from promptport.engines.running import run_engine
from promptport.errors import PromptPortError
from promptport.objective import Objective, blind_rows
from promptport.progress import stage
from promptport.tasks import Row, Task, WritingConfig

_BEST = 10  # likeliest tokens of the reference that are compared
_NEW = 8  # tokens of a greedy answer
_ROOM = 64  # positions beyond the longest row
_AT_ONCE = 16  # rows of a pass


@dataclass(frozen=True)
class Check:
    """How alike an engine and our own backbone answer.

    Attributes:
        ran: the engine and its version.
        rows: rows that both answered.
        texts: what they are made of: `task` or `words`.
        gap: largest difference of log-probabilities, over the likeliest tokens of the reference and
            the label words, in nats.
        answers_equal: share of rows whose greedy answers are equal.
        first_equal: share of rows whose first tokens are equal.
        labels_equal: share of rows whose likeliest label words are equal; None without labels.
        text_form: share of rows whose text, tokens written out, becomes the ids of the row; None
            where tokens of the prompt are not in the vocabulary.
        laid_out: share of rows that a client lays out as we do, by the lines of the README, which
            cut no text.
        slip: where a greedy answer differs first, by how much our backbone prefers its own token,
            in nats; the largest of all rows, 0 where all are equal. A small one is a near tie.
        tolerance: the slip that rounding explains.
    """

    ran: str
    rows: int
    texts: str
    gap: float
    answers_equal: float
    first_equal: float
    labels_equal: float | None
    text_form: float | None
    laid_out: float
    slip: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether answers differ at near ties alone, if at all, and clients lay out our rows."""
        return self.slip <= self.tolerance and self.laid_out == 1

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "passed": self.passed}


@dataclass(frozen=True)
class _Case:
    """A row of one prompt: as it is laid out for our backbone, and what to look at."""

    item: Carried
    fields: dict[str, str]
    row: EncodedRow
    labels: tuple[int, ...]


class Reference:
    """Our own backbone, which answers the same rows once for several engines.

    Args:
        model: the backbone; its answers are as exact as its precision.
    """

    def __init__(self, model: Backbone) -> None:
        self.model = model
        self._known: dict[tuple[Any, ...], tuple[list[Tensor], list[str]]] = {}

    def answers(self, cases: Sequence[_Case]) -> tuple[list[Tensor], list[str]]:
        """Log-probabilities (V',) each at the first token of the answers, and greedy answers."""
        items = {case.item.name: case.item for case in cases}
        table = torch.cat([item.prompt.vectors for item in items.values()])
        lengths = [item.prompt.length for item in items.values()]
        starts = dict(zip(items, accumulate(lengths, initial=0), strict=False))
        places = [starts[case.item.name] for case in cases]
        rows = [case.row for case in cases]
        key = (*rows, table.numpy().tobytes())
        if key not in self._known:
            with stage("asking our own backbone") as told, torch.no_grad():
                logs: list[Tensor] = []
                for at in range(0, len(rows), _AT_ONCE):
                    told.at(at, len(rows))
                    part = slice(at, at + _AT_ONCE)
                    logits = self.model.answer_logits(rows[part], table, places[part])[:, 0]
                    logs += logits.double().log_softmax(-1)
                self._known[key] = logs, self._said(rows, table, places, logs)
        return self._known[key]

    def _said(
        self,
        rows: Sequence[EncodedRow],
        table: Tensor,
        places: Sequence[int],
        logs: Sequence[Tensor],
    ) -> list[str]:
        if self.model.kind == "masked":
            return [self.model.tokenizer.decode([int(log.argmax())]) for log in logs]
        return self.model.generate(rows, table, places, WritingConfig(max_new_tokens=_NEW))


def check_export(export: Export, rows: int = 16, *, reference: Reference | None = None) -> Check:
    """Let an engine and our own backbone answer the same rows.

    Args:
        export: what was written.
        rows: of each prompt: texts of its task where they can be read, else random words.
        reference: what is exported, as our backbone; None: loaded for this, in float32.

    Raises:
        PromptPortError: the engine is not installed, or fails.
    """
    engine, material = export.engine, export.material
    engine.need_runner()
    if reference is None:
        reference = Reference(Backbone.load(material.base, dtype="float32", device="cpu"))
    model = reference.model
    cases, source = [], "task"
    for item in material.items:
        texts, source = _texts(item, model, rows)
        cases += _cases(item, model, texts)
    logs, said = reference.answers(cases)
    watched = [_watched(case, row) for case, row in zip(cases, logs, strict=True)]
    request = _request(export, model, cases, watched)
    with stage(f"asking {engine.name}"):
        made = run_engine(engine.name, engine.runner, engine.packages, material.python, request)
    if "slots" in export.manifest:
        _check_reused(engine.name, made, cases)
    return _compared(export, model, cases, (logs, said, watched), made, source)


def _texts(item: Carried, model: Backbone, count: int) -> tuple[list[Row], str]:
    """Texts to ask, no labels with them: of the task, else of words."""
    task = item.task
    for split in ("test", "dev", "train") if task is not None else ():
        try:
            return list(task.texts(split)[:count]), "task"  # type: ignore[union-attr]
        except PromptPortError:
            continue
    asked = _task(item)
    words = sorted(model.space.words) or ["a"]
    return synthetic_rows(replace(asked, template=item.template), words, count, 0), "words"


def _task(item: Carried) -> Task:
    """The prompt's task, or one that asks its template for a text."""
    return item.task or Task("texts", "text2text", item.template, "exact-match")


def _cases(item: Carried, model: Backbone, rows: Sequence[Row]) -> list[_Case]:
    task = _task(item)
    objective = Objective(model, task, item.template, length=item.prompt.length, truncate=True)
    questions = objective.prepare(blind_rows(rows, objective)).questions
    labels = tuple(dict.fromkeys(ids[0] for ids in item.label_ids.values()))
    made = []
    for question in questions:
        row = question.inputs[0]
        if model.kind == "causal":
            end = row.scored[0] + 1
            row = EncodedRow(row.ids[:end], row.soft, row.scored[:1], row.targets[:1])
        fields = {name: question.row.fields[name] for name in item.template.fields}
        made.append(_Case(item, fields, row, labels))
    return made


def _watched(case: _Case, logs: Tensor) -> list[int]:
    best = logs.topk(min(_BEST, len(logs))).indices.tolist()
    return list(dict.fromkeys([*best, *case.labels]))


def _request(
    export: Export, model: Backbone, cases: Sequence[_Case], watched: Sequence[list[int]]
) -> dict[str, Any]:
    material = export.material
    vocabulary = len(model.tokenizer)
    longest = max(len(case.row.ids) for case in cases)
    new = [i for item in material.items for i in item.ids]
    rows = model.space.matrix.shape[0]
    barred = sorted({*range(vocabulary, rows), *(i for i in new if i >= vocabulary)})
    return {
        "action": "check",
        "kind": material.kind,
        "vocabulary": vocabulary,
        "barred": barred,
        "new": _NEW,
        "ends": sorted(end_tokens(model)),
        "pad": model.special.pad,
        "context": longest + _ROOM,
        **engine_places(export),
        "cases": [
            {
                "ids": _with_ids(case),
                "soft": list(case.row.soft),
                "decoder": list(case.row.decoder_ids[: case.row.scored[0] + 1]),
                "scored": -1 if case.row.decoder_ids else case.row.scored[0],
                "prompt": case.item.name,
                "watch": watch,
                **({"slot": slot_file(case.item)} if "slots" in export.manifest else {}),
            }
            for case, watch in zip(cases, watched, strict=True)
        ],
    }


def _with_ids(case: _Case) -> list[int]:
    """The row with the ids of the prompt's tokens, where the export has such."""
    ids = list(case.row.ids)
    ours = dict(zip(case.row.soft, case.item.ids, strict=False))
    return [ours.get(place, token) for place, token in enumerate(ids)]


def _check_reused(name: str, made: dict[str, Any], cases: Sequence[_Case]) -> None:
    """Refuse a server that read placeholders as words, for it reports success."""
    for case, answer in zip(cases, made["cases"], strict=True):
        reused = answer["cache_n"]
        if reused < case.item.prompt.length:
            raise PromptPortError(
                name,
                expected=f"{case.item.prompt.length} tokens out of the restored slot",
                got=str(reused),
                fix="Start the server with --no-cache-idle-slots and --cache-ram 0",
            )


def _compared(
    export: Export,
    model: Backbone,
    cases: Sequence[_Case],
    ours: tuple[list[Tensor], list[str], list[list[int]]],
    made: dict[str, Any],
    source: str,
) -> Check:
    logs, said, watched = ours
    tokenizer, ends = model.tokenizer, end_tokens(model)
    gap, slip, equal, first, labels, with_labels = 0.0, 0.0, 0, 0, 0, 0
    for case, log, text, watch, theirs in zip(
        cases, logs, said, watched, made["cases"], strict=True
    ):
        found = {int(i): value for i, value in theirs["logprobs"].items()}
        gap = max(gap, *(abs(found[i] - float(log[i])) for i in watch if i in found))
        answer = [i for i in _until(theirs["answer"], ends) if i < len(tokenizer)]
        same = tokenizer.decode(answer, skip_special_tokens=model.kind != "masked") == text
        equal += same
        if not same:
            slip = max(slip, _slip(case, model, theirs["answer"][:_NEW]))
        first += max(found, key=lambda i: found[i]) == int(log.argmax())
        if case.labels:
            with_labels += 1
            best = [max(case.labels, key=lambda i: side[i]) for side in (found, log.tolist())]
            labels += best[0] == best[1]
    rows = len(cases)
    return Check(
        str(made["engine"]),
        rows,
        source,
        gap,
        equal / rows,
        first / rows,
        labels / with_labels if with_labels else None,
        _text_form(export, cases),
        sum(_laid_out(case, export, model.max_tokens) for case in cases) / rows,
        slip,
        export.engine.tolerance,
    )


@torch.no_grad()
def _slip(case: _Case, model: Backbone, answer: Sequence[int]) -> float:
    """By how much our backbone prefers its own token where an answer differs first, in nats."""
    # Nothing was said, or a token of the prompt itself.
    if not answer or max(answer) >= len(model.tokenizer):
        return float("inf")
    row, vectors = case.row, case.item.prompt.vectors
    if model.kind != "masked":
        first = row.scored[0]
        scored = tuple(range(first, first + len(answer)))
        ids, decoder = row.ids, row.decoder_ids
        if decoder:
            decoder = (*decoder[: first + 1], *answer[:-1])
        else:
            ids = (*ids, *answer[:-1])
        row = EncodedRow(ids, row.soft, scored, tuple(answer), decoder)
    logs = model.answer_logits([row], vectors, [0])[0].double().log_softmax(-1)
    for log, token in zip(logs, answer, strict=False):
        if int(log.argmax()) != token:
            return float(log.max() - log[token])
    return 0.0


def _until(ids: Sequence[int], ends: set[int]) -> list[int]:
    place = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    return list(ids[:place])


def _laid_out(case: _Case, export: Export, most: int | None) -> bool:
    """Whether the lines of the README make the row that we made, or one that we had to cut."""
    tokenizer = export.material.layout.tokenizer

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    row: list[int | None] = []
    for token in filled(case.item.parts, case.fields, tokenize):
        row += [None] * (token.stop - token.start) if isinstance(token, slice) else [token]
    soft = () if case.item.ids else case.row.soft
    wanted = [None if i in soft else token for i, token in enumerate(_with_ids(case))]
    return row == wanted or (most is not None and len(row) > most)


def _text_form(export: Export, cases: Sequence[_Case]) -> float | None:
    """Share of rows that come out of their text, by the tokenizer of an exported checkpoint."""
    if export.engine.name != "hf":
        return None
    from promptport.backbone.loading import find_checkpoint, load_tokenizer

    tokenizer: Any = load_tokenizer(find_checkpoint(str(export.place)))
    right = 0
    for case in cases:
        ids = _with_ids(case)
        text = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        right += list(tokenizer(text, add_special_tokens=False)["input_ids"]) == ids
    return right / len(cases)
