"""The two text-to-text tasks of the laboratory: right answers, and splits that share nothing."""

from __future__ import annotations

import datetime
import re

import pytest
import torch
import transformers as hf
from benchmarks.real_models.made_tasks import (
    CITIES,
    EVENTS,
    FIRST,
    JOBS,
    LAST,
    MONTHS,
    ROWS,
    made_tasks,
    part_of,
    write_made_tasks,
)
from tests.models import byte_bpe

from promptport.backbone import Backbone
from promptport.evaluation import evaluate
from promptport.tasks import WritingConfig, check_task, load_task
from promptport.tuning import TuneConfig, TuneJob, tune

WORDS = (FIRST, LAST, CITIES, JOBS, EVENTS)


def test_numbers_of_rows_and_the_same_seed() -> None:
    tasks = made_tasks()
    assert [task.name for task in tasks] == ["dates", "records"]
    for task, again, other in zip(tasks, made_tasks(), made_tasks(1), strict=True):
        for split, number in ROWS.items():
            rows = task.load(split)
            assert len({row.fields["text"] for row in rows}) == number
            assert rows == again.load(split)
            assert rows != other.load(split)


def test_words_of_the_test_rows_do_not_occur_in_training() -> None:
    for words in WORDS:
        assert len(set(words)) == len(words)
        parts = [set(part_of(words, split)) for split in ROWS]
        assert all(len(part) > 3 for part in parts)
        assert set.union(*parts) == set(words)
        assert sum(map(len, parts)) == len(words)
    for task in made_tasks():
        said = {
            split: set(
                re.findall(r"[A-Za-z]+", " ".join(r.fields["text"] for r in task.load(split)))
            )
            for split in ROWS
        }
        for words in WORDS:
            assert not said["test"] & said["train"] & set(words)
    dates = made_tasks()[0]
    days = [{row.answer for row in dates.load(split)} for split in ROWS]
    assert not days[0] & days[2]
    assert not days[0] & days[1]


def test_dates_are_those_of_the_sentences() -> None:
    for row in made_tasks()[0].load("train"):
        day = datetime.date.fromisoformat(row.answer)
        text = row.fields["text"]
        assert MONTHS[day.month - 1] in text
        assert re.search(rf"\b{day.day}(st|nd|rd|th)?\b", text)
        assert str(day.year) in text
        assert not re.search(r"1(1st|2nd|3rd)\b|[^1][123]th\b", text)


def test_sentences_tell_all_of_a_record() -> None:
    for row in made_tasks()[1].load("test"):
        values = dict(part.split(": ") for part in row.fields["text"].split("; "))
        article = "an" if values["job"][0] in "aeiou" else "a"
        since = f" since {values['since']}" if "since" in values else ""
        verb = "has worked" if since else "works"
        assert row.answer == (
            f"{values['name']} {verb} as {article} {values['job']} in {values['city']}{since}."
        )


def test_written_tasks_are_the_same_and_well(tmp_path) -> None:
    for file, task in zip(write_made_tasks(tmp_path), made_tasks(), strict=True):
        read = load_task(file)
        assert (read.template, read.manual, read.metric) == (
            task.template,
            task.manual,
            task.metric,
        )
        assert read.writing == task.writing
        for split in ROWS:
            assert read.load(split) == task.load(split)
        found = check_task(read)
        assert found.ok
        assert not found.warnings


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
    for task in made_tasks():
        few = task.with_rows(*(task.load(split)[:8] for split in ROWS))
        few = few.with_writing(WritingConfig(4))
        before = evaluate(model, few)
        (result,) = tune(model, [TuneJob(few, length=3, relative_lr=0.3)], TuneConfig(epochs=3))
        assert result.error is None
        assert result.prompt is not None
        after = evaluate(model, few, result.prompt)
        assert result.curve[-1][0] < result.curve[0][0]
        assert all(isinstance(text, str) for text in after.predictions)
        assert after.score.rows == before.score.rows == 8
