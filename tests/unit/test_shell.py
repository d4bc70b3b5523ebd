"""Quoted words are read by a shell as they were, and stay on one line."""

from __future__ import annotations

import os
import shlex
import subprocess

import pytest

from promptport.shell import joined, quoted

WORDS = [
    "",
    "a b",
    "a'b",
    'a"b',
    "$(id)",
    "`id`",
    "a\nb",
    "a\tb",
    "\x1b[31m",
    "é\u202e",
    "\\",
    "'\n'",
]
WORDS += ["-rf", "*", "~", "!x", "a\\nb\n", "\udcff", "\x9b1", "7\x037"]


@pytest.mark.parametrize("word", WORDS, ids=ascii)
def test_a_shell_reads_a_quoted_word_as_it_was(word) -> None:
    line = quoted(word)
    assert line.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {line}"], capture_output=True, check=True)
    assert done.stdout == os.fsencode(word)


def test_ordinary_words_are_quoted_as_usual() -> None:
    words = ["promptport", "eval", "my prompt", "--task", "it's", "x=1"]
    assert joined(words) == shlex.join(words)
