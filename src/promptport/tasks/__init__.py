"""Tasks: templates, label words, data and metrics."""

from promptport.tasks.catalog import TaskEntry, list_tasks, open_task
from promptport.tasks.checking import SplitCheck, TaskCheck, check_task
from promptport.tasks.data import (
    FileSource,
    HubSource,
    Kind,
    MemorySource,
    RecordSource,
    Row,
    Source,
)
from promptport.tasks.groups import expand_tasks
from promptport.tasks.importing import ImportConfig, ImportedTask, import_task
from promptport.tasks.inputs import read_inputs
from promptport.tasks.metrics import (
    METRICS,
    Score,
    bootstrap_score,
    hits,
    majority_score,
    normalise,
)
from promptport.tasks.opening import TaskLike, as_task
from promptport.tasks.relabelling import rightly_labelled
from promptport.tasks.task import Task
from promptport.tasks.task_file import load_task
from promptport.tasks.template import Answer, Chat, Field, Piece, Soft, Template, Text, escape
from promptport.tasks.text_metrics import FREE_METRICS, require_metric
from promptport.tasks.tpv import open_tpv, tpv_forms, tpv_names
from promptport.tasks.writing import WritingConfig

__all__ = [
    "FREE_METRICS",
    "METRICS",
    "Answer",
    "Chat",
    "Field",
    "FileSource",
    "HubSource",
    "ImportConfig",
    "ImportedTask",
    "Kind",
    "MemorySource",
    "Piece",
    "RecordSource",
    "Row",
    "Score",
    "Soft",
    "Source",
    "SplitCheck",
    "Task",
    "TaskCheck",
    "TaskEntry",
    "TaskLike",
    "Template",
    "Text",
    "WritingConfig",
    "as_task",
    "bootstrap_score",
    "check_task",
    "escape",
    "expand_tasks",
    "hits",
    "import_task",
    "list_tasks",
    "load_task",
    "majority_score",
    "normalise",
    "open_task",
    "open_tpv",
    "read_inputs",
    "require_metric",
    "rightly_labelled",
    "tpv_forms",
    "tpv_names",
]
