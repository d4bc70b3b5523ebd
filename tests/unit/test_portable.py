"""Portable prompts give what a transfer gives; their files come back whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from promptport.errors import (
    AnchorError,
    FileFormatError,
    MismatchError,
    ShapeError,
    StorageError,
    UnknownNameError,
)
from promptport.files import read_metadata
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.records import checksum_of_tensors
from promptport.space import EmbeddingSpace
from promptport.storage import load_portable, save_portable, save_prompt
from promptport.transfers import encode_prompt, transfer
from promptport.transfers.describing import LOST_WEIGHT

N = 4


def _prompt(space, *, anchored=False):
    generator = torch.Generator().manual_seed(5)
    provenance = Provenance(
        space.backbone,
        space.kind,
        fingerprint=space.fingerprint,
        template="{soft} {text}",
        task="t",
        origin={"kind": "normal", "seed": 1},
        history=({"step": "merge"},),
    )
    if not anchored:
        return SoftPrompt(3 * torch.randn(N, space.width, generator=generator), provenance)
    words = tuple(sorted(space.words))
    logits = 6 * torch.randn(N, len(words), generator=generator)
    mixture = Mixture(words, logits.softmax(dim=1))
    return SoftPrompt(mixture.vectors(space), provenance, mixture=mixture)


def _renamed(space, tokens, name):
    words = {token: i for i, token in enumerate(tokens)}
    return EmbeddingSpace(name, space.matrix, tuple(tokens), words, {}, kind=space.kind)


@pytest.fixture
def pair(alike_pair):
    """Two spaces that share 500 of 600 words, in another order."""
    source, target = alike_pair()
    names = [f"word{i:04d}" for i in range(600)]
    source = _renamed(source, names, "left")
    return source, _renamed(target, [*names[:500], *(f"other{i}" for i in range(100))], "right")


@pytest.fixture
def portable(pair):
    return encode_prompt(_prompt(pair[0], anchored=True), pair[0])


@pytest.fixture
def file(portable, tmp_path):
    return save_portable(portable, tmp_path / "p.portable")


@pytest.mark.parametrize(
    ("settings", "anchored"),
    [
        ({}, False),
        ({"magnitude": "paper"}, False),
        ({"magnitude": "keep"}, False),
        ({"options": {"topk": 40}}, False),
        ({"method": "gradient", "options": {"steps": 20}, "seed": 3}, False),
        ({}, True),
        ({"magnitude": "token"}, True),
        ({"method": "least_squares"}, True),
    ],
)
@pytest.mark.parametrize("chosen", [None, 450])
def test_equals_the_direct_transfer(pair, tmp_path, settings, anchored, chosen) -> None:
    source, target = pair
    prompt = _prompt(source, anchored=anchored)
    words = None if chosen is None else sorted(source.words)[-chosen:]
    direct = transfer(prompt, source, target, words=words, roundtrip=False, **settings)
    encoded = encode_prompt(prompt, source, words)
    again = load_portable(save_portable(encoded, tmp_path / "p"))
    decoded = transfer(again, target, **settings)
    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(decoded.prompt.vectors, direct.prompt.vectors, **close)
    for name in ("anchors", "method", "options", "magnitude", "seed", "source", "target"):
        assert getattr(decoded.report, name) == getattr(direct.report, name), name
    for name in ("matching", "norm_ratio", "norm_ratio_source", "kept_weight", "parallel"):
        wanted = getattr(direct.report, name)
        assert getattr(decoded.report, name) == pytest.approx(wanted, abs=1e-5), name
    assert decoded.report.nearest_before == direct.report.nearest_before
    mixtures = decoded.prompt.mixture, direct.prompt.mixture
    assert (mixtures[0] is None) == (mixtures[1] is None)
    if mixtures[0] is not None and mixtures[1] is not None:
        assert mixtures[0].words == mixtures[1].words
        torch.testing.assert_close(mixtures[0].weights, mixtures[1].weights, **close)


def test_with_fewer_anchors_than_dimensions(pair) -> None:
    source, target = pair
    words = sorted(source.words)[:10]
    prompt = _prompt(source)
    direct = transfer(prompt, source, target, words=words, minimum_anchors=5)
    decoded = transfer(encode_prompt(prompt, source, words), target, minimum_anchors=5)
    torch.testing.assert_close(decoded.prompt.vectors, direct.prompt.vectors, atol=1e-5, rtol=1e-5)


def test_words_without_length_are_left_out_on_both_sides(pair) -> None:
    source, target = pair
    target.matrix[7] = 0
    source.matrix[8] = 0
    prompt = _prompt(source)
    encoded = encode_prompt(prompt, source)
    assert len(encoded.words) == 599
    decoded, direct = transfer(encoded, target), transfer(prompt, source, target)
    assert decoded.report.anchors == direct.report.anchors == 498
    torch.testing.assert_close(decoded.prompt.vectors, direct.prompt.vectors, atol=1e-5, rtol=1e-5)


def test_provenance_travels(pair) -> None:
    source, target = pair
    decoded = transfer(encode_prompt(_prompt(source), source), target)
    told = decoded.prompt.provenance
    assert (told.backbone, told.template, told.task) == ("right", "{soft} {text}", "t")
    assert told.fingerprint == target.fingerprint
    assert told.origin is None
    assert told.history[0] == {"step": "merge"}
    assert told.history[1]["step"] == "decode"
    assert told.history[1]["source_fingerprint"] == source.fingerprint
    assert told.history[1]["origin"] == {"kind": "normal", "seed": 1}
    report = decoded.report
    assert (report.roundtrip, report.agreement, report.labels_used) == (None, None, False)
    assert report.coverage == (500 / 600, 500 / 600)


def test_a_mixture_loses_nothing_but_rounding(pair) -> None:
    prompt = _prompt(pair[0], anchored=True)
    whole, light = prompt.mixture, encode_prompt(prompt, pair[0]).mixture
    assert len(light.words) < len(whole.words)
    back, _ = light.over({word: i for i, word in enumerate(whole.words)})
    assert float((back - whole.weights).abs().sum(1).max()) < 3 * LOST_WEIGHT


@pytest.mark.parametrize("method", ["procrustes", "linear_map.v1", "copy", "omp"])
def test_methods_that_need_the_source_are_refused(portable, pair, method) -> None:
    with pytest.raises(MismatchError, match=r"does not look at the source's rows .*least_squares"):
        transfer(portable, pair[1], method=method)


def test_other_refusals(portable, pair) -> None:
    source, target = pair
    with pytest.raises(UnknownNameError, match="Did you mean 'gradient'"):
        transfer(portable, target, method="gradien")
    with pytest.raises(UnknownNameError, match="option of least_squares"):
        transfer(portable, target, method="least_squares", options={"steps": 3})
    with pytest.raises(UnknownNameError, match="magnitude rule"):
        transfer(portable, target, magnitude="long")
    with pytest.raises(AnchorError, match=r"at least 501 shared words, got 500 \(right\)"):
        transfer(portable, target, minimum_anchors=501)
    with pytest.raises(MismatchError, match="expected a mixture prompt"):
        transfer(encode_prompt(_prompt(source), source), target, method="mixture")
    with pytest.raises(MismatchError, match="virtual tokens 16 wide"):
        encode_prompt(_prompt(source), target)
    with pytest.raises(AnchorError, match="at least 1 shared words, got 0"):
        encode_prompt(_prompt(source), source, ["nowhere"])
    zero = SoftPrompt(torch.zeros(1, source.width), Provenance("left"))
    with pytest.raises(ShapeError, match="zero or not finite"):
        encode_prompt(zero, source)


def test_a_single_virtual_token(pair, tmp_path) -> None:
    prompt = SoftPrompt(torch.ones(1, pair[0].width), Provenance("left"))
    encoded = encode_prompt(prompt, pair[0])
    again = load_portable(save_portable(encoded, tmp_path / "p"))
    assert again.parallel is None
    assert transfer(again, pair[1]).report.parallel is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"relative": torch.full((N, 600), float("nan"))}, r"relative: expected cosines"),
        ({"relative": torch.full((N, 600), 1.1)}, r"relative: expected cosines"),
        ({"relative": torch.zeros(N, 599)}, r"expected \(4, 600\), .*got \(4, 599\)"),
        ({"relative": torch.zeros(600)}, r"got \(600,\)"),
        ({"norms": torch.ones(N + 1)}, r"expected \(5, 600\)"),
        ({"norms": torch.zeros(N)}, "norms: expected finite numbers above 0"),
        ({"words": ("a",) * 600}, r"expected \(4, 1\)"),
        ({"nearest": ((),)}, "nearest: expected none, or 4 rows, got 1"),
        ({"mixture": Mixture(("a",), torch.ones(1, 1))}, "mixture: expected 4 rows, got 1"),
    ],
)
def test_bad_values(portable, changes, message) -> None:
    with pytest.raises(ShapeError, match=message):
        replace(portable, **changes)


# Files


def test_a_file_comes_back_bit_for_bit(portable, file) -> None:
    again = load_portable(file)
    for name in ("words", "provenance", "nearest", "parallel"):
        assert getattr(again, name) == getattr(portable, name), name
    assert torch.equal(again.relative, portable.relative)
    assert torch.equal(again.norms, portable.norms)
    assert again.mixture is not None
    assert again.mixture.words == portable.mixture.words
    assert torch.equal(again.mixture.weights, portable.mixture.weights)
    save_portable(again, file)  # in place of the old one
    assert [f.name for f in file.parent.iterdir()] == [file.name]


def _rewrite(file, change, *, sign=True):
    """Change tensors and record of a file, with a fitting checksum if it is signed."""
    tensors, header = load_file(file), read_metadata(file)
    record = json.loads(header["promptport"])
    change(tensors, record)
    header["promptport"] = text = json.dumps(record)
    if sign:
        header["checksum"] = checksum_of_tensors(tensors, text.encode())
    save_file(tensors, file, header)


def _number(tensors, name, place, value):
    tensors[name] = tensors[name].clone()
    tensors[name][place] = value


DAMAGE = {
    "newer": (lambda t, r: r.update(schema=2), "expected schema 1 or older, got 2. Update"),
    "schema": (lambda t, r: r.update(schema="1"), "a field 'schema' with a whole number"),
    "words": (lambda t, r: r.update(words=None), "'words' with a list of words, got NoneType"),
    "word": (lambda t, r: r["words"].__setitem__(0, 3), "'words' with a list of words"),
    "fewer words": (lambda t, r: r["words"].pop(), r"got \(4, 600\)"),
    "prompt": (lambda t, r: r.update(prompt=None), "a field 'prompt' with an object"),
    "provenance": (lambda t, r: r["prompt"].update(colour="red"), "got 'colour'"),
    "nearest": (lambda t, r: r.update(nearest=[["a", 1.0]]), "a field 'nearest'"),
    "parallel": (lambda t, r: r.update(parallel="high"), "a field 'parallel' with a number"),
    "tensor": (lambda t, r: t.pop("lengths"), "a tensor 'lengths', .*got none"),
    "type": (lambda t, r: t.update(relative=t["relative"].half()), "got torch.float16"),
    "flat": (lambda t, r: t.update(relative=t["relative"].flatten()), r"2-dim.*got .*\(2400,\)"),
    "nan": (lambda t, r: _number(t, "relative", (0, 0), float("nan")), "cosines in"),
    "infinite": (lambda t, r: _number(t, "lengths", 0, float("inf")), "finite numbers above 0"),
    "column": (lambda t, r: _number(t, "mixture_columns", 0, 9999), "columns of the mixture"),
    "counts": (lambda t, r: _number(t, "mixture_counts", 0, 1), "columns of the mixture"),
    "weight": (lambda t, r: _number(t, "mixture_weights", 0, -1.0), "weights .* >= 0"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_content(file, damage) -> None:
    change, message = DAMAGE[damage]
    _rewrite(file, change)
    with pytest.raises(FileFormatError, match=message) as caught:
        load_portable(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda t, r: _number(t, "relative", (1, 2), 0.5),
        lambda t, r: r["words"].reverse(),
        lambda t, r: r["prompt"].update(task="other"),
    ],
)
def test_silent_changes_are_found(file, change) -> None:
    _rewrite(file, change, sign=False)
    with pytest.raises(FileFormatError, match="expected the values that were saved, got others"):
        load_portable(file)


def test_damaged_files(portable, file, tmp_path) -> None:
    whole = file.read_bytes()
    for cut, message in ((0, "an empty file"), (100, "truncated"), (len(whole) - 1, "truncated")):
        file.write_bytes(whole[:cut])
        with pytest.raises(FileFormatError, match=message):
            load_portable(file)
    torch.save({"relative": portable.relative}, file)
    with pytest.raises(FileFormatError, match="torch pickle"):
        load_portable(file)
    save_file({"relative": portable.relative}, file)
    with pytest.raises(FileFormatError, match="a safetensors file of tensors alone"):
        load_portable(file)
    save_file({"relative": portable.relative}, file, {"promptport": "{"})
    with pytest.raises(FileFormatError, match="got something else"):
        load_portable(file)


def test_places(portable, pair, tmp_path) -> None:
    with pytest.raises(StorageError, match="nothing at this path"):
        load_portable(tmp_path / "none")
    save_prompt(_prompt(pair[0]), tmp_path / "p")
    with pytest.raises(StorageError, match="got a folder.*promptport export"):
        load_portable(tmp_path / "p")
    with pytest.raises(StorageError, match="Is a directory"):
        save_portable(portable, tmp_path / "p")
    assert [f.name for f in tmp_path.iterdir()] == ["p"]
