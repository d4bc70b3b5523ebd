"""What a task file (YAML, schema 1) may hold; pydantic is imported here, when a file is read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from promptport.tasks.data import SPLITS, Kind
from promptport.validation import FileModel, FileText, FileWord, FileWords, bad_value


def _given(splits: Splits) -> dict[str, str]:
    return {split: place for split in SPLITS if (place := getattr(splits, split)) is not None}


class Splits(FileModel):
    """A file, or a split of a Hub data set, for each of ours; at least one."""

    train: FileText | None = None
    dev: FileText | None = None
    test: FileText | None = None

    @model_validator(mode="after")
    def _one_or_more(self) -> Splits:
        if not _given(self):
            raise bad_value(
                f"at least one of {', '.join(SPLITS)}",
                "none",
                "Name a file or a data set's split for each",
            )
        return self

    @property
    def given(self) -> dict[str, str]:
        """Split -> place, of those that are there."""
        return _given(self)


class FileData(Splits):
    """Files, one per split."""

    label_names: list[FileWord] | None = Field(None, description="a list of labels")


class HubData(FileModel):
    """A data set of the Hub."""

    hub: FileText
    config: FileText | None = None
    splits: Splits = Field(description="a mapping of names")
    columns: dict[FileWord, FileWord] | None = Field(None, description="a mapping of names")
    label_names: list[FileWord] | None = Field(None, description="a list of labels")


class Writing(FileModel):
    """How answers are written (`WritingConfig`)."""

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | str | None = Field(None, description="a text or a list of texts")


def _place(data: Any) -> str:
    return "HubData" if isinstance(data, dict) and "hub" in data else "FileData"


class TaskFile(FileModel):
    """A task file."""

    schema_: int = Field(alias="schema")
    name: FileText
    kind: Kind
    template: FileText
    metric: FileText
    data: Annotated[
        Annotated[FileData, Tag("FileData")] | Annotated[HubData, Tag("HubData")],
        Discriminator(_place),
    ] = Field(description="a mapping of splits, or of a Hub data set")
    description: FileText | None = None
    manual: FileText | None = None
    paraphrases: list[FileWord] | None = Field(None, description="a list of templates")
    labels: dict[FileWord, FileWords] | None = Field(
        None, description="a mapping from labels to label words"
    )
    columns: dict[FileWord, FileWord] | None = Field(None, description="a mapping of names")
    writing: Writing | None = Field(None, description="a mapping of settings")
    chat: bool = Field(False, description="true or false")
    sentinel: bool = Field(True, description="true or false")
