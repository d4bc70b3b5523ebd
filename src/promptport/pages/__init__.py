"""HTML pages that stand alone: one file each, no network, no scripts."""

from promptport.pages.colours import Colour, ColourScale
from promptport.pages.render import render_page, svg_of

__all__ = ["Colour", "ColourScale", "render_page", "svg_of"]
