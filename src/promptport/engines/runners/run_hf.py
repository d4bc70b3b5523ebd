"""transformers, by token ids alone."""

from __future__ import annotations

from typing import Any

import torch
import transformers
from shares import best, log_shares

_CLASSES = {
    "masked": "AutoModelForMaskedLM",
    "causal": "AutoModelForCausalLM",
    "seq2seq": "AutoModelForSeq2SeqLM",
}


@torch.no_grad()
def run(request: dict[str, Any]) -> dict[str, Any]:
    """Answer the rows of a check."""
    made = getattr(transformers, _CLASSES[request["kind"]])
    model = made.from_pretrained(request["target"], dtype=torch.float32).eval()
    cases = [_answered(model, request, case) for case in request["cases"]]
    return {"engine": f"transformers {transformers.__version__}", "cases": cases}


def _answered(model: Any, request: dict[str, Any], case: dict[str, Any]) -> dict[str, Any]:
    ids = torch.tensor([case["ids"]])
    decoder = torch.tensor([case["decoder"]]) if case["decoder"] else None
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    logits = model(**inputs, **({} if decoder is None else {"decoder_input_ids": decoder})).logits
    at = logits[0, case["scored"]].numpy()
    vocabulary = request["vocabulary"]
    if request["kind"] == "masked":
        said = [best(at, vocabulary)]
    else:
        # What bars the new tokens is the checkpoint's own generation_config.json.
        options: dict[str, Any] = {"eos_token_id": request["ends"]} if request["ends"] else {}
        pad = request["pad"]
        opening = case["ids"] if decoder is None else case["decoder"]
        start = {} if decoder is None else {"decoder_input_ids": decoder}
        written = model.generate(
            **inputs,
            **start,
            **options,
            do_sample=False,
            num_beams=1,
            max_new_tokens=request["new"],
            pad_token_id=pad,
        )
        said = written[0, len(opening) :].tolist()
    return {"logprobs": log_shares(at, vocabulary, case["watch"]), "answer": said}
