"""Soft prompts that come with a request answer as those of a shelf do."""

from __future__ import annotations

import base64
import math
import pickle

import pytest
import torch
from safetensors.torch import save

from promptport.errors import PromptPortError, UnknownNameError
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.serving.asks import Ask
from promptport.serving.messages import job_of
from promptport.serving.sent import SentPrompt
from promptport.serving.server import PromptServer
from promptport.tasks import Template

LABELS = {"good": ["great"], "bad": ["bad"]}
FRONT = "{soft} {text} It was {answer} ."


def vectors(model, seed: int, length: int = 3) -> torch.Tensor:
    table = model.space.matrix
    generator = torch.Generator().manual_seed(seed)
    return 4 * table[torch.randint(len(table), (length,), generator=generator)].float()


def server_of(model, films, seeds) -> PromptServer:
    made = Provenance(model.name, task=films.name, template=films.template.text)
    prompts = {f"p{seed}": SoftPrompt(vectors(model, seed), made) for seed in seeds}
    return PromptServer(model, prompts, tasks=[films])


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_sent_and_kept_prompts_answer_alike_in_one_batch(backbone, films, name) -> None:
    model = backbone(name)
    server = server_of(model, films, range(3))
    texts = ("a great film", "the cat and the old river")
    kept = [Ask(f"p{seed}", text) for seed in range(3) for text in texts]
    sent = [
        Ask("p0", text, soft_prompt=SentPrompt(vectors(model, seed)))
        for seed in range(3)
        for text in texts
    ]
    replies = server.answer([*kept, *sent])
    for one, other in zip(replies[: len(kept)], replies[len(kept) :], strict=True):
        assert one.text == other.text
        assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=2e-5)
    different = {tuple(reply.probabilities.values()) for reply in replies[: len(kept)]}
    assert len(different) == len(kept)  # no prompt is another's


def test_labels_and_template_of_the_request_make_its_task(backbone, films) -> None:
    model = backbone("gpt2")
    words = {name: list(words) for name, words in films.labels.items()}
    own = SentPrompt(vectors(model, 1), films.template.text, words)
    server = server_of(model, films, [1])
    alone, named = server.answer(
        [Ask(None, "a great film", soft_prompt=own), Ask("p1", "a great film")]
    )
    assert alone.text == named.text
    assert dict(alone.probabilities) == pytest.approx(dict(named.probabilities), abs=2e-5)


def test_a_template_of_the_request_replaces_that_of_the_named_prompt(backbone, films) -> None:
    model = backbone("gpt2")
    behind = "{text} {soft} It was {answer} ."
    made = Provenance(model.name, task=films.name, template=behind)
    prompts = {"behind": SoftPrompt(vectors(model, 2), made)}
    both = PromptServer(model, prompts, tasks=[films])
    front = server_of(model, films, [0])
    sent = Ask("p0", "a great film", soft_prompt=SentPrompt(vectors(model, 2), behind))
    (one,), (other,) = front.answer([sent]), both.answer([Ask("behind", "a great film")])
    assert dict(one.probabilities) == pytest.approx(dict(other.probabilities), abs=2e-5)


def test_without_name_and_labels_the_model_writes_behind_the_vectors(backbone, films) -> None:
    model = backbone("gpt2")
    server = server_of(model, films, [0])
    writing = {"max_new_tokens": 5}
    replies = server.answer(
        [
            Ask(None, "the cat", writing=writing),
            *(
                Ask(None, "the cat", writing=writing, soft_prompt=SentPrompt(vectors(model, seed)))
                for seed in (0, 1, 0)
            ),
        ]
    )
    assert all(reply.probabilities is None for reply in replies)
    assert replies[1].text == replies[3].text
    assert replies[1].read == replies[0].read + 3


def test_numbers_and_files_give_the_same_prompt() -> None:
    table = torch.tensor([[0.5, -1.25], [3.0, 4.0]])
    text = base64.b64encode(save({"prompt_embeddings": table})).decode()
    of_rows = SentPrompt.of_message({"vectors": table.tolist(), "template": FRONT})
    of_file = SentPrompt.of_message({"safetensors": text, "template": FRONT})
    assert torch.equal(of_rows.vectors, table)
    assert of_rows == of_file
    assert hash(of_rows) == hash(of_file)
    first = SentPrompt.of_message({"safetensors": text, "virtual_tokens": 1})
    assert torch.equal(first.vectors, table[:1])
    half = base64.b64encode(save({"anything": table.half()})).decode()
    assert torch.equal(SentPrompt.of_message({"safetensors": half}).vectors, table)
    assert of_rows != SentPrompt.of_message({"vectors": table.tolist()})


def test_all_asks_of_a_job_share_one_prompt() -> None:
    message = {
        "number": 3,
        "asks": [{"prompt": None, "text": "a"}, {"prompt": None, "text": "b"}],
        "soft_prompt": {"vectors": [[1.0, 2.0]]},
    }
    job = job_of(message)
    assert job.asks[0].soft_prompt is job.asks[1].soft_prompt
    assert job_of({**message, "soft_prompt": None}).asks[0].soft_prompt is None


def test_a_file_of_another_shape_or_type_is_refused(recwarn) -> None:
    for tensor, told in (
        (torch.tensor(1.0), r"expected a tensor (n, d), got ()"),
        (torch.zeros(2, 3, 4), r"expected a tensor (n, d), got (2, 3, 4)"),
        (torch.zeros(2, 3, dtype=torch.complex64), "got torch.complex64"),
    ):
        with pytest.raises(PromptPortError) as caught:
            SentPrompt.of_message({"safetensors": b64(save({"x": tensor}))})
        assert told in str(caught.value)
    assert len(recwarn) == 0


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"vectors": []}, "expected rows of one width, one per virtual token, got no rows"),
        ({"vectors": [[]]}, "expected a tensor (n, d)"),
        ({"vectors": [[1.0], [1.0, 2.0]]}, "got rows of 1 and 2"),
        ({"vectors": [[math.nan]]}, "expected finite floating-point values"),
        ({"vectors": [[1e39]]}, "expected finite floating-point values"),
        ({"vectors": [[1.0]], "virtual_tokens": 2}, "expected at most the 1 rows that are sent"),
        ({"vectors": [[1.0]], "template": "{text} {answer}"}, "expected {soft}"),
        ({"vectors": [[1.0]], "template": "{soft} {text"}, "template"),
        ({"safetensors": "no base64!"}, "expected a file as base64"),
        ({"safetensors": b64(pickle.dumps([1.0]))}, "expected a whole safetensors file"),
        ({"safetensors": b64(save({"a": torch.ones(1, 2), "b": torch.ones(1, 2)}))}, "got a, b"),
        ({"safetensors": b64(save({"a": torch.ones(1, 2).long()}))}, "got torch.int64"),
        ({"safetensors": b64(save({"a": torch.ones(2)}))}, "expected a tensor (n, d)"),
    ],
)
def test_what_is_no_prompt_is_one_line(message, told) -> None:
    with pytest.raises(PromptPortError) as error:
        SentPrompt.of_message(message)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "sent", "told"),
    [
        (None, SentPrompt(torch.ones(2, 5)), "5"),
        (None, SentPrompt(torch.ones(2, 5), labels=LABELS), "a template that says where"),
        ("p0", SentPrompt(torch.ones(2, 5)), "5"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(backbone, films, name, sent, told) -> None:
    server = server_of(backbone("gpt2"), films, [0])
    with pytest.raises(PromptPortError) as error:
        server.answer([Ask(name, "a film", soft_prompt=sent)])
    assert told in str(error.value)


def test_an_unknown_name_and_a_masked_model_that_would_write_are_refused(backbone, films) -> None:
    model = backbone("bert")
    server = server_of(model, films, [0])
    sent = SentPrompt(vectors(model, 0))
    with pytest.raises(UnknownNameError):
        server.answer([Ask("nothing", "a film", soft_prompt=sent)])
    with pytest.raises(PromptPortError) as error:
        server.answer([Ask(None, "a film", soft_prompt=sent)])
    assert "Name labels, or a prompt with some" in str(error.value)


def test_a_template_is_read_as_the_named_prompt_is_now(backbone, films) -> None:
    model = backbone("gpt2")
    server = server_of(model, films, [0])
    sent = Ask("p0", "a great film", soft_prompt=SentPrompt(vectors(model, 5)))
    before = server.answer([sent])[0]
    behind = films.with_template("{text} {soft} It was {answer} .")
    made = Provenance(model.name, task=films.name, template=behind.template.text)
    changed = PromptServer(model, {"p0": SoftPrompt(vectors(model, 0), made)}, tasks=[films])
    server.shelf._served.update(changed.shelf._served)
    after = server.answer([sent])[0]
    assert Template.parse(behind.template.text) != films.template
    assert dict(before.probabilities) != dict(after.probabilities)
