"""Check the Markdown of the project: short lines, one sentence each, plain and public words.

    python -m tools.docs.lint_prose [FILE ...]

Without files it reads every Markdown file that git knows, but for the results that benchmarks
write. Fenced code, tables, formulas and code in backticks may hold anything.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_LINE = 100
LONGEST_SENTENCE = 40
MOST_FIGURES = 3
SKIPPED = re.compile(r"(^|/)results/|^src/|^docs/generated/")

# Words that once had a meaning of their own here, and the word to use.
BANNED = {
    r"anchored": "mixture prompt",
    r"re-?anchor\w*": "fit a mixture",
    r"lessons?": "distillation targets",
    r"students?(?!'s t)": "the prompt that is tuned",
    r"read-?outs?": "cue word",
    r"reconcil\w*": "distil into the merge",
    r"(?<!batch )calibrat\w*": "align",
    r"exams?": "label check",
    r"voices?": "opinions",
    r"paper [AB]": "the authors' names",
    r"distils?": "distill",
    r"told apart": "named apart",
    r"by heart": "memorised",
}
_BANNED = [(re.compile(rf"\b{word}\b", re.IGNORECASE), use) for word, use in BANNED.items()]
_ABBREVIATION = re.compile(r"\b(al|e\.g|i\.e|Eq|vs|cf|etc|approx|No)\.$")
_SENTENCE_END = re.compile(r"[.!?]\)?(?= +[A-Z`*\[])")


def problems(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and what is wrong there."""
    sentence = 0
    for number, line, whole in _prose(text):
        if len(whole) > LONGEST_LINE and not re.search(r"^!\[|\]\(http", whole):
            yield number, f"{len(whole)} characters; break the line at a phrase (100 at most)"
        for pattern, use in _BANNED:
            for match in pattern.finditer(line):
                yield number, f"{match.group()!r} is a private word; write {use!r}"
        for match in _SENTENCE_END.finditer("" if line.startswith("#") else line):
            before = line[: match.end()]
            if not _ABBREVIATION.search(before) and not re.fullmatch(r"\s*\d+\.", before):
                yield number, "a second sentence; begin it on a line of its own"
        if len(re.findall(r"\d[.,]\d", line)) > MOST_FIGURES:
            yield number, f"more than {MOST_FIGURES} figures; put them into a table"
        starts = not line.strip() or re.match(r"\s*([-*#>|]|\d+\.)\s", line)
        sentence = len(line.split()) + (0 if starts else sentence)
        if sentence > LONGEST_SENTENCE:
            yield number, f"a sentence of more than {LONGEST_SENTENCE} words; make two of it"
        if re.search(r"[.!?:]\)?\**\s*$", line):
            sentence = 0


def _prose(text: str) -> Iterator[tuple[int, str, str]]:
    """Number, prose and whole text of the lines that are neither code, table nor formula."""
    fence = ""
    formula = False
    for number, line in enumerate(text.splitlines(), start=1):
        mark = re.match(r"\s*(`{3,}|~{3,}|:{3,})", line)
        if mark and not fence:
            fence = mark.group(1)
        elif mark and line.strip() == fence:
            fence = ""
        elif line.strip() == "$$":
            formula = not formula
        elif fence or formula or line.startswith(("    ", "|")):
            pass
        else:
            yield number, _without_code(line), line
            continue
        yield number, "", ""


def _without_code(line: str) -> str:
    line = re.sub(r"`+[^`]*`+", "`code`", line)
    line = re.sub(r"\$[^$]+\$", "x", line)
    return re.sub(r"\]\([^)]*\)", "]", line)


def _files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    return [ROOT / name for name in listed if name and not SKIPPED.search(name)]


def main(arguments: list[str]) -> int:
    """Print every problem; 1 if there are any."""
    paths = [Path(name) for name in arguments] or _files()
    count = 0
    for path in paths:
        if not path.exists():
            continue
        for number, what in problems(path.read_text(encoding="utf-8")):
            shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            print(f"{shown}:{number}: {what}")
            count += 1
    print(f"{count} problems in the prose" if count else "prose: all well")
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
