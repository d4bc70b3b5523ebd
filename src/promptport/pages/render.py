"""Filling in a page: one template environment for all, figures as SVG."""

from __future__ import annotations

import base64
import hashlib
import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport._version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.figure import Figure


@cache
def _environment() -> Environment:
    import jinja2

    # Everything is escaped, and a name that is missing is an error instead of a gap in the page.
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def render_page(name: str, **values: Any) -> bytes:
    """A page as it is written to disk.

    Args:
        name: of the template, for instance `curves.html`.
        values: what it shows, by the names in the template.
    """
    page = _environment().get_template(name).render(version=__version__, **values)
    return page.encode(errors="backslashreplace")  # file names need not be text


def script_of(name: str) -> tuple[Any, str]:
    """A script of ours as it stands inside a page, and its hash for the page's content policy.

    With such a policy nothing else runs in the page, whatever names in it are made of.

    Args:
        name: of the file, for instance `library.js`.
    """
    from markupsafe import Markup

    text = (Path(__file__).parent / name).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"sha256-{digest}"


def svg_of(figure: Figure) -> Any:
    """A figure as SVG that stands inside a page.

    Args:
        figure: of our own numbers; the SVG writer escapes the names in it.
    """
    import matplotlib as mpl
    from markupsafe import Markup

    stream = io.StringIO()
    # Fixed ids and no date: the same result gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "promptport", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return Markup(text[text.index("<svg") :])
