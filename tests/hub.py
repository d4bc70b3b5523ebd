"""A local server with the Hub's URL layout, which counts what it serves."""

from __future__ import annotations

import base64
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
        token: of whoever may write.
        storage: folder of repositories that are made here.
        made: what was asked for when they were made, by id.
    """

    daemon_threads = True

    def __init__(self, storage: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.served: Counter[str] = Counter()
        self.secrets: list[str] = []
        self.ignore_ranges = False
        self.cut = 0
        self.token = "hf_token"  # of whoever may write
        self.storage = storage or Path()
        self.made: dict[str, dict[str, Any]] = {}

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
def serving(storage: Path | None = None) -> Iterator[HubServer]:
    """A running server; with a folder, one that makes repositories in it."""
    with HubServer(storage) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def instead_of_the_hub(monkeypatch: Any, folder: Path) -> Iterator[HubServer]:
    """A server in the place of the Hub, for this process.

    Args:
        monkeypatch: of the test.
        folder: for repositories and the cache.
    """
    import huggingface_hub.constants as constants

    with serving(folder / "hub") as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
        monkeypatch.setenv("HF_TOKEN", server.token)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield server


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        """Make repositories and take commits, as `HfApi.upload_folder` sends them."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token != self.server.token:
            return self._refuse(401, "", "Invalid credentials")
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.server.repositories
            if not known:
                folder = self.server.storage / name
                folder.mkdir(parents=True)
                self.server.repositories[name] = folder
                self.server.made[name] = asked
            told = {"url": f"{self.server.url}/{name}", "name": name, "id": "1"}
            return self._answer(409 if known else 200, json.dumps(told).encode(), _JSON)
        if self.path == "/api/validate-yaml":
            told = {"errors": [], "warnings": []}
            return self._answer(200, json.dumps(told).encode(), _JSON)
        name, what = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(\w+)/[^/]+", self.path).groups()
        if what == "preupload":
            files = [{**file, "uploadMode": "regular", "shouldIgnore": False}
                     for file in json.loads(body)["files"]]  # fmt: skip
            return self._answer(200, json.dumps({"files": files}).encode(), _JSON)
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                content = base64.b64decode(line["value"]["content"])
                (self.server.repositories[name] / line["value"]["path"]).write_bytes(content)
        told = {"success": True, "commitOid": COMMIT, "hookOutput": "",
                "commitUrl": f"{self.server.url}/{name}/commit/{COMMIT}"}  # fmt: skip
        return self._answer(200, json.dumps(told).encode(), _JSON)

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
