"""Metrics of written answers: token F1 as SQuAD has it, ROUGE, chrF and BLEU.

ROUGE is computed by `rouge-score`, chrF and BLEU by `sacrebleu` (the extra `metrics`). chrF and
BLEU are values of a corpus: the statistics of its rows are added up, in every resample anew.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from promptport.errors import TaskError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TEXT_METRICS = ("token-f1", "rouge-1", "rouge-2", "rouge-l", "chrf", "bleu")
FREE_METRICS = ("exact-match", "token-f1")  # of text to text, without further packages
_ROUGE = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
_PACKAGES = {
    **dict.fromkeys(_ROUGE, ("rouge-score", "rouge_score")),
    **dict.fromkeys(("chrf", "bleu"), ("sacrebleu", "sacrebleu")),
}
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def require_metric(metric: str) -> None:
    """Refuse a metric whose package is not there.

    Raises:
        TaskError: with the command that installs it.
    """
    package, module = _PACKAGES.get(metric, ("", ""))
    if module and find_spec(module) is None:
        raise TaskError(
            f"metric {metric!r}",
            expected=f"the package {package}",
            got="none",
            fix="Run: pip install 'promptport[metrics]'",
        )


def text_scores(
    metric: str, gold: Sequence[Any], predicted: Sequence[Any], draw: tuple[Any, int]
) -> tuple[float, Floats]:
    """A metric over all rows, and over rows drawn with replacement.

    Args:
        metric: a name in `TEXT_METRICS`.
        gold: texts.
        predicted: texts.
        draw: a numpy generator, and the number R of resamples.

    Returns:
        The value, 0 to 1, and (R,) values.
    """
    import numpy as np

    require_metric(metric)
    statistics, score = _statistics(metric, list(map(str, gold)), list(map(str, predicted)))
    rng, resamples = draw
    n = len(statistics)
    counts = rng.multinomial(n, np.full(n, 1 / n), size=resamples)  # (R, n)
    return score(statistics.sum(0)), np.array([score(s) for s in counts @ statistics])


def token_f1(gold: str, predicted: str) -> float:
    """F1 of the words two texts have in common (Rajpurkar et al. 2016, as SQuAD 2 scores it).

    Case, punctuation and English articles do not count. Two empty texts score 1.
    """
    right, said = _words(gold), _words(predicted)
    if not right or not said:
        return float(right == said)
    common = sum((Counter(right) & Counter(said)).values())
    return 2 * common / (len(right) + len(said))


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


_Score = Callable[[Any], float]


def _statistics(
    metric: str, gold: Sequence[str], predicted: Sequence[str]
) -> tuple[Floats, _Score]:
    """(n, S) numbers of each row, and what makes a value of their sum."""
    import numpy as np

    if metric in ("chrf", "bleu"):
        library = _corpus_metric(metric)
        # The two calls that sacrebleu's own bootstrap is made of.
        rows = library._extract_corpus_statistics(predicted, [gold])
        statistics = np.asarray(rows, dtype=np.float64)
        return (
            statistics,
            lambda total: library._compute_score_from_stats(_whole(total)).score / 100,
        )
    one = token_f1 if metric == "token-f1" else _rouge(metric)
    values = [one(g, p) for g, p in zip(gold, predicted, strict=True)]
    statistics = np.asarray([[value, 1.0] for value in values])
    return statistics, lambda total: float(total[0] / total[1])


def _whole(total: Any) -> list[int]:
    return [round(float(value)) for value in total]


def _corpus_metric(metric: str) -> Any:
    from sacrebleu.metrics import BLEU, CHRF

    # Short answers are no mistake: sacrebleu would warn of corpora that are tokenised already.
    return CHRF() if metric == "chrf" else BLEU(force=True)


def _rouge(metric: str) -> Callable[[str, str], float]:
    from rouge_score.rouge_scorer import RougeScorer

    name = _ROUGE[metric]
    scorer = RougeScorer([name])

    def score(gold: str, predicted: str) -> float:
        found: Mapping[str, Any] = scorer.score(gold, predicted)
        return float(found[name].fmeasure)

    return score
