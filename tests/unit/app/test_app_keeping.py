"""Tags, the trash and the Hub, as the page uses them."""

from __future__ import annotations

import pytest
from tests.hub import instead_of_the_hub
from tests.unit.catalog.conftest import made

from promptport import load_prompt, save_prompt
from promptport.app.jobs import Desk
from promptport.app.state import AppState, asked_of
from promptport.app.work import Session, work
from promptport.catalog import Catalog
from promptport.errors import PromptPortError
from promptport.tuning.baselines import random_prompt


@pytest.fixture
def desk():
    opened = Desk()
    yield opened
    opened.close()


@pytest.fixture
def state(tmp_path, desk):
    for place, seed, name in (("one", 1, "a"), ("two", 2, "b"), ("two", 3, "a")):
        save_prompt(made(seed, task=f"task-{seed}"), tmp_path / place / name)
    return AppState([tmp_path / "one", tmp_path / "two"], desk)


def test_tags_of_one_of_two_prompts_of_the_same_name(state) -> None:
    entry = next(e for e in state.catalog().entries if e.task == "task-3")
    state.tag(entry, add=["good", "old"])
    state.tag(entry, drop=["old"])
    assert {e.task: e.tags for e in state.reread().entries} == {
        "task-1": (),
        "task-2": (),
        "task-3": ("good",),
    }
    with pytest.raises(PromptPortError, match="expected"):
        state.tag(entry, drop=["never"])


def test_what_is_removed_is_listed_once_and_comes_back(state, tmp_path) -> None:
    from promptport.catalog import changing

    entry = next(e for e in state.catalog().entries if e.task == "task-3")
    assert state.remove(entry) == []
    assert sorted(e.task for e in state.reread().entries) == ["task-1", "task-2"]
    ((place, removed),) = state.removed()
    assert (place, removed.name) == (tmp_path / "two", "a")
    # Another one of the same name, removed later, is the one that comes back.
    save_prompt(made(4, task="task-4"), tmp_path / "two" / "a")
    state.remove(next(e for e in state.reread().entries if e.task == "task-4"))
    ((place, removed),) = state.removed()
    changing.restore(removed.name, place)
    assert sorted(e.task for e in state.reread().entries) == ["task-1", "task-2", "task-4"]


@pytest.mark.long
def test_a_prompt_goes_to_the_hub_and_comes_back(tmp_path, monkeypatch) -> None:
    from promptport.backbone import Backbone

    model = Backbone.load("nano-bert", device="cpu", dtype="float32")
    prompt = random_prompt(model, 3, 0).with_provenance(task="sentiment")
    save_prompt(prompt, tmp_path / "lib" / "mine")
    asked = {
        "prompt": asked_of(Catalog.open(tmp_path / "lib").show("mine")),
        "repo": "ann/mine",
        "base_model": "",
        "licence": "mit",
        "public": False,
        "dry_run": True,
    }
    session, said = Session(), []
    with instead_of_the_hub(monkeypatch, tmp_path) as server:
        looked = work(session, "push", asked, said.append)
        assert looked["url"] is None
        assert looked["private"]
        assert "license: mit" in looked["card"]
        assert server.repositories == {}
        sent = work(session, "push", {**asked, "dry_run": False}, said.append)
        assert sent["url"].startswith(server.url)
        assert sent["files"] == looked["files"]
        got = {"repo": "ann/mine", "name": "again", "library": str(tmp_path / "lib")}
        pulled = work(session, "pull", got, said.append)
        assert (pulled["name"], pulled["model"], pulled["task"]) == (
            "again",
            "nano-bert",
            "sentiment",
        )
        assert (load_prompt(tmp_path / "lib" / "again").vectors == prompt.vectors).all()
        for wrong, line in (("again", "a name that is free"), ("../x", "without a slash")):
            with pytest.raises(PromptPortError, match=line):
                work(session, "pull", {**got, "name": wrong}, said.append)
        with pytest.raises(PromptPortError, match="ann/none"):
            work(session, "pull", {**got, "repo": "ann/none", "name": "other"}, said.append)
        assert not (tmp_path / "lib" / "other").exists()
