"""Expressions over named vectors, as `sst2 + 0.5*mnli - (a + b)/2`: read, never evaluated.

    sum     = product { ("+" | "-") product }
    product = unary { ("*" | "/") unary }
    unary   = { "+" | "-" } (number | name | "(" sum ")")

Every expression is a weighted sum of names. A name may be a path (`library/sst2`, `./a`, `../b`):
a slash divides only where a number follows it. A name with other characters stands in quotes
(`"my prompts/a+b"`). A hyphen inside a name belongs to it (`country-capital`), so a minus between
two names needs a space.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from promptport.errors import PromptPortError

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"\s*(?:(?P<number>{_NUMBER})"
    r"|(?P<name>[^\W\d][\w.]*(?:-+[\w.]+)*)"
    r"|(?P<sign>[-+*/()]))"
)
# One character that begins a path, then all that a path without spaces and operators has.
_PATH = re.compile(r"\s*(?P<path>(?:[^\W\d]|\.{0,2}/|~/)(?:[\w./]|-+(?=[\w./]))*)")
_QUOTED = re.compile(r"""\s*(?P<quote>["'])(?P<name>.*?)(?P=quote)""")
_DIVIDED = re.compile(rf"(?P<name>.*?[^/])(?P<numbers>(?:/{_NUMBER})+)")
_MAXIMUM_LENGTH = 10_000
_MAXIMUM_DEPTH = 50

# The constant part stands under the name "", which no name can be.
_Sum = dict[str, float]
_CONSTANT = ""


def parse_expression(text: str, is_name: Callable[[str], bool] | None = None) -> dict[str, float]:
    """Read an expression as the coefficient of each name, in the order of their first use.

    Args:
        text: numbers, names, `+ - * /` and parentheses. One factor of a product, and every divisor,
            must be a number.
        is_name: whether a path is known, for instance because it is a folder; then `runs/2` is this
            name, and is refused if `runs` is known as well. None: it is the half of `runs`.

    Returns:
        name -> coefficient, at least one name.

    Raises:
        PromptPortError: not such an expression; the message says where.
    """
    return _Parser(text, is_name or (lambda name: False)).read()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


class _Parser:
    def __init__(self, text: str, is_name: Callable[[str], bool]) -> None:
        self.text = text
        self.is_name = is_name
        self.next = 0
        self.depth = 0
        if len(text) > _MAXIMUM_LENGTH:
            self._refuse(f"at most {_MAXIMUM_LENGTH} characters", str(len(text)), "Split it")
        self.tokens = self._tokens()

    def read(self) -> dict[str, float]:
        terms = self._sum()
        if self._token.kind != "end":
            self._refuse_token("an operator or the end")
        if terms.pop(_CONSTANT, 0.0):
            self._refuse("names only as terms", "a number that is added", "Multiply it by a name")
        if not terms:
            self._refuse("at least one name", "none", "Write for instance 'sst2 + 0.5*mnli'")
        if not all(math.isfinite(value) for value in terms.values()):
            self._refuse_overflow()
        return terms

    def _tokens(self) -> list[_Token]:
        tokens: list[_Token] = []
        place = 0
        end = len(self.text.rstrip())
        while place < end:
            # Behind a name, a number or a parenthesis a slash is a division.
            operand = not tokens or (tokens[-1].kind == "sign" and tokens[-1].text != ")")
            token, place = (self._path(place) if operand else None) or self._plain(place)
            tokens.append(token)
        return [*tokens, _Token("end", "", end + 1)]

    def _plain(self, place: int) -> tuple[_Token, int]:
        """A number, a name without slashes or a sign, and the place behind it."""
        match = _TOKEN.match(self.text, place)
        if match is None:
            rest = self.text[place:].lstrip()
            self._refuse(
                "numbers, names, + - * / ( )",
                f"{rest[0]!r} at character {len(self.text) - len(rest) + 1}",
                "Put a name with other characters in quotes, for instance '\"a+b\" + c'",
            )
        kind = str(match.lastgroup)
        return _Token(kind, match[kind], match.start(kind) + 1), match.end()

    def _path(self, place: int) -> tuple[_Token, int] | None:
        """A quoted name or a path with slashes; None if there is neither."""
        if (quoted := _QUOTED.match(self.text, place)) and quoted["name"].strip():
            return _Token("name", quoted["name"], quoted.start("quote") + 1), quoted.end()
        match = _PATH.match(self.text, place)
        path = match["path"] if match else ""
        behind = place if match is None else match.end()
        if path.endswith("/") and self.text[behind : behind + 1] == "(":  # a division
            path, behind = path[:-1], behind - 1
        if match is None or "/" not in path.rstrip("/"):
            return None
        if divided := _DIVIDED.fullmatch(path):
            name, numbers = divided["name"], divided["numbers"]
            if not self.is_name(path):  # the name alone; the division is read after it
                path, behind = name, behind - len(numbers)
            elif self.is_name(name):
                self._refuse(
                    f"one meaning of {path!r}",
                    f"two: the folder {path}, and {name} divided by {numbers[1:]}",
                    f"Write '\"{path}\"' with quotes for the folder, or '{name} / {numbers[1:]}' "
                    "with spaces for the division",
                )
        return _Token("name", path.rstrip("/"), match.start("path") + 1), behind

    @property
    def _token(self) -> _Token:
        return self.tokens[self.next]

    def _take(self, signs: str) -> str | None:
        """The next token if it is one of these signs."""
        token = self._token
        if token.kind != "sign" or token.text not in signs:
            return None
        self.next += 1
        return token.text

    def _sum(self) -> _Sum:
        total = self._product()
        while sign := self._take("+-"):
            for name, value in self._product().items():
                total[name] = total.get(name, 0.0) + (value if sign == "+" else -value)
        return total

    def _product(self) -> _Sum:
        left = self._unary()
        while sign := self._take("*/"):
            place = self._token.place
            right = self._unary()
            if sign == "*" and not _is_number(right):
                left, right = right, left
            if not _is_number(right):
                self._refuse(
                    "one factor, and every divisor, to be a number",
                    f"a name in both, or below, at character {place}",
                    "Vectors are scaled by numbers only",
                )
            number = right.get(_CONSTANT, 0.0)
            if sign == "/" and number == 0:
                self._refuse("a divisor other than 0", f"0 at character {place}", "Change it")
            left = {n: v * number if sign == "*" else v / number for n, v in left.items()}
        return left

    def _unary(self) -> _Sum:
        sign = 1.0
        while taken := self._take("+-"):
            sign = -sign if taken == "-" else sign
        return {name: sign * value for name, value in self._atom().items()}

    def _atom(self) -> _Sum:
        token = self._token
        if self._take("("):
            self.depth += 1
            if self.depth > _MAXIMUM_DEPTH:
                self._refuse(f"at most {_MAXIMUM_DEPTH} nested parentheses", "more", "Simplify it")
            inside = self._sum()
            if not self._take(")"):
                self._refuse_token("')'")
            self.depth -= 1
            return inside
        if token.kind not in ("number", "name"):
            self._refuse_token("a name, a number or '('")
        self.next += 1
        if token.kind == "name":
            return {token.text: 1.0}
        if not math.isfinite(float(token.text)):
            self._refuse_overflow()
        return {_CONSTANT: float(token.text)}

    def _refuse_overflow(self) -> NoReturn:
        self._refuse("finite coefficients", "an overflow", "Use smaller numbers")

    def _refuse_token(self, expected: str) -> NoReturn:
        token = self._token
        got = "the end" if token.kind == "end" else repr(token.text)
        self._refuse(
            f"{expected} at character {token.place}", got, "Write for instance 'sst2 + 0.5*mnli'"
        )

    def _refuse(self, expected: str, got: str, fix: str) -> NoReturn:
        raise PromptPortError("expression", expected=expected, got=got, fix=fix)


def _is_number(terms: _Sum) -> bool:
    return not terms.keys() - {_CONSTANT}
