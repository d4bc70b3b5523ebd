"""Tuning and distilling with kept texts: the same prompts, and fewer tokens."""

from __future__ import annotations

import pytest
import torch

from promptport.backbone import Backbone
from promptport.backbone.causal_states import CausalStates
from promptport.distillation import DistillConfig, Teacher, align
from promptport.parameters import OriginSpec
from promptport.tasks import Template, open_task
from promptport.tuning import TuneConfig, TuneJob, tune

BEHIND = Template.parse("{text} {soft} It was {answer} .")


@pytest.fixture(scope="module")
def gpt2():
    return Backbone.load("nano-gpt2", dtype="float32")


@pytest.fixture(scope="module")
def task():
    whole = open_task("sentiment")
    return whole.with_rows(whole.load("train")[:16], whole.load("dev")[:8])


@pytest.fixture
def passed(monkeypatch):
    """Tokens of every pass, padding left out."""
    tokens = []
    real = CausalStates._pass

    def counting(self, rows, *arguments, **options):
        tokens.append(sum(len(row.ids) for row in rows))
        return real(self, rows, *arguments, **options)

    monkeypatch.setattr(CausalStates, "_pass", counting)
    return tokens


def tuned(backbone, task):
    jobs = [TuneJob(task, OriginSpec("vocabulary", seed), 3, template=BEHIND) for seed in (0, 1)]
    return tune(backbone, jobs, TuneConfig(epochs=3, batch_size=8, patience=0))


@pytest.mark.long
def test_prompts_are_those_of_whole_rows(gpt2, task, monkeypatch):
    kept = tuned(gpt2, task)
    monkeypatch.setattr(CausalStates, "logits", lambda *_: None)
    whole = tuned(gpt2, task)
    for a, b in zip(kept, whole, strict=True):
        torch.testing.assert_close(a.prompt.vectors, b.prompt.vectors, rtol=1e-3, atol=1e-4)
        assert a.dev_score == b.dev_score


@pytest.mark.long
def test_texts_are_passed_once_in_all_epochs(gpt2, task, passed):
    tuned(gpt2, task)
    objective = TuneJob(task, template=BEHIND)
    template = objective.template
    rows = [row.fields for split in ("train", "dev") for row in task.load(split)]
    encoded = gpt2.layout.encode(template, rows, [(5,)] * len(rows), 3)
    texts = {row.ids[: row.soft[0]] for row in encoded}
    behind = [len(row.ids) - row.soft[0] for row in encoded]
    kept = sum(len(text) for text in texts if len(text) >= 4)
    assert min(map(len, texts)) >= 4
    # Two prompts, three epochs, each followed by a look at the dev rows.
    assert sum(passed) <= kept + 2 * 3 * sum(behind) + 40
    assert sum(passed) >= kept + 2 * 3 * sum(behind)


@pytest.mark.long
def test_distilling_passes_texts_once(gpt2, task, passed):
    source = tuned(gpt2, task)[0].prompt
    start = tuned(gpt2, task)[1].prompt
    passed.clear()
    config = DistillConfig(rows=16, epochs=4, batch_size=8, patience=9)
    result = align(start, gpt2, [Teacher(gpt2, source)], task, config=config)
    assert result.after < result.before
    rows = [row.fields for row in task.load("train")]
    encoded = gpt2.layout.encode(BEHIND, rows, [(5,)] * len(rows), 3)
    whole = sum(len(row.ids) for row in encoded)
    behind = sum(len(row.ids) - row.soft[0] for row in encoded)
    # The teacher's answers once; then text once, and what stands behind it in every look and step.
    assert sum(passed) < 2 * whole + 6 * behind
