"""Engines that run units of work: processes of this machine, a Ray or a SLURM cluster."""

from promptport.recipes.runners.base import RUNNERS, Runner, RunnerSettings

__all__ = ["RUNNERS", "Runner", "RunnerSettings"]
