"""llama.cpp's own server, as the package xllamacpp brings it: token ids, or a restored slot."""

from __future__ import annotations

import json
import math
import os
import struct
import urllib.error
import urllib.request
from typing import Any

import xllamacpp

_ASKED = 256  # likeliest tokens that are asked for first
_DRAWN = 100  # first tokens that are drawn until one is told of
_LEAST = 1e-30  # probabilities come as numbers of single precision
_WORD = 4
_LOOKED_AT = 1 << 16  # bytes of a slot file in which its tokens stand


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the rows of a check, or make slot files."""
    server = _Server(request)
    if request["action"] == "make":
        return {"engine": server.name, **server.make(request)}
    return {"engine": server.name, "cases": [server.answered(c) for c in request["cases"]]}


class _Server:
    def __init__(self, request: dict[str, Any]) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = request["model"]
        params.n_ctx = request["context"]
        params.n_parallel = 1
        params.warmup = False
        # Slots that were restored must stay as they are.
        params.cache_idle_slots = False
        params.cache_ram_mib = 0
        threads = int(os.environ.get("OMP_NUM_THREADS") or 0) or os.cpu_count() or 1
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.slot_save_path = request.get("slots", "")
        params.endpoint_slots = True
        self._server = xllamacpp.Server(params)
        self._address = self._server.listening_address
        self._request = request
        build = xllamacpp.BUILD_INFO
        self.name = f"xllamacpp {xllamacpp.__version__} (llama.cpp {build['commit']})"

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps(body).encode()
        asked = urllib.request.Request(
            self._address + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(asked) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"llama-server: {error.read().decode()[:300]}") from error

    def answered(self, case: dict[str, Any]) -> dict[str, Any]:
        # Within a row the server goes on from what it computed; between rows it begins anew.
        ids, found = case["ids"], {"id_slot": 0, "cache_prompt": True}
        if "slot" in case:
            self.post("/slots/0?action=restore", {"filename": case["slot"]})
        else:
            self.post("/slots/0?action=erase", {})
        shares, reused = self._shares(ids, case, found)
        said = self.post(
            "/completion",
            {
                **found,
                "prompt": ids,
                "n_predict": self._request["new"],
                "temperature": 0.0,
                "return_tokens": True,
                "logit_bias": self._barred,
            },
        )
        reused = min(reused, said["timings"]["cache_n"])
        return {"logprobs": shares, "answer": said["tokens"], "cache_n": reused}

    @property
    def _barred(self) -> list[list[Any]]:
        return [[i, False] for i in self._request["barred"]]

    def _shares(
        self, ids: list[int], case: dict[str, Any], found: dict[str, Any]
    ) -> tuple[dict[str, float], int]:
        """Log-probabilities of the watched tokens, and how many tokens came out of the slot."""
        asked = {**found, "prompt": ids, "n_predict": 1, "temperature": 1.0, "samplers": []}
        asked |= {"post_sampling_probs": True, "logit_bias": self._barred}
        reused = None
        for count in (_ASKED, self._request["vocabulary"]):
            for seed in range(_DRAWN):
                told = self.post("/completion", {**asked, "n_probs": count, "seed": seed})
                reused = told["timings"]["cache_n"] if reused is None else reused
                if "completion_probabilities" in told:
                    break  # else an end was drawn, or half a letter: nothing is told of them
            listed = told["completion_probabilities"][0]["top_probs"]
            shares = {entry["id"]: entry["prob"] for entry in listed}
            if all(i in shares for i in case["watch"]):
                break
        logs = {str(i): math.log(max(shares.get(i, 0.0), _LEAST)) for i in case["watch"]}
        return logs, int(reused or 0)

    def make(self, request: dict[str, Any]) -> dict[str, Any]:
        """Slot files of prompts that stand in the vocabulary, with placeholders for their ids."""
        sizes = {}
        for prompt in request["prompts"]:
            self.post("/slots/0?action=erase", {})
            asked = {"prompt": prompt["ids"], "n_predict": 0, "id_slot": 0, "cache_prompt": False}
            self.post("/completion", asked)
            self.post("/slots/0?action=save", {"filename": prompt["file"]})
            place = os.path.join(request["slots"], prompt["file"])
            _replace_ids(place, prompt["ids"], prompt["placeholders"])
            sizes[prompt["file"]] = os.path.getsize(place)
        return {"bytes": sizes}


def _replace_ids(place: str, ids: list[int], others: list[int]) -> None:
    """Write other ids in place of those in the list of tokens that a slot file begins with."""
    old = struct.pack(f"<{len(ids)}i", *ids)
    with open(place, "r+b") as file:
        at = file.read(_LOOKED_AT).find(old)
        if at < 0 or at % _WORD:
            raise RuntimeError("llama-server wrote a slot file without its tokens")
        file.seek(at)
        file.write(struct.pack(f"<{len(others)}i", *others))
