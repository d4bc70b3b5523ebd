"""Groups of tasks: `lama:*` for all relations of a folder, and other names with a `*`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from glob import glob
from pathlib import Path

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks.catalog import lama_names, nlu_names, pocket_names
from promptport.tasks.tpv import tpv_forms, tpv_names


def expand_tasks(names: Iterable[str | Path], data: str | Path | None = None) -> list[str]:
    """Every task that is named, with groups taken apart.

    `*` stands for any characters: `lama:*` are all relations of a folder, `lama:P1*` some of them,
    `nlu:*` the tasks of a folder, `tpv:*` the data sets of a paper (`tpv:*:t5` in one of its
    forms), `pocket:*` the embedded tasks, `tasks/*.yaml` task files.

    Args:
        names: references as `open_task` takes them, and groups.
        data: folder of `lama:`, `nlu:` and `tpv:` tasks; of the last all are taken without one.

    Returns:
        References in the order given, groups by name, each once.

    Raises:
        UnknownNameError: a group of a family that there is not.
        TaskError: a group without any task, or a folder that is not of its layout.
    """
    found: list[str] = []
    for name in map(str, names):
        found += _members(name, data) if "*" in name else [name]
    return list(dict.fromkeys(found))


def _members(group: str, data: str | Path | None) -> list[str]:
    if group.lower().endswith((".yaml", ".yml")):
        return _need(sorted(glob(group)), group, "a task file that it stands for")
    family, colon, wanted = group.partition(":")
    if not colon or family not in _FAMILIES:
        raise UnknownNameError(
            f"group {group!r}",
            expected=f"one that begins with {', '.join(f'{name}:' for name in _FAMILIES)}",
            got=repr(family if colon else group),
            fix="Write for instance 'lama:*'",
        )
    pattern = re.compile(".*".join(map(re.escape, wanted.split("*"))))
    known = _FAMILIES[family](group, data)
    matching = [f"{family}:{name}" for name in known if pattern.fullmatch(name)]
    return _need(matching, group, f"a pattern that one of {len(known)} names has")


def _need(found: Sequence[str], group: str, expected: str) -> list[str]:
    if not found:
        raise TaskError(
            f"group {group!r}", expected=expected, got="one that none has", fix="Correct the group"
        )
    return list(found)


def _pocket(_group: str, _data: str | Path | None) -> tuple[str, ...]:
    return pocket_names()


def _tpv(group: str, data: str | Path | None) -> tuple[str, ...]:
    names = [name for name in tpv_names() if data is None or (Path(data) / name).is_dir()]
    if group.count(":") < 2:
        return tuple(names)
    return tuple(f"{name}:{form}" for name in names for form in tpv_forms(name))


_FAMILIES: Mapping[str, Callable[[str, str | Path | None], tuple[str, ...]]] = {
    "pocket": _pocket,
    "lama": lama_names,
    "nlu": nlu_names,
    "tpv": _tpv,
}
