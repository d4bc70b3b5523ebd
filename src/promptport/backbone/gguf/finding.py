"""From what a user writes to a GGUF file: a path, a folder that holds one, a file of the Hub."""

from __future__ import annotations

import re
from pathlib import Path

from promptport.errors import BackboneError
from promptport.files import is_gguf_file
from promptport.shell import quoted

_SUFFIX = ".gguf"
_ON_HUB = re.compile(r"(?P<id>[\w.-]{2,}(/[\w.-]+)?):(?P<file>[^:]+\.gguf)", re.IGNORECASE)
_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
_MOST_NAMED = 5
_PROJECTOR = "mmproj"


def find_gguf(name: str, revision: str | None = None) -> Path | None:
    """The GGUF file that a name means, None if it means something else.

    Args:
        name: path of a file, folder that holds exactly one, or `hub-id:file.gguf`.
        revision: Hub revision.

    Raises:
        BackboneError: no such file, one part of several, or several files in the folder.
        OSError: the Hub cannot be reached or refuses; the message is one line.
    """
    if not name:
        return None
    place = Path(name).expanduser()
    if place.is_dir():
        return _only_one(place)
    if place.is_file():
        return _whole(place) if is_gguf_file(place) else None
    if (on_hub := _ON_HUB.fullmatch(name)) is not None:
        return _from_hub(name, on_hub["id"], on_hub["file"], revision)
    if name.lower().endswith(_SUFFIX):
        raise BackboneError(
            name,
            expected="a GGUF file",
            got="a path that does not exist",
            fix="Check the path; a file of the Hub is named HUB-ID:FILE.gguf",
        )
    return None


def _whole(place: Path) -> Path:
    part = _PART.search(place.name)
    if part is not None and int(part[2]) > 1:
        first = place.name[: part.start()] + f"-00001-of-{part[2]}{_SUFFIX}"
        whole = place.name[: part.start()] + _SUFFIX
        raise BackboneError(
            str(place),
            expected="a model in one GGUF file",
            got=f"part {int(part[1])} of {int(part[2])}",
            fix="Join them with llama.cpp: "
            f"llama-gguf-split --merge {quoted(first)} {quoted(whole)}",
        )
    return place


def _only_one(folder: Path) -> Path | None:
    if (folder / "config.json").is_file():
        return None  # an ordinary model folder, whatever lies beside it
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == _SUFFIX)
    models = [file for file in files if not file.name.lower().startswith(_PROJECTOR)]
    if len(models) == 1:
        return _whole(models[0])
    if not models:
        return None
    if all(_PART.search(file.name) for file in models):
        return _whole(models[0])
    more = f" and {len(models) - _MOST_NAMED} more" if len(models) > _MOST_NAMED else ""
    raise BackboneError(
        str(folder),
        expected="a folder with one GGUF file",
        got=f"{len(models)} ({', '.join(file.name for file in models[:_MOST_NAMED])}{more})",
        fix=f"Name the file, for instance {models[0]}",
    )


def _from_hub(name: str, hub_id: str, file: str, revision: str | None) -> Path:
    from promptport.backbone.hub import whole_hub_file

    found = whole_hub_file(hub_id, file, revision)
    if found is None:
        raise BackboneError(
            name,
            expected=f"a file of the Hub repository {hub_id}",
            got=f"none named {file!r}" + ("" if revision is None else f" at {revision}"),
            fix=f"Look at its files: https://huggingface.co/{hub_id}/tree/{revision or 'main'}",
        )
    return _whole(found)
