"""Prompts of many tasks on one backbone: what they say together, which to start from."""

from promptport.catalog.searching import SearchHit
from promptport.library.adapting import AdaptConfig, AdaptResult, adapt
from promptport.library.entry import LibraryEntry, TaskPrompt
from promptport.library.library import Library
from promptport.library.opinion_pool import Opinion
from promptport.library.ranking import Ranked, Ranking, rank

__all__ = [
    "AdaptConfig",
    "AdaptResult",
    "Library",
    "LibraryEntry",
    "Opinion",
    "Ranked",
    "Ranking",
    "SearchHit",
    "TaskPrompt",
    "adapt",
    "rank",
]
