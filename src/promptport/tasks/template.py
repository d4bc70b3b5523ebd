"""Templates: one line of text with slots for fields, virtual tokens and the answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from promptport.errors import TaskError

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class Text:
    """Plain text, tokenized as it stands; a leading space belongs to it."""

    text: str


@dataclass(frozen=True)
class Field:
    """A place for a column of the row. Rendering puts text in its place."""

    name: str


@dataclass(frozen=True)
class Soft:
    """A run of virtual tokens.

    Attributes:
        count: how many, 1 or more; None takes what the counted runs leave.
    """

    count: int | None = None


@dataclass(frozen=True)
class Answer:
    """The place of the answer.

    Attributes:
        spaced: False where the answer touches the text before it, as in `un{answer}` or
            `"{answer}"`; otherwise the first token of the answer carries a leading space.
    """

    spaced: bool = True


@dataclass(frozen=True)
class Chat:
    """Where the message of a user begins, which ends at the answer: the model's own chat template
    is put around it."""


Piece = Text | Field | Soft | Answer | Chat


@dataclass(frozen=True)
class Template:
    """A parsed template.

    Braces are doubled to stand for themselves. Exactly one `{answer}`; any number of `{soft:3}`,
    at most one `{soft}` without a count; at most one `{chat}`, with nothing but virtual tokens in
    front of it; every other name is a field of the row.

    Attributes:
        pieces: as written; no two texts side by side, none of them empty.
    """

    pieces: tuple[Piece, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template such as `{soft} {text} It was {answer} .`.

        Raises:
            TaskError: a stray brace, a slot that cannot be read, no or several answers, several
                runs of virtual tokens without a count, text in front of `{chat}`.
        """
        pieces: list[Piece] = []
        for match in _TOKEN.finditer(text):
            piece = _parse_token(match, text)
            if isinstance(piece, Text) and pieces and isinstance(pieces[-1], Text):
                piece = Text(pieces.pop().text + piece.text)  # type: ignore[union-attr]
            pieces.append(piece)
        _check_slots(pieces, text)
        return cls(tuple(pieces))

    @cached_property
    def text(self) -> str:
        """The template as written; `Template.parse(t.text) == t`."""
        return "".join(_write(piece) for piece in self.pieces)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, in order, each once."""
        return tuple(dict.fromkeys(p.name for p in self.pieces if isinstance(p, Field)))

    @property
    def has_soft(self) -> bool:
        """Whether there is a place for virtual tokens."""
        return any(isinstance(piece, Soft) for piece in self.pieces)

    @property
    def has_chat(self) -> bool:
        """Whether the text is the message of a chat."""
        return any(isinstance(piece, Chat) for piece in self.pieces)

    def in_chat(self) -> Template:
        """The same text as the message of a user in a chat.

        Virtual tokens that lead stay in front of the whole chat; others stay inside the message.
        """
        if self.has_chat:
            return self
        place = 0
        if self.leads_with_soft:
            place = 1 + max(i for i, p in enumerate(self.pieces) if isinstance(p, Soft))
        pieces: list[Piece] = [*self.pieces[:place], *([Text(" ")] if place else []), Chat()]
        first = self.pieces[place]
        apart = isinstance(first, Text) and first.text[0].isspace()
        for piece in (*([] if apart else [Text(" ")]), *self.pieces[place:]):
            pieces = _append(pieces, piece)
        return Template(tuple(pieces))

    @property
    def leads_with_soft(self) -> bool:
        """Whether all virtual tokens stand in front of everything else, as PEFT puts them."""
        solid = [p for p in self.pieces if not (isinstance(p, Text) and p.text.isspace())]
        runs = [index for index, piece in enumerate(solid) if isinstance(piece, Soft)]
        return bool(runs) and runs == list(range(len(runs)))

    @property
    def begins_with_field(self) -> bool:
        """Whether a text starts with the words of a row."""
        return bool(self.pieces) and isinstance(self.pieces[0], Field)

    def soft_counts(self, n: int) -> list[int]:
        """Split n virtual tokens over the runs, in order.

        Args:
            n: length of the prompt, 0 or more.

        Returns:
            One count per run, each 1 or more, n in sum.

        Raises:
            TaskError: n does not fit the runs.
        """
        runs = [piece.count for piece in self.pieces if isinstance(piece, Soft)]
        fixed = sum(count for count in runs if count is not None)
        free = None in runs
        if (free and n > fixed) or (not free and n == fixed):
            return [n - fixed if count is None else count for count in runs]
        if not runs:
            raise TaskError(
                f"template {self.text!r}",
                expected="{soft}, where the virtual tokens stand",
                got="none",
                fix="Write {soft} into it, for instance in front",
            )
        expected = f"at least {fixed + 1}" if free else f"{fixed}"
        fix = "Write {soft} where the virtual tokens belong, or give a prompt of that length"
        raise TaskError(
            f"template {self.text!r}",
            expected=f"a prompt of {expected} virtual tokens",
            got=str(n),
            fix=fix,
        )

    def without_soft(self) -> Template:
        """The same text with no place for virtual tokens and no double space in its stead."""
        pieces: list[Piece] = []
        dropped = False
        for piece in self.pieces:
            if isinstance(piece, Soft):
                dropped = True
                continue
            if dropped and isinstance(piece, Text) and _ends_blank(pieces):
                piece = Text(piece.text.lstrip(" \t"))
            dropped = dropped and piece == Text("")
            pieces = _append(pieces, piece)
        if dropped and isinstance(pieces[-1], Text):
            pieces = _append(pieces[:-1], Text(pieces[-1].text.rstrip(" \t")))
        return Template(tuple(pieces))

    def with_soft_in_front(self) -> Template:
        """The same text with all virtual tokens in front, where PEFT puts them."""
        return Template.parse(f"{{soft}} {self.without_soft().text}")

    def with_soft_behind(self) -> Template:
        """The same text with all virtual tokens behind the last field in front of the answer.

        A causal model reads what stands before them without them: its keys and values can be kept.
        """
        pieces = list(self.without_soft().pieces)
        answer = next(i for i, piece in enumerate(pieces) if isinstance(piece, Answer))
        fields = [i for i, piece in enumerate(pieces[:answer]) if isinstance(piece, Field)]
        place = fields[-1] + 1 if fields else 0
        soft: list[Piece] = [Text(" "), Soft()] if fields else [Soft(), Text(" ")]
        return Template.parse(Template((*pieces[:place], *soft, *pieces[place:])).text)

    @property
    def answers_from_soft(self) -> bool:
        """Whether a causal model would say the answer right behind a virtual token."""
        if self.has_chat:
            return False
        place = next(i for i, piece in enumerate(self.pieces) if isinstance(piece, Answer))
        before = [p for p in self.pieces[:place] if not (isinstance(p, Text) and p.text.isspace())]
        return bool(before) and isinstance(before[-1], Soft)

    def with_cue_word(self, word: str) -> Template:
        """The same with a word in front of the answer.

        Raises:
            TaskError: the word is empty.
        """
        if not word.strip():
            raise TaskError("word", expected="a word", got=repr(word), fix="Name a word")
        place = next(i for i, piece in enumerate(self.pieces) if isinstance(piece, Answer))
        pieces = list(self.pieces[:place])
        space = "" if _ends_blank(pieces) else " "
        pieces = _append(pieces, Text(f"{space}{word.strip()} "))
        return Template((*pieces, *self.pieces[place:]))

    def until_answer(self) -> Template:
        """What a causal model reads: everything up to the answer.

        Raises:
            TaskError: a field or virtual tokens follow the answer.
        """
        place = next(i for i, piece in enumerate(self.pieces) if isinstance(piece, Answer))
        lost = [_write(p) for p in self.pieces[place + 1 :] if not isinstance(p, Text)]
        if lost:
            raise TaskError(
                f"template {self.text!r}",
                expected="nothing but text after {answer}",
                got=f"{', '.join(lost)}, which a causal model could not read",
                fix="Move {answer} behind it, or choose a masked backbone",
            )
        return Template(self.pieces[: place + 1])

    def render(self, fields: Mapping[str, str]) -> list[Piece]:
        """Put the fields of one row in.

        White space in front of a slot goes to what follows it, because tokens carry their space
        in front: through `{soft}` to the next text, at `{answer}` into `Answer.spaced`.

        Args:
            fields: text by field name; braces in it mean nothing.

        Returns:
            Pieces of `Text`, `Soft` and `Answer`; no two texts side by side, none of them blank.

        Raises:
            TaskError: the template names a field that the row has not.
        """
        rendered: list[Piece] = []
        pending = ""  # spaces that were taken from the end of a text and wait for the next one
        for piece in self._filled(fields):
            if isinstance(piece, Text):
                text, pending = _take_spaces(piece.text, pending, first=not rendered)
                if text:
                    rendered.append(Text(text))
            elif isinstance(piece, Answer):
                touches = not pending and bool(rendered) and isinstance(rendered[-1], Text)
                rendered.append(replace(piece, spaced=not touches))
                pending = ""
            else:
                rendered.append(piece)
        return rendered

    def _filled(self, fields: Mapping[str, str]) -> Iterator[Piece]:
        """The pieces with fields as text, neighbouring texts merged."""
        text = ""
        for piece in self.pieces:
            if isinstance(piece, Text):
                text += piece.text
            elif isinstance(piece, Field):
                text += self._value(piece.name, fields)
            else:
                yield from (Text(text) for _ in range(bool(text)))
                text = ""
                yield piece
        if text:
            yield Text(text)

    def _value(self, name: str, fields: Mapping[str, str]) -> str:
        if name not in fields:
            raise TaskError(
                f"template {self.text!r}",
                expected=f"the fields of the row ({', '.join(fields) or 'none'})",
                got=f"{{{name}}}",
                fix="Correct the name, or double the braces around plain text",
            )
        return fields[name]


def escape(text: str) -> str:
    """Text that a template shows as it is: braces doubled."""
    return text.replace("{", "{{").replace("}", "}}")


def _parse_token(match: re.Match[str], template: str) -> Piece:
    token, slot = match[0], match[1]
    if slot is None:
        if token in "{}":
            raise _bad_slot(template, f"a lone {token!r}")
        return Text({"{{": "{", "}}": "}"}.get(token, token))
    name, colon, count = slot.partition(":")
    if name == "soft" and _COUNT.fullmatch(count):
        return Soft(int(count))
    if colon or not _NAME.fullmatch(name):
        raise _bad_slot(template, repr(token))
    if name == "soft":
        return Soft()
    if name == "chat":
        return Chat()
    return Answer() if name == "answer" else Field(name)


def _bad_slot(template: str, got: str) -> TaskError:
    return TaskError(
        f"template {template!r}",
        expected="slots {soft}, {soft:3}, {chat}, {answer} or {name of a field}",
        got=got,
        fix="Correct the slot, or double the braces of plain text: {{ }}",
    )


def _check_slots(pieces: list[Piece], text: str) -> None:
    answers = sum(isinstance(piece, Answer) for piece in pieces)
    if answers != 1:
        raise TaskError(
            f"template {text!r}",
            expected="exactly one {answer}",
            got=str(answers),
            fix="Write {answer} once, where the answer belongs",
        )
    if sum(piece == Soft(None) for piece in pieces) > 1:
        raise TaskError(
            f"template {text!r}",
            expected="at most one {soft} without a count",
            got="several",
            fix="Give the others a count, for instance {soft:3}",
        )
    before = pieces[: max((i for i, piece in enumerate(pieces) if piece == Chat()), default=0)]
    if any(not (isinstance(p, Soft) or (isinstance(p, Text) and p.text.isspace())) for p in before):
        raise TaskError(
            f"template {text!r}",
            expected="one {chat}, in front of the text that the user says",
            got=f"{_write(before[-1])!r} in front of it",
            fix="Write {chat} first, or behind {soft}",
        )


def _write(piece: Piece) -> str:
    if isinstance(piece, Text):
        return escape(piece.text)
    if isinstance(piece, Field):
        return f"{{{piece.name}}}"
    if isinstance(piece, Chat):
        return "{chat}"
    if isinstance(piece, Soft):
        return "{soft}" if piece.count is None else f"{{soft:{piece.count}}}"
    return "{answer}"


def _ends_blank(pieces: list[Piece]) -> bool:
    """Whether a space after these pieces would be the first or the second in a row."""
    return not pieces or (isinstance(pieces[-1], Text) and pieces[-1].text[-1:].isspace())


def _append(pieces: list[Piece], piece: Piece) -> list[Piece]:
    if piece == Text(""):
        return pieces
    if isinstance(piece, Text) and pieces and isinstance(pieces[-1], Text):
        return [*pieces[:-1], Text(pieces[-1].text + piece.text)]
    return [*pieces, piece]


def _take_spaces(text: str, pending: str, *, first: bool) -> tuple[str, str]:
    """Give a text the waiting space and take its own trailing one.

    A line break stays with its text: no token of an answer carries one in front.
    """
    if text.isspace():
        return "", "" if first else text
    body = text.rstrip(" \t")
    if first:
        body = body.lstrip(" \t")
    elif pending and not body[0].isspace():
        body = pending + body
    return body, text[len(text.rstrip(" \t")) :]
