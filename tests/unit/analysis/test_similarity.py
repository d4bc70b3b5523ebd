"""Measures of similarity against values worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from promptport.analysis import compare, heat_map, label_overlap, write_heat
from promptport.analysis.similarity import (
    cosine,
    norm_ratio,
    principal_cosines,
    sign_conflict,
    subspace_overlap,
    token_cosine,
)
from promptport.errors import MismatchError, PromptPortError, ShapeError
from promptport.library import Library
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, load_vector, save_prompt
from promptport.vector import TaskPromptVector


def rows(*values):
    return torch.tensor(values, dtype=torch.float32)


LEFT = rows([3, 4, 0], [0, 0, 1])
RIGHT = rows([4, 3, 0], [0, 0, -2])
NOTHING = torch.zeros(2, 3)


def vector(values, task="a", seed=0, backbone="toy"):
    origin = None if seed is None else {"kind": "vocabulary", "seed": seed}
    return TaskPromptVector(values, Provenance(backbone, task=task, origin=origin), {task: 1})


def test_measures_by_hand() -> None:
    assert cosine(LEFT, RIGHT) == pytest.approx((24 - 2) / math.sqrt(26 * 29))
    assert token_cosine(LEFT, RIGHT) == pytest.approx((24 / 25 - 1) / 2)
    assert sign_conflict(LEFT, RIGHT) == pytest.approx(1 / 3)  # 3 entries are not 0 in both
    assert norm_ratio(LEFT, RIGHT) == pytest.approx(math.sqrt(26 / 29))
    # Row spaces: two planes that share z; in x, y the lines have the cosine 24 / 25.
    assert principal_cosines(LEFT, RIGHT).tolist() == pytest.approx([1, 0.96])
    assert subspace_overlap(LEFT, RIGHT) == pytest.approx((1 + 0.96**2) / 2)


def test_measures_do_not_see_length() -> None:
    for measure in (cosine, token_cosine, sign_conflict, subspace_overlap):
        assert measure(LEFT, 100 * RIGHT) == pytest.approx(measure(LEFT, RIGHT))
    assert cosine(LEFT, -LEFT) == pytest.approx(-1)
    assert sign_conflict(LEFT, -LEFT) == 1
    assert subspace_overlap(LEFT, -LEFT) == pytest.approx(1)


def test_subspaces_know_rank() -> None:
    line = rows([1, 0, 0], [2, 0, 0])  # rank 1: lies in the plane of x and y
    plane = rows([1, 0, 0], [1, 1, 0])
    assert principal_cosines(line, plane).tolist() == pytest.approx([1])
    assert subspace_overlap(line, plane) == pytest.approx(1)
    assert subspace_overlap(line, rows([0, 1, 0], [0, 0, 1])) == pytest.approx(0)
    wide = torch.randn(5, 400, generator=torch.Generator().manual_seed(0))
    other = torch.randn(5, 400, generator=torch.Generator().manual_seed(1))
    assert subspace_overlap(wide, other) == pytest.approx(5 / 400, abs=0.01)


def test_zeros() -> None:
    assert cosine(LEFT, NOTHING) == 0
    assert token_cosine(LEFT, rows([3, 4, 0], [0, 0, 0])) == pytest.approx(0.5)
    assert sign_conflict(LEFT, NOTHING) == 0
    assert subspace_overlap(LEFT, NOTHING) == 0
    assert principal_cosines(NOTHING, NOTHING).tolist() == []
    assert norm_ratio(LEFT, NOTHING) == math.inf
    assert norm_ratio(NOTHING, LEFT) == 0
    assert norm_ratio(NOTHING, NOTHING) == 1


def test_label_overlap(films, capitals) -> None:
    labels = {"yes": ("Great", "true"), "no": ("false",)}
    assert label_overlap(films, films) == 1
    assert label_overlap(films, replace(films, labels=labels)) == pytest.approx(1 / 6)
    assert label_overlap(films, capitals) is None


def test_compare_and_groups() -> None:
    parts = {
        "a0": vector(rows([1, 0]), "a", 0),
        "a1": vector(rows([1, 1]), "a", 1),
        "b0": vector(rows([0, 1]), "b", 0),
        "?": vector(rows([1, 0]), "a", None),
    }
    found = compare(parts)
    assert found.of == "vectors"
    half = math.sqrt(0.5)
    wanted = torch.tensor(
        [[1, half, 0, 1], [half, 1, half, half], [0, half, 1, 0], [1, half, 0, 1]]
    )
    torch.testing.assert_close(found.matrices["cosine"], wanted.double())
    ratio = found.matrices["norm_ratio"]
    assert float(ratio[1, 0]) == pytest.approx(math.sqrt(2))
    assert float(ratio[0, 1]) == pytest.approx(half)
    assert found.matrices["subspace_overlap"].diagonal().tolist() == pytest.approx([1] * 4)
    assert found.groups() == {
        "same task, other origin": {
            "pairs": 1,
            "cosine": pytest.approx(half),
            "token_cosine": pytest.approx(half),
        },
        "other task, same origin": {"pairs": 1, "cosine": 0, "token_cosine": 0},
        "other task, other origin": {
            "pairs": 1,
            "cosine": pytest.approx(half),
            "token_cosine": pytest.approx(half),
        },
    }
    assert json.loads(json.dumps(found.to_dict()))["names"] == ["a0", "a1", "b0", "?"]


def test_prompts_and_their_vectors_differ() -> None:
    origin = rows([10, 0, 0])
    prompts = {
        name: SoftPrompt(origin + delta, Provenance("toy", task=name), origin)
        for name, delta in (("a", rows([0, 1, 0])), ("b", rows([0, 0, 1])))
    }
    found = compare(prompts)
    assert found.of == "prompts"
    assert float(found.matrices["cosine"][0, 1]) == pytest.approx(100 / 101)
    vectors = {name: TaskPromptVector.of(prompt) for name, prompt in prompts.items()}
    assert float(compare(vectors).matrices["cosine"][0, 1]) == 0


def test_the_inert_half_of_a_peft_folder_is_left_out(tmp_path) -> None:
    used, inert = rows([1, 0], [0, 1]), rows([5, 5], [5, 5])
    for name, sign in (("a", 1), ("b", -1)):
        folder, start = tmp_path / name, torch.full((2, 2), 0.5)
        provenance = Provenance("toy", kind="seq2seq", task=name)
        save_prompt(SoftPrompt(sign * used, provenance, start), folder)
        for file, half in (("adapter_model", sign * used), ("origin", start)):
            whole = torch.cat([half, inert])
            save_file({"prompt_embeddings": whole}, folder / f"{file}.safetensors")
        config = json.loads((folder / "adapter_config.json").read_text())
        assert config["num_virtual_tokens"] == 2
        config["num_transformer_submodules"] = 2
        (folder / "adapter_config.json").write_text(json.dumps(config))
    found = compare({name: load_prompt(tmp_path / name) for name in "ab"})
    assert float(found.matrices["cosine"][0, 1]) == pytest.approx(-1)
    found = compare({name: load_vector(tmp_path / name) for name in "ab"})
    # Deltas (.5 -.5 -.5 .5) and (-1.5 -.5 -.5 -1.5): -1 over lengths 1 and sqrt(5).
    assert float(found.matrices["cosine"][0, 1]) == pytest.approx(-1 / math.sqrt(5))


def test_what_cannot_be_compared() -> None:
    own = vector(rows([1, 0]))
    with pytest.raises(PromptPortError, match="expected two prompts or more, got 1"):
        compare({"a": own})
    with pytest.raises(MismatchError, match="backbone: expected toy, got other"):
        compare({"a": own, "b": vector(rows([1, 0]), backbone="other")})
    with pytest.raises(ShapeError, match=r"got \(1, 2\): a; \(2, 2\): b"):
        compare({"a": own, "b": vector(rows([1, 0], [0, 1]))})


def test_heat_map_is_one_safe_file(tmp_path) -> None:
    parts = {"<b>": vector(rows([1, 0])), "b": vector(rows([1, 1]), "b"), "0": vector(rows([0, 0]))}
    path = write_heat(compare(parts), tmp_path / "deep" / "heat.html")
    html = path.read_text()
    assert "&lt;b&gt;" in html
    assert "<b>" not in html
    assert "<script" not in html
    assert "http" not in html
    assert "0.707" in html
    assert "equal colours are equal" in html
    assert "inf" in html


def test_colours_tell_numbers_apart_and_no_conflict_is_light(tmp_path) -> None:
    scale = heat_map._MAPS["sign_conflict"].scale
    none, some, all_ = (scale.colour(value) for value in (0.0, 0.325, 1.0))
    assert len({none.background, some.background, all_.background}) == 3
    assert none.text != all_.text, "dark text on light, light text on dark"
    light = [sum(int(c.background[i : i + 2], 16) for i in (1, 3, 5)) for c in (none, some, all_)]
    assert light == sorted(light, reverse=True)
    assert light[0] > 3 * 128, "no conflict is light"


def test_equal_numbers_have_equal_colours_on_every_page(tmp_path) -> None:
    near = {"a": vector(rows([1, 0])), "b": vector(rows([2, 1]))}
    far = near | {"c": vector(rows([-2, 1]))}
    shown = f"{float(compare(near).matrices['cosine'][0, 1]):.3f}</td>"
    styles = []
    for name, parts in (("near", near), ("far", far)):
        page = write_heat(compare(parts), tmp_path / name).read_text()
        cells = [cell.partition(">") for cell in page.split("<td ")]
        styles.append({style for style, _, rest in cells if rest.startswith(shown)})
    assert len(styles[0]) == 1
    assert styles[0] == styles[1]


def test_a_library_is_compared_by_prompts_or_vectors(tmp_path) -> None:
    made = Provenance("toy")
    own = [
        SoftPrompt(rows([2, 0]), made, rows([1, 0])),
        SoftPrompt(rows([1, 2]), made, rows([1, 1])),
    ]
    library = Library.of({"a": own[0], "b": own[1]})
    assert compare(library).to_dict() == compare({"a": own[0], "b": own[1]}).to_dict()
    by_vectors = compare(library, "vectors")
    assert by_vectors.of == "vectors"
    assert float(by_vectors.matrices["cosine"][0, 1]) == pytest.approx(0)
    assert compare({"a": own[0], "b": own[1]}, "vectors").of == "vectors"
