"""Engines that run units of work: processes of this machine, or a Ray cluster."""

from promptport.recipes.runners.base import RUNNERS, Runner, RunnerSettings

__all__ = ["RUNNERS", "Runner", "RunnerSettings"]
