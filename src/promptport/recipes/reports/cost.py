"""What a run cost: time, processor time, and an estimate of its energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from promptport.errors import PromptPortError
from promptport.recipes.reports.run_record import MeasuredCell

WATTS = 15.0  # of a busy core, assumed; see `Cost.assumption`
_HOUR = 3600


@dataclass(frozen=True)
class CostLine:
    """Cost of cells.

    Attributes:
        kind: of the cells; `all` for the sum.
        cells: finished ones.
        seconds: wall seconds, added up over cells.
        processor_seconds: of all their threads, added up.
    """

    kind: str
    cells: int
    seconds: float
    processor_seconds: float


@dataclass(frozen=True)
class Cost:
    """What the finished cells of a run cost.

    Attributes:
        lines: by kind, and the sum at the end.
        workers: that made them.
        span: seconds from the start of the first cell to the end of the last, pauses included;
            None if the cells do not tell.
        untold: cells without processor time.
        watts: of a busy core, for the estimate.
    """

    lines: tuple[CostLine, ...]
    workers: int
    span: float | None
    untold: int
    watts: float

    @property
    def total(self) -> CostLine:
        """Of all cells."""
        return self.lines[-1]

    @property
    def energy(self) -> float:
        """Estimated watt-hours: processor hours times the watts of a core."""
        return self.total.processor_seconds / _HOUR * self.watts

    @property
    def assumption(self) -> str:
        """What the estimate rests on."""
        return (
            f"an estimate, not a measurement: processor hours times {self.watts:g} W per busy "
            "core, which is an assumption; memory, cooling, idle cores and accelerators are not "
            "in it"
        )


def cost_of(cells: Sequence[MeasuredCell], watts: float = WATTS) -> Cost:
    """Add up what finished cells cost.

    Args:
        cells: of a run.
        watts: of a busy core, above 0.

    Raises:
        PromptPortError: watts that are not above 0.
    """
    if not 0 < watts < float("inf"):
        raise PromptPortError(
            "watts", expected="a number above 0", got=str(watts), fix="Correct the number"
        )
    done = [cell for cell in cells if cell.state == "finished"]
    kinds = list(dict.fromkeys(cell.kind for cell in done))
    lines = [_line(kind, [cell for cell in done if cell.kind == kind]) for kind in kinds]
    return Cost(
        lines=(*lines, _line("all", done)),
        workers=len({cell.worker for cell in done if cell.worker is not None}),
        span=_span(done),
        untold=sum(cell.processor_seconds is None for cell in done),
        watts=watts,
    )


def _line(kind: str, cells: Sequence[MeasuredCell]) -> CostLine:
    return CostLine(
        kind,
        len(cells),
        sum(cell.seconds or 0.0 for cell in cells),
        sum(cell.processor_seconds or 0.0 for cell in cells),
    )


def _span(cells: Sequence[MeasuredCell]) -> float | None:
    told = [
        (datetime.fromisoformat(cell.finished), timedelta(seconds=cell.seconds or 0.0))
        for cell in cells
        if cell.finished is not None
    ]
    if not told:
        return None
    return (max(end for end, _ in told) - min(end - took for end, took in told)).total_seconds()
