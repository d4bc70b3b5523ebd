"""Rows of many prompts in one batch get the answers that each gets alone."""

from __future__ import annotations

import os
from dataclasses import replace
from shutil import copytree, rmtree

import pytest
import torch

from promptport.backbone.causal_states import CausalStates
from promptport.backbone.generation import Writing, generate
from promptport.backbone.kept_texts import KeptTexts
from promptport.errors import PromptPortError, TaskError, UnknownNameError
from promptport.objective import Objective, blind_rows
from promptport.prediction import predict
from promptport.prompt import SoftPrompt
from promptport.serving import shelf
from promptport.serving.asks import Ask
from promptport.serving.server import PromptServer, settled
from promptport.storage import save_prompt
from promptport.tasks import Row, Task, Template, WritingConfig
from promptport.tuning.baselines import random_prompt

TEXTS = ("a great film", "the cat and the old river", "bad")


def prompt_of(model, task: Task, length: int, seed: int) -> SoftPrompt:
    made = random_prompt(model, length, seed)
    strong = made.vectors * 4  # so that every prompt answers in its own way
    return replace(made, vectors=strong).with_provenance(
        task=task.name, template=task.template.text
    )


@pytest.fixture
def stories(films) -> Task:
    """Text to text behind a leading prompt."""
    template = Template.parse("{soft} {text} {answer}")
    writing = WritingConfig(max_new_tokens=6)
    return Task("stories", "text2text", template, "exact-match", writing=writing)


@pytest.fixture
def served(backbone, films, capitals, stories):
    """A server with prompts of several tasks, lengths and places, and the tasks by prompt."""

    def get(name: str) -> tuple[PromptServer, dict[str, Task], dict[str, SoftPrompt]]:
        model = backbone(name)
        behind = films.with_template("{text} {soft} It was {answer} .")
        tasks = {"front": films, "behind": behind, "probe": capitals, "twin": films}
        if model.kind != "masked":
            tasks["story"] = stories
        prompts = {
            key: prompt_of(model, task, 2 + seed % 3, seed)
            for seed, (key, task) in enumerate(tasks.items())
        }
        known = {task.name: task for task in tasks.values()}
        return PromptServer(model, prompts, tasks=list(known.values())), tasks, prompts

    return get


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama", "t5"])
def test_mixed_rows_get_what_each_gets_alone(served, name) -> None:
    server, tasks, prompts = served(name)
    asks, alone = [], []
    for text in TEXTS:
        for key in ("front", "probe", "behind", "twin"):
            asks.append(Ask(key, text))
            template = Template.parse(prompts[key].provenance.template)
            alone += predict(
                prompts[key], [text], backbone=server.backbone, task=tasks[key], template=template
            )
    replies = server.answer(asks)
    assert [reply.text for reply in replies] == [own.answer for own in alone]
    for reply, own in zip(replies, alone, strict=True):
        assert dict(reply.probabilities) == pytest.approx(dict(own.probabilities), abs=2e-5)
        assert (reply.ended, reply.written) == ("label", 0)
    assert len({reply.text for reply in replies}) > 1


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_what_is_written_in_a_mixed_batch_is_what_is_written_alone(served, stories, name) -> None:
    server, _, prompts = served(name)
    drawn = {"temperature": 1.5, "seed": 7, "max_new_tokens": 9}
    asks = [
        Ask("story", TEXTS[0]),
        Ask("front", TEXTS[0]),
        Ask("story", TEXTS[1], writing=drawn),
        Ask(None, TEXTS[1], writing={"max_new_tokens": 3}),
        Ask("story", TEXTS[0]),
    ]
    replies = server.answer(asks)
    objective = Objective(server.backbone, stories, length=prompts["story"].length, truncate=True)
    for i, writing in ((0, stories.writing), (2, replace(stories.writing, **drawn))):
        rows = blind_rows([Row({"text": asks[i].text}, "")], objective)
        row = objective.prepare(rows).questions[0].inputs[0]
        (text,) = generate(server.backbone, [row], prompts["story"].vectors, [0], writing)
        assert replies[i].text == text.strip()
    assert replies[4] == replies[0]
    assert 0 < replies[2].written <= 9
    assert replies[3].written <= 3
    assert {reply.ended for reply in replies} <= {"label", "end", "length"}
    assert "".join(server.stream(asks[2])) == replies[2].text


def test_keys_and_values_of_a_leading_prompt_are_computed_once(backbone, films, monkeypatch):
    model = backbone("llama")
    prompts = {f"p{i}": prompt_of(model, films, 4, i) for i in range(3)}
    server = PromptServer(model, prompts, tasks=[films])
    asks = [Ask(name, text) for name in prompts for text in TEXTS]
    first = server.answer(asks)
    passed: list[int] = []
    real = CausalStates._pass

    def counting(self, rows, vectors, starts, past, *, keep=False):
        passed.append(sum(len(row.ids) for row in rows))
        return real(self, rows, vectors, starts, past, keep=keep)

    monkeypatch.setattr(CausalStates, "_pass", counting)
    again = server.answer(asks)
    inputs = [i for ask in asks for i in server.lay_out(ask).question.inputs]
    # Label words of several tokens make a question several inputs, which share more than the prompt
    assert sum(passed) < sum(len(row.ids) - len(row.soft) for row in inputs)
    assert [reply.text for reply in again] == [reply.text for reply in first]
    assert len(server._kept) == len(prompts)


def test_kept_prompts_give_the_same_logits_and_tell_equal_places_apart(backbone, films) -> None:
    model = backbone("gpt2")
    objective = Objective(model, films, length=3)
    row = objective.prepare(films.load("test")[:1]).questions[0].inputs[0]
    kept = KeptTexts(1 << 20, disk=0)
    with torch.no_grad(), model.keeping_prompts(kept):
        for seed in (0, 1, 0):
            vectors = 4 * random_prompt(model, 3, seed).vectors
            whole = model.plain_logits([row], vectors, [0])[..., : len(model.tokenizer)]
            torch.testing.assert_close(
                model.answer_logits([row], vectors, [0]), whole, rtol=1e-4, atol=1e-4
            )
    assert len(kept) == 2


def test_a_folder_that_comes_changes_and_goes_is_noticed(backbone, films, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "_LOOK_AGAIN", 0.0)
    model = backbone("gpt2")
    save_prompt(prompt_of(model, films, 3, 0), tmp_path / "lib" / "one")
    server = PromptServer(model, tmp_path / "lib", tasks=[films])
    assert server.names == ["one"]
    first = server.answer([Ask("one", "a film")])[0]
    save_prompt(prompt_of(model, films, 3, 5), tmp_path / "lib" / "two")
    second = server.answer([Ask("two", "a film")])[0]
    assert second.probabilities != first.probabilities
    rmtree(tmp_path / "lib" / "one")
    copytree(tmp_path / "lib" / "two", tmp_path / "lib" / "one")
    os.utime(tmp_path / "lib" / "one" / "adapter_config.json", ns=(1, 1))
    assert server.answer([Ask("one", "a film")])[0].probabilities == second.probabilities
    rmtree(tmp_path / "lib" / "one")
    with pytest.raises(UnknownNameError, match="got 'one'"):
        server.answer([Ask("one", "a film")])
    assert server.names == ["two"]


def test_a_prompt_that_moved_within_the_library_is_found(backbone, films, tmp_path, monkeypatch):
    monkeypatch.setattr(shelf, "_LOOK_AGAIN", 0.0)
    model = backbone("gpt2")
    for place in ("a/one", "b/two"):
        save_prompt(prompt_of(model, films, 3, 0), tmp_path / place)
    server = PromptServer(model, tmp_path, tasks=[films])
    before = server.answer([Ask("one", "a film")])
    (tmp_path / "a/one").rename(tmp_path / "b/one")
    assert server.answer([Ask("one", "a film")]) == before


def test_a_stand_in_shares_no_question_with_a_task_of_its_name(backbone, films) -> None:
    model = backbone("gpt2")
    known = prompt_of(model, films, 3, 0)
    prompts = {"films": known.with_provenance(task=None), "one": known}
    for names in (("films", "one"), ("one", "films")):
        server = PromptServer(model, {name: prompts[name] for name in names}, tasks=[films])
        told = {name: server.shelf.get(name).to_dict()["kind"] for name in names}
        assert told == {"films": "text2text", "one": "classification"}


def test_a_row_is_named_by_its_place_in_the_request(served) -> None:
    server, _, _ = served("gpt2")
    asks = [Ask("front", "fine"), Ask("twin", "good"), Ask("probe", "x"), Ask("front", " ")]
    with pytest.raises(TaskError, match="text 4: expected a text in 'text', got an empty one"):
        server.answer(asks)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"temperature": 0}, {"temperature": 0, "top_p": 1}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 1}),
        ({"top_p": 0.5}, {"temperature": 0.7, "top_p": 0.5}),
        ({"temperature": 2}, {"temperature": 2, "top_p": 0.9}),
    ],
)
def test_how_a_task_draws_is_changed_by_a_client(backbone, stories, given, wanted) -> None:
    model = backbone("gpt2")
    drawing = replace(stories, writing=WritingConfig(6, temperature=0.7, top_p=0.9))
    server = PromptServer(model, {"story": prompt_of(model, drawing, 2, 0)}, tasks=[drawing])
    writing = server.lay_out(Ask("story", "the cat", writing=given)).writing
    assert (writing.temperature, writing.top_p) == (wanted["temperature"], wanted["top_p"])
    greedy = server.lay_out(Ask(None, "the cat", writing={"top_p": 0.5})).writing
    assert greedy == WritingConfig()


def test_rows_have_a_limit_where_positions_have_none(backbone, films) -> None:
    model = backbone("t5")
    assert model.max_tokens is None
    prompts = {"p": prompt_of(model, films, 3, 0)}
    server = PromptServer(model, prompts, tasks=[films], most_tokens=50)
    assert server.answer([Ask("p", "a film")])[0].text in films.labels
    with pytest.raises(TaskError, match="text 2: expected at most 50 tokens with the prompt, got "):
        server.answer([Ask("p", "a film"), Ask("p", "a film " * 60)])
    free = PromptServer(model, prompts, tasks=[films])
    assert free.answer([Ask("p", "a film " * 60)])[0].read > 50


def test_least_recently_used_prompts_are_let_go(backbone, films, tmp_path) -> None:
    model = backbone("gpt2")
    for i in range(4):
        save_prompt(prompt_of(model, films, 2, i), tmp_path / f"p{i}")
    place = shelf.FolderShelf(model, [tmp_path], {films.name: films}, most=2)
    held = [place.get(f"p{i}") for i in (0, 1, 0, 2)]
    assert set(place._loaded) == {"p0", "p2"}
    assert held[0] is held[2] is place.get("p0")


def test_a_damaged_folder_is_refused_without_its_path(backbone, films, tmp_path) -> None:
    model = backbone("gpt2")
    save_prompt(prompt_of(model, films, 2, 0), tmp_path / "good")
    copytree(tmp_path / "good", tmp_path / "bad")
    (tmp_path / "bad" / "adapter_model.safetensors").write_bytes(b"{}")
    server = PromptServer(model, tmp_path, tasks=[films])
    with pytest.raises(PromptPortError) as caught:
        server.answer([Ask("bad", "a film")])
    assert "bad" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert server.answer([Ask("good", "a film")])[0].text in ("good", "bad")


def test_a_prompt_whose_task_is_not_at_hand_writes_and_says_so(backbone, films) -> None:
    model = backbone("gpt2")
    server = PromptServer(model, {"p": prompt_of(model, films, 2, 0)})
    told = server.shelf.get("p").to_dict()
    assert told["kind"] == "text2text"
    assert told["notes"] == [
        "its task 'films' is not at hand: its answers are written, not chosen among labels"
    ]
    reply = server.answer([Ask("p", "a film", writing={"max_new_tokens": 2})])[0]
    assert reply.probabilities is None
    assert reply.written <= 2


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"prompt": "nothing", "text": "a"}, "got 'nothing'"),
        ({"prompt": "front", "text": " "}, "expected a text in 'text', got an empty one"),
        ({"prompt": "front", "text": {"words": "a"}}, "got only words"),
        ({"prompt": "front", "messages": [{"role": "user", "content": "a"}] * 2}, "2 messages"),
        ({"prompt": "front"}, "got neither"),
        ({"prompt": "front", "text": "a", "messages": []}, "got both"),
        ({"prompt": "front", "messages": []}, "got none"),
        (
            {"prompt": None, "text": "a", "writing": {"temperature": 1, "top_p": 2}},
            "top_p: expected above 0",
        ),
        ({"prompt": None, "messages": [{"role": "user", "content": "a"}]}, "chat template"),
    ],
)
def test_bad_asks_are_one_line(served, ask, message) -> None:
    server, _, _ = served("gpt2")
    with pytest.raises(PromptPortError, match=message):
        server.answer([Ask(**ask)])


def test_a_masked_model_without_a_prompt_is_refused(served) -> None:
    server, _, _ = served("bert")
    with pytest.raises(PromptPortError, match="a masked model cannot write"):
        server.answer([Ask(None, "a film")])


class _Said:
    """A stand-in for `Writing` with a given text."""

    def __init__(self, text: str, ended: str | None) -> None:
        self._text, self._ended = text, ended

    def text(self, _row: int) -> str:
        return self._text

    def ended(self, _row: int) -> str | None:
        return self._ended


@pytest.mark.parametrize(
    ("text", "ended", "stops", "wanted"),
    [
        ("  one two ", None, (), "one two"),
        ("one\ufffd", None, (), "one"),
        ("one\ufffd", "length", (), "one\ufffd"),
        ("one E", None, ("END",), "one"),
        ("one EN", None, ("END",), "one"),
        ("one EM", None, ("END",), "one EM"),
        ("one E", "length", ("END",), "one E"),
    ],
)
def test_only_what_cannot_change_is_told(text, ended, stops, wanted) -> None:
    assert settled(_Said(text, ended), 0, stops) == wanted


def test_rows_that_ended_or_stopped_leave_the_others_alone(backbone, served) -> None:
    server, _, _ = served("gpt2")
    asks = [
        Ask(None, text, writing={"max_new_tokens": n})
        for text, n in zip(TEXTS, (1, 8, 8), strict=False)
    ]
    laid_out = [server.lay_out(ask) for ask in asks]
    writing: Writing = server.begin(laid_out)
    writing.step()
    writing.stop(2)
    while not writing.is_done:
        writing.step()
    assert writing.text(1).strip() == server.answer([asks[1]])[0].text
    assert writing.tokens(2) == 1
    assert writing.ended(2) == "stopped"
    with pytest.raises(TaskError, match="whose last message is the user's"):
        Ask(None, messages=[{"role": "assistant", "content": "a"}])


@pytest.fixture
def of_two(backbone, films):
    """A prompt that answers two tasks, each with virtual tokens at a place of its own."""
    model = backbone("gpt2")
    kinds = replace(
        films,
        name="kinds",
        template=Template.parse("{text} {soft} is {answer}"),
        labels={"old": ("old",), "sad": ("sad",)},
    )
    made = prompt_of(model, films, 3, 0).with_provenance(
        task="films + kinds",
        template=None,
        templates={"films": films.template.text, "kinds": kinds.template.text},
    )
    return model, made, {"films": films, "kinds": kinds}


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_prompt_of_several_tasks_is_asked_each_as_it_was_tuned(of_two, tmp_path, in_memory):
    model, made, tasks = of_two
    save_prompt(made, tmp_path / "both")
    prompts = {"both": made} if in_memory else tmp_path
    server = PromptServer(model, prompts, tasks=list(tasks.values()))
    assert server.names == ["both"]
    replies = server.answer([Ask(f"both#{name}", text) for name in tasks for text in TEXTS])
    alone = [
        own for task in tasks.values() for own in predict(made, TEXTS, backbone=model, task=task)
    ]
    assert [reply.text for reply in replies] == [own.answer for own in alone]
    for reply, own in zip(replies, alone, strict=True):
        assert dict(reply.probabilities) == pytest.approx(dict(own.probabilities), abs=2e-5)
    told = server.shelf.get("both#kinds").to_dict()
    assert (told["task"], told["template"]) == ("kinds", "{text} {soft} is {answer}")
    (note,) = server.shelf.get("both").notes
    assert note.startswith("it answers several tasks: ask for both#films or both#kinds")
    for name in ("both#film", "both#", "other#films"):
        with pytest.raises(UnknownNameError, match="prompt: expected the name of a prompt"):
            server.answer([Ask(name, "a film")])


def test_a_name_with_the_sign_of_a_task_is_itself(of_two, tmp_path) -> None:
    model, made, tasks = of_two
    save_prompt(made, tmp_path / "both")
    save_prompt(made.with_provenance(task="kinds", templates=None), tmp_path / "both#films")
    server = PromptServer(model, tmp_path, tasks=list(tasks.values()))
    assert server.shelf.get("both#films").task.name == "kinds"
