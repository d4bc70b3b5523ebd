"""promptport predict: answers of a prompt to texts of one's own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.attention import AVERAGED, is_attention
from promptport.cli.console import (
    BackboneOption,
    ChatFlag,
    DataOption,
    DeviceMapOption,
    DeviceOption,
    DtypeOption,
    JsonFlag,
    MaxNewTokensOption,
    StopOption,
    TemperatureOption,
    TopPOption,
    WritingSeedOption,
    chat_template,
    load_backbone,
    note,
    note_no_template,
    note_other_task,
    note_sentinel,
    print_json,
    print_table,
    quiet,
    task_of,
    with_writing,
)
from promptport.cli.panels import TASK_PANEL
from promptport.errors import PromptPortError
from promptport.progress import stage

if TYPE_CHECKING:
    from promptport.prediction import Prediction
    from promptport.tasks import Row, Task

_SHOWN = 60  # characters of a text in the table
_LABELS = 4  # most labels with a column each


def command(
    prompt: Annotated[Path, typer.Argument(help="Prompt folder (ours or PEFT's).")],
    text: Annotated[
        list[str] | None,
        typer.Argument(help="Texts to answer, or JSON objects with the fields of the task."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="File of texts: one a line, or JSONL, CSV, TSV or Parquet with the fields of the "
            "task; - reads standard input."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Words to show for each text of a probe.")] = 5,
    task: Annotated[
        str | None,
        typer.Option(
            help="Task, or task file; needed if the prompt remembers none that comes with "
            "promptport.",
            rich_help_panel=TASK_PANEL,
        ),
    ] = None,
    data: DataOption = None,
    template: Annotated[
        str | None,
        typer.Option(help="Template in place of the prompt's.", rich_help_panel=TASK_PANEL),
    ] = None,
    chat: ChatFlag = False,
    max_new_tokens: MaxNewTokensOption = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    seed: WritingSeedOption = None,
    stop: StopOption = None,
    backbone: BackboneOption = None,
    device: DeviceOption = "auto",
    device_map: DeviceMapOption = None,
    dtype: DtypeOption = "auto",
    json_output: JsonFlag = False,
) -> None:
    """Answer texts of your own with a prompt.

    A classification gives a label and the probability of every label, a probe the likeliest words,
    text to text the answer that the model writes, as the options of writing say. No labels and no
    data set are read. Texts that are too long for the model are cut.

    Example:
        promptport predict capital "France" "Peru"
        printf 'France\\nPeru\\n' | promptport predict capital --file -
    """
    quiet()
    from promptport.prediction import predict
    from promptport.storage import load_prompt
    from promptport.tasks import Template

    if is_attention(prompt):
        raise _is_an_attention(prompt)
    loaded = load_prompt(prompt)
    opened = with_writing(
        task_of(loaded, task, data, "--task"),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_p=top_p,
        seed=seed,
        stop=stop,
    )
    given = None if template is None else Template.parse(template)
    place = chat_template(chat, given, opened, loaded)
    texts = _texts(text or [], file, opened)
    model = load_backbone(
        loaded.provenance,
        backbone,
        prompt,
        device=device,
        dtype=dtype,
        device_map=device_map,
    )
    note_other_task([loaded], opened, place)
    if place is None:
        note_no_template(loaded, opened)
    note_sentinel(loaded, opened)
    with stage("answering texts"):
        answers = predict(
            loaded,
            texts,
            backbone=model,
            task=opened,
            template=place,
            top=top,
        )
    if json_output:
        rows = [answer.to_dict() for answer in answers]
        print_json(
            {"backbone": model.name, "task": opened.name, "prompt": str(prompt), "rows": rows}
        )
        return
    _show(answers, opened)


def _is_an_attention(folder: Path) -> PromptPortError:
    return PromptPortError(
        str(folder),
        expected="a prompt folder",
        got="an attention folder, which has a prompt for each row",
        fix=f"Name the ordinary prompt in it: {folder / AVERAGED}",
    )


def _texts(given: list[str], file: Path | None, task: Task) -> tuple[Row, ...]:
    """The texts to answer, from arguments, a file or standard input.

    Raises:
        PromptPortError: none of them or both, or texts that cannot be read.
    """
    from promptport.tasks import read_inputs

    if given and file is not None:
        raise PromptPortError(
            "predict", expected="texts or --file", got="both", fix="Leave one of the two out"
        )
    if given:
        blank = [number for number, text in enumerate(given, start=1) if not text.strip()]
        if blank:  # left out, the answers would no longer stand beside the texts
            raise PromptPortError(
                f"text {blank[0]}", expected="a text", got="an empty one", fix="Leave it out"
            )
        return read_inputs(task, given)
    if file is None:
        raise PromptPortError(
            "predict",
            expected="texts to answer, or --file",
            got="neither",
            fix='Write promptport predict PROMPT "a text", or --file FILE (- for standard input)',
        )
    return read_inputs(task, sys.stdin if str(file) == "-" else file)


def _show(answers: list[Prediction], task: Task) -> None:
    names = list(answers[0].fields)
    labels = task.label_names if len(task.label_names) <= _LABELS else ()
    columns = [*names, "answer", *labels]
    if task.kind == "probe" or (task.labels and not labels):
        columns.append("probabilities")
    rows = [
        [*(_short(a.fields[name]) for name in names), a.answer, *_shares(a, labels, task)]
        for a in answers
    ]
    print_table(f"{task.name}: {len(rows)} answered", columns, rows)
    cut = sum(answer.truncated for answer in answers)
    if cut:
        note(f"{cut} of {len(rows)} texts were too long for the model: only their beginning counts")


def _shares(answer: Prediction, labels: tuple[str, ...], task: Task) -> list[Any]:
    if answer.probabilities is None:
        return []
    if labels:
        return [answer.probabilities[label] for label in labels]
    most = _LABELS if task.labels else len(answer.probabilities)
    best = list(answer.probabilities.items())[:most]
    return [", ".join(f"{name}\xa0{share:.2f}" for name, share in best)]


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
