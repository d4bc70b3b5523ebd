"""An expression whose names are prompt or vector folders: found, loaded, checked to fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from promptport.backbone import Backbone, origin_is_text
from promptport.belonging import check_same_backbone
from promptport.errors import MismatchError, PromptPortError
from promptport.merging.expressions import parse_expression
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, load_vector
from promptport.storage.prompt_folder import CONFIG_FILE
from promptport.vector import TaskPromptVector, unique_labels

Combinable = SoftPrompt | TaskPromptVector | str | Path

_SUFFIX = ".prompt"


@dataclass(frozen=True)
class Terms:
    """An expression whose names are prompts or vectors.

    Attributes:
        text: the expression.
        weights: name -> coefficient, in the order of their first use.
        contents: name -> folder, or what is loaded already.
    """

    text: str
    weights: Mapping[str, float]
    contents: Mapping[str, Path | SoftPrompt | TaskPromptVector] = field(repr=False)

    @property
    def added(self) -> list[str]:
        """Names with a coefficient above 0."""
        return [name for name, value in self.weights.items() if value > 0]

    @property
    def first(self) -> str:
        """The name that stands first."""
        return next(iter(self.weights))

    @property
    def folders(self) -> dict[str, Path]:
        """Folders of the names that are not loaded."""
        return {name: place for name, place in self.contents.items() if isinstance(place, Path)}

    def provenance(self, name: str) -> Provenance:
        """Where the prompt or vector of a name comes from.

        Raises:
            PromptPortError: a folder that cannot be read.
        """
        content = self.contents[name]
        if not isinstance(content, Path):
            return content.provenance
        return (self.prompt_or_none(name) or load_vector(content)).provenance

    def prompt(self, name: str) -> SoftPrompt:
        """The prompt of a name.

        Raises:
            PromptPortError: a vector, or a folder that cannot be read.
        """
        content = self.contents[name]
        if isinstance(content, TaskPromptVector):
            raise MismatchError(
                name, expected="a prompt", got="a task vector", fix="Give the prompt that it is of"
            )
        return load_prompt(content) if isinstance(content, Path) else content

    def prompt_or_none(self, name: str) -> SoftPrompt | None:
        """The prompt of a name; None for a vector."""
        content = self.contents[name]
        if isinstance(content, Path) and not (content / CONFIG_FILE).is_file():
            return None
        return None if isinstance(content, TaskPromptVector) else self.prompt(name)

    def vectors(self, backbone: Backbone | str | None = None) -> list[TaskPromptVector]:
        """The task prompt vectors of all names, in their order.

        Args:
            backbone: makes the origin of PEFT's TEXT again, see `with_origin`.

        Raises:
            MismatchError: several backbones, widths or lengths; the message names the folders.
        """
        short = _short_names(list(self.weights))
        vectors = {short[n]: self.vector(n, short[n], backbone) for n in self.weights}
        sizes = {
            name: (v.provenance, v.delta.shape)
            for name, v in zip(self.weights, vectors.values(), strict=True)
        }
        self._check_fits(sizes, "task vectors")
        return unique_labels(vectors)

    def prompts(self) -> list[SoftPrompt]:
        """The prompts of all names, in their order.

        Raises:
            MismatchError: several backbones or widths; the message names the folders.
        """
        prompts = {name: self.prompt(name) for name in self.weights}
        self._check_fits(
            {n: (p.provenance, p.vectors.shape[1:]) for n, p in prompts.items()}, "prompts"
        )
        return list(prompts.values())

    def has_text_origin(self) -> bool:
        """Whether an origin is made again from PEFT's text, for which the backbone is read."""
        prompts = (self.prompt_or_none(name) for name in self.weights)
        return any(prompt is not None and origin_is_text(prompt) for prompt in prompts)

    def vector(
        self, name: str, called: str, backbone: Backbone | str | None = None
    ) -> TaskPromptVector:
        """The task prompt vector of a name.

        Args:
            name: in the expression.
            called: name of the task in the coefficients, if the prompt does not say its task.
            backbone: as in `vectors`.

        Raises:
            MismatchError: a prompt without origin.
        """
        content = self.contents[name]
        if isinstance(content, Path):
            known = backbone.name if isinstance(backbone, Backbone) else backbone
            return load_vector(content, called, known)
        return TaskPromptVector.of(content, called) if isinstance(content, SoftPrompt) else content

    def _check_fits(self, sizes: Mapping[str, tuple[Provenance, Sequence[int]]], what: str) -> None:
        (first, (source, size)), *others = sizes.items()
        for name, (made, other) in others:
            try:
                check_same_backbone(source, made)
                if size == other:
                    continue
                fix = "Combine those of one length, or put whole prompts behind each other: "
                fix += "--method concatenate"
            except MismatchError:
                fix = "Tune both on the same model, or carry one over first: promptport move"
            raise MismatchError(
                f"{self._called(first)} and {self._called(name)}",
                expected=f"{what} of one model and one size",
                got=f"{_size(source, size)} and {_size(made, other)}",
                fix=fix,
            )

    def _called(self, name: str) -> str:
        content = self.contents[name]
        return str(content) if isinstance(content, Path) else name


def _size(made: Provenance, size: Sequence[int]) -> str:
    """`nano-bert (5 virtual tokens, 128 wide)`."""
    *tokens, width = size
    count = "".join(f"{n} virtual tokens, " for n in tokens)
    revision = f" at {made.revision}" if made.revision else ""
    matrix = f", embedding matrix {made.fingerprint[:12]}" if made.fingerprint else ""
    return f"{made.backbone}{revision} ({count}{width} wide{matrix})"


def _short_names(names: Sequence[str]) -> dict[str, str]:
    """The last part of a path where it is no other's; otherwise the whole path."""
    last = {name: Path(name).name.removesuffix(_SUFFIX) or name for name in names}
    times = Counter(last.values())
    return {name: part if times[part] == 1 else name for name, part in last.items()}


def find_terms(expression: str, prompts: Mapping[str, Combinable] | None = None) -> Terms:
    """Read an expression and find the folder of every name; nothing is loaded.

    Args:
        expression: `sst2 + 0.5*library/mnli - (a + b)/2`. A name is a key of `prompts`, or a
            folder `NAME` or `NAME.prompt`.
        prompts: prompts, vectors or folders by name.

    Raises:
        PromptPortError: no such expression, a name without a folder, or a prompt that it does not
            name.
    """
    given = dict(prompts or {})
    weights = parse_expression(
        expression, lambda name: name in given or _folder_of(name) is not None
    )
    for name in given:
        if name not in weights:
            hyphen = any("-" in known for known in weights)
            raise PromptPortError(
                "--load",
                expected="NAME=FOLDER with a name of the expression, each once "
                f"({', '.join(weights)})",
                got=repr(name),
                fix="Write for instance --load sst2=runs/sst2-seed1"
                + (", or put spaces around a minus: a hyphen belongs to a name" if hyphen else ""),
            )
    contents: dict[str, Path | SoftPrompt | TaskPromptVector] = {}
    for name in weights:
        content = given.get(name)
        if content is None:
            content = _folder_of(name) or _no_folder(name)
        contents[name] = Path(content) if isinstance(content, str | Path) else content
    return Terms(expression, weights, contents)


def _folder_of(name: str) -> Path | None:
    path = Path(name).expanduser()
    places = (path, path.with_name(f"{path.name}{_SUFFIX}") if path.name else path)
    return next((place for place in places if place.is_dir()), None)


def _no_folder(name: str) -> Path:
    minus = ", and put spaces around a minus" if "-" in name else ""
    slash = ", and spaces around a slash that divides" if "/" in name else ""
    raise PromptPortError(
        f"name {name!r} of the expression",
        expected=f"a folder {name} or {name}{_SUFFIX} here",
        got="neither",
        fix=f"Check the name, or add --load '{name}=FOLDER'{minus}{slash}",
    )
