"""What a library of prompts says together about texts: a logarithmic pool of their opinions.

Each prompt's prior is taken off, and it speaks as loudly as its answers depend on the text. Where
labels of a few rows are known, they say which prompts to hear more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptport.backbone import Backbone
from promptport.distillation.targets import DistillTargets
from promptport.errors import PromptPortError
from promptport.evaluation import PromptedQuestion, collect_scores, prompted
from promptport.objective import Objective, blind_rows
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task

PRIOR = 16  # labelled rows that what is known without labels counts for


@dataclass(frozen=True)
class Opinion:
    """What one prompt of the library has to say.

    Attributes:
        name: of the prompt.
        information: mutual information of text and answer after its prior was taken off, as a share
            of the logarithm of the number of answers, 0 to 1: how loudly it speaks.
        same: share of the texts on which it answers as the consensus, 0 to 1.
        trust: factor above 0 that labelled rows put on its loudness; 1 without labels.
    """

    name: str
    information: float
    same: float
    trust: float = 1.0


@dataclass(frozen=True)
class PooledOpinion:
    """What m prompts say about U texts and K labelled rows.

    Attributes:
        answers: per prompt (U, C), as it gives them.
        loudness: per prompt, of its voice.
        trusts: per prompt, what labels make of it.
        consensus: (U, C).
        fits: per prompt, how well it starts.
        labels: (K, C), None without.
        right: how far the consensus agrees with them.
    """

    answers: list[Tensor]
    loudness: list[float]
    trusts: list[float]
    consensus: Tensor
    fits: list[float]
    labels: Tensor | None = None
    right: float | None = None

    def opinions(self, names: Sequence[str]) -> tuple[Opinion, ...]:
        """What each prompt has to say, by these names."""
        said = self.consensus.argmax(1)
        parts = zip(names, self.answers, self.loudness, self.trusts, strict=True)
        return tuple(
            Opinion(name, loudness, float((own.argmax(1) == said).float().mean()), factor)
            for name, own, loudness, factor in parts
        )


class OpinionPool:
    """The prompts of a library, asked in the template of the new task."""

    def __init__(
        self,
        backbone: Backbone,
        library: Mapping[str, SoftPrompt],
        task: Task,
        *,
        truncate: bool,
    ) -> None:
        self.backbone, self.library = backbone, library
        lengths = {prompt.length for prompt in library.values()}
        self.objectives = {
            n: Objective(backbone, task, length=n, truncate=truncate) for n in lengths
        }

    def answers(self, rows: Sequence[Row], *, blind: bool) -> list[Tensor]:
        """For every prompt (U, C) log-probabilities."""
        found = []
        for name, prompt in self.library.items():
            objective = self.objectives[prompt.length]
            asked = blind_rows(rows, objective) if blind else rows
            queries = prompted(objective, objective.prepare(asked).questions)
            found.append(log_answers(self.backbone, queries, prompt.vectors))
            if not bool(found[-1].isfinite().all()):
                raise PromptPortError(
                    f"prompt {name!r} of the library",
                    expected="answers that are finite numbers",
                    got="others",
                    fix="Leave it out",
                )
        return found

    def targets(
        self, length: int, rows: Sequence[Row], answers: Tensor, *, blind: bool
    ) -> DistillTargets:
        """Questions behind a prompt of this length, and the answers to learn (Q, C)."""
        objective = self.objectives[length]
        asked = blind_rows(rows, objective) if blind else rows
        return DistillTargets(objective, objective.prepare(asked).questions, answers, None)

    def truth(self, rows: Sequence[Row], columns: int) -> Tensor:
        """(K, C): the labels of the rows that can be asked."""
        objective = next(iter(self.objectives.values()))
        questions = objective.prepare(rows).questions
        if objective.task.kind == "classification":
            return torch.tensor([question.goal for question in questions])
        found = torch.zeros(len(questions), columns)
        found[torch.arange(len(questions)), [question.gold for question in questions]] = 1.0
        return found


def pool_opinions(panel: OpinionPool, texts: Sequence[Row], few: Sequence[Row]) -> PooledOpinion:
    """Hear all prompts of a library on the same rows.

    Args:
        panel: the prompts.
        texts: U rows, whose labels are not read.
        few: K rows, whose labels are; may be empty.

    Raises:
        PromptPortError: answers that are no finite numbers.
        TaskError: rows that cannot be asked.
    """
    answers = panel.answers(texts, blind=True)
    heard, loudness = (list(x) for x in zip(*map(opinion, answers), strict=True))
    if not few:
        consensus, fits = _agree(answers, heard)
        return PooledOpinion(answers, loudness, [1.0] * len(answers), consensus, fits)
    labels = panel.truth(few, answers[0].shape[1])
    asked = zip(panel.answers(few, blind=False), answers, strict=True)
    new = [(said - prior.mean(0)).log_softmax(1) for said, prior in asked]  # (K, C) each
    added = [said * loud for said, loud in zip(new, loudness, strict=True)]
    trusts = trust(added, labels)
    consensus, fits = _agree(answers, [h * t for h, t in zip(heard, trusts, strict=True)])
    fits = [_with_labels(fit, said, labels) for fit, said in zip(fits, new, strict=True)]
    said = torch.stack([a * t for a, t in zip(added, trusts, strict=True)]).sum(0).softmax(1)
    return PooledOpinion(answers, loudness, trusts, consensus, fits, labels, _right(said, labels))


def _agree(answers: Sequence[Tensor], heard: Sequence[Tensor]) -> tuple[Tensor, list[float]]:
    """The consensus (U, C), and how well each prompt fits to what the others say."""
    together = torch.stack(list(heard)).sum(0)
    parts = zip(answers, heard, strict=True)
    return together.softmax(1), [fit_to_others(own, together - said) for own, said in parts]


def opinion(log_probs: Tensor) -> tuple[Tensor, float]:
    """What a prompt adds to the consensus (U, C), and its loudness: how far texts decide answers.

    Its prior is taken off first: the mean answer (Zhou et al. 2023, arXiv 2309.17249).
    """
    calibrated = (log_probs - log_probs.mean(0)).log_softmax(1)
    loudness = information(calibrated)
    return calibrated * loudness, loudness


def information(log_probs: Tensor) -> float:
    """Mutual information of row and answer: H(mean p) - mean H(p), as a share of log C.

    Args:
        log_probs: (U, C), each row a distribution.

    Returns:
        0 (every row gets the same answer probabilities) to 1.
    """
    probs = log_probs.exp()
    mean = probs.mean(0)
    marginal = -(mean * mean.clamp_min(1e-30).log()).sum()
    own = -(probs * log_probs.clamp_min(-70)).sum(1).mean()
    return float((marginal - own).clamp_min(0) / math.log(max(2, log_probs.shape[1])))


def fit_to_others(log_probs: Tensor, others: Tensor) -> float:
    """Mean probability (0 to 1) that a prompt (U, C) gives to what others together say (U, C)."""
    return float(log_probs.gather(1, others.argmax(1)[:, None])[:, 0].exp().mean())


def log_answers(backbone: Backbone, queries: Sequence[PromptedQuestion], vectors: Tensor) -> Tensor:
    """(Q, C) log-probabilities on the CPU, in the order of the questions."""

    def log_probabilities(scores: Tensor) -> Tensor:
        return scores.log_softmax(1).cpu()

    return collect_scores(backbone, queries, vectors, of_batch=log_probabilities)


def trust(heard: Sequence[Tensor], labels: Tensor) -> list[float]:
    """Factors on what prompts add to the consensus that make labelled rows likely.

    A logarithmic opinion pool (Heskes 1998), its logarithmic factors under a normal prior of width
    `PRIOR ** -0.5`: few rows move them little.

    Args:
        heard: per prompt (K, C), what it adds.
        labels: (K, C), each row a distribution.

    Returns:
        One factor above 0 per prompt, 1 where the rows say nothing.
    """
    added = torch.stack(list(heard))  # (m, K, C): C is the vocabulary for probes, so no copies
    logs = torch.zeros(len(added), requires_grad=True)
    optimiser = torch.optim.LBFGS([logs], max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        said: Tensor = torch.tensordot(logs.exp(), added, dims=1).log_softmax(1)
        loss = PRIOR / 2 * (logs**2).sum() - (said * labels).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimiser.step(closure)  # type: ignore[no-untyped-call]
    return [float(factor) for factor in logs.detach().exp()]


def _with_labels(fit: float, said: Tensor, labels: Tensor) -> float:
    """The fit to the others, which counts for `PRIOR` rows, and the rows it answers right."""
    right = (said.argmax(1) == labels.argmax(1)).sum()
    return float((PRIOR * fit + right) / (PRIOR + len(labels)))


def _right(said: Tensor, labels: Tensor) -> float:
    """How far a consensus (K, C) agrees with labels: mean probability of them, from chance on.

    Two rows on which it is right are added, so that very few rows do not silence it.
    """
    right = (said * labels).sum(1)
    mean = float(right.sum() + 2) / (len(right) + 2)
    chance = 1 / labels.shape[1]
    return max(0.0, (mean - chance) / (1 - chance))
