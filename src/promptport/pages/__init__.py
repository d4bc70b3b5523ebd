"""HTML pages that stand alone: one file each, no network; a script in that of a library alone."""

from promptport.pages.colours import Colour, ColourScale
from promptport.pages.render import render_page, script_of, svg_of

__all__ = ["Colour", "ColourScale", "render_page", "script_of", "svg_of"]
