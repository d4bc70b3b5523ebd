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
    from promptport.backbone import Backbone, open_space, with_origin
    from promptport.errors import PromptPortError
    from promptport.evaluation import Evaluation, evaluate, score_prompts
    from promptport.experiments import (
        Curves,
        CurvesConfig,
        Pairs,
        PairsConfig,
        few_shot_curves,
        score_pairs,
        write_curves,
    )
    from promptport.interop import (
        load_portable,
        load_prompt,
        load_vector,
        save_portable,
        save_prompt,
        save_vector,
    )
    from promptport.merging import merge
    from promptport.portable import PortablePrompt
    from promptport.prompt import Provenance, SoftPrompt
    from promptport.relative import encode_relative
    from promptport.space import EmbeddingSpace
    from promptport.tasks import Task, Template, list_tasks, open_task
    from promptport.transfers import (
        Source,
        TransferResult,
        transfer,
        transfer_many,
        transfer_method,
    )
    from promptport.tuning import (
        AdaptConfig,
        AdaptResult,
        Agreement,
        DistilConfig,
        DistilResult,
        JointResult,
        MoveResult,
        OriginSpec,
        SearchConfig,
        SearchResult,
        Selection,
        Teacher,
        TuneConfig,
        TuneJob,
        TuneResult,
        adapt,
        agreement,
        anchor,
        calibrate,
        make_origin,
        move,
        reconcile,
        search_coefficients,
        select_transfer,
        tune,
        tune_jointly,
        widen,
    )
    from promptport.vector import TaskPromptVector

_HOMES = {
    "AdaptConfig": "tuning",
    "AdaptResult": "tuning",
    "Agreement": "tuning",
    "AnchorSet": "anchors",
    "Backbone": "backbone",
    "Curves": "experiments",
    "CurvesConfig": "experiments",
    "DistilConfig": "tuning",
    "DistilResult": "tuning",
    "EmbeddingSpace": "space",
    "Evaluation": "evaluation",
    "JointResult": "tuning",
    "MoveResult": "tuning",
    "OriginSpec": "tuning",
    "Pairs": "experiments",
    "PairsConfig": "experiments",
    "PortablePrompt": "portable",
    "PromptPortError": "errors",
    "Provenance": "prompt",
    "SearchConfig": "tuning",
    "SearchResult": "tuning",
    "Selection": "tuning",
    "SoftPrompt": "prompt",
    "Source": "transfers",
    "Task": "tasks",
    "TaskPromptVector": "vector",
    "Teacher": "tuning",
    "Template": "tasks",
    "TransferResult": "transfers",
    "TuneConfig": "tuning",
    "TuneJob": "tuning",
    "TuneResult": "tuning",
    "adapt": "tuning",
    "agreement": "tuning",
    "anchor": "tuning",
    "calibrate": "tuning",
    "encode_relative": "relative",
    "evaluate": "evaluation",
    "few_shot_curves": "experiments",
    "list_tasks": "tasks",
    "load_portable": "interop",
    "load_prompt": "interop",
    "load_vector": "interop",
    "make_origin": "tuning",
    "merge": "merging",
    "move": "tuning",
    "reconcile": "tuning",
    "open_space": "backbone",
    "open_task": "tasks",
    "save_portable": "interop",
    "save_prompt": "interop",
    "save_vector": "interop",
    "score_pairs": "experiments",
    "score_prompts": "evaluation",
    "search_coefficients": "tuning",
    "select_transfer": "tuning",
    "transfer": "transfers",
    "transfer_many": "transfers",
    "transfer_method": "transfers",
    "tune": "tuning",
    "tune_jointly": "tuning",
    "widen": "tuning",
    "with_origin": "backbone",
    "write_curves": "experiments",
}

__all__ = [
    "AdaptConfig",
    "AdaptResult",
    "Agreement",
    "AnchorSet",
    "Backbone",
    "Curves",
    "CurvesConfig",
    "DistilConfig",
    "DistilResult",
    "EmbeddingSpace",
    "Evaluation",
    "JointResult",
    "MoveResult",
    "OriginSpec",
    "Pairs",
    "PairsConfig",
    "PortablePrompt",
    "PromptPortError",
    "Provenance",
    "SearchConfig",
    "SearchResult",
    "Selection",
    "SoftPrompt",
    "Source",
    "Task",
    "TaskPromptVector",
    "Teacher",
    "Template",
    "TransferResult",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "__version__",
    "adapt",
    "agreement",
    "anchor",
    "calibrate",
    "encode_relative",
    "evaluate",
    "few_shot_curves",
    "list_tasks",
    "load_portable",
    "load_prompt",
    "load_vector",
    "make_origin",
    "merge",
    "move",
    "open_space",
    "open_task",
    "reconcile",
    "save_portable",
    "save_prompt",
    "save_vector",
    "score_pairs",
    "score_prompts",
    "search_coefficients",
    "select_transfer",
    "transfer",
    "transfer_many",
    "transfer_method",
    "tune",
    "tune_jointly",
    "widen",
    "with_origin",
    "write_curves",
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
