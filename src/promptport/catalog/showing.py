"""What pages show of a prompt, from what is recorded; nothing is loaded for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptport.catalog.entry import CatalogEntry
from promptport.catalog.facts import finite
from promptport.history import origin_text, public_name, step_sentence
from promptport.tasks.metrics import wilson

_SHARES = ("accuracy", "p@1", "exact-match")  # metrics that are shares of rows


@dataclass(frozen=True)
class ScoreFact:
    """A recorded score.

    Attributes:
        whose: of which tuning, for people.
        metric: its name; None if it is not recorded.
        value: of the dev rows.
        low: lower end of the 95% interval; None where none can be told.
        high: upper end.
        rows: that were scored; None if it is not recorded.
    """

    whose: str
    metric: str | None
    value: float
    low: float | None
    high: float | None
    rows: int | None

    @property
    def text(self) -> str:
        """For instance `0.72 (0.60 to 0.82), accuracy on 64 dev rows`."""
        interval = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        rows = "dev rows" if self.rows is None else f"{self.rows} dev rows"
        return f"{self.value:.2f}{interval}, {self.metric or 'score'} on {rows}"


def score_facts(entry: CatalogEntry) -> list[ScoreFact]:
    """Scores of a prompt's tuning, and of those that it was made of, the latest first."""
    made = entry.provenance
    found = [_score_fact(f"tuned on {public_name(entry.backbone)}", made.get("tuning"))]
    for step in reversed(entry.history):
        source = public_name(str(step.get("source") or "its source"))
        found.append(_score_fact(f"before, on {source}", step.get("tuning")))
    return [fact for fact in found if fact is not None]


def _score_fact(whose: str, tuning: Any) -> ScoreFact | None:
    record = tuning if isinstance(tuning, Mapping) else {}
    value, metric = finite(record.get("dev_score")), record.get("metric")
    rows = record.get("dev_rows")
    if value is None:
        return None
    count = rows if isinstance(rows, int) and rows > 0 and finite(rows) is not None else None
    name = metric if isinstance(metric, str) else None
    low = high = None
    if count is not None and (metric in _SHARES or metric is None) and 0 <= value <= 1:
        low, high = wilson(value, count)
    return ScoreFact(whose, name, value, low, high, count)


def history_sentences(entry: CatalogEntry) -> list[str]:
    """How a prompt came to be, a sentence for each step."""
    made = entry.provenance
    sentences = []
    if isinstance(made.get("tuning"), Mapping):
        record = made["tuning"]
        steps, rows = record.get("steps"), record.get("train_rows")
        parts = [f"Tuned on {public_name(entry.backbone)}"]
        parts += [f"for the task {entry.task}"] if entry.task else []
        text = " ".join(parts)
        text += f", from {origin}" if (origin := origin_text(made.get("origin"))) else ""
        text += f": {steps} updates" if isinstance(steps, int) else ""
        text += f" on {rows} labelled rows" if isinstance(rows, int) else ""
        sentences.append(f"{text}.")
    sentences += [step_sentence(step) for step in entry.history]
    return sentences


@dataclass(frozen=True)
class Curve:
    """How tuning went, look by look.

    Attributes:
        epochs: numbers, rising.
        train: mean training loss.
        dev: loss on dev rows.
        scores: on dev rows.
        best: the epoch that was kept; None if it is not recorded.
    """

    epochs: tuple[float, ...]
    train: tuple[float, ...]
    dev: tuple[float, ...]
    scores: tuple[float, ...]
    best: int | None


def curve_of(entry: CatalogEntry) -> Curve | None:
    """The curve that a prompt remembers; None if there is none (of fewer than two looks)."""
    records = [entry.provenance.get("tuning")]
    records += [step.get("tuning") for step in reversed(entry.history)]
    for record in records:
        rows = record.get("curve") if isinstance(record, Mapping) else None
        if not isinstance(record, Mapping) or not isinstance(rows, list):
            continue
        if len(rows) < 2 or not all(map(_is_point, rows)):
            continue
        epochs, train, dev, scores = (tuple(float(row[i]) for row in rows) for i in range(4))
        best = record.get("best_epoch")
        return Curve(epochs, train, dev, scores, best if isinstance(best, int) else None)
    return None


def _is_point(row: Any) -> bool:
    numbers = isinstance(row, list) and len(row) == 4
    return numbers and all(isinstance(x, int | float) and abs(x) < 1e9 for x in row)
