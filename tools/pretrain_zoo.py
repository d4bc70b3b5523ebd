"""Pretrain a backbone of the zoo, or probe it.

    python tools/pretrain_zoo.py nano-bert --corpus wiki.txt.xz --work build/zoo
    python tools/pretrain_zoo.py nano-bert --probe

A run stopped at any time goes on from its checkpoint when started again.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).resolve().parent))


def main() -> None:
    """Parse the command line and start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="backbone (a file in tools/zoo/configs) or a YAML file")
    parser.add_argument("--corpus", type=Path, help="a .txt or .xz file, or a folder of them")
    parser.add_argument("--corpus-mb", type=float, default=float("inf"), help="read so much of it")
    parser.add_argument("--work", type=Path, default=ROOT / "build/zoo", help="checkpoints")
    parser.add_argument("--target", type=Path, default=ROOT / "src/promptport/zoo", help="exports")
    parser.add_argument("--tasks", type=Path, default=ROOT / "src/promptport/tasks/pocket")
    parser.add_argument("--tokens", type=float, help="instead of the config's training.tokens")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probe", action="store_true", help="score the exported backbone and stop")
    parser.add_argument(
        "--tokenizer-only", action="store_true", help="train the tokenizer and stop"
    )
    arguments = parser.parse_args()
    if arguments.probe:
        probe_export(arguments)
    elif arguments.corpus is None:
        parser.error("--corpus is needed for training")
    else:
        train(arguments)


def train(arguments: argparse.Namespace) -> None:
    """Train one backbone, from its checkpoint if there is one."""
    import torch

    from zoo.config import load_config
    from zoo.corpus import TextSource, pocket_words, read_lines
    from zoo.probe import load_relations
    from zoo.training import Schedule, Trainer
    from zoo.vocabulary import load_or_train, missing_words

    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    config = load_config(arguments.name)
    if arguments.tokens:
        config = replace(config, training=replace(config.training, tokens=arguments.tokens))
    folder = arguments.work / config.name
    folder.mkdir(parents=True, exist_ok=True)
    lines = read_lines(arguments.corpus, megabytes=arguments.corpus_mb)
    tokenizer = load_or_train(config, folder, lines)
    missing = missing_words(tokenizer, pocket_words())
    print(
        f"{len(tokenizer)} tokens; pocket words that are not one token: {len(missing)}",
        missing[:20],
    )
    if arguments.tokenizer_only:
        return
    source = TextSource(lines, words=config.data.words, seed=config.seed)
    trainer = Trainer(
        config,
        tokenizer=tokenizer,
        source=source,
        relations=load_relations(arguments.tasks),
        folder=folder,
        target=arguments.target,
        device=arguments.device,
    )
    trainer.run(Schedule(minutes=arguments.minutes))


def probe_export(arguments: argparse.Namespace) -> None:
    """Print P@1 of every pocket task for an exported backbone."""
    from transformers import AutoConfig, AutoTokenizer

    from zoo.architectures import CLASSES
    from zoo.probe import load_relations, mean_precision, probe

    folder = arguments.target / arguments.name
    _, make_model = CLASSES[AutoConfig.from_pretrained(folder).model_type]
    model = make_model.from_pretrained(folder).float()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    scores = probe(model, tokenizer, load_relations(arguments.tasks))
    for name, score in sorted(scores.items()):
        print(f"{name:32} {score.precision:.3f} of {score.rows}, skipped {score.skipped}")
    for facts in (True, False):
        print(f"{'facts' if facts else 'classes':32} {mean_precision(scores, facts=facts):.3f}")


if __name__ == "__main__":
    main()
