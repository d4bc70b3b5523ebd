"""Exports of prompts to the engines that serve them, each with a check against the backbone."""

from promptport.engines.checking import Check, Reference, check_export
from promptport.engines.exporting import Export, export_prompts
from promptport.engines.registry import ENGINES, Engine, find_engine

__all__ = [
    "ENGINES",
    "Check",
    "Engine",
    "Export",
    "Reference",
    "check_export",
    "export_prompts",
    "find_engine",
]
