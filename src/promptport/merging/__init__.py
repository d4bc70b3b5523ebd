"""Merging: several task prompt vectors into one, by a method of the registry or by a search."""

from promptport.merging.coefficient_search import search_coefficients
from promptport.merging.concatenate import concatenate
from promptport.merging.engine import merge
from promptport.merging.registry import (
    MergeMethod,
    MergeProblem,
    find_merge,
    list_merges,
    merge_method,
)
from promptport.merging.search_settings import SearchConfig, SearchResult, Trial

__all__ = [
    "MergeMethod",
    "MergeProblem",
    "SearchConfig",
    "SearchResult",
    "Trial",
    "concatenate",
    "find_merge",
    "list_merges",
    "merge",
    "merge_method",
    "search_coefficients",
]
