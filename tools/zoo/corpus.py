"""Where the text comes from: a corpus on disk and the pocket sentences.

Texts are drawn in numbered blocks, each a function of the seed and its number alone, so that a
resumed run sees exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

import itertools
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

SENTENCE_END = re.compile(r"(?<=[.!?][\"')]|.[.!?])\s+(?=[A-Z\"'(0-9])")


class Text(NamedTuple):
    """A training text and the word in it that matters most, if there is one."""

    text: str
    focus: str | None = None


def read_lines(path: Path, *, megabytes: float = float("inf")) -> list[str]:
    """Non-empty lines of a .txt or .xz file, or of every such file in a folder."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in {".txt", ".xz"})
    else:
        files = [path]
    lines: list[str] = []
    left = megabytes * 1e6
    for file in files:
        with _open_text(file) as stream:
            for line in stream:
                if len(line) > 20:
                    lines.append(line.strip())
                    left -= len(line)
                if left <= 0:
                    return lines
    return lines


def _open_text(file: Path) -> IO[str]:
    if file.suffix == ".xz":
        return lzma.open(file, "rt", encoding="utf-8")
    return file.open(encoding="utf-8")


def pocket_sentences(seed: int) -> Iterator[Text]:
    """The endless stream of pocket sentences with their focus words."""
    from pocket.pretraining import sentences

    for text, focus in sentences(seed):
        yield Text(text, focus or None)


def pocket_words() -> list[str]:
    """Words of the pocket tasks that every tokenizer must hold as one token."""
    from pocket.pretraining import all_words

    return sorted(word for word in all_words() if re.fullmatch(r"[^\W\d_]+", word))


class TextSource:
    """Draws blocks of texts from the corpus and the pocket sentences.

    Args:
        lines: paragraphs of the corpus.
        words: longest stretch of corpus words in a text.
        seed: with the block number it decides everything.
    """

    def __init__(self, lines: list[str], *, words: int, seed: int) -> None:
        self.lines = lines
        self.words = words
        self.seed = seed

    def block(self, number: int, *, pocket: int, corpus: int) -> tuple[list[Text], list[Text]]:
        """So many pocket sentences, and so many stretches of the corpus."""
        rng = np.random.default_rng([self.seed, number])
        stream = pocket_sentences(int(rng.integers(2**31)))
        stretches = [Text(self._stretch(rng)) for _ in range(corpus)]
        return list(itertools.islice(stream, pocket)), stretches

    def _stretch(self, rng: np.random.Generator) -> str:
        """One sentence of the corpus, or the part of it that fits."""
        while True:
            line = self.lines[int(rng.integers(len(self.lines)))]
            parts = SENTENCE_END.split(line)
            words = parts[int(rng.integers(len(parts)))].split()
            if len(words) >= 4:
                break
        if len(words) <= self.words:
            return " ".join(words)
        # Half of the long sentences from their beginning, half from within.
        start = int(rng.integers(2)) * int(rng.integers(len(words) - self.words + 1))
        return " ".join(words[start : start + self.words])
