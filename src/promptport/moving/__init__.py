"""Moving finished prompts to other models: one front door, and the roads behind it."""

from promptport.moving.answer_check import AnswerCheck, check_answers
from promptport.moving.embeddings import EmbeddingsConfig, move_by_embeddings
from promptport.moving.front import MoveConfig, PreparedMove, move, prepare_move
from promptport.moving.planning import MovePlan, Situation, plan_move
from promptport.moving.result import MoveResult
from promptport.moving.vectors import VectorMove, move_vector

__all__ = [
    "AnswerCheck",
    "EmbeddingsConfig",
    "MoveConfig",
    "MovePlan",
    "MoveResult",
    "PreparedMove",
    "Situation",
    "VectorMove",
    "check_answers",
    "move",
    "move_by_embeddings",
    "move_vector",
    "plan_move",
    "prepare_move",
]
