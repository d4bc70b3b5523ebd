"""Names of the prompts of a library: as many parts of a path as tell it apart."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_SUFFIX = ".prompt"  # of a folder's name; it is no part of the prompt's


def names_apart(folders: Sequence[str | Path]) -> list[str]:
    """A short name for each of different folders: the last parts of its path that tell it apart.

    Args:
        folders: paths as they were written.
    """
    paths = [_named(str(folder)) for folder in folders]
    names = [os.path.basename(path).removesuffix(_SUFFIX) for path in paths]
    parts: dict[int, tuple[str, ...]] = {}  # of the few paths that end alike
    depth = 1
    while True:
        shared = {name for name, count in Counter(names).items() if count > 1}
        if not shared:
            return names
        alike = [i for i, name in enumerate(names) if name in shared]
        depth += 1
        longer = False
        for i in alike:
            own = parts.setdefault(i, Path(paths[i]).parts)
            longer = longer or depth <= len(own)
            names[i] = "/".join(own[-depth:]).removesuffix(_SUFFIX)
        if not longer:  # for instance `a` beside `a.prompt`
            return [str(Path(path).resolve()) for path in paths]


def _named(path: str) -> str:
    """The path; of one that ends in no name, where it leads."""
    return os.path.realpath(path) if os.path.basename(path) in ("", ".", "..") else path
