"""An opinion pool over the prompts of a library: their answers to a text, combined into one.

In forecasting, an opinion pool combines the probability distributions of several experts. The
*logarithmic* pool multiplies them, each to the power of its weight, and normalises: p is
proportional to the product of p_i ** w_i (Genest and Zidek 1986; Heskes 1998). The experts here
are prompts of other tasks. Each one's prior (its mean answer) is divided out, and its weight is the
mutual information of text and answer. Labels of a few rows, where known, change the weights.
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
from promptport.progress import counted, stage
from promptport.prompt import SoftPrompt
from promptport.tasks import Row, Task

PRIOR = 16  # labelled rows that what is known without labels counts for


@dataclass(frozen=True)
class Opinion:
    """One prompt's part in an opinion pool.

    Attributes:
        name: of the prompt.
        information: its weight: mutual information of text and answer after its prior was divided
            out, as a share of the logarithm of the number of answers, 0 to 1.
        same: share of the texts on which it answers as the consensus, 0 to 1.
        trust: factor above 0 by which labelled rows change its weight; 1 without labels.
    """

    name: str
    information: float
    same: float
    trust: float = 1.0


@dataclass(frozen=True)
class PooledOpinion:
    """The result of a logarithmic opinion pool of m prompts on U texts and K labelled rows.

    Attributes:
        answers: per prompt (U, C) log-probabilities, its prior included.
        weights: per prompt, 0 to 1.
        trusts: per prompt, the factor by which labels change its weight.
        consensus: (U, C) probabilities of all prompts together.
        fits: per prompt, how well it would start: its agreement with what the others say, 0 to 1.
        labels: (K, C) distributions; None without labelled rows.
        right: how far the consensus agrees with them, from 0 (as by chance) to 1.
    """

    answers: list[Tensor]
    weights: list[float]
    trusts: list[float]
    consensus: Tensor
    fits: list[float]
    labels: Tensor | None = None
    right: float | None = None

    def opinions(self, names: Sequence[str]) -> tuple[Opinion, ...]:
        """Each prompt's part, by these names."""
        common = self.consensus.argmax(1)
        parts = zip(names, self.answers, self.weights, self.trusts, strict=True)
        return tuple(
            Opinion(name, weight, float((own.argmax(1) == common).float().mean()), trusted)
            for name, own, weight, trusted in parts
        )

    def __repr__(self) -> str:
        labels = 0 if self.labels is None else len(self.labels)
        texts = f"{len(self.consensus)} texts, {labels} labelled rows"
        return f"PooledOpinion(of {len(self.answers)} prompts on {texts})"


class OpinionPool:
    """The experts of a logarithmic opinion pool: prompts, asked in the template of a new task.

    Args:
        backbone: the frozen model of all prompts.
        library: by name.
        task: the new one.
        truncate: cut texts that are too long.
    """

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
        answers = []
        parts = [1] * len(self.library)
        for name, prompt in counted(list(self.library.items()), parts, parts, "asking the prompts"):
            objective = self.objectives[prompt.length]
            asked = blind_rows(rows, objective) if blind else rows
            queries = prompted(objective, objective.prepare(asked).questions)
            with stage(name):
                answers.append(log_answers(self.backbone, queries, prompt.vectors))
            if not bool(answers[-1].isfinite().all()):
                raise PromptPortError(
                    f"prompt {name!r} of the library",
                    expected="answers that are finite numbers",
                    got="others",
                    fix="Leave it out",
                )
        return answers

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
        labels = torch.zeros(len(questions), columns)
        labels[torch.arange(len(questions)), [question.gold for question in questions]] = 1.0
        return labels


def pool_opinions(pool: OpinionPool, texts: Sequence[Row], few: Sequence[Row]) -> PooledOpinion:
    """Ask all prompts the same rows, and combine their answers.

    Args:
        pool: the prompts.
        texts: U rows, whose labels are not read.
        few: K rows, whose labels are; may be empty.

    Raises:
        PromptPortError: answers that are no finite numbers.
        TaskError: rows that cannot be asked.
    """
    answers = pool.answers(texts, blind=True)
    opinions, weights = (list(x) for x in zip(*map(opinion, answers), strict=True))
    if not few:
        consensus, fits = _agree(answers, opinions)
        return PooledOpinion(answers, weights, [1.0] * len(answers), consensus, fits)
    labels = pool.truth(few, answers[0].shape[1])
    asked = zip(pool.answers(few, blind=False), answers, strict=True)
    on_labelled = [(own - prior.mean(0)).log_softmax(1) for own, prior in asked]  # (K, C) each
    added = [own * weight for own, weight in zip(on_labelled, weights, strict=True)]
    trusts = trust(added, labels)
    trusted = [own * factor for own, factor in zip(opinions, trusts, strict=True)]
    consensus, fits = _agree(answers, trusted)
    fits = [_with_labels(fit, own, labels) for fit, own in zip(fits, on_labelled, strict=True)]
    together = torch.stack([a * t for a, t in zip(added, trusts, strict=True)]).sum(0).softmax(1)
    right = _right(together, labels)
    return PooledOpinion(answers, weights, trusts, consensus, fits, labels, right)


def _agree(answers: Sequence[Tensor], opinions: Sequence[Tensor]) -> tuple[Tensor, list[float]]:
    """The consensus (U, C), and how well each prompt fits to what the others say."""
    together = torch.stack(list(opinions)).sum(0)
    parts = zip(answers, opinions, strict=True)
    return together.softmax(1), [fit_to_others(own, together - said) for own, said in parts]


def opinion(log_probs: Tensor) -> tuple[Tensor, float]:
    """What a prompt adds to the pool: its log-probabilities (U, C) times its weight; the weight.

    Its prior is divided out first: the mean answer (Zhou et al. 2023, arXiv 2309.17249).
    """
    calibrated = (log_probs - log_probs.mean(0)).log_softmax(1)
    weight = information(calibrated)
    return calibrated * weight, weight


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


def trust(opinions: Sequence[Tensor], labels: Tensor) -> list[float]:
    """Factors on the weights of the pool that make labelled rows likely.

    Their logarithms have a normal prior of width `PRIOR ** -0.5`, so that few rows move them
    little.

    Args:
        opinions: per prompt (K, C), what it adds.
        labels: (K, C), each row a distribution.

    Returns:
        One factor above 0 per prompt, 1 where the rows say nothing.
    """
    added = torch.stack(list(opinions))  # (m, K, C): C is the vocabulary for probes, so no copies
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
