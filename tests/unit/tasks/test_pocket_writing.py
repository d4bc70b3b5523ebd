"""The embedded text-to-text tasks: right answers, and splits that share nothing."""

from __future__ import annotations

import datetime
import re
import sys
from pathlib import Path

import pytest
import torch
import transformers as hf
from tests.models import byte_bpe

from promptport.backbone import Backbone
from promptport.evaluation import evaluate
from promptport.tasks import WritingConfig, check_task, open_task
from promptport.tuning import TuneConfig, TuneJob, tune

TOOLS = Path(__file__).parents[3] / "tools"
NAMES = ("dates", "records")
SIZES = {"train": 600, "dev": 100, "test": 300}


@pytest.fixture(scope="module")
def writing():
    """The tool that made the rows."""
    if not TOOLS.is_dir():
        pytest.skip("the tools are not part of the package")
    sys.path.insert(0, str(TOOLS))
    try:
        from pocket import writing
    finally:
        sys.path.remove(str(TOOLS))
    return writing


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_rows_and_the_same_seed(writing, name) -> None:
    task = open_task(name)
    made, other = writing.writing_rows(name), writing.writing_rows(name, 1)
    for split, number in SIZES.items():
        rows = [{"text": row.fields["text"], "target": row.answer} for row in task.load(split)]
        assert len({row["text"] for row in rows}) == number
        assert rows == made[split]
        assert rows != other[split]
    found = check_task(task)
    assert found.ok
    assert not found.warnings


def test_words_of_the_test_rows_do_not_occur_in_training(writing) -> None:
    lists = (writing.FIRST, writing.LAST, writing.CITIES, writing.JOBS, writing.EVENTS)
    for words in lists:
        assert len(set(words)) == len(words)
        parts = [set(writing.part_of(words, split)) for split in SIZES]
        assert all(len(part) > 3 for part in parts)
        assert set.union(*parts) == set(words)
        assert sum(map(len, parts)) == len(words)
    for name in NAMES:
        said = {
            split: set(
                re.findall(
                    r"[A-Za-z]+", " ".join(r.fields["text"] for r in open_task(name).load(split))
                )
            )
            for split in SIZES
        }
        for words in lists:
            assert not said["test"] & said["train"] & set(words)
    days = [{row.answer for row in open_task("dates").load(split)} for split in SIZES]
    assert not days[0] & days[2]
    assert not days[0] & days[1]


def test_dates_are_those_of_the_sentences(writing) -> None:
    for row in open_task("dates").load("train"):
        day = datetime.date.fromisoformat(row.answer)
        text = row.fields["text"]
        assert writing.MONTHS[day.month - 1] in text
        assert re.search(rf"\b{day.day}(st|nd|rd|th)?\b", text)
        assert str(day.year) in text
        assert not re.search(r"1(1st|2nd|3rd)\b|[^1][123]th\b", text)


def test_sentences_tell_all_of_a_record() -> None:
    for row in open_task("records").load("test"):
        values = dict(part.split(": ") for part in row.fields["text"].split("; "))
        article = "an" if values["job"][0] in "aeiou" else "a"
        since = f" since {values['since']}" if "since" in values else ""
        verb = "has worked" if since else "works"
        assert row.answer == (
            f"{values['name']} {verb} as {article} {values['job']} in {values['city']}{since}."
        )


@pytest.fixture
def wide():
    """Tiny models that know every letter, with room for such rows."""

    def get(name: str) -> Backbone:
        tokenizer = byte_bpe(frame=name == "bart")
        torch.manual_seed(0)
        if name == "gpt2":
            config = hf.GPT2Config(
                vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=256
            )
            return Backbone(hf.GPT2LMHeadModel(config).eval(), tokenizer, name=name, kind="causal")
        sizes = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 32}
        sizes |= {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        config = hf.BartConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=256,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            decoder_start_token_id=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            **sizes,
        )
        model = hf.BartForConditionalGeneration(config).eval()
        return Backbone(model, tokenizer, name=name, kind="seq2seq")

    return get


@pytest.mark.parametrize("name", ["gpt2", "bart"])
def test_they_can_be_tuned_and_scored(wide, name) -> None:
    """On tiny models that can write letters: losses fall, answers are texts."""
    model = wide(name)
    for name_of_task in NAMES:
        task = open_task(name_of_task)
        few = task.with_rows(*(task.load(split)[:8] for split in SIZES))
        few = few.with_writing(WritingConfig(4))
        before = evaluate(model, few)
        (result,) = tune(model, [TuneJob(few, length=3, relative_lr=0.3)], TuneConfig(epochs=3))
        assert result.error is None
        assert result.prompt is not None
        after = evaluate(model, few, result.prompt)
        assert result.curve[-1][0] < result.curve[0][0]
        assert all(isinstance(text, str) for text in after.predictions)
        assert after.score.rows == before.score.rows == 8
