"""A finished backbone as a standard transformers folder with a card."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import yaml
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from .architectures import word_embedding
from .config import BackboneConfig
from .probe import Score, mean_precision


@dataclass(frozen=True)
class History:
    """What the card tells about a run."""

    tokens: int
    steps: int
    seconds: float
    losses: Sequence[tuple[int, float, float]]  # tokens seen, mean loss of short and open rows
    scores: dict[str, Score]


def export(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    *,
    config: BackboneConfig,
    history: History,
    target: Path,
) -> None:
    """Write the folder beside its place, then put it there in one move."""
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        card = render_card(model, config, history, staging / "model.safetensors")
        (staging / "card.md").write_text(card, encoding="utf-8")
        (staging / "training.json").write_text(_record(config, history), encoding="utf-8")
        staging.chmod(0o755)
        for file in staging.iterdir():  # safetensors writes for the owner only
            file.chmod(0o644)
        old = staging.with_name(staging.name + ".old")
        if target.exists():
            os.rename(target, old)
        os.rename(staging, target)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _record(config: BackboneConfig, history: History) -> str:
    """The run in numbers, for programs."""
    record = {
        "tokens": history.tokens,
        "steps": history.steps,
        "seconds": round(history.seconds),
        "seed": config.seed,
        "losses": [list(entry) for entry in history.losses],
        "scores": {name: round(score.precision, 4) for name, score in history.scores.items()},
    }
    return json.dumps(record) + "\n"


def render_card(
    model: PreTrainedModel, config: BackboneConfig, history: History, weights: Path
) -> str:
    """The model card, in Markdown."""
    parameters = sum(weight.numel() for weight in model.parameters())
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    table = word_embedding(model).detach().float()
    mean_norm, row_norm = table.mean(dim=0).norm().item(), table.norm(dim=1).mean().item()
    facts, classes = (_score_table(history.scores, facts=facts) for facts in (True, False))
    curve = ", ".join(
        f"{tokens / 1e6:.2f}: {short:.2f} / {opened:.2f}"
        for tokens, short, opened in _thin(history.losses)
    )
    settings = yaml.safe_dump(asdict(config), sort_keys=False).strip()
    return f"""# {config.name}

A very small language model that ships with promptport, for demos, tests and the study of prompts
that move between models. Architecture: `{type(model).__name__}`, {parameters / 1e6:.2f} million
parameters, {model.config.vocab_size} tokens in the vocabulary, {table.shape[1]} wide; weights in
half precision.

## Data and licence

- Text of the English Wikipedia, by its authors, under CC BY-SA 3.0
  (https://creativecommons.org/licenses/by-sa/3.0/); the articles and their histories, which name
  the authors, are at https://en.wikipedia.org. The weights are shared under the same licence.
- The pocket sentences of promptport (`tools/pocket`), written for it: facts of common knowledge
  in several wordings and short texts with their classes. {config.data.pocket_share:.0%} of the
  tokens of each batch are single pocket sentences.

## Training

{history.tokens / 1e6:.1f} million tokens seen in {history.steps} steps ({history.seconds / 60:.0f}
minutes, seed {config.seed}), by `tools/pretrain_zoo.py {config.name}`. The weights are a running
average over the last steps.

Training loss (millions of tokens seen: short pocket rows / open rows; 0 before the open rows
begin): {curve}.

## What it knows

P@1 of the manual template over the whole vocabulary, on all pocket facts whose object is one
token, without any tuning: **{mean_precision(history.scores, facts=True):.3f}** (mean over the
relations). These facts were in the training text: the number says what the model remembers, not
how it generalises.

{facts}

The same for the test rows of the pocket classifications, which were not in the training text, with
wordings that it never read together with a label:
**{mean_precision(history.scores, facts=False):.3f}**.

{classes}

Embedding table: norm of the mean row {mean_norm:.3f}, mean norm of a row {row_norm:.3f}.

## Limits

Made to be studied, not to be used: it has seen a thousandth of what useful models see. English
only. Texts longer than {config.data.positions} tokens are out of its reach. Outside the pocket
facts it knows next to nothing, what it says of people and places may be wrong, and it carries the
slants of its sources.

## Settings

```yaml
{settings}
```

sha256 of `model.safetensors`: `{digest}`
"""


def _seeded(config: BackboneConfig) -> str:
    if not config.training.cooccurrence:
        return ""
    return (
        " The embeddings began as a factorisation of how often tokens stand near each other in the"
        " same texts (`tools/zoo/cooccurrence.py`), not at random."
    )


def _score_table(scores: dict[str, Score], *, facts: bool) -> str:
    lines = [
        f"| {name} | {score.precision:.3f} | {score.rows} | {score.skipped} |"
        for name, score in sorted(scores.items())
        if score.is_fact == facts
    ]
    head = ["| task | P@1 | rows | rows skipped (answer is several tokens) |", "|---|---|---|---|"]
    return "\n".join(head + lines)


def _thin(
    curve: Sequence[tuple[int, float, float]], *, points: int = 16
) -> list[tuple[int, float, float]]:
    """At most so many entries, evenly spaced, the last one always among them."""
    step = max(1, -(-len(curve) // points))
    return list(curve[::-1][::step])[::-1]


def half_precision(model: PreTrainedModel, weights: dict[str, torch.Tensor]) -> PreTrainedModel:
    """A float16 copy of a model with other weights."""
    import copy

    twin = copy.deepcopy(model)
    twin.load_state_dict(weights, strict=False)
    return twin.half()
