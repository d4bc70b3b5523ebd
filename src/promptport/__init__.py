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
    from promptport.analysis.origin_checks import (
        OriginCheckConfig,
        check_prompt_origins,
        check_task_origins,
    )
    from promptport.anchors import AnchorSet
    from promptport.backbone import Backbone, open_space, with_origin
    from promptport.catalog import Catalog, CatalogEntry
    from promptport.distillation import (
        Agreement,
        DistillConfig,
        DistillResult,
        Selection,
        Teacher,
        agreement,
        align,
        distill_merge,
        distill_over_origins,
        fit_mixture,
        move_by_answers,
        select_transfer,
    )
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
    from promptport.library import AdaptConfig, AdaptResult, Library, Ranking, adapt, rank
    from promptport.library.combining import Combination, CombineConfig, combine
    from promptport.merging import SearchConfig, SearchResult, merge, search_coefficients
    from promptport.moving import (
        MoveConfig,
        MovePlan,
        MoveResult,
        move,
        plan_move,
        prepare_move,
    )
    from promptport.parameters import OriginSpec, make_origin
    from promptport.portable import PortablePrompt
    from promptport.prediction import Prediction, predict
    from promptport.prompt import SoftPrompt
    from promptport.provenance import Provenance
    from promptport.recipes import Recipe, RunConfig, RunResult, read_recipe, run_recipe
    from promptport.recipes.reports import RunDiff, RunRecord, diff_runs, read_run, write_report
    from promptport.relative import encode_relative
    from promptport.serving.asks import Ask, Reply
    from promptport.serving.sent import SentPrompt
    from promptport.serving.server import PromptServer
    from promptport.space import EmbeddingSpace
    from promptport.storage import (
        load_portable,
        load_prompt,
        load_vector,
        save_portable,
        save_prompt,
        save_vector,
    )
    from promptport.tasks import (
        Task,
        Template,
        WritingConfig,
        check_task,
        import_task,
        list_tasks,
        open_task,
        read_inputs,
    )
    from promptport.transfers import (
        Source,
        TransferConfig,
        TransferResult,
        encode_prompt,
        transfer,
        transfer_method,
    )
    from promptport.tuning import JointResult, TuneConfig, TuneJob, TuneResult, tune, tune_jointly
    from promptport.vector import TaskPromptVector

_HOMES = {
    "combine": "library.combining",
    "CombineConfig": "library.combining",
    "Combination": "library.combining",
    "check_task_origins": "analysis.origin_checks",
    "check_prompt_origins": "analysis.origin_checks",
    "OriginCheckConfig": "analysis.origin_checks",
    "AdaptConfig": "library",
    "AdaptResult": "library",
    "Agreement": "distillation",
    "AnchorSet": "anchors",
    "Backbone": "backbone",
    "Catalog": "catalog",
    "CatalogEntry": "catalog",
    "Curves": "experiments",
    "CurvesConfig": "experiments",
    "DistillConfig": "distillation",
    "DistillResult": "distillation",
    "EmbeddingSpace": "space",
    "Evaluation": "evaluation",
    "JointResult": "tuning",
    "Library": "library",
    "MoveConfig": "moving",
    "MovePlan": "moving",
    "MoveResult": "moving",
    "OriginSpec": "parameters",
    "Pairs": "experiments",
    "PairsConfig": "experiments",
    "PortablePrompt": "portable",
    "Prediction": "prediction",
    "PromptServer": "serving.server",
    "Reply": "serving.asks",
    "Recipe": "recipes",
    "RunConfig": "recipes",
    "RunDiff": "recipes.reports",
    "RunRecord": "recipes.reports",
    "RunResult": "recipes",
    "Ask": "serving.asks",
    "PromptPortError": "errors",
    "Provenance": "provenance",
    "Ranking": "library",
    "SearchConfig": "merging",
    "SearchResult": "merging",
    "Selection": "distillation",
    "SentPrompt": "serving.sent",
    "SoftPrompt": "prompt",
    "Source": "transfers",
    "Task": "tasks",
    "TaskPromptVector": "vector",
    "Teacher": "distillation",
    "Template": "tasks",
    "TransferConfig": "transfers",
    "TransferResult": "transfers",
    "WritingConfig": "tasks",
    "TuneConfig": "tuning",
    "TuneJob": "tuning",
    "TuneResult": "tuning",
    "adapt": "library",
    "agreement": "distillation",
    "fit_mixture": "distillation",
    "align": "distillation",
    "encode_prompt": "transfers",
    "check_task": "tasks",
    "encode_relative": "relative",
    "evaluate": "evaluation",
    "few_shot_curves": "experiments",
    "import_task": "tasks",
    "list_tasks": "tasks",
    "load_portable": "storage",
    "load_prompt": "storage",
    "load_vector": "storage",
    "make_origin": "parameters",
    "merge": "merging",
    "move": "moving",
    "move_by_answers": "distillation",
    "diff_runs": "recipes.reports",
    "distill_merge": "distillation",
    "open_space": "backbone",
    "open_task": "tasks",
    "rank": "library",
    "read_inputs": "tasks",
    "read_recipe": "recipes",
    "read_run": "recipes.reports",
    "run_recipe": "recipes",
    "plan_move": "moving",
    "prepare_move": "moving",
    "save_portable": "storage",
    "save_prompt": "storage",
    "save_vector": "storage",
    "predict": "prediction",
    "score_pairs": "experiments",
    "score_prompts": "evaluation",
    "search_coefficients": "merging",
    "select_transfer": "distillation",
    "transfer": "transfers",
    "transfer_method": "transfers",
    "tune": "tuning",
    "tune_jointly": "tuning",
    "distill_over_origins": "distillation",
    "with_origin": "backbone",
    "write_curves": "experiments",
    "write_report": "recipes.reports",
}

__all__ = [
    "AdaptConfig",
    "AdaptResult",
    "Agreement",
    "AnchorSet",
    "Ask",
    "Backbone",
    "Catalog",
    "CatalogEntry",
    "Combination",
    "CombineConfig",
    "Curves",
    "CurvesConfig",
    "DistillConfig",
    "DistillResult",
    "EmbeddingSpace",
    "Evaluation",
    "JointResult",
    "Library",
    "MoveConfig",
    "MovePlan",
    "MoveResult",
    "OriginCheckConfig",
    "OriginSpec",
    "Pairs",
    "PairsConfig",
    "PortablePrompt",
    "Prediction",
    "PromptPortError",
    "PromptServer",
    "Provenance",
    "Ranking",
    "Recipe",
    "Reply",
    "RunConfig",
    "RunDiff",
    "RunRecord",
    "RunResult",
    "SearchConfig",
    "SearchResult",
    "Selection",
    "SentPrompt",
    "SoftPrompt",
    "Source",
    "Task",
    "TaskPromptVector",
    "Teacher",
    "Template",
    "TransferConfig",
    "TransferResult",
    "TuneConfig",
    "TuneJob",
    "TuneResult",
    "WritingConfig",
    "__version__",
    "adapt",
    "agreement",
    "align",
    "check_prompt_origins",
    "check_task",
    "check_task_origins",
    "combine",
    "diff_runs",
    "distill_merge",
    "distill_over_origins",
    "encode_prompt",
    "encode_relative",
    "evaluate",
    "few_shot_curves",
    "fit_mixture",
    "import_task",
    "list_tasks",
    "load_portable",
    "load_prompt",
    "load_vector",
    "make_origin",
    "merge",
    "move",
    "move_by_answers",
    "open_space",
    "open_task",
    "plan_move",
    "predict",
    "prepare_move",
    "rank",
    "read_inputs",
    "read_recipe",
    "read_run",
    "run_recipe",
    "save_portable",
    "save_prompt",
    "save_vector",
    "score_pairs",
    "score_prompts",
    "search_coefficients",
    "select_transfer",
    "transfer",
    "transfer_method",
    "tune",
    "tune_jointly",
    "with_origin",
    "write_curves",
    "write_report",
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
