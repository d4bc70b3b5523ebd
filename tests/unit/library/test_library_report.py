"""The report of a library: what it tells, that nothing in it is markup, what words are next."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

from promptport import Catalog, load_prompt
from promptport.catalog.kept_answers import ANSWERS_FILE
from promptport.catalog.showing import Curve
from promptport.library import near_words as near_words_module
from promptport.library.near_words import near_words, words_of
from promptport.library.profiles import profiles
from promptport.library.report import curve_figure, write_library_report
from promptport.storage import save_prompt
from promptport.tuning import random_prompt


@pytest.fixture
def place(backbone, tmp_path):
    model = backbone("bert")
    tuning = {
        **{"dev_score": 0.75, "dev_rows": 16, "metric": "accuracy", "best_epoch": 2},
        "curve": [[1, 2.0, 1.5, 0.25], [2, 1.0, 1.25, 0.5]],
    }
    for seed, name in enumerate(("a", "b", "<img src=x onerror=alert(1)>")):
        start = random_prompt(model, 2, seed)
        vectors = start.vectors.clone()
        vectors[0] = model.space.rows([model.space.words["river"]])[0] * 1.5
        prompt = replace(start, vectors=vectors, origin=start.vectors * 0.5)
        made = prompt.with_provenance(task="</script><script>alert(2)</script>", tuning=tuning)
        save_prompt(made, tmp_path / "lib" / name)
    return tmp_path / "lib"


class Tags(HTMLParser):
    """All tags with what they hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag


def test_words_next_to_virtual_tokens_are_kept(place, monkeypatch) -> None:
    found, notes = near_words(Catalog.open(place))
    assert notes == []
    for own in found.values():
        word, cosine = own[0][0]
        assert (word, round(cosine, 5)) == ("river", 1.0)
        assert len(own) == 2
    assert "river" in words_of(found["a"])
    hits = Catalog.open(place).search("river", near={n: words_of(o) for n, o in found.items()})
    assert {hit.name for hit in hits} == set(found)
    assert all(set(hit.where) == {"near words"} for hit in hits)

    def refuse(*_, **__):
        raise AssertionError("a model was opened")

    monkeypatch.setattr(near_words_module, "open_space", refuse)
    assert near_words(Catalog.open(place))[0] == found
    monkeypatch.undo()
    (place / ANSWERS_FILE).unlink()
    assert near_words(Catalog.open(place))[0] == found


def test_a_model_that_is_not_here_or_another_has_no_words(place, backbone, tmp_path) -> None:
    model = backbone("bert")
    far = random_prompt(model, 2, 7).with_provenance(backbone="somebody/model")
    save_prompt(far, place / "far")
    wrong = random_prompt(model, 2, 8).with_provenance(fingerprint="0" * 64)
    save_prompt(wrong, place / "wrong")
    found, notes = near_words(Catalog.open(place))
    assert not {"far", "wrong"} & set(found)
    assert len(notes) == 2
    assert any("one that is embedded or on this machine" in note for note in notes)
    assert any("the one that it was made on" in note for note in notes)


def test_profiles_by_hand(place) -> None:
    looked = profiles(Catalog.open(place))
    own = looked.by_name["a"]
    (map_,) = looked.maps
    names = list(map_.names)
    rows = {n: load_prompt(place / n).vectors for n in names}
    assert own.norms == pytest.approx(rows["a"].norm(dim=1).tolist())
    wanted = torch.nn.functional.cosine_similarity(rows["a"].flatten(), rows["b"].flatten(), dim=0)
    assert float(map_.cosines[names.index("a"), names.index("b")]) == pytest.approx(
        float(wanted), abs=1e-6
    )
    assert {other.name for other in own.similar} == set(names) - {"a"}
    first, second = own.similar
    assert first.tuned >= second.tuned


def test_nothing_in_the_report_is_markup(place, tmp_path) -> None:
    file = tmp_path / "report.html"
    assert write_library_report(Catalog.open(place), file, title="<b>ours</b>") == []
    text = file.read_text()
    tags = Tags(text).seen
    assert [tag for tag, _ in tags].count("script") == 1
    assert not [tag for tag, _ in tags if tag in ("img", "b", "iframe", "link")]
    assert not [name for _, own in tags for name in own if name.startswith("on")]
    addresses = [own.get("href") or own.get("src") for _, own in tags]
    assert all(each is None or each.startswith("#") for each in addresses), "no network"
    policy = next(own["content"] for tag, own in tags if own.get("http-equiv"))
    assert re.fullmatch(
        r"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]{44}'", policy
    )
    assert text.startswith("<!doctype html>")
    assert "<title>promptport" in text[:800]
    for told in ("0.75 (0.51 to 0.90), accuracy on 16 dev rows", "river", "polyline"):
        assert told in text
    ids = [own["id"] for _, own in tags if own.get("id")]
    assert len(ids) == len(set(ids))
    assert {own["href"][1:] for tag, own in tags if tag == "a"} <= set(ids)
    assert str(place.parent) not in text, "no path of this machine"


def test_a_part_of_a_library(place, tmp_path) -> None:
    file = tmp_path / "report.html"
    notes = write_library_report(Catalog.open(place), file, most=1)
    assert notes == ["2 more prompts are not shown"]
    assert len([tag for tag, _ in Tags(file.read_text()).seen if tag == "details"]) == 1


def test_a_curve_lies_in_its_frame() -> None:
    curve = Curve((1, 2, 4), (2.0, 1.0, 0.0), (1.5, 1.0, 1.0), (0.5, 0.5, 0.5), 2)
    drawn = curve_figure(curve)
    points = [tuple(map(float, point.split(","))) for point in drawn.train.split()]
    assert points[0] == (drawn.left, drawn.top)
    assert points[-1] == (drawn.right, drawn.bottom)
    assert points[1][0] == pytest.approx(drawn.left + (drawn.right - drawn.left) / 3, abs=0.1)
    assert drawn.best == points[1][0]
    middle = (drawn.top + drawn.bottom) / 2
    assert {point.split(",")[1] for point in drawn.scores.split()} == {f"{middle:.1f}"}
    assert "dev loss from 1.5 to 1" in drawn.label


def test_paths_are_left_out_and_nothing_else(place, monkeypatch) -> None:
    (place / "b/adapter_model.safetensors").write_bytes(b"x")
    monkeypatch.chdir(place)
    for library in (".", place, "../lib"):
        (note,) = write_library_report(Catalog.open(library), "report.html")
        page = html.unescape((place / "report.html").read_text())
        shown = page.partition("left out, damaged: ")[2].partition("<")[0]
        assert shown.startswith(("b/adapter_model.safetensors: ", "lib/b/adapter_model."))
        assert "safetensors" in note


def test_names_that_are_no_text_are_shown(place) -> None:
    (place / "a").rename(place / "a\udcff")
    write_library_report(Catalog.open(place), place / "report.html")
    assert b"a\\udcff" in (place / "report.html").read_bytes()
