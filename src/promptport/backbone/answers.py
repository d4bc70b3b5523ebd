"""How many tokens an answer has in a backbone; only its tokenizer is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from promptport.backbone.encoded import SpecialTokens
from promptport.backbone.kinds import detect_kind, text_config
from promptport.backbone.layout import Layout
from promptport.backbone.loading import find_checkpoint, load_config, load_tokenizer
from promptport.errors import TaskError


def answer_tokens(name: str, revision: str | None = None) -> Callable[[Sequence[str]], list[int]]:
    """A function that counts the tokens of answers, as a template with a space in front has them.

    Args:
        name: embedded name, local folder, GGUF file or Hub id.
        revision: Hub revision.

    Returns:
        words -> number of tokens of each, 0 for a word that the tokenizer does not know.

    Raises:
        BackboneError: the backbone cannot be found, or has no fast tokenizer.
    """
    checkpoint = find_checkpoint(name, revision)
    config = load_config(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    special = SpecialTokens.read(tokenizer, text_config(config))
    layout = Layout(tokenizer, special, detect_kind(config, name), None, name)

    def count(words: Sequence[str]) -> list[int]:
        return [_count(layout, word) for word in words]

    return count


def _count(layout: Layout, word: str) -> int:
    try:
        return len(layout.answer_ids([word])[0])
    except TaskError:  # unknown to the tokenizer
        return 0
