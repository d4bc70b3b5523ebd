"""Valid files with one thing broken, drawn with a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

# Values that somebody's file may have where another one was expected.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 2**31, 2**63, -(2**63), 10**400, 1e308, float("nan")),
    *(float("inf"), "", " ", "a", "\x00", "\n", "\u202e", "\ufeff", "é", "🙂", "a" * 10_000),
    *("../../etc/passwd", "/etc/passwd", "C:\\x", "$(id)", "{soft}", "{answer}", "{", "}}"),
    *([], {}, [[]], [None], ["a", 1], {"a": {"a": {"a": 1}}}, [1, 2, 3], {"": ""}),
)
_BYTES = (b"", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\x80\x04", b"PK\x03\x04", b"GGUF")


def break_bytes(data: bytes, draw: random.Random) -> bytes:
    """Cut, flipped, repeated, or with something put in."""
    place = draw.randrange(len(data) + 1)
    other = draw.randrange(len(data) + 1)
    low, high = min(place, other), max(place, other)
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: data[:place],
        lambda: data[place:],
        lambda: data[:low] + data[high:],
        lambda: data[:place] + draw.choice(_BYTES) + data[place:],
        lambda: data[:low] + data[low:high] * 2 + data[high:],
        lambda: data[:place] + bytes([draw.randrange(256)]) + data[place + 1 :],
        lambda: draw.choice(_BYTES) + data,
        lambda: data + draw.choice(_BYTES),
        lambda: bytes(draw.randrange(256) for _ in range(draw.randrange(64))),
        lambda: data[:place] + (2**62).to_bytes(8, "little") + data[place + 8 :],
    )
    return draw.choice(ways)()


def break_value(value: Any, draw: random.Random) -> Any:
    """A JSON value with one part of it, at any depth, left out, replaced or added to."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(sorted(value, key=str))
        rest = dict(value)
        way = draw.randrange(5)
        if way == 0:
            del rest[key]
        elif way == 1:
            rest[str(key) + draw.choice(("", "x", " "))] = rest.pop(key)
        elif way == 2:
            rest[draw.choice(("extra", "", "schema", str(key)))] = draw.choice(ODD)
        else:
            rest[key] = break_value(rest[key], draw)
        return rest
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        if draw.random() < 0.3:
            return [*value[:place], *value[place + 1 :]]
        return [*value[:place], break_value(value[place], draw), *value[place + 1 :]]
    return draw.choice(ODD)


def break_json(data: bytes, draw: random.Random) -> bytes:
    """A JSON file with one value broken, or one byte."""
    if draw.random() < 0.25:
        return break_bytes(data, draw)
    return json.dumps(break_value(json.loads(data), draw), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def break_tensors(data: bytes, draw: random.Random) -> bytes:
    """A safetensors file with its header broken, or one byte."""
    if draw.random() < 0.4:
        return break_bytes(data, draw)
    size = int.from_bytes(data[:8], "little")
    head = json.dumps(break_value(json.loads(data[8 : 8 + size]), draw)).encode()
    told = len(head) if draw.random() < 0.9 else draw.choice((0, 1, 2**40, 2**63))
    return told.to_bytes(8, "little") + head + data[8 + size :]


def break_text(data: bytes, draw: random.Random) -> bytes:
    """A text file with a line or a word broken, or one byte."""
    if draw.random() < 0.3:
        return break_bytes(data, draw)
    lines = data.decode().split("\n")
    place = draw.randrange(len(lines))
    way = draw.randrange(5)
    if way == 0:
        del lines[place]
    elif way == 1:
        lines.insert(place, lines[place])
    elif way == 2:
        lines[place] = " " * draw.randrange(5) + lines[place].lstrip()
    else:
        words = lines[place].split(" ")
        words[draw.randrange(len(words))] = str(draw.choice(ODD))
        lines[place] = " ".join(words)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def break_gguf(data: bytes, draw: random.Random) -> bytes:
    """A GGUF file with a number, a text or a place in its header broken, or one byte."""
    if draw.random() < 0.2:
        return break_bytes(data, draw)
    # Nearly all of the header is within this: keys and values first, tensors behind them.
    place = draw.choice((8, 16, draw.randrange(4, 400), draw.randrange(4, len(data) // 8)))
    ways: tuple[Callable[[], bytes], ...] = (
        lambda: draw.choice((0, 1, 2**31, 2**32, 2**62, 2**64 - 1)).to_bytes(8, "little"),
        lambda: draw.choice((0, 1, 7, 12, 13, 2**31, 2**32 - 1)).to_bytes(4, "little"),
        lambda: bytes([draw.randrange(256)]),
        lambda: draw.choice(_BYTES),
        lambda: bytes(draw.randrange(256) for _ in range(8)),
    )
    put = draw.choice(ways)()
    if draw.random() < 0.8:
        return data[:place] + put + data[place + len(put) :]
    return data[:place] + put + data[place:]
