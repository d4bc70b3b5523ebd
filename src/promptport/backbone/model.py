"""Backbone: one frozen language model behind one door."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from promptport.backbone.attention import attending
from promptport.backbone.batch import Batch, insert_rows, only_positions
from promptport.backbone.causal_states import CausalStates
from promptport.backbone.checkpoint import input_scale, make_space, open_space, outer_scale
from promptport.backbone.encoded import EncodedRow, SpecialTokens
from promptport.backbone.generation import generate
from promptport.backbone.gguf import file_facts
from promptport.backbone.kept_texts import KeptTexts
from promptport.backbone.kinds import KINDS, Kind, detect_kind, text_config
from promptport.backbone.layout import Layout
from promptport.backbone.loading import find_checkpoint, load_config, load_model, load_tokenizer
from promptport.backbone.sharing import kept_tokens
from promptport.belonging import check_same_backbone
from promptport.errors import BackboneError
from promptport.progress import stage
from promptport.prompt import SoftPrompt
from promptport.space import EmbeddingSpace
from promptport.tasks.writing import WritingConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_DTYPE_VARIABLE = "PROMPTPORT_DTYPE"
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_CHECK_TEXT = "this is a test"
# Relative difference of logits beyond which two ways to feed a model are not the same way.
_CHECK_TOLERANCE = 0.02


class Backbone:
    """A frozen language model: masked, causal or sequence to sequence.

    Open one with `Backbone.load`. Soft prompts live in the space of its *input rows*: what the
    first layer is fed, after any scale that belongs to the embedding.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str,
        kind: Kind,
        revision: str | None = None,
        from_checkpoint: bool = False,
    ) -> None:
        self._from_checkpoint = from_checkpoint
        # Name, SHA-256 and quantisation of the GGUF file that it comes from, if it does.
        self.file: Mapping[str, str] | None = None
        self.model: Any = model
        self.tokenizer: Any = tokenizer
        self.name = name
        self.kind = kind
        self.revision = revision
        self.special = SpecialTokens.read(tokenizer, text_config(model.config))
        self._embedding: nn.Module = model.get_input_embeddings()
        rows = int(self._weight.shape[0])
        self.layout = Layout(tokenizer, self.special, kind, _max_tokens(model), name, rows)
        self._outer_scale = self._find_outer_scale()

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        kind: Kind | None = None,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        device_map: str | None = None,
    ) -> Backbone:
        """Open a backbone by embedded name, local folder, GGUF file or Hub id.

        Args:
            name: for instance `nano-bert`, `./my-model`, `model.gguf`, `roberta-base`.
            kind: `masked`, `causal` or `seq2seq`; found from the configuration if None.
            revision: Hub revision.
            device: `auto` (CUDA, then MPS, then CPU) or a torch device.
            dtype: `auto` (bfloat16 where the device computes it fast, else float32), `float32`,
                `bfloat16` or `float16`.
            device_map: spread a large model over devices (`auto`); needs `accelerate`.

        Raises:
            BackboneError: it cannot be found, loaded or used.
        """
        name = str(name)  # goes into files
        checkpoint = find_checkpoint(name, revision)
        config = load_config(checkpoint)
        found = kind or detect_kind(config, name)
        if found not in KINDS:
            raise BackboneError(
                "kind", expected=" or ".join(KINDS), got=repr(kind), fix="Leave it out to detect it"
            )
        place = choose_device(device)
        options: dict[str, Any] = {"dtype": choose_dtype(dtype, place)}
        if device_map is not None:
            options["device_map"] = device_map
        with stage(f"loading {name}"):
            model = load_model(checkpoint, found, **options)
            if device_map is None and not getattr(model, "is_quantized", False):
                model.to(place)  # a quantised one stays where transformers put it
            made = cls(
                model,
                load_tokenizer(checkpoint),
                name=name,
                kind=found,
                revision=revision,
                from_checkpoint=True,
            )
        made.file = None if checkpoint.gguf is None else file_facts(checkpoint.gguf)
        return made

    def __repr__(self) -> str:
        dtype = str(self.dtype).removeprefix("torch.")
        return f"Backbone({self.name}: {self.kind}, {self.width} wide, {dtype} on {self.device})"

    @property
    def device(self) -> torch.device:
        """Where inputs go: the device of the embedding."""
        return next(self._embedding.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return next(self._embedding.parameters()).dtype

    @property
    def width(self) -> int:
        """d: width of the input rows."""
        return int(self._weight.shape[1])

    @cached_property
    def parameters(self) -> int:
        """Number of weights, the embedding included."""
        return sum(weight.numel() for weight in self.model.parameters())

    @property
    def max_tokens(self) -> int | None:
        """Positions of the backbone, virtual tokens included; None if there is no limit."""
        return self.layout.max_tokens

    @cached_property
    def space(self) -> EmbeddingSpace:
        """The embedding space: from memory, or from the file if the weights were rounded."""
        if self._from_checkpoint and self.dtype != torch.float32:
            return open_space(self.name, self.revision, self.kind)
        scale = input_scale(self.model, self._embedding)
        return make_space(
            self.name,
            self._weight.cpu(),
            self.tokenizer,
            scale=scale,
            outer_scale=outer_scale(self._embedding, scale),
            kind=self.kind,
            revision=self.revision,
            file=self.file,
        )

    @property
    def _weight(self) -> Tensor:
        """(V, d) embedding weights."""
        weight = self._embedding.weight
        assert isinstance(weight, Tensor)
        return weight.detach()

    def embed(self, ids: Tensor) -> Tensor:
        """Input rows of token ids: (B, T) -> (B, T, d)."""
        rows: Tensor = self._embedding(ids)
        return rows if self._outer_scale == 1.0 else rows * self._outer_scale

    def weights_hash(self) -> str:
        """Hash of every byte of every weight, to prove that the backbone stayed frozen; of weights
        that lie elsewhere (offloaded), of their names alone."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            if tensor.is_meta:
                continue
            values = tensor.detach().cpu().contiguous().reshape(-1)  # a scalar has no view
            digest.update(values.view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def check_prompt(self, prompt: SoftPrompt) -> None:
        """Refuse a prompt that belongs to another backbone.

        Raises:
            MismatchError: another width, or another embedding matrix.
        """
        check_prompt(prompt, self.space)

    def answer_logits(
        self, rows: Sequence[EncodedRow], vectors: Tensor, starts: Sequence[int]
    ) -> Tensor:
        """Logits at the scored positions of a batch in which every row may have its own prompt.

        Args:
            rows: B encoded rows.
            vectors: (N, d) the virtual tokens of all prompts, one after another.
            starts: for each row, the first row of its prompt in `vectors`.

        Returns:
            (B, m, V'), m the largest number of scored positions, V' the tokens of the tokenizer
            (rows of the head beyond them are untrained). Positions beyond a row's own repeat its
            first. Gradients flow to `vectors`.
        """
        logits = None
        if self.kind == "causal":
            logits = self.states.logits(rows, vectors, starts)
        if logits is None:
            logits = self.plain_logits(rows, vectors, starts)
        return logits[..., : len(self.tokenizer)]

    def plain_logits(
        self, rows: Sequence[EncodedRow], vectors: Tensor, starts: Sequence[int]
    ) -> Tensor:
        """As `answer_logits`, each row passed as a whole; rows of the head without a token too."""
        batch = self.collate(rows, starts)
        inputs: dict[str, Any] = {
            "inputs_embeds": self.with_prompts(batch, vectors),
            "attention_mask": batch.attention,
        }
        if batch.decoder_ids is not None:
            inputs["decoder_input_ids"] = batch.decoder_ids
        if self.kind != "masked":
            inputs["use_cache"] = False
        with only_positions(self.trunk, batch.scored), attending(vectors, self.dtype):
            logits: Tensor = self.model(**inputs, return_dict=True).logits
        return logits

    def keeping_texts(
        self, kept: KeptTexts | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Keep keys and values of texts that stand in front of all virtual tokens, for a while.

        A causal model's keys and values of such a text never change, whatever the prompt behind it
        is: inside the context each text is passed through the model once. Contexts may be nested,
        the outermost one counts. Other kinds of backbone keep nothing.

        Args:
            kept: where they are kept, for further contexts too; None: until this context ends.
        """
        if self.kind != "causal":
            return contextlib.nullcontext()
        return self.states.keeping_texts(kept)

    def tokens_to_pass(self, row: EncodedRow) -> int:
        """Tokens of a row that each pass computes: all, but for a text that is kept."""
        tokens = len(row.ids) + len(row.decoder_ids)
        if self.kind == "causal" and self.states.keeps_texts and self.states.works:
            return tokens - kept_tokens(row)
        return tokens

    def keeping_prompts(self, kept: KeptTexts) -> contextlib.AbstractContextManager[None]:
        """Keep keys and values of virtual tokens that lead a row, for many passes without gradient.

        Inside the context the prompts of a causal model are passed through it once, whatever rows
        follow. Other kinds of backbone keep nothing.

        Args:
            kept: where they are kept; it decides how much memory they take.
        """
        if self.kind != "causal":
            return contextlib.nullcontext()
        return self.states.keeping_prompts(kept)

    @cached_property
    def states(self) -> CausalStates:
        """Shares keys and values between rows; of a causal backbone."""
        return CausalStates(self)

    def generate(
        self,
        rows: Sequence[EncodedRow],
        vectors: Tensor,
        starts: Sequence[int],
        writing: WritingConfig | Sequence[WritingConfig] | None = None,
    ) -> list[str]:
        """What the backbone writes behind each row, which may have a prompt of its own.

        Args:
            rows: encoded rows; causal rows are used up to the first scored position.
            vectors: (N, d) virtual tokens of all prompts.
            starts: first row of each row's prompt.
            writing: limit, drawing and stops, of all rows or of each; None: greedy, 128 tokens at
                most. Rows that begin alike draw differently if their seeds differ.

        Raises:
            BackboneError: a masked backbone, which cannot write.
        """
        return generate(self, rows, vectors, starts, writing or WritingConfig())

    @cached_property
    def trunk(self) -> nn.Module:
        """The module whose hidden states the language-model head reads."""
        # OPT and T5 call their decoder without the module around it; encoders have none.
        trunk: nn.Module = (
            self.model.base_model if self.kind == "masked" else self.model.get_decoder()
        )
        return trunk

    def collate(
        self, rows: Sequence[EncodedRow], starts: Sequence[int], *, left: bool = False
    ) -> Batch:
        """Rows side by side, see `Batch.of`."""
        return Batch.of(rows, starts, pad=self.special.pad, device=self.device, left=left)

    def with_prompts(self, batch: Batch, vectors: Tensor) -> Tensor:
        """Input rows (B, T, d) of a batch: tokens, and virtual tokens of the table (N, d)."""
        return insert_rows(self.embed(batch.ids), vectors, batch)

    def _tensor(self, values: Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.device)

    @torch.no_grad()
    def _find_outer_scale(self) -> float:
        """Factor by which embeddings must be multiplied outside their module; checked on a text.

        Feeding ids and feeding their input rows must give the same logits. Architectures that scale
        inside `forward` (Pegasus, old Gemma) are found by trying.
        """
        text = self.tokenizer(_CHECK_TEXT)["input_ids"]
        self.layout.check_rows(text)
        ids = self._tensor([text])
        extra: dict[str, Any] = {"attention_mask": torch.ones_like(ids)}
        if self.kind == "seq2seq":
            start = self.special.decoder_start
            extra["decoder_input_ids"] = (
                ids[:, :1] if start is None else torch.full_like(ids[:, :1], start)
            )
        rows = self._embedding(ids)
        wanted = self.model(input_ids=ids, **extra).logits.float()
        root = float(rows.shape[-1]) ** 0.5
        errors = {
            scale: float(
                (self.model(inputs_embeds=rows * scale, **extra).logits - wanted).abs().max()
            )
            for scale in (1.0, root, 1 / root)
        }
        best = min(errors, key=lambda scale: errors[scale])
        if errors[best] <= _CHECK_TOLERANCE * float(wanted.abs().max()) + 1e-6:
            return best
        raise BackboneError(
            self.name,
            expected="the same logits from token ids and from their embeddings",
            got="different ones",
            fix="This architecture cannot take soft prompts at its input",
        )


def check_prompt(prompt: SoftPrompt, space: EmbeddingSpace) -> None:
    """Refuse a prompt that does not belong to a space.

    Raises:
        MismatchError: another width, or another embedding matrix.
    """
    fix = "Name the backbone that it was made for, or carry it to this one with promptport move"
    check_same_backbone(prompt, space, name="prompt", fix=fix)


def choose_device(device: str) -> torch.device:
    """`auto` -> CUDA, MPS or CPU, in this order; anything else is checked.

    Raises:
        BackboneError: torch does not know the device, or it is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError) as error:
        raise BackboneError(
            "device",
            expected="auto, cpu, mps or a cuda device that is there",
            got=repr(device),
            fix="Use --device auto",
        ) from error
    return place


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """`auto` -> bfloat16 where the device has instructions for it, else float32.

    `PROMPTPORT_DTYPE` says what `auto` is instead, for the same numbers on every machine.
    On a CPU without AMX or AVX-512 bfloat16, a bfloat16 product takes tens of times longer than a
    float32 one (see benchmarks/tuning_throughput).
    """
    where = "dtype"
    if dtype == "auto":
        where, dtype = _DTYPE_VARIABLE, os.environ.get(_DTYPE_VARIABLE) or "auto"
    if dtype in _DTYPES:
        return _DTYPES[dtype]
    if dtype != "auto":
        fix = "Use --dtype auto" if where == "dtype" else "Correct it, or unset it"
        raise BackboneError(where, expected=f"auto, {', '.join(_DTYPES)}", got=repr(dtype), fix=fix)
    if device.type == "cuda":
        # Older GPUs compute bfloat16 by emulation, slowly.
        fast_here = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast_here else torch.float32
    if device.type != "cpu":
        return torch.float32
    fast: list[Callable[[], bool]] = [
        getattr(torch.cpu, name)
        for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        if hasattr(torch.cpu, name)
    ]
    return torch.bfloat16 if any(check() for check in fast) else torch.float32


def _max_tokens(model: Any) -> int | None:
    """Usable positions: the position table less its padding row, or the configured maximum."""
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            reserved = 0 if module.padding_idx is None else module.padding_idx + 1
            return int(module.num_embeddings) - reserved
    for attribute in ("max_position_embeddings", "n_positions"):
        value = getattr(text_config(model.config), attribute, None)
        # T5 stores n_positions but has relative positions, which know no limit.
        if isinstance(value, int) and not hasattr(model.config, "relative_attention_num_buckets"):
            return value
    return None
