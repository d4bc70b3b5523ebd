"""Asks an SGLang server with soft prompts; the text is embedded here, see embedder.py.

The server runs with `--disable-radix-cache`: it keeps prefixes by token ids, which rows have none.

    client = Client("MODEL")
    print(client.ask("NAME", {"text": "A text"}))
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any

from embedder import Embedder


class Client(Embedder):
    """Asks a server.

    Args:
        model: folder or Hub id.
        server: its address.
    """

    def __init__(self, model: str, server: str = "http://127.0.0.1:30000") -> None:
        super().__init__(model)
        self.server = server

    def ask(self, name: str, fields: Mapping[str, str], max_tokens: int = 8) -> str:
        """What the model writes behind a row."""
        return str(self.complete(name, fields, max_tokens)["text"])

    def complete(self, name: str, fields: Mapping[str, str], max_tokens: int = 8) -> dict[str, Any]:
        """The whole answer of /generate."""
        body = {
            "input_embeds": self.row(name, fields).tolist(),
            "sampling_params": {"temperature": 0, "max_new_tokens": max_tokens},
        }
        asked = urllib.request.Request(
            f"{self.server}/generate",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            return dict(json.load(answer))
