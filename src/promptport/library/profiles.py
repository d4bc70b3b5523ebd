"""What pages show of the prompts of a library beyond their records: what they read like, and which
are alike. Values are loaded, and embedding tables of models on this machine are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from promptport.catalog import Catalog, CatalogEntry
from promptport.errors import PromptPortError
from promptport.library.near_words import Near, near_words, space_at_hand
from promptport.progress import stage
from promptport.storage import load_prompt, load_vector
from promptport.storage.vector_folder import is_vector

KINDS = ("free", "mixture", "vector")  # whose values can be compared
_MOST_SIMILAR = 6
_MIXED = 5  # heaviest words of a virtual token


@dataclass(frozen=True)
class Similar:
    """A prompt that is like another one.

    Attributes:
        name: in the library.
        cosine: of all values.
        tuned: of what tuning added to the origins; None where one has no origin.
    """

    name: str
    cosine: float
    tuned: float | None


@dataclass(frozen=True)
class Profile:
    """A prompt or vector, beyond its record.

    Attributes:
        norms: length of each virtual token.
        moved: how far each is from its origin; None without one.
        near: words next to each, with cosines; None where the model is not at hand.
        mixture: heaviest words of each, with weights; None for free ones.
        mean_norm: mean length of the model's input rows; None where it is not at hand.
        similar: the most similar ones of its model and size, the nearest first.
    """

    norms: tuple[float, ...]
    moved: tuple[float, ...] | None = None
    near: Near | None = None
    mixture: Near | None = None
    mean_norm: float | None = None
    similar: tuple[Similar, ...] = ()


@dataclass(frozen=True)
class CosineMap:
    """Cosines of all pairs of some prompts of one model and size.

    Attributes:
        backbone: as `Catalog.backbones` names it.
        length: virtual tokens of each.
        names: m names.
        cosines: (m, m).
    """

    backbone: str
    length: int
    names: tuple[str, ...]
    cosines: Tensor = field(repr=False)


@dataclass(frozen=True)
class Profiles:
    """Of a library.

    Attributes:
        by_name: of what could be read.
        maps: for each model and size of two prompts or more.
        notes: what could not be read, one line each.
    """

    by_name: Mapping[str, Profile]
    maps: tuple[CosineMap, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Values:
    rows: Tensor
    delta: Tensor | None
    mixture: Near | None


def profiles(catalog: Catalog) -> Profiles:
    """Look closer at the prompts and vectors of a library.

    Args:
        catalog: of the library.
    """
    values, notes = _load([entry for entry in catalog.entries if entry.kind in KINDS])
    near, unread = near_words(catalog)
    lengths = _mean_norms(catalog, near)
    entries = {entry.name: entry for entry in catalog.entries}
    similar: dict[str, tuple[Similar, ...]] = {}
    maps = []
    for backbone, names in catalog.backbones.items():
        groups: dict[tuple[int, ...], list[str]] = {}
        for name in names:
            if name in values:
                groups.setdefault(tuple(values[name].rows.shape), []).append(name)
        for shape, alike in groups.items():
            if len(alike) < 2:
                continue
            cosines = _cosines([values[name].rows for name in alike])
            tuned = _cosines([_delta(values[name]) for name in alike])
            maps.append(CosineMap(backbone, shape[0], tuple(alike), cosines))
            bare = [values[name].delta is None for name in alike]
            for i, name in enumerate(alike):
                similar[name] = _similar(i, alike, cosines, tuned, bare)
    made = {
        name: Profile(
            tuple(own.rows.norm(dim=1).tolist()),
            None if own.delta is None else tuple(own.delta.norm(dim=1).tolist()),
            near.get(name),
            own.mixture,
            lengths.get(_model(entries[name])),
            similar.get(name, ()),
        )
        for name, own in values.items()
    }
    return Profiles(made, tuple(maps), tuple(dict.fromkeys([*notes, *unread])))


def _load(entries: Sequence[CatalogEntry]) -> tuple[dict[str, _Values], list[str]]:
    values, notes = {}, []
    with stage("reading the prompts") as told:
        for number, entry in enumerate(entries):
            told.at(number, len(entries))
            try:
                own = _read(entry)
            except PromptPortError as error:
                notes.append(str(error))
                continue
            if bool(own.rows.isfinite().all()):
                values[entry.name] = own
            else:
                notes.append(f"{entry.path}: it holds numbers that are not finite")
    return values, notes


def _read(entry: CatalogEntry) -> _Values:
    if is_vector(entry.folder):
        delta = load_vector(entry.folder).delta
        return _Values(delta, delta, None)
    prompt = load_prompt(entry.folder)
    moved = None if prompt.origin is None else prompt.vectors - prompt.origin
    mixture = None if prompt.mixture is None else prompt.mixture.readable(_MIXED)
    return _Values(prompt.vectors, moved, mixture)


def _delta(values: _Values) -> Tensor:
    return torch.zeros_like(values.rows) if values.delta is None else values.delta


def _cosines(rows: Sequence[Tensor]) -> Tensor:
    """(m, m) of m prompts, flattened; of one that is all zeros 0."""
    flat = torch.stack([own.flatten().double() for own in rows])
    flat = torch.nn.functional.normalize(flat, dim=1)
    cosines: Tensor = (flat @ flat.T).clamp(-1, 1)
    return cosines


def _similar(
    place: int, names: Sequence[str], cosines: Tensor, tuned: Tensor, bare: Sequence[bool]
) -> tuple[Similar, ...]:
    """The others, by what tuning added where both have an origin."""
    found = [
        Similar(
            name,
            float(cosines[place, i]),
            None if bare[i] or bare[place] else float(tuned[place, i]),
        )
        for i, name in enumerate(names)
        if i != place
    ]
    found.sort(key=lambda own: -(own.cosine if own.tuned is None else own.tuned))
    return tuple(found[:_MOST_SIMILAR])


def _model(entry: CatalogEntry) -> tuple[str, str | None, str | None]:
    return entry.backbone, entry.revision, entry.fingerprint


def _mean_norms(
    catalog: Catalog, near: Mapping[str, Near]
) -> dict[tuple[str, str | None, str | None], float]:
    """Mean length of the input rows of the models whose words could be read."""
    found = {}
    for entry in catalog.entries:
        if entry.name in near and _model(entry) not in found:
            try:
                found[_model(entry)] = space_at_hand(entry).statistics.mean_norm
            except PromptPortError:  # kept from earlier, and gone by now
                continue
    return found
