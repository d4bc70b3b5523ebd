"""What tuning will take, from a configuration alone: no weights are read.

With S = L + T tokens in a row (L virtual, T of text), A scored positions, h the width between the
layers, a that of all heads of a layer together, f that inside the feed-forward part:

    forward(row)  = 2 S trunk + 2 A (decoder + head) + 4 S^2 a layers  [+ 4 A (A + S) a layers of
                    the decoder]
    update        = n B (2 (products with weights) + 3 (attention))

A frozen weight needs no gradient of its own, so a product costs the backward pass as much as the
forward pass; attention multiplies two things that both have gradients, which costs twice. The
products with weights are exact, attention is that of whole rows, without a saving for causal masks
or windows. Shared prefixes and kept texts make real runs cheaper.

    memory = weights + 4 x 4 bytes n L d  (vectors, gradient, two moments, in float32)
           + (4 a + 4 h + f) tokens layers  (3 f with a gate)   what a pass keeps to go back
           + 3 x 4 bytes A V rows                               logits, their softmax, its gradient

A pass holds at most so many tokens as the trainer's `batch_tokens`. Attention is taken to be fused
(`sdpa`): eager attention keeps heads x S numbers more per token and layer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any, Literal, get_args

from promptport.backbone.shape import Shape, read_shape
from promptport.errors import TuningError
from promptport.recipes.shapes import known_config
from promptport.zoo import embedded_folder

Dtype = Literal["float32", "bfloat16", "float16"]
_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_FLOAT32 = 4


@dataclass(frozen=True)
class Load:
    """What is tuned.

    Attributes:
        prompts: tuned at once, n.
        length: virtual tokens of each, L.
        batch: rows of each prompt in an update, B.
        text: tokens of a row, T.
        answers: scored positions of a row, A.
        dtype: of the weights.
        batch_tokens: most tokens of a pass.

    Raises:
        TuningError: a number below 1, or an unknown dtype.
    """

    prompts: int = 1
    length: int = 10
    batch: int = 16
    text: int = 64
    answers: int = 1
    dtype: Dtype = "float32"
    batch_tokens: int = 8192

    def __post_init__(self) -> None:
        for name in ("prompts", "length", "batch", "text", "answers", "batch_tokens"):
            if (value := getattr(self, name)) < 1:
                raise TuningError(name, expected="1 or more", got=repr(value), fix="Raise it")
        if self.dtype not in get_args(Dtype):
            known = ", ".join(get_args(Dtype))
            raise TuningError(
                "dtype", expected=f"one of {known}", got=repr(self.dtype), fix="Choose one of them"
            )


@dataclass(frozen=True)
class Estimate:
    """What it takes, see the module.

    Attributes:
        model: its name.
        kind: masked, causal or seq2seq.
        parameters: of the model.
        weights: bytes of its weights.
        prompts: bytes of the prompts with their gradient and moments.
        activations: bytes that a pass keeps to go back.
        logits: bytes of the scored positions of a pass.
        flops: floating-point operations of one update of all prompts.
    """

    model: str
    kind: str
    parameters: int
    weights: int
    prompts: int
    activations: int
    logits: int
    flops: int

    @property
    def memory(self) -> int:
        """Bytes of all of it."""
        return self.weights + self.prompts + self.activations + self.logits

    def seconds(self, updates: int, flops_per_second: float) -> float:
        """Time of some updates on a machine that reaches so many operations a second."""
        return updates * self.flops / flops_per_second

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self) | {"memory": self.memory}


def shape_of(model: str) -> Shape:
    """The shape of a model.

    Args:
        model: embedded name, local folder (its config.json is enough), one of the papers' models
            by name, or another Hub id whose configuration can be had.

    Raises:
        BackboneError: no configuration is found.
    """
    here = embedded_folder(model) is not None or Path(model).expanduser().exists()
    return read_shape(model, None if here else known_config(model))


def estimate(model: str | Shape, load: Load | None = None) -> Estimate:
    """What tuning prompts on a model will take.

    Args:
        model: as in `shape_of`, or its shape.
        load: what is tuned.

    Raises:
        BackboneError: no configuration is found.
    """
    shape = shape_of(model) if isinstance(model, str) else model
    load = load or Load()
    width = _BYTES[load.dtype]
    tokens = load.length + load.text
    rows = load.prompts * load.batch
    in_pass = min(rows, max(1, load.batch_tokens // tokens))
    kept = 4 * shape.attention + 4 * shape.hidden + (3 if shape.gated else 1) * shape.inner
    layered = tokens * shape.layers + load.answers * shape.decoder_layers
    return Estimate(
        shape.name,
        shape.kind,
        shape.parameters,
        shape.parameters * width,
        4 * _FLOAT32 * load.prompts * load.length * shape.width,
        in_pass * layered * kept * width,
        3 * _FLOAT32 * in_pass * load.answers * shape.vocabulary,
        rows * row_flops(shape, tokens, load.answers),
    )


def row_flops(shape: Shape, tokens: int, answers: int = 1) -> int:
    """Operations of one row's part in an update, forward and backward.

    Args:
        shape: of the model.
        tokens: of the row, virtual ones included.
        answers: scored positions.
    """
    products = 2 * tokens * shape.trunk + 2 * answers * (shape.decoder + shape.head)
    attention = 4 * tokens * tokens * shape.attention * shape.layers
    attention += 4 * answers * (answers + tokens) * shape.attention * shape.decoder_layers
    return 2 * products + 3 * attention


def passes(load: Load) -> int:
    """Passes of one update."""
    in_pass = max(1, load.batch_tokens // (load.length + load.text))
    return ceil(load.prompts * load.batch / in_pass)
