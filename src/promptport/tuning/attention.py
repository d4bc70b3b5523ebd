"""ATTEMPT: each row has its own prompt, by attention over frozen source prompts.

Asai, Salehi, Peters, Hajishirzi (2022, arXiv 2205.11961), section 3: with x̂ the max-pooled input
rows of the text and P̂_j the max-pooled prompts,
`H = LayerNorm(W_up SiLU(W_down x̂))`, `a = softmax(P̂ H / T)` (Eq. 2 to 4) and
`P(x) = P_target + Σ_j a_j P_j` over all sources and the target prompt itself (Eq. 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.errors import TuningError
from promptport.evaluation import (
    Evaluation,
    PromptsOf,
    evaluate_queries,
    evaluation_of,
    prompted,
)
from promptport.objective import Objective, Question, blind_rows
from promptport.parameters.origins import make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import Task
from promptport.tuning.config import TuneJob


@dataclass(frozen=True)
class AttentionPrompts:
    """Prompts that differ from row to row; not a prompt folder, but see `averaged` and
    `storage.attention_folder.save_attention`.

    Attributes:
        backbone: the frozen model.
        task: the task that it was tuned on.
        sources: (S, n, d) frozen.
        target: (n, d), tuned.
        down: (r, d), tuned.
        up: (d, r), tuned.
        gain: (2, d) scale and shift of the layer norm, tuned.
        temperature: T of the softmax, above 0.
        truncate: texts that are too long are cut.
    """

    backbone: Backbone
    task: Task
    sources: Tensor
    target: Tensor
    down: Tensor
    up: Tensor
    gain: Tensor
    temperature: float
    truncate: bool = False

    @property
    def length(self) -> int:
        """Number of virtual tokens n."""
        return self.target.shape[0]

    def attention(self, pooled: Tensor) -> Tensor:
        """Weights of the sources and, last, of the target prompt.

        Args:
            pooled: (Q, d) max-pooled input rows of each text.

        Returns:
            (Q, S + 1), each row sums to 1.
        """
        # In units of the input rows' spread, so that one temperature suits all backbones.
        unit = self.backbone.space.statistics.std
        keys = torch.cat([self.sources, self.target[None]]).amax(1) / unit  # (S + 1, d)
        hidden = torch.nn.functional.silu(pooled / unit @ self.down.T) @ self.up.T
        query = torch.nn.functional.layer_norm(hidden, hidden.shape[1:], *self.gain)  # (Q, d)
        return (query @ keys.T / self.temperature).softmax(1)

    def vectors(self, pooled: Tensor) -> Tensor:
        """Prompts of rows, one below the other.

        Args:
            pooled: (Q, d) as in `attention`.

        Returns:
            (Q * n, d).
        """
        parts = torch.cat([self.sources, self.target[None]])
        mixed = torch.einsum("qs,snd->qnd", self.attention(pooled), parts)
        return (self.target + mixed).flatten(0, 1)

    def prompts(self, pooled: Tensor) -> PromptsOf:
        """Each question's own prompt, as `evaluation.score_batches` takes them.

        Args:
            pooled: (Q, d) as in `attention`.
        """

        def those_of(places: Sequence[int]) -> tuple[Tensor, Sequence[int]]:
            starts = [i * self.length for i in range(len(places))]
            return self.vectors(pooled[list(places)]), starts

        return those_of

    @property
    def provenance(self) -> Provenance:
        """Where it was tuned, and on what."""
        backbone = self.backbone
        return Provenance(
            backbone.name,
            backbone.kind,
            backbone.revision,
            backbone.space.fingerprint,
            template=self.task.template.text,
            task=self.task.name,
            tuning={"way": "attention"},
            file=backbone.space.file_record,
        )

    @torch.no_grad()
    def averaged(self, split: str = "train", *, rows: int = 0) -> SoftPrompt:
        """The ordinary prompt of the mean attention over a split: what a prompt folder can hold.

        It answers as the mean row is answered; how far that is from `evaluate` must be measured.

        Args:
            split: whose texts are read; no label is.
            rows: read only so many (the first ones); 0 for all.
        """
        objective = self._objective()
        texts = blind_rows(self.task.texts(split)[: rows or None], objective)
        questions = objective.prepare(texts).questions
        mean = self.attention(pool_texts(self.backbone, questions)).mean(0)  # (S + 1,)
        parts = torch.cat([self.sources, self.target[None]])
        tuning = {"way": "attention, averaged", "attention": mean.tolist()}
        return SoftPrompt(
            self.target + torch.einsum("s,snd->nd", mean, parts),
            replace(self.provenance, tuning=tuning),
        )

    def evaluate(self, split: str = "test", *, rows: int = 0) -> Evaluation:
        """Score on a split, each row behind its own prompt.

        Args:
            split: `train`, `dev` or `test`.
            rows: use only so many (the first ones); 0 for all.

        Raises:
            TaskError: the data do not fit, or a text to text task.
        """
        self.task.refuse_text2text("Tune a prompt for it")
        objective = self._objective()
        prepared = objective.prepare(self.task.load(split)[: rows or None])
        prompts = self.prompts(pool_texts(self.backbone, prepared.questions))
        queries = prompted(objective, prepared.questions)
        return evaluation_of(evaluate_queries(self.backbone, queries, prompts), objective, prepared)

    def _objective(self) -> Objective:
        return Objective(self.backbone, self.task, length=self.length, truncate=self.truncate)


def start_attention(
    backbone: Backbone,
    job: TuneJob,
    sources: Sequence[SoftPrompt],
    *,
    inner: int = 24,
    temperature: float | None = None,
    truncate: bool = False,
) -> AttentionPrompts:
    """What `tune_attention` starts from: nothing is tuned yet.

    Args:
        backbone: as in `tune_attention`, like all that follows.
        job: the task and the target prompt's origin.
        sources: one or more.
        inner: 1 or more.
        temperature: above 0.
        truncate: cut texts that are too long.

    Raises:
        TuningError: no sources, another length, or numbers out of range.
        MismatchError: a source of another backbone.
        TaskError: a text to text task.
    """
    job.task.refuse_text2text("Tune a prompt for it")
    wrong = None
    lengths = sorted({prompt.length for prompt in sources})
    if lengths != [job.length]:
        wrong = "sources", f"one prompt or more of {job.length} virtual tokens", str(lengths)
    elif inner < 1:
        wrong = "inner", "1 or more", str(inner)
    elif job.noise_share:
        wrong = "noise", "0 with attention over sources", str(job.noise_share)
    elif job.origins != 1:
        wrong = "origins", "1 with attention over sources", str(job.origins)
    elif temperature is not None and not 0 < temperature < math.inf:
        wrong = "temperature", "a number above 0", repr(temperature)
    if wrong is not None:
        name, expected, got = wrong
        raise TuningError(name, expected=expected, got=got, fix=f"Correct {name}")
    for prompt in sources:
        backbone.check_prompt(prompt)
    place, width = backbone.device, backbone.width
    generator = torch.Generator().manual_seed(job.seed)

    def drawn(*shape: int) -> Tensor:
        rows: Tensor = torch.randn(*shape, generator=generator) / shape[-1] ** 0.5
        return rows.to(place).detach().requires_grad_(True)

    return AttentionPrompts(
        backbone,
        job.task if job.template is None else job.task.with_template(job.template.text),
        torch.stack([prompt.vectors for prompt in sources]).to(place),
        make_origin(job.origin, backbone, job.length).to(place).requires_grad_(True),
        drawn(inner, width),
        drawn(width, inner),
        torch.stack([torch.ones(width), torch.zeros(width)]).to(place).requires_grad_(True),
        math.e * width if temperature is None else temperature,
        truncate,
    )


@torch.no_grad()
def pool_texts(backbone: Backbone, questions: Sequence[Question]) -> Tensor:
    """Max over the input rows of each text, without virtual tokens and without the answer: (Q, d).

    Args:
        backbone: the frozen model.
        questions: Q questions.
    """
    pooled = []
    for question in questions:
        row = question.inputs[0]
        # A causal row goes on with its answer behind the position that predicts it.
        end = row.scored[0] + 1 if backbone.kind == "causal" else len(row.ids)
        soft = set(row.soft)
        ids = [token for i, token in enumerate(row.ids[:end]) if i not in soft]
        pooled.append(backbone.embed(torch.tensor(ids, device=backbone.device)).float().amax(0))
    return torch.stack(pooled)
