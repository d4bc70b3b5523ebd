"""The functions of the package take names, folders and loaded objects alike."""

from __future__ import annotations

import pytest
import torch

import promptport as pp
from promptport.backbone import as_backbone, as_space, open_space
from promptport.errors import BackboneError, MismatchError, StorageError, TaskError
from promptport.storage import as_prompt, save_portable, save_prompt, save_vector
from promptport.tasks import as_task
from promptport.transfers import Source, encode_prompt, transfer, transfer_vector
from promptport.tuning import random_prompt


@pytest.fixture
def prompt(backbone):
    return random_prompt(backbone("bert"), 3, 0)


@pytest.fixture
def folder(prompt, tmp_path):
    return save_prompt(prompt, tmp_path / "P")


def test_a_transfer_is_the_same_however_it_is_called(prompt, folder, model_folder, backbone):
    target = backbone("gpt2")
    wanted = transfer(
        prompt, backbone("bert").space, target.space, minimum_anchors=2
    ).prompt.vectors
    for arguments in (
        (prompt, model_folder("bert"), str(model_folder("gpt2"))),
        (folder, model_folder("gpt2")),
        (str(folder), backbone("bert"), target),
        (Source(folder), target),
        ([Source(folder, model_folder("bert"), 2.0)], target),
    ):
        moved = transfer(*arguments, minimum_anchors=2)
        assert torch.equal(moved.prompt.vectors, wanted)
    assert torch.equal(transfer(folder, target=target, minimum_anchors=2).prompt.vectors, wanted)


def test_a_portable_prompt_needs_its_target_alone(folder, model_folder, tmp_path):
    portable = encode_prompt(folder)
    file = save_portable(portable, tmp_path / "p.portable")
    config = pp.TransferConfig(minimum_anchors=2)
    moved = [transfer(x, model_folder("gpt2"), config=config) for x in (portable, file, str(file))]
    assert all(torch.equal(each.prompt.vectors, moved[0].prompt.vectors) for each in moved)
    with pytest.raises(MismatchError, match="source: expected none"):
        transfer(portable, model_folder("bert"), model_folder("gpt2"))


def test_a_vector_is_taken_by_its_folder(prompt, model_folder, backbone, tmp_path):
    vector = pp.TaskPromptVector(prompt.vectors, prompt.provenance, {"a": 1.0})
    folder = save_vector(vector, tmp_path / "V")
    config = pp.TransferConfig(minimum_anchors=2)
    spaces = backbone("bert").space, backbone("gpt2").space
    wanted = transfer_vector(vector, *spaces, config)
    assert transfer_vector(folder, target=model_folder("gpt2"), config=config) == wanted
    assert transfer_vector(str(folder), model_folder("gpt2"), config=config) == wanted
    assert pp.merge([folder, vector]) == pp.merge([vector, vector])
    with pytest.raises(StorageError, match="vector: expected a vector folder or a loaded vector"):
        transfer_vector(3, model_folder("gpt2"))


@pytest.mark.long
def test_embedded_names():
    space = open_space("nano-bert")
    prompt = pp.SoftPrompt(space.rows([200, 300]), pp.Provenance("nano-bert"))
    moved = transfer(prompt, "nano-bert", "nano-roberta")
    assert moved.prompt.provenance.backbone == "nano-roberta"
    assert torch.equal(transfer(prompt, "nano-roberta").prompt.vectors, moved.prompt.vectors)


def test_evaluate_takes_them(folder, model_folder, prompt, backbone, films):
    by_name = pp.evaluate(model_folder("bert"), films, folder)
    assert by_name == pp.evaluate(backbone("bert"), films, prompt)
    (scores,) = pp.score_prompts(str(model_folder("bert")), [folder], [films])
    assert scores == [by_name]


def test_what_is_none_of_them_is_refused_in_one_line(prompt, tmp_path, model_folder):
    with pytest.raises(BackboneError, match="a Hub id or a loaded backbone, got int"):
        as_backbone(3)
    with pytest.raises(BackboneError, match="a backbone or its space, got NoneType"):
        as_space(None)
    with pytest.raises(StorageError, match="prompt: expected a prompt folder or a loaded prompt"):
        as_prompt(None)
    with pytest.raises(TaskError, match="task: expected the name of a task.*got float"):
        as_task(2.0)
    with pytest.raises(StorageError, match="expected a prompt folder"):
        transfer(tmp_path / "none", model_folder("gpt2"))
    with pytest.raises(MismatchError, match="target: expected the backbone"):
        transfer(prompt)
    with pytest.raises(BackboneError, match="Did you mean 'nano-bert'"):
        transfer(prompt, "nano-bart")
