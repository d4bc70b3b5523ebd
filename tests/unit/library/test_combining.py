"""Combinations over names: what is found, loaded, merged and refused."""

from __future__ import annotations

import pytest
import torch

from promptport.errors import MismatchError, PromptPortError, UnknownNameError
from promptport.library.combining import CombineConfig, combine
from promptport.library.terms import find_terms
from promptport.merging import SearchConfig
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import save_prompt, save_vector
from promptport.vector import TaskPromptVector

N = 3


@pytest.fixture
def made(backbone):
    """A prompt on an origin of its own, `add` above it."""

    def make(add, task, seed=0):
        model = backbone("bert")
        spec = OriginSpec("vocabulary", seed)
        start = make_origin(spec, model, N)
        provenance = Provenance(
            model.name,
            model.kind,
            fingerprint=model.space.fingerprint,
            template="{subject} {soft} {answer} .",
            task=task,
            origin=spec.to_dict(),
        )
        return SoftPrompt(start + add, provenance, start)

    return make


def test_loaded_prompts_vectors_and_folders_are_combined(made, backbone, tmp_path) -> None:
    first, second, third = made(1.0, "x"), made(2.0, "y", 1), made(3.0, "z", 2)
    save_prompt(third, tmp_path / "c.prompt")
    given = {"a": first, "b": TaskPromptVector.of(second)}
    result = combine(f"a - b/2 + {tmp_path}/c", given, CombineConfig(origin="seed:7"))
    start = make_origin(OriginSpec("vocabulary", 7), backbone("bert"), N)
    torch.testing.assert_close(result.prompt.vectors, start + 3)
    assert result.terms.weights == {"a": 1, "b": -0.5, f"{tmp_path}/c": 1}
    assert result.terms.folders == {f"{tmp_path}/c": tmp_path / "c.prompt"}
    assert result.terms.added == ["a", f"{tmp_path}/c"]
    assert result.vector.label == "x - 0.5*y + z"
    assert (result.method, result.search, result.distilled) == ("sum", None, None)
    assert result.to_dict()["origin"] == {"kind": "vocabulary", "seed": 7}


def test_the_own_origin_is_that_of_the_first(made) -> None:
    first, second = made(1.0, "x"), made(2.0, "y", 1)
    result = combine("a + b", {"a": first, "b": second})
    assert torch.equal(result.prompt.origin, first.origin)
    with pytest.raises(PromptPortError, match="--origin own: expected a first prompt with its or"):
        combine("v", {"v": TaskPromptVector.of(first)})


def test_whole_prompts_stand_behind_each_other(made) -> None:
    first, second = made(1.0, "x"), made(2.0, "y", 1)
    result = combine("a + b", {"a": first, "b": second}, CombineConfig("concatenate"))
    assert torch.equal(result.prompt.vectors, torch.cat([first.vectors, second.vectors]))
    assert (result.vector, result.to_dict()["vector_norms"]) == (None, None)
    with pytest.raises(PromptPortError, match=r"expected whole prompts.*got 2\*b"):
        combine("a + 2*b", {"a": first, "b": second}, CombineConfig("concatenate"))


def test_notes_say_what_may_surprise(made) -> None:
    zero = "the combination is zero: the prompt is the bare origin"
    assert combine("a - a", {"a": made(1.0, "x")}).notes == (zero,)
    assert combine("a", {"a": made(1.0, "x")}).notes == ()


def test_names_are_found_before_anything_is_loaded(made, tmp_path) -> None:
    save_vector(TaskPromptVector.of(made(1.0, "x")), tmp_path / "v")
    terms = find_terms("2*v", {"v": tmp_path / "v"})
    assert terms.prompt_or_none("v") is None
    assert terms.provenance("v").task == "x"
    assert [vector.label for vector in terms.vectors()] == ["x"]
    with pytest.raises(PromptPortError, match=r"--load: expected NAME=FOLDER.*\(a\), got 'b'"):
        find_terms("a", {"a": made(1.0, "x"), "b": made(1.0, "y")})
    with pytest.raises(PromptPortError, match="name 'gone' of the expression: expected a folder"):
        find_terms("gone")


def test_sizes_and_models_that_differ_name_both(made, backbone) -> None:
    first = made(1.0, "x")
    short = SoftPrompt(first.vectors[:2], first.provenance, first.origin[:2])
    with pytest.raises(MismatchError, match=r"a and b: .*3 virtual tokens.*2 virtual tokens"):
        combine("a + b", {"a": first, "b": short})
    other = backbone("gpt2")
    vectors = make_origin(OriginSpec(), other, N)
    record = Provenance(other.name, other.kind, fingerprint=other.space.fingerprint, task="y")
    foreign = SoftPrompt(vectors + 1, record, vectors)
    for method in ("sum", "concatenate"):
        with pytest.raises(MismatchError, match="a and b: expected .* of one model and one size"):
            combine("a + b", {"a": first, "b": foreign}, CombineConfig(method))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"method": "tie"}, UnknownNameError, "Did you mean 'ties'"),
        ({"method": "either"}, PromptPortError, "expected --distill"),
        ({"method": "concatenate", "origin": "seed:1"}, PromptPortError, "got --origin"),
        ({"method": "concatenate", "options": {"k": 1}}, PromptPortError, "got --option"),
        ({"method": "concatenate", "search": SearchConfig()}, PromptPortError, "got --search"),
    ],
)
def test_settings_that_do_not_fit(settings, error, message) -> None:
    with pytest.raises(error, match=message):
        CombineConfig(**settings)
