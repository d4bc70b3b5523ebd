"""llama-cpp-python: input rows of a prompt through llama_batch.embd, tokens around them."""

from __future__ import annotations

import ctypes
from typing import Any

import llama_cpp
import numpy as np
from shares import best, log_shares


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the rows of a check."""
    llama = _Llama(request["model"], request["context"])
    vectors = {name: np.load(path) for name, path in request["vectors"].items()}
    cases = [_answered(llama, request, case, vectors) for case in request["cases"]]
    return {"engine": f"llama-cpp-python {llama_cpp.__version__}", "cases": cases}


def _answered(
    llama: _Llama, request: dict[str, Any], case: dict[str, Any], vectors: dict[str, Any]
) -> dict[str, Any]:
    llama.clear()
    soft = dict(zip(case["soft"], vectors[case["prompt"]], strict=True))
    vocabulary, ids = request["vocabulary"], case["ids"]
    start, logits = 0, None
    while start < len(ids):  # runs of tokens and runs of vectors in turn
        end = start + 1
        while end < len(ids) and (end in soft) == (start in soft):
            end += 1
        run_ = range(start, end)
        if start in soft:
            logits = llama.feed(rows=np.stack([soft[i] for i in run_]))
        else:
            logits = llama.feed(ids=[ids[i] for i in run_])
        start = end
    shares = log_shares(logits, vocabulary, case["watch"])
    said: list[int] = []
    for _ in range(request["new"]):
        token = best(logits, vocabulary)
        said.append(token)
        if token in request["ends"]:
            break
        logits = llama.feed(ids=[token])
    return {"logprobs": shares, "answer": said}


class _Llama:
    """The lines of the README of such an export, as a class."""

    def __init__(self, model: str, context: int) -> None:
        self._llama = llama_cpp.Llama(model, n_ctx=context, n_batch=context, verbose=False)
        self._context = self._llama.ctx
        self._vocabulary = self._llama.n_vocab()
        self._width = self._llama.n_embd()
        self._past = 0

    def clear(self) -> None:
        self._llama.reset()
        memory = llama_cpp.llama_get_memory(self._context)
        llama_cpp.llama_memory_clear(memory, True)
        self._past = 0

    def feed(self, ids: list[int] | None = None, rows: Any = None) -> Any:
        """Pass tokens, or rows (n, d) float32; the logits behind the last."""
        count = len(ids) if ids is not None else len(rows)
        width = 0 if ids is not None else self._width
        batch = llama_cpp.llama_batch_init(count, width, 1)
        batch.n_tokens = count
        for i in range(count):
            if ids is not None:
                batch.token[i] = ids[i]
            batch.pos[i] = self._past + i
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = i == count - 1
        if ids is None:
            data = np.ascontiguousarray(rows, dtype=np.float32)
            ctypes.memmove(batch.embd, data.ctypes.data, data.nbytes)
        failed = llama_cpp.llama_decode(self._context, batch)
        llama_cpp.llama_batch_free(batch)
        if failed:
            raise RuntimeError(f"llama_decode failed with {failed}")
        self._past += count
        logits = llama_cpp.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(logits, shape=(self._vocabulary,)).copy()
