"""One YAML file per backbone, read into frozen dataclasses; unknown keys are an error."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

CONFIGS = Path(__file__).parent / "configs"
ARCHITECTURES = ("bert", "roberta", "albert", "gpt2", "llama", "t5")
VOCABULARIES = ("wordpiece", "byte-bpe", "unigram")
Part = TypeVar("Part")


@dataclass(frozen=True)
class VocabularyConfig:
    """How the tokenizer is trained."""

    kind: str  # one of VOCABULARIES
    size: int  # tokens, special ones included
    corpus_mb: float = 16.0  # corpus text read for it, megabytes
    pocket_sentences: int = 60_000  # pocket sentences added to it
    word_boost: int = 400  # extra counts of every pocket word, so that it becomes one token
    byte_fallback: bool = False  # unknown characters as bytes (unigram only)
    like: str = ""  # backbone whose tokenizer this one shares


@dataclass(frozen=True)
class DataConfig:
    """What training rows look like.

    Every batch has two parts: short rows, one pocket sentence each, whose focus word is nearly
    always hidden; and open rows, corpus sentences and texts packed up to the longest row.
    """

    pocket_share: float = 0.6  # share of the tokens of a batch that are short pocket rows
    words: int = 24  # longest stretch of corpus words in a row
    positions: int = 128  # longest row, tokens
    long_share: float = 0.3  # share of the open texts that are packed into long rows
    long_pocket_share: float = 0.5  # share of the packed texts that are pocket sentences
    shift_share: float = 0.3  # share of the rows whose positions start at a random offset
    noise_share: float = 0.1  # share of the short rows with random tokens in front
    noise_tokens: int = 20  # at most so many of them
    focus: float = 0.9  # probability that the focus word of a short row is hidden
    others: float = 0.05  # probability that any other word of it is hidden
    open_words: float = 0.18  # probability that a word of an open row is hidden

    def clean(self) -> DataConfig:
        """Short rows of the beginning: in place, with nothing but the focus word hidden."""
        return replace(self, shift_share=0.0, focus=1.0, others=0.0)


@dataclass(frozen=True)
class TrainingConfig:
    """Optimisation; every horizon is counted in tokens, so batch sizes can change."""

    tokens: float = 12e6  # where the learning rate reaches zero
    warmup: float = 0.1e6  # tokens of linear warm-up
    decay_share: float = 0.4  # last share of the tokens, over which the rate falls to zero
    batch_tokens: int = 2048  # padded tokens per batch
    muon_lr: float = 0.02  # hidden matrices
    # The beginning is easy: clean short rows alone. Then the open rows join, little by little,
    # while the rates fall. From the start, they hold a model for millions of tokens on a plateau
    # where it ignores the subject; all at once and at the full rates, they wipe out every fact
    # within half a million tokens (P@1 0.99 -> 0.06).
    open_from: float = 0.4e6  # tokens seen when the open rows begin to count
    open_full: float = 0.9e6  # tokens seen when they count in full
    # Clean short rows alone once more, late: open rows wear facts and classes off, and a few
    # hundred thousand tokens bring them back (nano-t5: P@1 0.55 -> 0.97).
    again_from: float = float("inf")  # tokens seen when the open rows stop to count
    again_until: float = float("inf")  # tokens seen when they come back
    later_rate: float = 0.25  # learning rates from then on, as a share of the first ones
    adam_lr: float = 0.003  # norms, biases, position embeddings
    # Word embeddings begin near what they should say, and faster steps blur it; but facts are kept
    # there too: at 0.0008 a model knows 0.58 of them where it knows 0.84 at 0.003.
    table_lr: float = 0.0015
    later_table_rate: float = 0.5
    weight_decay: float = 0.05  # embedding rows, decoupled
    average: float = 0.998  # decay of the running average of the weights that is exported
    focus_weight: float = 1.0  # weight of the focus word in a next-token loss
    head_share: float = 0.5  # share of the other positions that a next-token loss looks at
    cooccurrence: float = 0.06  # deviation of the first embeddings; 0: random ones, library scale


@dataclass(frozen=True)
class BackboneConfig:
    """Everything that decides a backbone."""

    name: str
    architecture: str  # one of ARCHITECTURES
    seed: int
    vocabulary: VocabularyConfig
    model: dict[str, Any]  # arguments of the transformers configuration class
    data: DataConfig
    training: TrainingConfig


def load_config(name: str) -> BackboneConfig:
    """Read `configs/<name>.yaml`, or any YAML file given by path."""
    path = Path(name) if name.endswith(".yaml") else CONFIGS / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in CONFIGS.glob("*.yaml")))
        raise FileNotFoundError(f"{name}: expected a backbone config, got no file. Known: {known}.")
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    raw["vocabulary"] = _part(VocabularyConfig, raw.get("vocabulary", {}), path)
    raw["data"] = _part(DataConfig, raw.get("data", {}), path)
    raw["training"] = _part(TrainingConfig, raw.get("training", {}), path)
    config = _part(BackboneConfig, raw, path)
    if config.architecture not in ARCHITECTURES or config.vocabulary.kind not in VOCABULARIES:
        raise ValueError(
            f"{path}: expected architecture in {ARCHITECTURES}, kind in {VOCABULARIES}."
        )
    return config


def _part(kind: type[Part], values: dict[str, Any], path: Path) -> Part:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{path}: expected keys {sorted(known)}, got {unknown}. Remove them.")
    return kind(**values)
