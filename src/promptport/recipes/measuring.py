"""One unit of work, measured: the same in every engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from promptport.errors import PromptPortError, StorageError
from promptport.experiments.result_store import rounded
from promptport.recipes.bench import Bench
from promptport.recipes.cells import Cell
from promptport.recipes.kinds import KINDS


@dataclass(frozen=True)
class Measured:
    """What became of a cell.

    Attributes:
        cell: which one.
        record: of a finished cell, as its file holds it; else empty.
        error: of one that failed, in one line.
        again: whether another try may help.
    """

    cell: Cell
    record: Mapping[str, Any]
    error: str = ""
    again: bool = False


def measure_unit(
    bench: Bench, cells: Sequence[Cell], stamps: Mapping[str, str], told: Mapping[str, Any]
) -> Iterator[Measured]:
    """Measure the cells of a unit; one that cannot be does not stop the others.

    Args:
        bench: of the worker.
        cells: of one unit.
        stamps: by cell id, of what each depends on.
        told: of the worker, for the record.

    Raises:
        StorageError: the folder of the run cannot be written.
    """
    kind = KINDS[cells[0].kind]
    bench.stamps = stamps
    groups = [list(cells)] if kind.whole else [[cell] for cell in cells]
    for group in groups:
        try:
            yield from _measured(bench, group, stamps, told)
        except _Failed as failed:
            if len(group) == 1:
                yield failed.of(group[0])
                continue
            for cell in group:  # which of them was it?
                try:
                    yield from _measured(bench, [cell], stamps, told)
                except _Failed as alone:
                    yield alone.of(cell)


class _Failed(Exception):
    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error

    def of(self, cell: Cell) -> Measured:
        """The line of a cell."""
        known = isinstance(self.error, PromptPortError)
        text = str(self.error) if known else f"{type(self.error).__name__}: {self.error}"
        return Measured(cell, {}, " ".join(text.split())[:1000], again=not known)


def _measured(
    bench: Bench, cells: Sequence[Cell], stamps: Mapping[str, str], told: Mapping[str, Any]
) -> Iterator[Measured]:
    began, processor = time.perf_counter(), time.process_time()
    found = KINDS[cells[0].kind].measure(cells, bench)
    share = len(cells) if KINDS[cells[0].kind].whole else 1
    spent: list[Measured] = []
    try:
        for cell, values in found:
            record = {
                **cell.to_dict(),
                "values": rounded(values),
                "stamp": stamps[cell.id],
                **told,
                "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            spent.append(Measured(cell, record))
    except StorageError:
        raise
    except Exception as error:
        raise _Failed(error) from error
    used = (time.perf_counter() - began) / share, (time.process_time() - processor) / share
    for each in spent:
        times = {"seconds": round(used[0], 4), "processor_seconds": round(used[1], 4)}
        yield Measured(each.cell, {**each.record, **times})
