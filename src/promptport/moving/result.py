"""MoveResult: a moved prompt, the road it took, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from promptport.distillation import Agreement, Texts
from promptport.distillation.moving import AnswersResult
from promptport.distillation.written_answers import WritingResult
from promptport.moving.answer_check import AnswerCheck
from promptport.moving.expected_score import ExpectedScore
from promptport.moving.planning import MovePlan
from promptport.prompt import SoftPrompt
from promptport.transfers import TransferReport


@dataclass(frozen=True)
class MoveResult:
    """A moved prompt, and how far to trust it.

    Attributes:
        prompt: of the target.
        plan: the road that was taken, and why.
        report: what happened on it.
        check: how far the prompt answers like its source; None if that was not asked.
        warnings: what speaks against the result.
        source_scores: for each source its dev score when it was tuned, None if it names none.
        expected: the score to expect on the target; None where nothing can be said.
    """

    prompt: SoftPrompt
    plan: MovePlan
    report: AnswersResult | WritingResult | TransferReport
    check: AnswerCheck | None
    warnings: tuple[str, ...]
    source_scores: tuple[float | None, ...]
    expected: ExpectedScore | None = None

    def __repr__(self) -> str:
        return f"MoveResult({self.plan.method}: {self.verdict})"

    @property
    def cue_word(self) -> str | None:
        """The word that was chosen to stand in front of the answer, None for none."""
        if isinstance(self.report, AnswersResult):
            return self.report.cue_word
        last = self.prompt.provenance.history[-1]
        return last["word"] if last.get("step") == "cue_word" else None

    @property
    def verdict(self) -> str:
        """In plain words how far to trust the result."""
        if self.check is not None:
            told, _, means = self.check.lines
            return f"{told}: {means}"
        if isinstance(self.report, WritingResult):
            return self.report.verdict
        if self.warnings:
            return self.warnings[0]
        return "nothing speaks against it; its answers were not compared with its source's"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, without the prompts."""
        return {
            **self.report.to_dict(),
            "plan": self.plan.to_dict(),
            "check": None if self.check is None else self.check.to_dict(),
            "warnings": list(self.warnings),
            "source_scores": list(self.source_scores),
            "expected": None if self.expected is None else self.expected.to_dict(),
            "verdict": self.verdict,
        }


def dev_score(prompt: SoftPrompt) -> float | None:
    """The score on dev rows that a prompt was tuned to, as its tuning recorded it."""
    return _tuned(prompt)[0]


def dev_rows(prompt: SoftPrompt) -> int | None:
    """How many rows that was, if it is recorded."""
    return _tuned(prompt)[1]


def _tuned(prompt: SoftPrompt) -> tuple[float | None, int | None]:
    records = [prompt.provenance.tuning]
    records += [entry.get("tuning") for entry in reversed(prompt.provenance.history)]
    for record in records:
        score = record.get("dev_score") if isinstance(record, dict) else None
        if isinstance(record, dict) and isinstance(score, int | float):
            rows = record.get("dev_rows")
            return float(score), rows if isinstance(rows, int) else None
    return None, None


def fewer_equal(before: Agreement, after: Agreement, texts: Texts) -> tuple[str, ...]:
    """A word on fewer equal answers after alignment: it goes by probabilities, not by the first.

    Args:
        before: agreement with the source before alignment.
        after: the same after it.
        texts: what was asked.
    """
    if after.same >= before.same:
        return ()
    fix = "move it with unlabelled texts of the task (--texts task)"
    if texts != "words":
        fix = "more texts (--rows) make it surer"
    return (
        f"alignment brought the probabilities nearer (divergence {before.divergence:.2f} to "
        f"{after.divergence:.2f} nats) but fewer first answers are equal "
        f"({before.same:.0%} to {after.same:.0%} of {after.rows}): {fix}",
    )
