"""Every exception of promptport: one line that says what was expected, what came, what to do."""

from __future__ import annotations

from typing import Any, Self


class PromptPortError(Exception):
    """Base of all errors that a user can cause and mend.

    The message always reads `<name>: expected <expected>, got <got>. <fix>.`

    Args:
        name: the thing that was wrong (an option, a file, a tensor).
        expected: what would have been right.
        got: what came.
        fix: what the user can do, without the full stop.
    """

    def __init__(self, name: str, *, expected: str, got: str, fix: str) -> None:
        end = "" if fix.endswith("?") else "."
        super().__init__(_one_line(f"{name}: expected {expected}, got {got}. {fix}{end}"))
        self.name = name

    @classmethod
    def of_line(cls, line: str, name: str = "") -> Self:
        """An error whose line is made already, as in another process.

        Args:
            line: the whole message.
            name: the thing that was wrong.
        """
        made = cls.__new__(cls)
        Exception.__init__(made, line)
        made.name = name
        return made

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:  # other processes are told as well
        return type(self).of_line, (str(self), self.name)


def _one_line(message: str) -> str:
    """Without control characters, which names and contents of files may have: a message is a line,
    and moves no cursor of a terminal."""
    if message.isprintable():
        return message
    shown = (c if c.isprintable() or c == "\xa0" else ascii(c)[1:-1] for c in message)
    return "".join(" " if c == "\n" else s for c, s in zip(message, shown, strict=True))


class ShapeError(PromptPortError, ValueError):
    """Tensors whose shapes or values do not fit together."""


class FileFormatError(PromptPortError, ValueError):
    """A file that is damaged, foreign, unsafe or of another schema."""


class StorageError(PromptPortError, OSError):
    """A place that cannot be read or written (missing, full, read-only)."""


class BackboneError(PromptPortError, ValueError):
    """A language model that cannot be opened or used as asked."""


class MismatchError(PromptPortError, ValueError):
    """A prompt and a backbone that do not belong together."""


class MissingPackageError(PromptPortError):
    """A package of an extra, or of an engine, that is not installed."""


class TaskError(PromptPortError, ValueError):
    """A task file, template, verbalizer or data set that cannot be used."""


class RecipeError(PromptPortError, ValueError):
    """A recipe, or the folder of a run, that cannot be used."""


class AnchorError(PromptPortError, ValueError):
    """Too few words shared by two backbones, or words that do not exist."""


class TuningError(PromptPortError, ValueError):
    """Settings or states with which no prompt can be tuned."""


class OutOfMemoryError(PromptPortError, RuntimeError):
    """More was asked for than fits into memory."""


class UnknownNameError(PromptPortError, KeyError):
    """A name that no registry knows."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0])
