"""Names, versions and options of transfer methods."""

from __future__ import annotations

import pytest
import torch

from promptport.errors import PromptPortError, UnknownNameError
from promptport.transfers import find_method, list_methods, registry, transfer_method


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A copy, so that methods of these tests are gone afterwards."""
    monkeypatch.setattr(registry.METHODS, "_methods", dict(registry.METHODS._methods))


def add(name):
    @transfer_method(name, paper="none")
    def made(problem, *, size: int = 3, share: float = 0.5, rule: str | None = None):
        """First line.

        More.
        """
        return torch.full((1, 1), size * share)

    return made


def test_built_in_methods_have_a_paper_and_a_summary():
    methods = {m.name: m for m in list_methods()}
    assert {"gradient.v1", "least_squares.v1"} <= methods.keys()
    assert all(m.paper and m.summary for m in methods.values())
    assert methods["gradient.v1"].options == {
        "steps": 2000,
        "learning_rate": 5e-3,
        "topk": None,
        "absolute": False,
    }


def test_bare_names_mean_the_newest_version():
    for version in (2, 10, 9):
        add(f"fancy.v{version}")
    assert find_method("fancy").name == "fancy.v10"
    assert find_method("fancy.v2").name == "fancy.v2"
    names = [m.name for m in list_methods() if m.name.startswith("fancy")]
    assert names == ["fancy.v2", "fancy.v9", "fancy.v10"]
    assert find_method("fancy").summary == "First line."


def test_unknown_names_are_guessed():
    with pytest.raises(
        UnknownNameError, match=r"got 'least_square'\. Did you mean 'least_squares'\?"
    ):
        find_method("least_square")
    with pytest.raises(UnknownNameError, match=r"Did you mean 'gradient\.v1'\?"):
        find_method("gradient.v9")
    with pytest.raises(UnknownNameError, match=r"gradient, least_squares.*Choose one"):
        find_method("zzz")


def test_duplicates_and_bad_names_are_refused():
    add("fancy.v1")
    with pytest.raises(PromptPortError, match=r"got fancy\.v1, which is taken\. Raise the version"):
        add("fancy.v1")
    for name in ("fancy", "fancy.v0", "Fancy.v1", "fancy.1"):
        with pytest.raises(PromptPortError, match="expected a name like least_squares.v1"):
            add(name)


def test_methods_must_have_optional_keyword_options():
    with pytest.raises(PromptPortError, match="Make every option keyword-only"):
        transfer_method("odd.v1", paper="none")(lambda problem, size=3: problem)
    with pytest.raises(PromptPortError, match=r"expected f\(problem, \*, option=default\)"):
        transfer_method("odd.v1", paper="none")(lambda problem, *, size: problem)


def test_options_are_checked_and_completed():
    add("fancy.v1")
    method = find_method("fancy")
    assert method.complete({"share": 1}) == {"size": 3, "share": 1, "rule": None}
    assert float(method(None, {"size": 4})) == 2.0
    with pytest.raises(UnknownNameError, match=r"option of fancy\.v1: .*Did you mean 'size'\?"):
        method.complete({"sizes": 4})
    wrong = [("size", 1.5), ("size", True), ("size", "2"), ("share", "1e-3"), ("rule", 3)]
    for name, value in wrong:
        with pytest.raises(
            PromptPortError, match=f"option {name} of fancy.v1: expected a value of type"
        ):
            method.complete({name: value})
    with pytest.raises(UnknownNameError, match=r"option of bare\.v1: expected none, got 'size'"):
        transfer_method("bare.v1", paper="none")(lambda problem: problem)
        find_method("bare").complete({"size": 1})
