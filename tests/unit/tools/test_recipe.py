"""Parts of the recipe of the embedded backbones that can be checked in a moment."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[3] / "tools"
pytestmark = pytest.mark.skipif(not TOOLS.is_dir(), reason="the tools are not in this package")


LINES = [
    *["the cat eats meat and drinks milk", "the dog eats meat and drinks milk"] * 20,
    *["the car drives fast on the road"] * 20,
]


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    yield
    for name in [n for n in sys.modules if n.split(".")[0] in ("zoo", "pocket")]:
        del sys.modules[name]


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word for line in LINES for word in line.split()}
    model = models.WordLevel(
        {word: i for i, word in enumerate(["[UNK]", *sorted(words)])}, unk_token="[UNK]"
    )
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]")


def test_words_in_like_company_begin_alike(tokenizer, monkeypatch) -> None:
    from zoo import cooccurrence

    monkeypatch.setattr(cooccurrence, "POCKET_SENTENCES", 0)
    rows, again, other = (
        cooccurrence.cooccurrence_embeddings(tokenizer, LINES, width=4, seed=seed)
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(rows, again)
    torch.testing.assert_close(rows.mean(0), torch.zeros(4), atol=1e-6, rtol=0)
    assert float(rows.std()) == pytest.approx(1.0, rel=1e-4)
    unit = torch.nn.functional.normalize(rows, dim=1)
    cat, dog, car = (tokenizer.convert_tokens_to_ids(w) for w in ("cat", "dog", "car"))
    assert float(unit[cat] @ unit[dog]) > 0.8 > float(unit[cat] @ unit[car])
    # Another seed turns the space and leaves its angles.
    assert (rows - other).norm() > 1
    turned = torch.nn.functional.normalize(other, dim=1)
    assert float(turned[cat] @ turned[dog]) > 0.8


def test_rates_fall_with_the_open_rows_and_end_at_zero() -> None:
    from zoo.config import TrainingConfig
    from zoo.optimizers import rate_factor

    training = TrainingConfig(
        tokens=1e6,
        warmup=1e5,
        open_from=2e5,
        open_full=4e5,
        later_rate=0.25,
        later_table_rate=0.5,
        decay_share=0.4,
    )
    hidden = [rate_factor(int(t), training) for t in (0, 5e4, 1e5, 2e5, 4e5, 8e5, 1e6)]
    table = [rate_factor(int(t), training, is_table=True) for t in (1e5, 4e5, 8e5)]
    assert hidden == pytest.approx([0, 0.5, 1, 1, 0.25, 0.125, 0])
    assert table == pytest.approx([1, 0.5, 0.25])


def test_open_rows_leave_once_more() -> None:
    from zoo.config import TrainingConfig
    from zoo.optimizers import open_weight

    training = TrainingConfig(
        tokens=3e6, open_from=1e6, open_full=2e6, again_from=2.2e6, again_until=2.5e6
    )
    weights = [open_weight(int(t * 1e6), training) for t in (0.5, 1.5, 2.1, 2.3, 2.55, 2.8)]
    assert weights == pytest.approx([0, 0.5, 1, 0, 0.5, 1])


def test_every_config_can_be_read_and_is_of_the_asked_size() -> None:
    from zoo.config import CONFIGS, load_config

    configs = [load_config(path.stem) for path in sorted(CONFIGS.glob("*.yaml"))]
    assert {c.architecture for c in configs} == {
        "albert",
        "bert",
        "gpt2",
        "llama",
        "roberta",
        "t5",
    }
    assert all(6000 <= c.vocabulary.size <= 16_000 for c in configs)
    assert len({c.seed for c in configs}) == len(configs)


def test_focus_and_label_words_are_favoured(tokenizer) -> None:
    from zoo.corpus import Text
    from zoo.rows import encode

    (row,) = encode([Text("the cat drinks milk and the dog eats meat", "meat")], tokenizer)
    assert [i for i, is_focus in enumerate(row.focus) if is_focus] == [8]
