"""Every prompt folder has a card that says what the prompt is, without paths of this machine."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml

from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, save_prompt
from promptport.storage.model_card import model_card

TUNED = Provenance(
    "org/base",
    "causal",
    revision="main",
    fingerprint="f" * 32,
    template="{soft} {text} It was {answer} .",
    task="reviews",
    origin={"kind": "vocabulary", "seed": 3},
    tuning={"metric": "accuracy", "dev_score": 0.8125, "steps": 120, "train_rows": 64},
)


def card_of(provenance: Provenance, name: str = "my-prompt", **more) -> str:
    return model_card(SoftPrompt(torch.ones(5, 8), provenance, **more), name)


def front_of(card: str) -> dict:
    return yaml.safe_load(card.split("---")[1])


def test_a_tuned_prompt_tells_model_task_score_and_use() -> None:
    card = card_of(TUNED)
    assert front_of(card) == {
        "library_name": "peft",
        "base_model": "org/base",
        "base_model_relation": "adapter",
        "tags": ["soft-prompt", "prompt-tuning", "promptport"],
        "pipeline_tag": "text-generation",
    }
    for text in (
        "\n# my-prompt\n",
        "A soft prompt of 5 virtual tokens for `org/base`, a causal language model",
        "| base model | `org/base`, revision main |",
        "| template | `{soft} {text} It was {answer} .` |",
        "| virtual tokens | 5, 8 wide, free vectors |",
        "| tuning started from | rows of random words, seed 3 |",
        "| accuracy | 0.812 | dev | `org/base` |",
        "1. Tuned on org/base in 120 steps with 64 labelled rows.",
        'pp.predict(prompt, ["TEXT"])',
        'AutoModelForCausalLM.from_pretrained("org/base")',
        'PeftModel.from_pretrained(model, "FOLDER")',
    ):
        assert text in card, text
    assert card == card_of(TUNED), "the same prompt has the same card"


def test_peft_is_named_only_where_it_puts_the_rows_in_the_right_place() -> None:
    behind = card_of(replace(TUNED, template="{text} {soft} {answer} ."))
    assert "PeftModel" not in behind
    assert "PEFT puts the virtual tokens in front of everything" in behind
    assert "PeftModel" in card_of(replace(TUNED, template=None))
    assert "PeftModel" not in card_of(replace(TUNED, template="no place"))


@pytest.mark.parametrize(
    "path", ["/home/someone/models/base-7b", "~/models/base-7b", "../models/base-7b/"]
)
def test_local_folders_are_named_by_their_last_part(path) -> None:
    moved = {
        "step": "transfer",
        "source": path,
        "target": path,
        "method": "least_squares.v1",
        "tuning": {"dev_score": 0.9},
    }
    card = card_of(replace(TUNED, backbone=path, tuning=None, history=(moved,)))
    assert "models/" not in card
    assert front_of(card)["base_model"] == "base-7b"
    assert "Carried from base-7b to base-7b" in card


def test_a_folder_that_looks_like_a_hub_id(tmp_path, monkeypatch) -> None:
    (tmp_path / "secret" / "base").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert "secret" not in card_of(replace(TUNED, backbone="secret/base"))


def test_a_moved_prompt_tells_its_history_and_whose_scores_are_known() -> None:
    history = (
        {"step": "anchor", "words": 900, "texts": "words", "rows": 256, "loss": [2.0, 1.5]},
        {
            "step": "transfer",
            "source": "nano-bert",
            "target": "org/base",
            "method": "mixture.v1",
            "anchors": 812,
            "matching": 0.987,
            "tuning": TUNED.tuning,
        },
        {"step": "calibrate", "texts": "task", "rows": 99, "labels_used": False},
        {"step": "readout", "word": "is"},
        {"step": "of a later version"},
        {"step": "search", "coefficients": 3},
    )
    card = card_of(replace(TUNED, tuning=None, origin=None, history=history))
    for text in (
        "1. Written as a mixture of 900 words that answers like the free prompt on 256 rows of "
        "random words (loss 2.000 to 1.500).",
        "2. Tuned on nano-bert in 120 steps with 64 labelled rows.",
        "3. Carried from nano-bert to org/base by the embedding tables, with the method mixture.v1 "
        "(812 shared words, matching 0.99).",
        "4. Aligned: learned the answers of its source on 99 rows of unlabelled texts. No label",
        "5. The cue word 'is' was put in front of the answer.",
        "6. Step 'of a later version'.",
        "7. Step 'search'.",
        "| accuracy | 0.812 | dev | `nano-bert` |",
        "Of this prompt itself none is recorded.",
        "It was not tuned on labelled rows of this model",
    ):
        assert text in card, text


def test_a_mixture_and_an_unknown_prompt() -> None:
    mixture = Mixture(("a", "b"), torch.full((5, 2), 0.5))
    assert "mixtures of 2 words" in card_of(TUNED, mixture=mixture)
    bare = card_of(Provenance("nano-gpt2"))
    assert "No score is recorded." in bare
    assert "Nothing is recorded." in bare
    assert "Its template is not recorded" in bare
    assert 'from_pretrained(embedded_folder("nano-gpt2"))' in bare


def test_the_card_is_written_and_replaced_unless_it_is_another_s(tmp_path) -> None:
    prompt = SoftPrompt(torch.ones(5, 8), TUNED)
    folder = save_prompt(prompt, tmp_path / "reviews")
    place = folder / "README.md"
    assert place.read_text("utf-8") == model_card(prompt, "reviews")
    save_prompt(prompt.with_provenance(task="films"), folder)
    assert "`films`" in place.read_text("utf-8")
    place.write_text("my own notes")
    save_prompt(prompt, folder)
    assert place.read_text("utf-8") == "my own notes"
    assert load_prompt(folder) == prompt
