"""promptport combine: arithmetic on task prompt vectors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import JsonFlag, print_json, print_table, quiet
from promptport.cli.transfer import parse_options
from promptport.errors import PromptPortError

if TYPE_CHECKING:
    from torch import Tensor

    from promptport.prompt import Provenance, SoftPrompt

_OWN = "own"


def command(
    expression: Annotated[
        str,
        typer.Argument(
            help="For instance 'sst2 + 0.5*mnli - (a + b)/2'. A name is a folder NAME or "
            "NAME.prompt here; a minus between names needs a space."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Prompt folder to write.")],
    origin: Annotated[
        str,
        typer.Option(
            help="What the vectors are added to: own (the first prompt's), seed:3 (random words), "
            "normal, mixture, text:SOME WORDS, or a prompt folder."
        ),
    ] = _OWN,
    method: Annotated[
        str,
        typer.Option(
            help="sum, mean, weighted, ties, dare, orthogonal, select, or concatenate (whole "
            "prompts one behind the other)."
        ),
    ] = "sum",
    option: Annotated[
        list[str] | None, typer.Option(help="Option of the method, NAME=VALUE; repeat for several.")
    ] = None,
    load: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER, prompt or vector; repeat for several.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Backbone, if it is not where the prompts say.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random origins and methods.")] = 0,
    json_output: JsonFlag = False,
) -> None:
    """Add, subtract, scale and merge tuned prompts, without training."""
    quiet()
    from promptport.expressions import parse_expression
    from promptport.interop import save_prompt

    terms = parse_expression(expression)
    places = _places(list(terms), load or [])
    if method in ("concatenate", "concatenate.v1"):
        _check_plain(terms, origin, option or [])
        prompt, norms = _concatenated(places), None
    else:
        prompt, norms = _merged(
            terms, places, origin, method, parse_options(option or []), backbone, seed
        )
    save_prompt(prompt, out)
    described = {
        "combination": prompt.provenance.task,
        "terms": terms,
        "folders": {name: str(place) for name, place in places.items()},
        "method": method,
        "backbone": prompt.provenance.backbone,
        "origin": prompt.provenance.origin,
        "length": prompt.length,
        "template": prompt.provenance.template,
        "vector_norms": norms,
        "folder": str(out),
    }
    if json_output:
        print_json(described)
        return
    names = ("combination", "method", "backbone", "origin", "length", "template", "vector_norms")
    rows = [[name.replace("_", " "), described[name]] for name in names]
    print_table(expression, ["", ""], [row for row in rows if row[1] is not None])
    typer.echo(f"Written to {out}. Score it with: promptport eval {out} --task TASK")


def _places(names: list[str], load: list[str]) -> dict[str, Path]:
    """The folder of every name."""
    given = {}
    for text in load:
        name, equals, folder = text.partition("=")
        if not equals or name not in names:
            raise PromptPortError(
                "--load",
                expected=f"NAME=FOLDER with a name of the expression ({', '.join(names)})",
                got=repr(text),
                fix="Write for instance --load sst2=runs/sst2-seed1",
            )
        given[name] = Path(folder)
    return {name: given.get(name) or _here(name) for name in names}


def _here(name: str) -> Path:
    for place in (Path(name), Path(f"{name}.prompt")):
        if place.is_dir():
            return place
    space = ", and put spaces around a minus" if "-" in name else ""
    raise PromptPortError(
        f"name {name!r} of the expression",
        expected=f"a folder {name} or {name}.prompt here",
        got="neither",
        fix=f"Check the name, or add --load {name}=FOLDER{space}",
    )


def _check_plain(terms: dict[str, float], origin: str, options: list[str]) -> None:
    scaled = [f"{value:g}*{name}" for name, value in terms.items() if value != 1]
    if scaled or origin != _OWN or options:
        raise PromptPortError(
            "method concatenate",
            expected="whole prompts, like 'a + b', without --origin and --option",
            got=", ".join(scaled) or "one of them",
            fix="Leave coefficients and options out, or choose another method",
        )


def _concatenated(places: dict[str, Path]) -> SoftPrompt:
    from promptport.interop import load_prompt
    from promptport.merging import concatenate

    return concatenate([load_prompt(place) for place in places.values()])


def _merged(
    terms: dict[str, float],
    places: dict[str, Path],
    origin: str,
    method: str,
    options: dict[str, Any],
    backbone: str | None,
    seed: int,
) -> tuple[SoftPrompt, list[float]]:
    from promptport.interop import load_vector
    from promptport.merging import merge

    vectors = [load_vector(place, name) for name, place in places.items()]
    merged = merge(vectors, list(terms.values()), method=method, seed=seed, options=options)
    if origin == _OWN:
        start, made = _own_origin(next(iter(places.values())))
    else:
        start, made = make_start(
            origin, merged.provenance, merged.length, backbone=backbone, seed=seed
        )
    return merged.apply(start, made), merged.delta.norm(dim=1).tolist()


def _own_origin(place: Path) -> tuple[Tensor, dict[str, Any] | None]:
    from promptport.interop import load_prompt
    from promptport.interop.peft import CONFIG_FILE

    prompt = load_prompt(place) if (place / CONFIG_FILE).is_file() else None
    if prompt is None or prompt.origin is None:
        raise PromptPortError(
            "--origin own",
            expected="a first prompt with its origin",
            got=f"{place}, which has none",
            fix="Name another origin, for instance --origin seed:3",
        )
    return prompt.origin, prompt.provenance.origin


def make_start(
    text: str, source: Provenance, length: int, *, backbone: str | None = None, seed: int = 0
) -> tuple[Tensor, dict[str, Any]]:
    """Make an origin for a backbone from what a user writes, and say how it was made.

    Args:
        text: `seed:3`, what `OriginSpec.parse` reads, or a prompt folder.
        source: tells the backbone.
        length: n.
        backbone: in place of the one that `source` names.
        seed: of random kinds, but `seed:3` has its own.

    Returns:
        (n, d), and the provenance of it.

    Raises:
        PromptPortError: none of these, or a backbone that does not belong to `source`.
    """
    from promptport.backbone import Backbone
    from promptport.interop import load_prompt
    from promptport.prompt import SoftPrompt
    from promptport.tuning import OriginSpec, make_origin

    if Path(text).is_dir():
        spec = OriginSpec("prompt", prompt=load_prompt(text))
    elif text.startswith("seed:") and text[5:].isdecimal():
        spec = OriginSpec("vocabulary", int(text[5:]))
    else:
        spec = OriginSpec.parse(text, seed)
    model = Backbone.load(
        backbone or source.backbone, revision=None if backbone else source.revision, device="cpu"
    )
    start = make_origin(spec, model, length)
    model.check_prompt(SoftPrompt(start, source))
    return start, spec.to_dict()
