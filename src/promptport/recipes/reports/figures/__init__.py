"""Figures of a report: vector graphics that read well in print and for every colour vision."""

from promptport.recipes.reports.figures.drawing import Drawn, draw

__all__ = ["Drawn", "draw"]
