"""promptport cache: what is kept on disk between runs, and removing it."""

from __future__ import annotations

import time
from typing import Any

import typer

from promptport.cache import CacheEntry, cache_entries, cache_folder, cache_limit, clear_cache
from promptport.cli.console import JsonFlag, command_line, hint, print_json, print_table, say

_MEGABYTE = 1_000_000
_GIGABYTE = 1_000_000_000


def listing(ctx: typer.Context, json_output: JsonFlag = False) -> None:
    """Show what is kept on disk: unpacked GGUF models, fetched files, words of tokenizers.

    All of it is made or fetched again when it is needed. Unpacked models that were not used for
    longest go when there are more than PROMPTPORT_CACHE_GB gigabytes (usually 20);
    PROMPTPORT_CACHE names the folder.

    Example:
        promptport cache
        promptport cache clear
    """
    if ctx.invoked_subcommand is not None:
        return
    entries = cache_entries()
    if json_output:
        print_json({**_where(), "entries": [_record(entry) for entry in entries]})
        return
    rows = [
        [entry.what, f"{entry.size / _MEGABYTE:.1f}", _when(entry.used), entry.place.name]
        for entry in entries
    ]
    size = sum(entry.size for entry in entries) / _GIGABYTE
    title = f"{cache_folder()}: {size:.2f} of {cache_limit() / _GIGABYTE:g} GB"
    print_table(title, ["what", "megabytes", "last used", "folder"], rows)
    if entries:
        hint("Remove all of it", command_line("cache", "clear"))


def clear(json_output: JsonFlag = False) -> None:
    """Remove everything that is kept and that no other process is using.

    Example:
        promptport cache clear
    """
    removed = clear_cache()
    left = cache_entries()
    if json_output:
        print_json(
            {
                **_where(),
                "removed": [_record(entry) for entry in removed],
                "left": [_record(entry) for entry in left],
            }
        )
        return
    size = sum(entry.size for entry in removed) / _MEGABYTE
    say(f"Removed {len(removed)} of {len(removed) + len(left)} entries, {size:.1f} MB.")
    for entry in left:
        say(f"In use, or not to be written: {entry.what} in {entry.place}")


def _where() -> dict[str, Any]:
    return {"folder": str(cache_folder()), "limit_gigabytes": cache_limit() / _GIGABYTE}


def _record(entry: CacheEntry) -> dict[str, Any]:
    return {
        "what": entry.what,
        "folder": str(entry.place),
        "megabytes": entry.size / _MEGABYTE,
        "last_used": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.used)),
    }


def _when(used: float) -> str:
    """The day and the time of day here."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(used))
