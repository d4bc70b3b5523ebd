"""Templates inside a chat, against the tokenizer's own apply_chat_template."""

from __future__ import annotations

import copy

import pytest
import torch
import transformers as hf
from tests.models import WIDTH, byte_bpe

from promptport.backbone import Backbone
from promptport.backbone.generation import end_tokens
from promptport.errors import TaskError
from promptport.objective import Objective
from promptport.tasks import MemorySource, Row, Task, Template

CHAT = (
    "{{ bos_token }}<|system|>\nYou are good.<|end|>\n{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
MARKS = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
FIELDS = ["a good dog", "the old river"]


def chatty(chat: str | None = CHAT) -> Backbone:
    tokenizer = byte_bpe(frame=False)
    tokenizer.add_special_tokens({"extra_special_tokens": MARKS})
    tokenizer.chat_template = chat
    torch.manual_seed(0)
    config = hf.GPT2Config(
        vocab_size=len(tokenizer), n_embd=WIDTH, n_layer=2, n_head=2, n_positions=128
    )
    model = hf.GPT2LMHeadModel(config).eval()
    return Backbone(model, tokenizer, name="chatty", kind="causal")


@pytest.fixture(scope="module")
def model() -> Backbone:
    return chatty()


def _task(template: str, kind: str = "text2text") -> Task:
    rows = tuple(Row({"text": text}, "dog" if kind == "text2text" else "g") for text in FIELDS)
    labels = {"g": ("good",), "b": ("bad",)} if kind == "classification" else None
    metric = "exact-match" if kind == "text2text" else "accuracy"
    return Task(
        "t",
        kind,
        Template.parse(template),
        metric,
        manual=Template.parse("{text} : {answer}"),
        labels=labels,
        source=MemorySource({"test": rows}),
    )


def _encoded(model: Backbone, task: Task, length: int = 3):
    objective = Objective(model, task, length=length)
    return [q.inputs[0] for q in objective.prepare(task.load("test")).questions]


def _ids(model: Backbone, text: str) -> list[int]:
    return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])


def _theirs(model: Backbone, message: str, answer: str | None = None) -> list[int]:
    said = [{"role": "user", "content": message}]
    if answer is not None:
        said.append({"role": "assistant", "content": answer})
    found = model.tokenizer.apply_chat_template(
        said, tokenize=True, add_generation_prompt=answer is None, return_dict=True
    )
    return list(found["input_ids"])


def test_ids_are_those_of_apply_chat_template(model) -> None:
    for row, text in zip(
        _encoded(model, _task("{text} : {answer}").with_chat(), 0), FIELDS, strict=True
    ):
        message = _theirs(model, f"{text} :")
        assert list(row.ids[: row.scored[0] + 1]) == message
        whole = _theirs(model, f"{text} :", "dog")
        assert [*row.ids, row.targets[-1]][: len(whole)] == whole[: len(row.ids) + 1]
        assert row.targets[-1] == model.tokenizer.convert_tokens_to_ids("<|end|>")


def test_leading_virtual_tokens_stand_in_front_of_the_chat(model) -> None:
    task = _task("{soft} {text} : {answer}").with_chat()
    assert task.template.text == "{soft} {chat} {text} : {answer}"
    assert task.manual is not None
    assert task.manual.text == "{chat} {text} : {answer}"
    assert task.with_chat() == task
    for row, text in zip(_encoded(model, task), FIELDS, strict=True):
        assert row.soft == (0, 1, 2)
        assert list(row.ids[3 : row.scored[0] + 1]) == _theirs(model, f"{text} :")


@pytest.mark.parametrize(
    ("template", "before", "after"),
    [
        ("{chat} {soft} {text} : {answer}", "", " {text} :"),
        ("{text} {soft} so {answer}", "{text}", " so"),
        ("{text} : {soft} {answer}", "{text} :", ""),
    ],
)
def test_other_virtual_tokens_stand_inside_the_message(model, template, before, after) -> None:
    marker = "@@"
    for row, text in zip(_encoded(model, _task(template).with_chat()), FIELDS, strict=True):
        whole = model.tokenizer.apply_chat_template(
            [{"role": "user", "content": f"{before}{marker}{after}".replace("{text}", text)}],
            tokenize=False,
            add_generation_prompt=True,
        )
        left, right = whole.split(marker)
        ids = [
            model.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (left, right)
        ]
        assert row.soft == tuple(range(len(ids[0]), len(ids[0]) + 3))
        end = row.scored[0] + 1
        assert [*row.ids[: row.soft[0]], *row.ids[row.soft[-1] + 1 : end]] == [*ids[0], *ids[1]]


def test_rows_share_the_opening_of_the_chat(model) -> None:
    rows = _encoded(model, _task("{soft} {text} : {answer}").with_chat())
    opening = model.tokenizer(model.layout.chat.opening, add_special_tokens=False)["input_ids"]
    assert len(opening) > 8
    for row in rows:
        assert list(row.ids[3 : 3 + len(opening)]) == opening


def test_label_words_are_what_follows_the_generation_prompt(model) -> None:
    task = _task("{soft} {text} It was {answer} .", "classification").with_chat()
    (row, _) = _encoded(model, task)
    plain = model.tokenizer("good", add_special_tokens=False)["input_ids"]
    assert list(row.targets) == plain
    spaced = model.layout.answer_ids(["good"])[0]
    assert list(spaced) != plain


def test_the_mark_of_a_turn_ends_an_answer(model) -> None:
    end = model.tokenizer.convert_tokens_to_ids("<|end|>")
    assert end in end_tokens(model)
    assert model.tokenizer.eos_token_id in end_tokens(model)


def test_long_messages_are_cut_inside_the_chat(model) -> None:
    task = _task("{soft} {text} : {answer}").with_chat()
    task = task.with_rows(test=[Row({"text": "the old dog " * 60}, "dog")])
    objective = Objective(model, task, length=3, truncate=True)
    row = objective.prepare(task.load("test")).questions[0].inputs[0]
    closing = model.tokenizer(" :" + model.layout.chat.closing, add_special_tokens=False)
    end = row.scored[0] + 1
    assert list(row.ids[end - len(closing["input_ids"]) : end]) == closing["input_ids"]
    assert len(row.ids) <= 128


def test_templates_know_where_a_chat_may_begin() -> None:
    parsed = Template.parse("{soft:2} {chat} {text} {answer}")
    assert parsed.has_chat
    assert parsed.leads_with_soft
    assert Template.parse(parsed.text) == parsed
    assert parsed.without_soft().text == "{chat} {text} {answer}"
    assert (
        Template.parse("{text} {soft} {answer}").in_chat().text == "{chat} {text} {soft} {answer}"
    )
    assert not Template.parse("{chat} {text} {soft} {answer}").answers_from_soft
    for text in ("Say {chat} {text} {answer}", "{text} {chat} {answer}", "{answer} {chat}"):
        with pytest.raises(TaskError, match="expected one {chat}, in front of the text"):
            Template.parse(text)
    with pytest.raises(TaskError, match="expected one {chat}"):
        Template.parse("{chat} {chat} {text} {answer}")


def test_backbones_without_chats_say_so(backbone) -> None:
    task = _task("{soft} {text} : {answer}").with_chat()
    with pytest.raises(TaskError, match="gpt2.*: expected a tokenizer with a chat template"):
        Objective(backbone("gpt2"), task, length=3)
    with pytest.raises(TaskError, match="expected a causal backbone.*got a seq2seq one"):
        Objective(backbone("t5"), task, length=3)
    with pytest.raises(TaskError, match="expected a causal backbone.*got a masked one"):
        Objective(backbone("bert"), task, length=3)


@pytest.mark.parametrize(
    ("chat", "got"),
    [
        ("{{ messages[0]['content'] | upper }}", "got one that changes or repeats it"),
        ("{{ messages[0]['content'] }}{{ messages[0]['content'] }}", "changes or repeats it"),
        ("{{ raise_exception('no system message') }}", "one that fails \\(no system message\\)"),
    ],
)
def test_chat_templates_that_cannot_be_used_are_one_line(model, chat, got) -> None:
    broken = copy.copy(model.layout)
    broken.tokenizer = copy.deepcopy(model.tokenizer)
    broken.tokenizer.chat_template = chat
    broken.__dict__.pop("chat", None)
    with pytest.raises(TaskError, match=got):
        _ = broken.chat
