"""Asks a vLLM server with soft prompts; the text is embedded here, see embedder.py.

The server runs with `--enable-prompt-embeds`, for users that it trusts.

    client = Client("MODEL")
    print(client.ask("NAME", {"text": "A text"}))
"""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Mapping
from typing import Any

import torch
from embedder import Embedder


class Client(Embedder):
    """Asks a server.

    Args:
        model: folder or Hub id, as the server names it.
        server: its address.
    """

    def __init__(self, model: str, server: str = "http://127.0.0.1:8000") -> None:
        super().__init__(model)
        self.server = server

    def ask(self, name: str, fields: Mapping[str, str], max_tokens: int = 8) -> str:
        """What the model writes behind a row."""
        return str(self.complete(name, fields, max_tokens)["choices"][0]["text"])

    def complete(self, name: str, fields: Mapping[str, str], max_tokens: int = 8) -> dict[str, Any]:
        """The whole answer of /v1/completions, with the log-probabilities of 20 tokens."""
        stream = io.BytesIO()
        torch.save(self.row(name, fields), stream)
        body = {
            "model": self.model,
            "prompt_embeds": base64.b64encode(stream.getvalue()).decode(),
            "max_tokens": max_tokens,
            "temperature": 0,
            "logprobs": 20,
        }
        asked = urllib.request.Request(
            f"{self.server}/v1/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked) as answer:
            return dict(json.load(answer))
