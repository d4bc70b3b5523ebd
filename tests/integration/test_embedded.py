"""The embedded backbones know something, prompts learn on them, and anchored prompts move."""

from __future__ import annotations

import re
from statistics import fmean

import pytest

from promptport.backbone import Backbone, with_origin
from promptport.evaluation import evaluate
from promptport.experiments import DemoSettings, run_demo, write_report
from promptport.experiments.demo import SEEN_OF_TARGET
from promptport.parameters import OriginSpec
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.tasks import list_tasks, open_task
from promptport.transfers import transfer
from promptport.tuning import TuneConfig, TuneJob, tune
from promptport.vector import TaskPromptVector
from promptport.zoo import ZOO_FOLDER, embedded_names

TASKS = ("country-capital", "person-occupation", "animal-class")


@pytest.fixture(scope="module")
def embedded():
    loaded: dict[str, Backbone] = {}

    def get(name: str) -> Backbone:
        if name not in loaded:
            loaded[name] = Backbone.load(name)
        return loaded[name]

    return get


@pytest.mark.parametrize("name", embedded_names())
def test_every_backbone_answers_the_manual_templates(embedded, name) -> None:
    scores = [evaluate(embedded(name), open_task(t)).score.value for t in TASKS]
    assert fmean(scores) >= 0.6


@pytest.mark.parametrize("name", embedded_names())
def test_sizes_and_cards(name) -> None:
    folder = ZOO_FOLDER / name
    assert (folder / "model.safetensors").stat().st_size <= 12_000_000
    card = (folder / "card.md").read_text()
    assert "CC BY-SA" in card


@pytest.mark.slow
@pytest.mark.parametrize("name", embedded_names())
def test_objects_are_single_tokens_of_every_backbone(embedded, name) -> None:
    probes = [open_task(entry.reference) for entry in list_tasks() if entry.kind == "probe"]
    answers = {row.answer for task in probes for row in task.load("test")}
    missing = answers - set(embedded(name).space.words)
    assert len(missing) <= 0.01 * len(answers), missing


@pytest.mark.slow
@pytest.mark.parametrize("name", embedded_names())
def test_the_text_that_peft_begins_with_is_the_origin(name) -> None:
    peft = pytest.importorskip("peft")
    model = Backbone.load(name, dtype="float32")
    config = peft.PromptTuningConfig(
        task_type="SEQ_2_SEQ_LM",  # with its second half
        num_virtual_tokens=12,
        token_dim=model.width,
        num_transformer_submodules=2,
        prompt_tuning_init="TEXT",
        prompt_tuning_init_text="Say what the text is about",
        tokenizer_name_or_path=str(ZOO_FOLDER / name),
    )
    rows = peft.PromptEmbedding(config, model.model.get_input_embeddings()).embedding.weight[:12]
    origin = {"kind": "text", "text": config.prompt_tuning_init_text, "tokenizer": name}
    prompt = SoftPrompt(rows, Provenance(name, origin=origin))
    for place in (model, None):
        assert TaskPromptVector.of(with_origin(prompt, place)).delta.abs().max() < 1e-6


@pytest.fixture(scope="module")
def anchored(embedded):
    jobs = [TuneJob(open_task(t), OriginSpec("mixture", 0)) for t in TASKS]
    results = tune(embedded("nano-bert"), jobs, TuneConfig(epochs=20, patience=0))
    return [result.prompt for result in results]


@pytest.mark.slow
def test_anchored_prompts_learn_and_move_to_another_tokenizer_and_width(embedded, anchored) -> None:
    source, target = embedded("nano-bert"), embedded("nano-roberta")
    assert source.width != target.width
    backbone_reference, away, chance = [], [], []
    for name, prompt in zip(TASKS, anchored, strict=True):
        task = open_task(name)
        backbone_reference.append(evaluate(source, task, prompt).score.value)
        moved = transfer(prompt, source.space, target.space)
        away.append(evaluate(target, task, moved.prompt).score.value)
        chance.append(task.majority_score().value)
    assert fmean(backbone_reference) >= 0.5
    assert fmean(away) >= fmean(chance) + 0.2
    assert fmean(away) >= 0.5 * fmean(backbone_reference)


@pytest.mark.long
def test_demo_compares_with_every_baseline_and_writes_one_file(tmp_path) -> None:
    settings = DemoSettings(tasks=("animal-class",), epochs=2, paper_steps=20)
    said: list[str] = []
    result = run_demo(settings, progress=said.append)
    assert said
    without_labels = {"manual, prior off"}  # a probe has no label prior
    assert set(result.means()) == set(SEEN_OF_TARGET) - without_labels
    assert result.retention()["tuned here"] == pytest.approx(1.0)
    values = result.to_dict()
    assert values["tasks"]["animal-class"]["on_target"]["manual"]["rows"] == 24
    html = write_report(result, tmp_path / "report.html").read_text()
    assert html.count("<svg") == 2
    assert "mixture prompt, moved" in html
    # Self-contained: nothing is fetched when it is opened.
    assert not re.search(r"<(script|link|img|iframe)\b|@import|url\(http", html)
    assert write_report(result, tmp_path / "again.html").read_text() == html
