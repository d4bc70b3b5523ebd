"""A local server with the Hub's URL layout, which counts what it serves."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_JSON = {"Content-Type": "application/json"}


class HubServer(ThreadingHTTPServer):
    """Serves folders as `/{id}/resolve/{revision}/{file}`; weights are on a second host, as a CDN.

    Attributes:
        repositories: Hub id -> folder.
        gated: ids that nobody may read.
        served: bytes of bodies by path.
        secrets: paths of the second host that were asked for with a token.
        ignore_ranges: answer every request with the whole file.
        cut: break off so many answers of weights in the middle.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.served: Counter[str] = Counter()
        self.secrets: list[str] = []
        self.ignore_ranges = False
        self.cut = 0

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.server_port}"

    def bytes_of(self, suffix: str) -> int:
        """Bytes served of files whose name ends so."""
        return sum(count for path, count in self.served.items() if path.endswith(suffix))

    def handle_error(self, *_: Any) -> None:
        """Clients that hang up are no news."""


@contextmanager
def serving() -> Iterator[HubServer]:
    """A running server."""
    with HubServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        found = re.fullmatch(r"/(cdn/)?(?:api/models/)?([^/]+/[^/]+?)(?:/([^/]+)/.*)?", path)
        cdn, name, what = found.groups() if found else (None, "", None)
        folder = self.server.repositories.get(name)
        if folder is None:
            return self._refuse(401, "RepoNotFound", "Repository not found")
        if name in self.server.gated:
            return self._refuse(403, "GatedRepo", "Access to this model is restricted.")
        if path.startswith("/api/") and what == "tree":
            rows = [
                {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40}
                for f in sorted(folder.iterdir())
            ]
            return self._answer(200, json.dumps(rows).encode(), _JSON)
        if path.startswith("/api/"):
            body = {"id": name, "sha": COMMIT, "siblings": [], "tags": []}
            return self._answer(200, json.dumps(body).encode(), _JSON)
        file = folder / path.rpartition("/")[2]
        if not file.is_file():
            return self._refuse(404, "EntryNotFound", "Entry not found")
        return self._file(file, cdn is not None)

    def _file(self, file: Path, cdn: bool) -> None:
        size = file.stat().st_size
        facts = {"X-Repo-Commit": COMMIT, "ETag": f'"{file.name}-{size}"', "Accept-Ranges": "bytes"}
        if file.suffix == ".safetensors" and not cdn:
            place = f"http://localhost:{self.server.server_port}/cdn{self.path}"
            linked = {"X-Linked-Size": str(size), "X-Linked-Etag": facts["ETag"]}
            return self._answer(302, b"", {**facts, **linked, "Location": place})
        if cdn and "Authorization" in self.headers:
            self.server.secrets.append(self.path)
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None or self.server.ignore_ranges:
            return self._answer(200, file.read_bytes(), facts)
        first, last = int(asked[1]), min(int(asked[2] or size), size - 1)
        with file.open("rb") as stream:
            stream.seek(first)
            data = stream.read(last - first + 1)
        return self._answer(206, data, {**facts, "Content-Range": f"bytes {first}-{last}/{size}"})

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, b"", {"X-Error-Code": code, "X-Error-Message": message})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.cut and status == 206 and len(body) > 1000:
            self.server.cut -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.server.served[self.path.partition("?")[0]] += len(body)
        self.wfile.write(body)
