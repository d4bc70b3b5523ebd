"""Task files: read, checked key by key, and made a task."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.errors import TaskError
from promptport.tasks.data import FileSource, HubSource, Source
from promptport.tasks.metrics import check_metric
from promptport.tasks.task import SCHEMA_VERSION, Task
from promptport.tasks.template import Template
from promptport.tasks.writing import WritingConfig

if TYPE_CHECKING:
    from promptport.tasks.task_schema import TaskFile

_NEEDED = ("schema", "name", "kind", "template", "metric", "data")


def load_task(
    path: str | Path, *, folder: str | Path | None = None, name: str | None = None
) -> Task:
    """Read a task file (YAML, schema 1).

    Args:
        path: the file.
        folder: where its data files are; default the folder of the file.
        name: name of the task in place of the one in the file.

    Raises:
        TaskError: unreadable, of a newer schema, with missing, unknown or ill-typed keys.
    """
    from promptport.tasks.task_schema import TaskFile  # pydantic takes a while
    from promptport.validation import validated

    path = Path(path)
    where = str(path)
    values = _read_yaml(path)
    _check_schema(values, where)
    unset = {key for key in TaskFile.model_fields if values.get(key) is None}
    values = {key: value for key, value in values.items() if key not in unset}
    file = validated(TaskFile, values, where, TaskError)
    check_metric(file.metric, file.kind, f"{where}, key 'metric'")
    try:
        task = Task(
            name=name or file.name,
            kind=file.kind,
            template=Template.parse(file.template),
            metric=file.metric,
            manual=None if file.manual is None else Template.parse(file.manual),
            paraphrases=tuple(Template.parse(text) for text in file.paraphrases or ()),
            labels=_labels(file),
            description=file.description or "",
            source=_source(file, Path(folder or path.parent)),
            writing=_writing(file),
            sentinel=file.sentinel,
        )
        return task.with_chat() if file.chat else task
    except TaskError as error:
        if not str(error).startswith(where):  # templates and label checks know no file
            error.args = (f"{where}, {error}",)
        raise


def _labels(file: TaskFile) -> dict[str, tuple[str, ...]] | None:
    if file.labels is None:
        return None
    return {label: tuple(words) for label, words in file.labels.items()}


def _writing(file: TaskFile) -> WritingConfig:
    given = {} if file.writing is None else file.writing.model_dump(exclude_none=True)
    if isinstance(given.get("stop"), str):
        given["stop"] = [given["stop"]]
    return WritingConfig(**given)


def _source(file: TaskFile, folder: Path) -> Source:
    from promptport.tasks.task_schema import HubData

    data = file.data
    columns = dict(file.columns or {})
    label_names = tuple(data.label_names or ())
    if isinstance(data, HubData):
        columns |= data.columns or {}
        return HubSource(data.hub, data.config, data.splits.given, columns, label_names)
    files = {split: folder / place for split, place in data.given.items()}
    return FileSource(files, columns, label_names)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    from promptport.validation import refuse_aliases

    if not path.is_file():
        raise TaskError(
            str(path), expected="a task file", got="nothing at this path", fix="Check the path"
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TaskError(
            str(path),
            expected="a readable task file",
            got=error.strerror or str(error),
            fix="Check the permissions",
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise TaskError(
            str(path),
            expected="YAML",
            got=f"text that does not parse ({reason})",
            fix="Mend the file; text with ':' or '{' needs quotes",
        ) from error
    refuse_aliases(values, str(path), TaskError)
    if not isinstance(values, dict):
        raise TaskError(
            str(path),
            expected="a mapping of keys",
            got=type(values).__name__,
            fix=f"Write the keys {', '.join(_NEEDED)}",
        )
    return values


def _check_schema(values: dict[str, Any], where: str) -> None:
    schema = values.get("schema")
    if schema == SCHEMA_VERSION and type(schema) is int:
        return
    newer = type(schema) is int and schema > SCHEMA_VERSION
    got = "no 'schema'" if schema is None else f"schema {reprlib.repr(schema)}"
    fix = "Update promptport" if newer else f"Write 'schema: {SCHEMA_VERSION}'"
    raise TaskError(where, expected=f"schema {SCHEMA_VERSION}", got=got, fix=fix)
