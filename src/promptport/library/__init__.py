"""Prompts of many tasks on one backbone: what they say together, which to start from."""

from promptport.library.adapting import AdaptConfig, AdaptResult, adapt
from promptport.library.opinion_pool import Opinion
from promptport.library.ranking import Candidate, Ranked, Ranking, rank

__all__ = [
    "AdaptConfig",
    "AdaptResult",
    "Candidate",
    "Opinion",
    "Ranked",
    "Ranking",
    "adapt",
    "rank",
]
