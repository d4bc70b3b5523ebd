"""Settings of the site: `make docs` builds it from the repository's root."""

import os
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from tools.docs import generate  # noqa: E402

from promptport import __version__  # noqa: E402

project = "promptport"
author = "The promptport developers"
copyright = author
version = release = __version__

# The source is the whole repository, so that a link reads the same here and on a code host.
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "docs/**/*.md",
    "benchmarks/*.md",
    "benchmarks/**/*.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
]
exclude_patterns = [
    "docs/methods/cards/**",
    "benchmarks/grid/results/runs/**",  # reports, which have pages of their own
    "build/**",
    ".venv/**",
]
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb", "sphinx_copybutton"]

html_theme = "furo"
html_title = "promptport"
html_static_path: list[str] = []
templates_path = ["templates"]
html_additional_pages = {"index": "redirect.html"}
html_copy_source = False
copybutton_prompt_text = "$ "

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Result tables are written by benchmarks, without a title.
suppress_warnings = ["toc.no_title", "myst.header"]
nb_execution_mode = "cache"
nb_execution_cache_path = str(ROOT / "build" / "docs-cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True

nitpicky = True
# Only our own names must lead somewhere; other libraries have sites of their own.
nitpick_ignore_regex = [
    ("py:.*", r"(?!promptport\.).*"),
    ("py:.*", r"promptport\.[\w.]*\._\w+"),  # checks that stand in annotations of pydantic
    ("py:class", r"promptport\.[\w.]* \| .*"),  # a union that Sphinx cuts at a comma within it
]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def setup(app: Any) -> None:
    """Make the generated pages before the sources are listed."""
    app.connect("builder-inited", lambda _app: generate.generate())
