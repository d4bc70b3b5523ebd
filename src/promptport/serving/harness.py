"""A model of EleutherAI's lm-evaluation-harness: any of its tasks behind a soft prompt.

`promptport-lm-eval` is `lm_eval` with one more model:

    promptport-lm-eval run --model promptport --model_args prompt=FOLDER --tasks TASK

The harness's own route to PEFT prompts skips virtual tokens and breaks on padding at the left.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from promptport.backbone import Backbone, EncodedRow
from promptport.backbone.generation import Writing, row_batches
from promptport.backbone.kept_texts import KeptTexts
from promptport.errors import BackboneError, PromptPortError
from promptport.prompt import SoftPrompt
from promptport.storage import load_prompt
from promptport.tasks.writing import WritingConfig

_BATCH_TOKENS = 4096
_USUAL_NEW = 256  # tokens, as in the harness


@register_model("promptport")
class PromptLM(TemplateLM):  # type: ignore[misc]
    """A causal model with a soft prompt in front of every text, before BOS, as PEFT puts it.

    Args:
        pretrained: the model: embedded name, folder, GGUF file or Hub id; None: the prompt's own.
        prompt: prompt folder; None for the bare model.
        device: as `Backbone.load`.
        dtype: as `Backbone.load`.
        batch_size: not used: batches are filled up to 4,096 tokens.
        max_batch_size: not used.

    Raises:
        PromptPortError: neither a model nor a prompt; a prompt of another model; a model that is
            not causal.
    """

    def __init__(
        self,
        pretrained: str | None = None,
        prompt: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        loaded = None if prompt is None else load_prompt(prompt)
        name = pretrained or (None if loaded is None else loaded.provenance.backbone)
        if name is None:
            raise PromptPortError(
                "model_args", expected="pretrained=MODEL or prompt=FOLDER", got="neither",
                fix="Name one of them",
            )  # fmt: skip
        self.use(Backbone.load(name, device=device or "auto", dtype=dtype), loaded)

    @classmethod
    def of(cls, backbone: Backbone, prompt: SoftPrompt | None) -> PromptLM:
        """The same of a model that is loaded already."""
        made = cls.__new__(cls)
        TemplateLM.__init__(made)
        made.use(backbone, prompt)
        return made

    def use(self, backbone: Backbone, prompt: SoftPrompt | None) -> None:
        """Take a model and a prompt.

        Raises:
            BackboneError: not a causal one.
            MismatchError: the prompt belongs to another.
        """
        if backbone.kind != "causal":
            raise BackboneError(
                backbone.name, expected="a causal model", got=f"a {backbone.kind} one",
                fix="Score its prompts with promptport eval",
            )  # fmt: skip
        if prompt is not None:
            backbone.check_prompt(prompt)
        self.backbone = backbone
        self.tokenizer = backbone.tokenizer
        self.virtual = 0 if prompt is None else prompt.length
        empty = torch.zeros(1, backbone.width)
        self.vectors = (empty if prompt is None else prompt.vectors).to(backbone.device)
        self._kept = KeptTexts(1 << 28, disk=0)

    @property
    def eot_token_id(self) -> int:
        """Of the end of a text."""
        end = self.backbone.special.end
        return self.backbone.special.pad if end is None else end

    @property
    def prefix_token_id(self) -> int:
        """What stands in front of a text without context: BOS if there is one."""
        prefix = self.backbone.special.prefix
        return prefix[-1] if prefix else self.eot_token_id

    @property
    def max_length(self) -> int:
        """Tokens of a text, without the virtual ones."""
        return (self.backbone.max_tokens or 1 << 20) - self.virtual

    @property
    def tokenizer_name(self) -> str:
        """For the harness's own caches."""
        return self.backbone.name.replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A chat as the model reads it."""
        said = self.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt
        )
        return str(said)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_options: Any
    ) -> list[int]:
        """Ids of a text, BOS in front unless it is there or not wanted."""
        ids = list(self.tokenizer(string, add_special_tokens=False, verbose=False)["input_ids"])
        prefix = list(self.backbone.special.prefix)
        if add_special_tokens is False or ids[: len(prefix)] == prefix:
            return ids
        return prefix + ids

    def _loglikelihood_tokens(
        self, requests: Sequence[Any], disable_tqdm: bool = False, **_options: Any
    ) -> list[tuple[float, bool]]:
        rows = [self._row(context, continuation) for _, context, continuation in requests]
        found: dict[int, tuple[float, bool]] = {}
        batches = row_batches(rows, [0] * len(rows), _BATCH_TOKENS)
        with torch.no_grad(), self.backbone.keeping_prompts(self._kept):
            for places in batches:
                logits = self.backbone.answer_logits(
                    [rows[i] for i in places], self.vectors, [0] * len(places)
                )
                for number, i in enumerate(places):
                    found[i] = _score(logits[number], rows[i].targets)
        results = [found[i] for i in range(len(rows))]
        for (texts, _, _), result in zip(requests, results, strict=True):
            if texts is not None:
                self.cache_hook.add_partial("loglikelihood", texts, result)
        return results

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihoods of whole texts, in windows that fit the model."""
        windows: list[tuple[None, list[int], list[int]]] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            tokens = utils.get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0], add_special_tokens=False),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length - 1,
                context_len=1,
            )
            for window in tokens:
                windows.append((None, *utils.make_disjoint_window(window)))
                owners.append(number)
        totals = [0.0] * len(requests)
        for owner, (score, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += score
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes behind each context."""
        asked = [(request.args[0], _writing(request.args[1])) for request in requests]
        rows = []
        for context, writing in asked:
            room = max(1, self.max_length - writing.max_new_tokens)
            ids = self.tok_encode(context)[-room:] or [self.prefix_token_id]
            rows.append(self._row(ids, [self.eot_token_id]))
        said = [""] * len(rows)
        batches = row_batches(rows, [writing.max_new_tokens for _, writing in asked])
        with torch.no_grad(), self.backbone.keeping_prompts(self._kept):
            for places in batches:
                written = Writing(
                    self.backbone,
                    [rows[i] for i in places],
                    self.vectors,
                    [0] * len(places),
                    [asked[i][1] for i in places],
                )
                while not written.is_done:
                    written.step()
                for number, i in enumerate(places):
                    said[i] = written.text(number)
        for request, text in zip(requests, said, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, text)
        return said

    def _row(self, context: Sequence[int], continuation: Sequence[int]) -> EncodedRow:
        """Virtual tokens, context, and the continuation but for its last token."""
        ids = [*context, *continuation[:-1]][-self.max_length :]
        lead = self.virtual
        first = lead + len(ids) - len(continuation)
        scored = tuple(range(first, first + len(continuation)))
        padded = (*[self.backbone.special.pad] * lead, *ids)
        return EncodedRow(padded, tuple(range(lead)), scored, tuple(continuation))


def _score(logits: torch.Tensor, targets: Sequence[int]) -> tuple[float, bool]:
    """Log-likelihood of a row's targets from (m, V) logits, and whether they are the likeliest."""
    own = logits[: len(targets)].float().log_softmax(-1)
    wanted = torch.tensor(targets, device=own.device)
    score = own.gather(1, wanted[:, None]).sum()
    return float(score), bool((own.argmax(-1) == wanted).all())


def _writing(given: dict[str, Any]) -> WritingConfig:
    """The harness's settings of generation."""
    stop = given.get("until") or ()
    stop = (stop,) if isinstance(stop, str) else tuple(stop)
    most = given.get("max_gen_toks") or given.get("max_new_tokens") or _USUAL_NEW
    temperature = float(given.get("temperature") or 0.0) if given.get("do_sample") else 0.0
    top_p = float(given.get("top_p") or 1.0) if temperature else 1.0
    return WritingConfig(int(most), temperature, top_p, stop=tuple(s for s in stop if s))


def main() -> None:
    """`lm_eval` with the model `promptport`."""
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except PromptPortError as error:
        sys.exit(f"error: {error}")
