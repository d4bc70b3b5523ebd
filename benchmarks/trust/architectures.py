"""Logits of a prompt in PEFT against ours, for every architecture that the tests have.

Run from the root of the repository: python -m benchmarks.trust.architectures
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from benchmarks._result import environment
from benchmarks.trust.parts import write_part
from tests.models import ARCHITECTURES, save_model

from promptport.backbone import Backbone, silence_libraries
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt
from promptport.tasks import Template

RESULTS = Path(__file__).resolve().parent / "results"
TEMPLATE = "{soft} {text} It was {answer} ."
_LENGTH = 4
_MOST = 1e-4  # of the largest logit: what two orders of adding may differ by


def compare(name: str, folder: Path) -> dict[str, Any]:
    """The largest difference of logits, as a share of the largest logit.

    Args:
        name: of an architecture.
        folder: for the model and the prompt.
    """
    import peft

    place = save_model(name, folder / "model")
    ours = Backbone.load(str(place), dtype="float32", device="cpu")
    generator = torch.Generator().manual_seed(5)
    spread = ours.space.statistics.std
    vectors = spread * torch.randn(_LENGTH, ours.width, generator=generator)
    made = Provenance(ours.name, ours.kind, fingerprint=ours.space.fingerprint, template=TEMPLATE)
    save_prompt(SoftPrompt(vectors, made), folder / "prompt")
    answer = ours.layout.answer_ids(["good"])[0]
    (row,) = ours.layout.encode(
        Template.parse(TEMPLATE), [{"text": "the old dog"}], [answer], _LENGTH
    )
    fresh = Backbone.load(str(place), dtype="float32", device="cpu").model
    theirs = peft.PeftModel.from_pretrained(fresh, str(folder / "prompt")).eval()
    ids = torch.tensor([[t for i, t in enumerate(row.ids) if i not in row.soft]])
    extra = {"attention_mask": torch.ones_like(ids)}
    if ours.kind == "seq2seq":
        extra["decoder_input_ids"] = torch.tensor([row.decoder_ids])
    with torch.no_grad():
        wanted = theirs(input_ids=ids, **extra).logits[:, list(row.scored), : len(ours.tokenizer)]
        got = ours.answer_logits([row], vectors, [0])
    difference = float((got - wanted).abs().max() / wanted.abs().max())
    return {"kind": ours.kind, "difference": difference, "equal": difference <= _MOST}


def main() -> int:
    """Compare all; print a table; 1 if one could not be compared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    recorded = environment(given.results)
    silence_libraries()
    warnings.simplefilter("ignore")
    found: dict[str, Any] = {}
    for name in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            try:
                found[name] = compare(name, Path(folder))
            except Exception as error:  # PEFT and the models raise what they like
                first = (str(error).strip().splitlines() or [type(error).__name__])[0]
                found[name] = {"kind": "", "difference": None, "equal": False, "said": first}
        print(json.dumps({name: found[name]}), flush=True)
    figures = {
        "architectures_compared": len(found),
        "architectures_equal_peft": sum(each["equal"] for each in found.values()),
    }
    write_part(given.results, "architectures", figures, recorded, {"architectures": found})
    print(figures)
    return 1 if any("said" in each for each in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
