"""Whether everything in a library is what was saved: values, records, and the models they name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from promptport.backbone import open_space
from promptport.catalog import Catalog, CatalogEntry
from promptport.catalog.changing import add_folder
from promptport.catalog.layout import CONFIG_FILE, VECTOR_FILE
from promptport.errors import PromptPortError
from promptport.progress import stage
from promptport.storage import load_portable, load_prompt, load_vector
from promptport.storage.attention_folder import read_attention
from promptport.zoo import embedded_folder


@dataclass(frozen=True)
class Wrong:
    """Something that is not as it was saved.

    Attributes:
        name: in the library.
        folder: where it lies.
        problem: what is wrong, and what to do about it, in a line.
    """

    name: str
    folder: str
    problem: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong.

    Attributes:
        checked: how many prompts, vectors, attentions and portable files.
        wrong: those that are damaged, or whose model is another by now.
        without_checksum: names of those whose record has none (PEFT's): only their form was seen.
        models: backbone -> `same`, `another`, or why it could not be compared.
    """

    checked: int
    wrong: tuple[Wrong, ...]
    without_checksum: tuple[str, ...]
    models: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "whole": not self.wrong}


def verify(places: str | Path | Sequence[str | Path]) -> Verification:
    """Load everything of a library, compare checksums, and fingerprints of the models here.

    Nothing is changed, no index is believed. A model is opened if it is embedded or in a folder of
    this machine; only its embedding matrix is read.

    Args:
        places: of the library.

    Raises:
        StorageError: a place that is missing, or holds nothing.
    """
    catalog = Catalog.open(places, index=False)
    wrong = [Wrong(e.name, e.path, e.problem or "") for e in catalog.damaged]
    bare: list[str] = []
    models: dict[str, str] = {}
    marks: dict[tuple[str, str | None], str | None] = {}
    with stage("checking values") as told:
        for i, entry in enumerate(catalog.entries):
            told.at(i, len(catalog))
            try:
                load_anything(entry.folder)
            except PromptPortError as error:
                wrong.append(Wrong(entry.name, entry.path, str(error)))
                continue
            if entry.facts is not None and entry.facts.warning:
                wrong.append(Wrong(entry.name, entry.path, f"tags: {entry.facts.warning}"))
            if entry.checksum is None:
                bare.append(entry.name)
            if problem := _other_model(entry, models, marks):
                wrong.append(Wrong(entry.name, entry.path, problem))
    return Verification(
        len(catalog) + len(catalog.damaged), tuple(wrong), tuple(bare), dict(sorted(models.items()))
    )


def add(folder: str | Path, library: str | Path, name: str | None = None) -> Path:
    """Copy a folder or portable file into a library, once its values were checked.

    Arguments, result and errors are those of `catalog.changing.add_folder`.
    """
    return add_folder(folder, library, name, check=load_anything)


def load_anything(path: Path) -> None:
    """Load a prompt, vector or attention folder or a portable file, with its checksums.

    Raises:
        PromptPortError: it is damaged.
    """
    if path.is_file():
        load_portable(path)
        return
    prompt, vector = (path / CONFIG_FILE).is_file(), (path / VECTOR_FILE).is_file()
    if prompt:
        load_prompt(path)
    if vector:
        load_vector(path)
    if not prompt and not vector:
        read_attention(path)


def _other_model(
    entry: CatalogEntry, models: dict[str, str], marks: dict[tuple[str, str | None], str | None]
) -> str | None:
    """What is wrong if the model here is another than the one that the record names.

    Args:
        entry: of the library.
        models: what was found of each backbone, which is added to.
        marks: fingerprints of the models that were opened, None for those that were not.
    """
    key = (entry.backbone, entry.revision)
    if key not in marks:
        marks[key] = None
        if embedded_folder(entry.backbone) is None and not Path(entry.backbone).is_dir():
            models[entry.backbone] = "not compared: it is neither embedded nor in a folder here"
        else:
            try:
                marks[key] = open_space(entry.backbone, revision=entry.revision).fingerprint
                models[entry.backbone] = "same"
            except PromptPortError as error:
                models[entry.backbone] = f"not compared: {error}"
    mark, made = marks[key], entry.fingerprint
    if mark is None or made is None or mark == made:
        return None
    models[entry.backbone] = "another"
    return (
        f"made on {entry.backbone} with the embedding matrix {made[:12]}; the model here has "
        f"{mark[:12]}. Get back the model that it was made on, or move it: promptport move"
    )
