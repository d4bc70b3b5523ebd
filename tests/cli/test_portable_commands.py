"""promptport export and import, as a user types them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from tests.cli.conftest import fails
from tests.models import save_model

from promptport.backbone import Backbone
from promptport.mixture import Mixture
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_portable, load_prompt, save_prompt, save_vector
from promptport.vector import TaskPromptVector

N = 3
KINDS = {"bert": "masked", "llama": "causal", "t5": "seq2seq"}


@pytest.fixture
def saved(backbone, tmp_path, monkeypatch):
    """Factory: folder of a prompt of an architecture, in the current directory."""
    monkeypatch.chdir(tmp_path)

    def make(name, *, anchored=False):
        model = backbone(name)
        space = model.space
        provenance = Provenance(
            model.name,
            model.kind,
            fingerprint=space.fingerprint,
            template="{soft} {text}",
            task="t",
        )
        generator = torch.Generator().manual_seed(0)
        mixture, vectors = None, torch.randn(N, space.width, generator=generator)
        if anchored:
            words = tuple(sorted(space.words))
            weights = torch.randn(N, len(words), generator=generator).softmax(dim=1)
            mixture = Mixture(words, weights)
            vectors = mixture.vectors(space)
        save_prompt(SoftPrompt(vectors, provenance, mixture=mixture), name)
        return name

    return make


@pytest.mark.slow
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize(("source", "target"), [("bert", "llama"), ("llama", "t5"), ("t5", "bert")])
def test_every_kind(run_cli, run_printed, saved, model_folder, source, target, anchored) -> None:
    prompt, place = saved(source, anchored=anchored), model_folder(target)
    code, out, err = run_cli(
        "export", prompt, "--format", "portable", "--out", "p.portable", "--json"
    )
    assert code == 0
    run_printed(err)
    told = json.loads(out)
    assert told["length"] == N
    assert (told["mixture_words"] is not None) == anchored
    assert told["words"] == len(load_portable("p.portable").words)
    options = ("--to", place, "--minimum-anchors", "5")
    code, out, err = run_cli("import", "p.portable", *options, "--out", "Q", "--json")
    assert code == 0
    # Tables alone keep little of a free prompt, and that is said wherever they are used.
    assert ("next to nothing about a free prompt" in err) == (not anchored)
    found = json.loads(out)
    assert found["method"] == ("mixture.v1" if anchored else "least_squares.v1")
    assert found["roundtrip"] is None
    assert sum("0.36 of the score" in warning for warning in found["warnings"]) == (not anchored)
    code, _, err = run_cli("transfer", prompt, *options, "--out", "D")
    assert code == 0, err
    decoded, direct = load_prompt("Q"), load_prompt("D")
    torch.testing.assert_close(decoded.vectors, direct.vectors, atol=1e-5, rtol=1e-5)
    assert decoded.provenance.kind == KINDS[target]
    assert decoded.provenance.template == "{soft} {text}"
    Backbone.load(str(place), device="cpu").check_prompt(decoded)


def test_without_the_source_model(run_cli, tmp_path, monkeypatch, model_folder) -> None:
    monkeypatch.chdir(tmp_path)
    model = Backbone.load(str(save_model("bert", tmp_path / "home")), device="cpu")
    save_prompt(SoftPrompt(torch.ones(N, model.width), Provenance(model.name)), "P")
    assert run_cli("export", "P", "--out", "p.portable")[0] == 0
    shutil.rmtree("home")
    shutil.rmtree("P")
    options = ("--to", model_folder("gpt2"), "--out", "Q", "--minimum-anchors", "5")
    code, out, err = run_cli("import", "p.portable", *options)
    assert code == 0
    assert "before" in out
    # The prompt remembers no task, so nothing is printed that would need one.
    assert "promptport inspect Q" in err
    assert load_prompt("Q").provenance.history[-1]["step"] == "decode"


def test_options(run_cli, saved, model_folder, tmp_path) -> None:
    prompt = saved("bert")
    words = sorted(load_portable_words(run_cli, prompt))[:20]
    (tmp_path / "words.txt").write_text("\n".join(words))
    args = ("export", prompt, "--backbone", model_folder("bert"), "--words", "words.txt")
    code, _, err = run_cli(*args, "--out", "few.portable")
    assert code == 0
    assert "promptport inspect few.portable" in err
    assert load_portable("few.portable").words == tuple(words)
    options = ("--to", model_folder("electra"), "--out", "Q", "--minimum-anchors", "5")
    method = ("--method", "gradient", "--option", "steps=2", "--seed", "4", "--magnitude", "keep")
    code, out, _ = run_cli("import", "few.portable", *options, *method, "--json")
    assert code == 0
    found = json.loads(out)
    assert (found["method"], found["magnitude"], found["seed"]) == ("gradient.v1", "keep", 4)
    assert found["options"]["steps"] == 2


def load_portable_words(run_cli, prompt):
    """All words of a prompt's portable file."""
    assert run_cli("export", prompt, "--out", "all.portable")[0] == 0
    return load_portable("all.portable").words


def test_bad_input(run_cli, saved, model_folder) -> None:
    prompt = saved("bert")
    target = ("--to", model_folder("llama"), "--out", "Q")
    assert run_cli("export", prompt, "--out", "p.portable")[0] == 0
    many = (*target, "--minimum-anchors", "999")
    fails(run_cli("import", "p.portable", *many), "at least 999 shared words")
    few = (*target, "--minimum-anchors", "5")
    fails(run_cli("import", "p.portable", *few, "--method", "omp"), "got omp.v1", "mixture.v1")
    fails(run_cli("import", "p.portable", *few, "--method", "no"), "transfer method")
    fails(run_cli("import", "p.portable", *few, "--option", "x"), "NAME=VALUE")
    fails(run_cli("import", "none.portable", *few), "nothing at this path")
    fails(run_cli("import", prompt, *few), "got a folder")
    fails(run_cli("export", "none", "--out", "x"), "no such folder")
    fails(
        run_cli("export", prompt, "--format", "portabel", "--out", "x"), "Did you mean 'portable'"
    )
    fails(run_cli("export", prompt, "--out", prompt), "Is a directory")
    fails(
        run_cli("export", prompt, "--backbone", model_folder("t5"), "--out", "x"),
        "embedding matrix",
    )
    fails(run_cli("export", prompt, "--words", "none.txt", "--out", "x"), "none.txt")
    with open("p.portable", "r+b") as stream:
        stream.truncate(500)
    fails(run_cli("import", "p.portable", *few), "p.portable", "truncated")


def test_inspect_reads_portable_files_and_vectors(run_cli, saved) -> None:
    name = saved("bert", anchored=True)
    assert run_cli("export", name, "--out", "p.portable")[0] == 0
    code, out, err = run_cli("inspect", "p.portable", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["length"], told["mixture"], told["provenance"]["task"]) == (N, True, "t")
    assert told["words"] == len(load_portable("p.portable").words)
    prompt = load_prompt(name)
    save_vector(TaskPromptVector(prompt.vectors, prompt.provenance, {"t": 2.0}), "v")
    code, out, err = run_cli("inspect", "v", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["coefficients"] == {"t": 2.0}
    torch.testing.assert_close(torch.tensor(told["norms"]), prompt.vectors.norm(dim=1))
    shutil.copy("v/vector.json", "x")
    fails(run_cli("inspect", "x"), "x: expected a whole safetensors file")
