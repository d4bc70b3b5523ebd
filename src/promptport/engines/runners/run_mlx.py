"""mlx-lm: prompt caches made of vectors, and rows that go on from them."""

from __future__ import annotations

from copy import deepcopy
from importlib.metadata import version
from typing import Any

import mlx.core as mx
import numpy as np
from mlx.utils import tree_map
from mlx_lm import load
from mlx_lm.models.cache import load_prompt_cache, make_prompt_cache, save_prompt_cache
from shares import best, log_shares


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the rows of a check, or make prompt caches."""
    model, _ = load(request["model"], model_config=request["model_config"])
    dtype = _table(model).dtype
    model.set_dtype(mx.float32)  # as the reference
    engine = f"mlx-lm {version('mlx-lm')}"
    if request["action"] == "make":
        factor = _factor(model, request["scale"])
        for prompt in request["prompts"]:
            vectors = mx.load(request["vectors"])[prompt["name"]] * factor
            cache = make_prompt_cache(model)
            _feed(model, cache, [0] * len(vectors), vectors)
            _cast(cache, dtype)  # that of the model, as users load it
            save_prompt_cache(prompt["file"], cache, prompt["facts"])
        return {"engine": engine}
    caches = {name: load_prompt_cache(path) for name, path in request["caches"].items()}
    for cache in caches.values():
        _cast(cache, mx.float32)
    cases = [_answered(model, deepcopy(caches[c["prompt"]]), request, c) for c in request["cases"]]
    return {"engine": engine, "cases": cases}


def _cast(cache: Any, dtype: Any) -> None:
    for part in cache:
        part.state = tree_map(lambda value: _as(value, dtype), part.state)


def _as(value: Any, dtype: Any) -> Any:
    is_number = isinstance(value, mx.array) and mx.issubdtype(value.dtype, mx.floating)
    return value.astype(dtype) if is_number else value


def _table(model: Any) -> Any:
    """The rows of some tokens, before any scale."""
    return getattr(model, "language_model", model).model.embed_tokens(mx.array([1, 2, 3]))


def _factor(model: Any, scale: float) -> float:
    """What input rows must be multiplied by: some models scale them once more (Gemma)."""
    ids = [1, 2, 3]
    wanted = _feed(model, make_prompt_cache(model), ids)
    rows = _table(model) * scale
    errors = {}
    for factor in (1.0, 1.0 / scale):
        made = _feed(model, make_prompt_cache(model), ids, rows * factor)
        errors[factor] = float(np.abs(made - wanted).max())
    return min(errors, key=lambda factor: errors[factor])


def _answered(
    model: Any, cache: Any, request: dict[str, Any], case: dict[str, Any]
) -> dict[str, Any]:
    vocabulary = request["vocabulary"]
    logits = _feed(model, cache, case["ids"][len(case["soft"]) :])
    shares = log_shares(logits, vocabulary, case["watch"])
    said: list[int] = []
    for _ in range(request["new"]):
        token = best(logits, vocabulary)
        said.append(token)
        if token in request["ends"]:
            break
        logits = _feed(model, cache, [token])
    return {"logprobs": shares, "answer": said}


def _feed(model: Any, cache: Any, ids: list[int], rows: Any = None) -> Any:
    """Pass tokens, or rows (n, d) in their place; the logits behind the last."""
    inputs = mx.array([ids])
    more = {} if rows is None else {"input_embeddings": rows[None]}
    logits = model(inputs, cache=cache, **more)
    mx.eval(logits, [part.state for part in cache])
    return np.array(logits[0, -1].astype(mx.float32))
