"""vLLM offline: whole rows as prompt_embeds, embedded from the model's table."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import vllm


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the rows of a check, all of them in one batch."""
    sys.path.insert(0, request["target"])
    from embedder import Embedder  # that of the export itself

    embedder = Embedder(request["model"], Path(request["target"]))
    rows = [embedder.rows(_parts(case), case["prompt"]) for case in request["cases"]]
    model = vllm.LLM(
        request["model"],
        enable_prompt_embeds=True,
        dtype="float32",
        max_model_len=request["context"],
        max_logprobs=request["vocabulary"],
        enforce_eager=True,
    )
    settings = vllm.SamplingParams(
        temperature=0.0,
        max_tokens=request["new"],
        logprobs=request["vocabulary"],
        stop_token_ids=request["ends"],
    )
    done = model.generate([{"prompt_embeds": row} for row in rows], settings)
    cases = []
    for case, answer in zip(request["cases"], done, strict=True):
        first = answer.outputs[0].logprobs[0]
        shares = {str(i): first[i].logprob for i in case["watch"] if i in first}
        cases.append({"logprobs": shares, "answer": list(answer.outputs[0].token_ids)})
    return {"engine": f"vllm {vllm.__version__}", "cases": cases}


def _parts(case: dict[str, Any]) -> list[Any]:
    soft = {place: i for i, place in enumerate(case["soft"])}
    return [
        slice(soft[i], soft[i] + 1) if i in soft else [token] for i, token in enumerate(case["ids"])
    ]
