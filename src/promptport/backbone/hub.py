"""Files of the Hub: from the local cache, or the asked bytes alone over HTTP.

`huggingface_hub.HfFileSystem` reads ranges too, but takes whatever the server answers: a server
that ignores the range sends the whole file, which is then in memory, and an answer that breaks off
is fetched again from its start. It also asks for the repository and the path before the first byte.
`get_safetensors_metadata` fetches 100 kB of every file.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

_SECONDS = 30
_RETRIES = 3
_HEAD = 8


def open_hub_file(name: str, file: str, revision: str | None = None) -> BinaryIO | None:
    """A seekable stream of a file of the Hub, which fetches what is read and nothing else.

    Args:
        name: Hub id.
        file: path in the repository.
        revision: Hub revision.

    Returns:
        The stream (that of the local copy, if the Hub's cache holds one), or None if the repository
        has no such file.

    Raises:
        OSError: the Hub cannot be reached or refuses; the message is one line.
    """
    from huggingface_hub import hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    cached = try_to_load_from_cache(name, file, revision=revision)
    if isinstance(cached, str):
        return Path(cached).open("rb")
    try:
        with _plain_errors():
            return cast("BinaryIO", HubFile(hf_hub_url(name, file, revision=revision)))
    except EntryNotFoundError:
        return None


def whole_hub_file(name: str, file: str, revision: str | None = None) -> Path | None:
    """A whole file of the Hub in the local cache, or None if the repository has none of this name.

    Raises:
        OSError: the Hub cannot be reached or refuses; the message is one line.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        with _plain_errors():
            return Path(hf_hub_download(name, file, revision=revision))
    except LocalEntryNotFoundError:  # the Hub could not be asked
        raise
    except EntryNotFoundError:
        return None


class HubFile(io.RawIOBase):
    """A file behind a URL; every `readinto` is one request for as many bytes as are asked for.

    A broken answer gives fewer bytes; read on to ask for the rest.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._position = 0
        self._head = b""
        self._head = self.read(_HEAD) or b""  # tells also whether the file is there
        self.seek(0)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place counted from the start or from here; nothing is fetched."""
        if whence == io.SEEK_END:
            raise io.UnsupportedOperation("the length of the file is not known")
        self._position = offset + (self._position if whence == io.SEEK_CUR else 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer from here on; 0 at the end of the file."""
        view = memoryview(buffer).cast("B")
        kept = self._head[self._position : self._position + len(view)]
        if kept:
            view[: len(kept)] = kept
            done = len(kept)
        else:
            with _plain_errors():
                done = self._fetch(view)
        self._position += done
        return done

    def _fetch(self, view: memoryview) -> int:
        from huggingface_hub.errors import HTTPError
        from huggingface_hub.utils import (
            build_hf_headers,
            hf_raise_for_status,
            http_stream_backoff,
        )

        last = self._position + len(view) - 1
        headers = {
            **build_hf_headers(),
            "Range": f"bytes={self._position}-{last}",
            "Accept-Encoding": "identity",
        }
        done, broken = 0, None
        with http_stream_backoff(
            "GET", self._url, headers=headers, timeout=_SECONDS, max_retries=_RETRIES
        ) as answer:
            if answer.status_code == 416:  # nothing from here on
                return 0
            hf_raise_for_status(answer)
            if answer.status_code != 206:
                raise OSError(f"{self._url}: the server does not serve byte ranges")
            try:
                for chunk in answer.iter_raw():
                    view[done : done + len(chunk)] = chunk
                    done += len(chunk)
            except HTTPError as error:  # raised here, it would make the request start again
                broken = error
        if broken is not None and not done:
            raise broken
        return done


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what the HTTP client raises into an OSError whose message is one line."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HTTPError

    try:
        yield
    except EntryNotFoundError:
        raise
    except (HfHubHTTPError, HTTPError) as error:
        message = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionError(f"the Hub does not answer as hoped: {message}") from error
