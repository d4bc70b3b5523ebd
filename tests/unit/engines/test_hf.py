"""Checkpoints with prompts in their vocabulary answer as the backbone does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from tests.docs.pages import blocks
from tests.unit.engines.conftest import BEHIND, FRONT

from promptport.backbone import Backbone, EncodedRow
from promptport.engines import Reference, check_export, checking, export_prompts, find_engine
from promptport.errors import BackboneError
from promptport.storage import load_prompt

PYTHON = Path(sys.executable)
_SLOW = pytest.mark.slow


def exported(folders, out, **options):
    return export_prompts(folders, find_engine("hf"), out, python=PYTHON, **options)


def logits_of(model, folder, made, place=0):
    """Logits of our backbone with a prompt, and of the checkpoint with its tokens."""
    prompt, item = load_prompt(folder), made.material.items[place]
    fields = {name: "the old film" for name in item.template.fields}
    answer = model.layout.answer_ids(["film"])[0][:1]
    (row,) = model.layout.encode(item.template, [fields], [answer], prompt.length)
    ours = model.answer_logits([row], prompt.vectors, [0])[0, 0]
    baked = Backbone.load(made.place, dtype="float32", device="cpu")
    tokens = dict(zip(row.soft, item.ids, strict=True))
    ids = tuple(tokens.get(i, token) for i, token in enumerate(row.ids))
    plain = EncodedRow(ids, (), row.scored, row.targets, row.decoder_ids)
    theirs = baked.answer_logits([plain], torch.zeros(1, model.width), [0])[0, 0]
    return ours, theirs


@pytest.mark.long
def test_every_architecture(any_backbone, saved, tmp_path):
    folder = saved(any_backbone, template=BEHIND)
    made = exported([folder], tmp_path / "H")
    ours, theirs = logits_of(any_backbone, folder, made)
    assert (ours - theirs[: len(ours)]).abs().max() < 1e-4
    ids = made.material.items[0].ids
    assert ids == tuple(range(len(any_backbone.tokenizer), len(any_backbone.tokenizer) + 3))


@pytest.mark.long
@pytest.mark.parametrize(
    "name",
    ["nano-gpt2", *(pytest.param(f"nano-{n}", marks=_SLOW) for n in ("llama", "t5", "bert"))],
)
def test_embedded_models(name, saved, tmp_path):
    model = Backbone.load(name, dtype="float32", device="cpu")
    folder = saved(model)
    made = exported([folder], tmp_path / "H")
    assert made.manifest["dtype"] == "float16"  # as the embedded checkpoints are
    ours, theirs = logits_of(model, folder, made)
    assert (ours - theirs[: len(ours)]).abs().max() < 1e-4


def test_several_prompts_and_new_tokens_that_are_never_said(backbone, saved, tmp_path):
    model = backbone("gemma")  # tied, with scaled embeddings
    folders = [saved(model, "one"), saved(model, "two", template=BEHIND)]
    made = exported(folders, tmp_path / "H")
    assert [item.name for item in made.material.items] == ["one", "two"]
    for place, folder in enumerate(folders):
        ours, theirs = logits_of(model, folder, made, place)
        assert (ours - theirs[: len(ours)]).abs().max() < 1e-4
    baked = Backbone.load(made.place, dtype="float32", device="cpu")
    new = [i for item in made.material.items for i in item.ids]
    assert baked.model.generation_config.suppress_tokens == new
    said = baked.model.generate(
        torch.tensor([new]), attention_mask=torch.ones(1, 6), max_new_tokens=5, do_sample=False
    )
    assert not set(said[0, 6:].tolist()) & set(new)


@pytest.mark.long
def test_an_own_head_has_nothing_to_say_of_new_tokens(backbone, saved, tmp_path):
    made = exported([saved(backbone("llama"))], tmp_path / "H")
    assert made.manifest["tied_head"] is False
    baked = Backbone.load(made.place, dtype="float32", device="cpu")
    head = baked.model.get_output_embeddings().weight
    assert head[list(made.material.items[0].ids)].abs().max() == 0


def test_a_chat_begins_with_the_prompt(backbone, saved, tmp_path):
    from tests.models import save_model
    from transformers import AutoTokenizer

    folder = save_model("llama", tmp_path / "chatty")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} {% endfor %}"
        "{% if add_generation_prompt %}[model]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    model = Backbone.load(folder, dtype="float32", device="cpu")
    made = exported([saved(model, template="{soft} {chat} {text} {answer}")], tmp_path / "H")
    item = made.material.items[0]
    assert made.manifest["chat_template"] is True
    told = AutoTokenizer.from_pretrained(made.place)
    asked = [{"role": "user", "content": "the old film"}]
    ids = told.apply_chat_template(asked, add_generation_prompt=True)["input_ids"]
    assert tuple(ids[:4]) == (*item.ids, told.bos_token_id)


def test_names_that_are_taken(backbone, saved, tmp_path):
    first = exported([saved(backbone("gpt2"))], tmp_path / "H")
    again = Backbone.load(first.place, dtype="float32", device="cpu")
    (tmp_path / "P").rename(tmp_path / "old")
    with pytest.raises(BackboneError, match=r"expected new names of tokens, got '<\|p-0\|>'"):
        exported([saved(again)], tmp_path / "I")
    assert not (tmp_path / "I").exists()


@pytest.mark.parametrize("name", ["gpt2", "bert", "t5", "bart"])
def test_the_lines_of_the_readme(name, backbone, saved, tmp_path, monkeypatch, capsys):
    made = exported([saved(backbone(name))], tmp_path / "H")
    monkeypatch.chdir(made.place)
    (code,) = [block for block in blocks(str(made.place / "README.md"))]
    names: dict[str, object] = {}
    exec(compile(code.text, "README.md", "exec"), names)
    assert names["logits"].isfinite().any()
    assert capsys.readouterr().out.strip()


@pytest.mark.long
@pytest.mark.parametrize(
    "field",
    ["class", "part", "ids", "row", "tokenizer", "torch", "fields", "name", "self", "max_tokens"],
)
def test_a_field_may_have_any_name(field, backbone, saved, tmp_path, monkeypatch, capsys):
    model = backbone("gpt2")
    folder = saved(model, template=f"{{soft}} {{{{text}}}} {{{field}}} is {{answer}}")
    made = exported([folder], tmp_path / "H")
    monkeypatch.chdir(made.place)
    (code,) = [block for block in blocks(str(made.place / "README.md"))]
    names: dict[str, object] = {}
    exec(compile(code.text, "README.md", "exec"), names)
    ids = names["row"]({field: f"the old {{{field}}}"})
    said = names["tokenizer"].decode([i for i in ids if i < len(model.tokenizer)])
    assert f"{{text}} the old {{{field}}} is" in said


@pytest.mark.parametrize(("name", "template"), [("gpt2", FRONT), ("t5", BEHIND), ("bert", FRONT)])
def test_check(name, template, backbone, saved, tmp_path, here):
    model = backbone(name)
    made = exported([saved(model, template=template)], tmp_path / "H")
    found = check_export(made, 4, reference=Reference(model))
    assert found.gap < 1e-4
    assert found.rows == 4
    assert (found.answers_equal, found.slip, found.passed) == (1.0, 0.0, True)
    assert found.laid_out == 1.0


@pytest.mark.long
def test_a_check_fails_where_a_client_lays_rows_out_otherwise(
    backbone, saved, tmp_path, here, monkeypatch
):
    model = backbone("gpt2")
    made = exported([saved(model, template="{soft} {{text}} {text} is {answer}")], tmp_path / "H")
    found = check_export(made, 2, reference=Reference(model))
    assert (found.laid_out, found.passed) == (1.0, True)
    monkeypatch.setattr(checking, "filled", lambda parts, fields, tokenize: [0])
    found = check_export(made, 2, reference=Reference(model))
    assert (found.laid_out, found.slip, found.passed) == (0.0, 0.0, False)


def test_an_engine_that_says_nothing_fails_its_check(backbone, saved, tmp_path, here, monkeypatch):
    model = backbone("gpt2")
    made = exported([saved(model)], tmp_path / "H")

    def silent(*asked):
        answer = here(*asked)
        return {**answer, "cases": [{**case, "answer": []} for case in answer["cases"]]}

    monkeypatch.setattr(checking, "run_engine", silent)
    found = check_export(made, 2, reference=Reference(model))
    assert (found.slip, found.passed) == (float("inf"), False)


def test_a_check_that_fails(backbone, saved, tmp_path, here):
    model = backbone("gpt2")
    made = exported([saved(model)], tmp_path / "H")
    other = exported([saved(model, "otherwise")], tmp_path / "I")
    (tmp_path / "H" / "model.safetensors").unlink()
    (tmp_path / "I" / "model.safetensors").rename(tmp_path / "H" / "model.safetensors")
    assert other.engine is made.engine
    found = check_export(made, 4, reference=Reference(model))
    assert found.gap > 0.01
    assert found.passed is (found.answers_equal == 1.0 or found.slip <= 0.1)
