"""promptport carries soft prompts across language models and across tasks.

Names are imported when they are first used, so that `import promptport` costs nothing. Functions
are verbs (`tune`, `transfer`, `evaluate`) and rooms are nouns (`tuning`, `transfers`,
`evaluation`): a room with the name of a function would hide it as soon as it is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from promptport._version import __version__

if TYPE_CHECKING:
    from promptport.anchors import AnchorSet
    from promptport.backbone import Backbone, open_space
    from promptport.errors import PromptPortError
    from promptport.evaluation import Evaluation, evaluate
    from promptport.interop import load_prompt, save_prompt
    from promptport.prompt import Provenance, SoftPrompt
    from promptport.relative import encode_relative
    from promptport.space import EmbeddingSpace
    from promptport.tasks import Task, Template, list_tasks, open_task
    from promptport.transfers import TransferResult, transfer, transfer_method
    from promptport.tuning import OriginSpec, TuneConfig, TuneJob, TuneResult, make_origin, tune

_HOMES = {
    "AnchorSet": "anchors",
    "Backbone": "backbone",
    "EmbeddingSpace": "space",
    "Evaluation": "evaluation",
    "OriginSpec": "tuning",
    "PromptPortError": "errors",
    "Provenance": "prompt",
    "SoftPrompt": "prompt",
    "Task": "tasks",
    "Template": "tasks",
    "TransferResult": "transfers",
    "TuneConfig": "tuning",
    "TuneJob": "tuning",
    "TuneResult": "tuning",
    "encode_relative": "relative",
    "evaluate": "evaluation",
    "list_tasks": "tasks",
    "load_prompt": "interop",
    "make_origin": "tuning",
    "open_space": "backbone",
    "open_task": "tasks",
    "save_prompt": "interop",
    "transfer": "transfers",
    "transfer_method": "transfers",
    "tune": "tuning",
}

__all__ = [
    "AnchorSet",
    "Backbone",
    "EmbeddingSpace",
    "Evaluation",
    "OriginSpec",
    "PromptPortError",
    "Provenance",
    "SoftPrompt",
    "Task",
    "Template",
    "TransferResult",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "__version__",
    "encode_relative",
    "evaluate",
    "list_tasks",
    "load_prompt",
    "make_origin",
    "open_space",
    "open_task",
    "save_prompt",
    "transfer",
    "transfer_method",
    "tune",
]


def __getattr__(name: str) -> Any:
    # `promptport.evaluation` is a function and a module: the function wins once it was asked for.
    if name not in _HOMES:
        raise AttributeError(f"module 'promptport' has no attribute {name!r}")
    value = getattr(import_module(f"promptport.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
