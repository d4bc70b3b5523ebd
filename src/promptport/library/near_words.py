"""What prompts read like: the words of their models that are next to their virtual tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptport.backbone import open_space
from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.kept_answers import stores_of
from promptport.catalog.layout import CONFIG_FILE
from promptport.errors import PromptPortError
from promptport.progress import stage
from promptport.space import EmbeddingSpace
from promptport.storage import load_prompt, load_vector
from promptport.token_text import readable
from promptport.zoo import embedded_folder

Near = list[list[tuple[str, float]]]  # per virtual token, words with cosines
TOP = 5
_VERSION = 1
_KINDS = ("free", "mixture", "vector")


def near_words(catalog: Catalog) -> tuple[dict[str, Near], list[str]]:
    """Words next to the virtual tokens of all prompts and vectors of a library.

    Models are opened that are embedded or on this machine; of them the embedding table is read.
    What was found is kept beside the index.

    Args:
        catalog: of the library.

    Returns:
        Per name the nearest words of each virtual token with their cosines, and what could not be
        read, one line each.
    """
    entries = {e.name: e for e in catalog.entries if e.kind in _KINDS}
    found: dict[str, Near] = {}
    for store, names in stores_of(catalog.places, entries.values()):
        keys = {_key(entries[name]): name for name in names if _is_marked(entries[name])}
        for key, value in store.get(keys).items():
            near = _read(value)
            if near is not None:
                found[keys[key]] = near
    missing = [entry for name, entry in entries.items() if name not in found]
    fresh, notes = _look(missing)
    for store, names in stores_of(catalog.places, [entries[name] for name in fresh]):
        marked = [name for name in names if _is_marked(entries[name])]
        store.put({_key(entries[name]): json.dumps(fresh[name]).encode() for name in marked})
    return found | fresh, notes


def words_of(near: Near) -> list[str]:
    """The words alone, each once."""
    return list(dict.fromkeys(word for row in near for word, _ in row))


def space_at_hand(entry: CatalogEntry) -> EmbeddingSpace:
    """The embedding space of an entry's model, if it is on this machine.

    Raises:
        PromptPortError: it is not, or it is another model by now.
    """
    name = entry.backbone
    if embedded_folder(name) is None and not Path(name).exists():
        raise PromptPortError(
            f"model of {entry.name}",
            expected="one that is embedded or on this machine",
            got=repr(name),
            fix="Run it where the model is",
        )
    space = open_space(name, revision=entry.revision)
    if entry.fingerprint not in (None, space.fingerprint) or entry.width != space.width:
        raise PromptPortError(
            f"model of {entry.name}",
            expected="the one that it was made on",
            got=f"another one under the name {name!r}",
            fix="Compare them: promptport library verify",
        )
    return space


def _is_marked(entry: CatalogEntry) -> bool:
    return entry.checksum is not None and entry.fingerprint is not None


def _key(entry: CatalogEntry) -> str:
    return f"near {_VERSION} {TOP} {entry.checksum} {entry.fingerprint}"


def _look(entries: Sequence[CatalogEntry]) -> tuple[dict[str, Near], list[str]]:
    found: dict[str, Near] = {}
    notes: list[str] = []
    spaces: dict[tuple[Any, ...], EmbeddingSpace | str] = {}
    with stage("reading the words next to virtual tokens") as told:
        for number, entry in enumerate(entries):
            told.at(number, len(entries))
            model = (entry.backbone, entry.revision, entry.fingerprint, entry.width)
            try:
                if model not in spaces:
                    spaces[model] = space_at_hand(entry)
                space = spaces[model]
                if isinstance(space, EmbeddingSpace):
                    near = space.nearest(rows_of(entry.folder), TOP)
                    found[entry.name] = [[(readable(w), float(c)) for w, c in row] for row in near]
            except PromptPortError as error:
                notes.append(str(error))
                spaces.setdefault(model, str(error))
    return found, notes


def rows_of(folder: Path) -> Any:
    """(n, d): rows of a prompt, or what a vector adds.

    Raises:
        PromptPortError: it cannot be read.
    """
    is_prompt = (folder / CONFIG_FILE).is_file()
    return load_prompt(folder).vectors if is_prompt else load_vector(folder).delta


def _read(value: bytes) -> Near | None:
    """What was kept; None if it is of another form."""
    try:
        rows = json.loads(value)
        return [[(str(word), float(cosine)) for word, cosine in row] for row in rows]
    except (ValueError, TypeError):
        return None
