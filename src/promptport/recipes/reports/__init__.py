"""Reports of runs: tables with intervals and tests, figures, pages; what differs between two runs.

Nothing here needs torch or a model.
"""

from promptport.recipes.reports.differences import CellChange, RunDiff, diff_runs
from promptport.recipes.reports.report import Report, make_report
from promptport.recipes.reports.run_record import MeasuredCell, RunRecord, read_run
from promptport.recipes.reports.specs import ReportSpec, read_report_spec
from promptport.recipes.reports.writing import write_report

__all__ = [
    "CellChange",
    "MeasuredCell",
    "Report",
    "ReportSpec",
    "RunDiff",
    "RunRecord",
    "diff_runs",
    "make_report",
    "read_report_spec",
    "read_run",
    "write_report",
]
