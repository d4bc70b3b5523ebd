"""promptport vector and combine, as a user types them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from tests.cli.conftest import fails

from promptport.cli.vector.searching import read_grid
from promptport.library import combining
from promptport.merging import SearchResult, merge
from promptport.parameters import OriginSpec, make_origin
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, load_vector, save_prompt
from promptport.tasks import Score

N = 3


@pytest.fixture
def library(backbone, tmp_path, monkeypatch):
    """Folders sst2, mnli.prompt and bare (without origin) in the current directory."""
    monkeypatch.chdir(tmp_path)
    model = backbone("bert")
    for i, (folder, task) in enumerate({"sst2": "sst2", "mnli.prompt": "mnli"}.items()):
        spec = OriginSpec("vocabulary", i)
        start = make_origin(spec, model, N)
        provenance = Provenance(
            model.name,
            model.kind,
            fingerprint=model.space.fingerprint,
            template="{subject} {soft} {answer} .",
            task=task,
            origin=spec.to_dict(),
            tuning={"dev_score": 1.0},
        )
        save_prompt(SoftPrompt(start + i + 1.0, provenance, start), folder)
    save_prompt(SoftPrompt(start, provenance), "bare")
    return model


def test_vector(run_cli, library) -> None:
    code, out, _ = run_cli("vector", "make", "mnli.prompt", "--out", "V", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["coefficients"] == {"mnli": 1.0}
    assert found["origin"] == {"kind": "vocabulary", "seed": 1}
    assert found["norms"] == pytest.approx([2 * library.width**0.5] * N, rel=1e-5)
    assert found["norm"] == pytest.approx(2 * (N * library.width) ** 0.5, rel=1e-5)
    torch.testing.assert_close(load_vector("V").delta, torch.full((N, library.width), 2.0))
    code, out, err = run_cli("vector", "make", "sst2")
    assert (code, err) == (0, "")
    assert "virtual tokens" in out
    assert "Written" not in out


@pytest.fixture
def told(library):
    """A bare folder of PEFT's, made of a text; one row was trained since."""
    from safetensors.torch import save_file

    rows = library.space.rows(library.tokenizer("the old dog")["input_ids"][:N])
    rows[1] += 1
    Path("told").mkdir()
    save_file({"prompt_embeddings": rows}, "told/adapter_model.safetensors")
    config = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "FEATURE_EXTRACTION",
        "num_virtual_tokens": N,
        "base_model_name_or_path": library.name,
        "prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": "the old dog",
        "tokenizer_name_or_path": library.name,
    }
    Path("told/adapter_config.json").write_text(json.dumps(config))
    return "told"


@pytest.mark.long
def test_an_origin_that_peft_made_of_a_text(run_cli, library, told, task_file) -> None:
    wanted = [0, library.width**0.5, 0]
    code, out, _ = run_cli("vector", "make", told, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["norms"] == pytest.approx(wanted, abs=1e-4)
    assert found["origin"] == {"kind": "text", "text": "the old dog", "tokenizer": library.name}
    assert run_cli("vector", "combine", told, "--out", "own", "--backbone", library.name)[0] == 0
    torch.testing.assert_close(load_prompt("own").vectors, load_prompt(told).vectors)
    assert load_vector("own").delta.norm(dim=1).tolist() == pytest.approx(wanted, abs=1e-4)
    code, out, _ = run_cli(
        "library", "similarity", told, "own", "sst2", "--of", "vectors", "--json"
    )
    assert code == 0
    assert json.loads(out)["cosine"][0] == pytest.approx([1, 1, 3**-0.5], abs=1e-5)
    tasks = ("--task", task_file, "--task", task_file)
    assert run_cli("library", "forecast", told, "sst2", *tasks)[0] == 0
    judging = (told, "--task", task_file, "--unseen", 1)
    assert run_cli("vector", "check", *judging)[0] == 0
    start = ("--start", "mean", "--library", told, "--library", "sst2", "--length", N)
    job = ("--backbone", library.name, "--task", task_file, "--epochs", 1)
    assert run_cli("tune", *job, *start, "--out", "tuned")[0] == 0
    few = ("--texts", "words", "--rows", 12, "--steps", 1, "--origin-samples", 2)
    assert run_cli("vector", "widen", told, "--task", task_file, *few, "--out", "wide")[0] == 0
    torch.testing.assert_close(load_prompt("wide").origin, load_prompt("own").origin)
    assert load_prompt("wide").provenance.origin == found["origin"]


def test_a_recorded_origin_is_not_replaced(run_cli, told) -> None:
    for folder, own in ((told, "text:the old dog"), ("sst2", "seed:0")):
        assert run_cli("vector", "make", folder, "--origin", own)[0] == 0
        refused = run_cli("vector", "make", folder, "--origin", "seed:3", "--out", "V")
        fails(refused, "--origin: expected none, or the origin that the folder says, got seed:3")
        assert not Path("V").exists()


def test_vector_of_a_prompt_without_origin(run_cli, library) -> None:
    fails(run_cli("vector", "make", "bare", "--out", "V"), "expected an origin", "--origin")
    code, out, _ = run_cli("vector", "make", "bare", "--origin", "seed:1", "--json")
    assert code == 0
    assert json.loads(out)["norm"] == 0
    assert json.loads(out)["origin"] == {"kind": "vocabulary", "seed": 1}
    assert run_cli("vector", "make", "bare", "--origin", "sst2", "--json")[0] == 0


def test_combine_as_in_the_issue(run_cli, library) -> None:
    code, out, _ = run_cli(
        "vector", "combine", "sst2 + 0.5*mnli", "--origin", "seed:3", "--out", "P", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["combination"] == "sst2 + 0.5*mnli"
    assert found["terms"] == {"sst2": 1.0, "mnli": 0.5}
    assert found["folders"] == {"sst2": "sst2", "mnli": "mnli.prompt"}
    assert found["template"] == "{subject} {soft} {answer} ."
    assert found["vector_norms"] == pytest.approx([2 * library.width**0.5] * N, rel=1e-5)
    start = make_origin(OriginSpec("vocabulary", 3), library, N)
    prompt = load_prompt("P")
    torch.testing.assert_close(prompt.vectors, start + 2)
    torch.testing.assert_close(prompt.origin, start)
    assert prompt.provenance.origin == {"kind": "vocabulary", "seed": 3}
    assert prompt.provenance.tuning is None
    assert prompt.provenance.history[-1]["coefficients"] == {"sst2": 1.0, "mnli": 0.5}


def test_prompts_of_one_task_are_counted_by_their_names(run_cli, library) -> None:
    prompt = load_prompt("mnli.prompt").with_provenance(task="sst2")
    save_prompt(prompt, "again")
    assert run_cli("vector", "combine", "sst2 - again", "--out", "P")[0] == 0
    found = load_prompt("P").provenance
    assert found.history[-1]["coefficients"] == {"sst2": 1, "again": -1}
    assert found.task == "sst2 - again"
    code, out, _ = run_cli("vector", "combine", "(sst2 + again) / 2", "--out", "Q", "--json")
    assert code == 0
    assert json.loads(out)["combination"] == "0.5*sst2 + 0.5*again"
    assert load_prompt("Q").provenance.task == "sst2", "their mean is a prompt of their task"


def test_combine_is_scored_and_inspected(run_cli, library, task_file) -> None:
    assert run_cli("vector", "combine", "sst2 - mnli", "--out", "P")[0] == 0
    code, out, _ = run_cli("eval", "P", "--task", task_file, "--json")
    assert code == 0
    assert json.loads(out)["rows"] == 6
    code, out, _ = run_cli("inspect", "P")
    assert code == 0
    assert "sst2 - mnli" in out


def test_the_own_origin_is_that_of_the_first(run_cli, library) -> None:
    assert run_cli("vector", "combine", "sst2", "--out", "again")[0] == 0
    torch.testing.assert_close(load_prompt("again").vectors, load_prompt("sst2").vectors)
    assert run_cli("vector", "combine", "mnli + sst2", "--out", "P")[0] == 0
    assert load_prompt("P").provenance.origin == {"kind": "vocabulary", "seed": 1}


@pytest.mark.parametrize("origin", ["normal", "mixture", "text:the old river", "bare"])
def test_origins(run_cli, library, origin) -> None:
    arguments = (
        "vector",
        "combine",
        "sst2",
        "--origin",
        origin,
        "--seed",
        5,
        "--out",
        "P",
        "--json",
    )
    code, out, _ = run_cli(*arguments)
    assert code == 0
    kind = "prompt" if origin == "bare" else origin.partition(":")[0]
    assert json.loads(out)["origin"]["kind"] == kind
    prompt = load_prompt("P")
    torch.testing.assert_close(prompt.vectors, prompt.origin + 1)


@pytest.mark.parametrize("method", ["mean", "weighted", "ties", "dare", "orthogonal", "select"])
def test_methods(run_cli, library, method) -> None:
    run_cli("vector", "make", "sst2", "--out", "V")
    arguments = ("--method", method, "--load", "x=mnli.prompt", "--load", "v=V", "--out", "P")
    result = run_cli("vector", "combine", "v - x", *arguments, "--origin", "seed:1", "--json")
    if method == "orthogonal":  # both vectors point the same way here
        fails(result, "expected independent vectors")
        return
    assert result[0] == 0
    assert load_prompt("P").provenance.history[-2]["method"] == f"{method}.v1"


def test_options_of_methods(run_cli, library) -> None:
    arguments = ("--method", "ties", "--out", "P", "--json", "--option")
    assert run_cli("vector", "combine", "sst2 + mnli", *arguments, "density=1")[0] == 0
    prompt = load_prompt("P")
    torch.testing.assert_close(prompt.vectors, prompt.origin + 1.5)
    fails(
        run_cli("vector", "combine", "sst2", *arguments, "density=2"), "expected a share in (0, 1]"
    )


def test_concatenate(run_cli, library) -> None:
    arguments = ("--method", "concatenate", "--out", "P", "--json")
    code, out, _ = run_cli("vector", "combine", "sst2 + bare", *arguments)
    assert code == 0
    assert json.loads(out)["length"] == 2 * N
    whole = torch.cat([load_prompt("sst2").vectors, load_prompt("bare").vectors])
    assert torch.equal(load_prompt("P").vectors, whole)
    fails(
        run_cli("vector", "combine", "sst2 + 2*mnli", *arguments),
        "expected whole prompts",
        "2*mnli",
    )
    fails(
        run_cli("vector", "combine", "sst2", *arguments, "--origin", "seed:1"), "without --origin"
    )


def test_bad_input(run_cli, library, model_folder, tmp_path) -> None:
    def combine(expression, *more):
        return run_cli("vector", "combine", expression, "--out", "never", *more)

    fails(combine("sst2 + nothing"), "expected a folder nothing or nothing.prompt", "--load")
    fails(combine("sst2-mnli"), "spaces around a minus")
    fails(combine("sst2 * mnli"), "expression: expected one factor")
    fails(combine("sst2 + bare"), "prompt of mnli: expected an origin")
    fails(combine("sst2", "--load", "other=V"), "--load: expected NAME=FOLDER")
    fails(combine("sst2", "--load", "sst2"), "--load: expected NAME=FOLDER")
    tie = combine("sst2", "--method", "tie")
    fails(tie, "Did you mean 'ties'?", "one of concatenate, dare, either, mean, orthogonal")
    twice = ("--load", "sst2=bare", "--load", "sst2=mnli.prompt")
    fails(combine("sst2", *twice), "--load: expected NAME=FOLDER", "each once, got 'sst2=m")
    hyphen = "put spaces around a minus: a hyphen belongs to a name"
    fails(combine("a-b", "--load", "a=sst2"), "(a-b)", hyphen)
    nano = ("--backbone", "nano-gpt2")
    fails(combine("sst2", *nano), "--origin own: expected no --backbone with it")
    separate = ("--coefficients", "separate", "--task", "topic")
    fails(combine("sst2", *separate), "--coefficients: expected --search with it, got none. Add")
    fails(combine("sst2", "--max-dev-rows", -3), "--max-dev-rows: expected --search with it")
    fails(combine("sst2", "--task", "topic"), "--task: expected --search or --distill with it")
    fails(combine("sst2", "--steps", 3), "--steps: expected --distill with it")
    fails(combine("sst2", "--origin", "seeds:3"), "--origin: expected own, seed:NUMBER")
    fails(
        combine("sst2", "--origin", "seed:3", "--backbone", model_folder("distilbert")),
        "embedding matrix",
    )
    run_cli("vector", "make", "sst2", "--out", "V")
    fails(combine("V"), "--origin own: expected a first prompt", "seed:3")
    assert not (tmp_path / "never").exists()


def test_combine_searches_coefficients(run_cli, library, task_file) -> None:
    code, out, err = run_cli(
        *(
            "vector",
            "combine",
            "sst2 + 0.5*mnli",
            "--search-by",
            "min",
            "--coefficients",
            "separate",
        ),
        *("--task", task_file, "--max-dev-rows", 4, "--out", "C", "--json"),
    )
    assert code == 0, err
    search = json.loads(out)["search"]
    # Which coefficients four rows choose depends on how a processor rounds.
    idle = [name for name, value in search["coefficients"].items() if not value]
    notes = [f"note: with coefficient 0, {name} adds nothing" for name in idle]
    assert err.splitlines() == notes
    assert search["coefficients"].keys() == {"sst2", "mnli"}
    assert search["tried"] >= 16
    assert search["tasks"]["capitals"]["rows"] == 4
    prompt = load_prompt("C")
    step = next(s for s in prompt.provenance.history if s["step"] == "search")
    assert step["rows"] == {"capitals": 4}
    one, other = search["coefficients"].values()
    moved = (prompt.vectors - prompt.origin)[0, 0].item()
    assert moved == pytest.approx(one * 1.0 + other * 2.0, rel=1e-5)
    code, out, err = run_cli(
        *(
            "vector",
            "combine",
            "sst2 + mnli",
            "--search-by",
            "mean",
            "--task",
            task_file,
            "--out",
            "D",
        )
    )
    _, said, _ = run_cli("inspect", "D")
    assert "step 1" in said
    assert "{'" not in said, "what is told of each step are numbers"
    assert (code, err.splitlines()[0]) == (0, "Written to D.")
    assert "best of 21" in out
    assert "Chosen by labels of the dev split." in out


def test_combine_searches_a_given_grid_and_beyond(run_cli, library, task_file) -> None:
    base = (
        "vector",
        "combine",
        "sst2 + mnli",
        "--search-by",
        "mean",
        "--task",
        task_file,
        "--out",
        "C",
    )
    code, out, err = run_cli(*base, "--grid", "-0.5,-0,1", "--json")
    found = json.loads(out)["search"]
    assert (code, err, found["tried"], found["grid"]) == (0, "", 3, [-0.5, 0.0, 1.0])
    code, out, _ = run_cli(*base, "--grid", "-0.5:1:0.5", "--precision", 0.2, "--json")
    found = json.loads(out)["search"]
    assert (code, found["grid"], found["precision"]) == (0, [-0.5, 0.0, 0.5, 1.0], 0.2)
    assert found["tried"] > 4
    step = next(s for s in load_prompt("C").provenance.history if s["step"] == "search")
    assert (step["precision"], step["tried"]) == (0.2, found["tried"])


@pytest.mark.parametrize(
    ("options", "ties"),
    [
        ((), None),
        (("--ties", "loss"), "loss"),
        (("--coefficients", "separate"), "loss"),
        (("--coefficients", "separate", "--ties", "smallest"), "smallest"),
    ],
)
def test_equal_values_of_a_search(run_cli, library, task_file, monkeypatch, options, ties) -> None:
    seen = []

    def stop(model, vectors, tasks, start, config, **rest):
        seen.append(config.ties)
        raise KeyboardInterrupt

    monkeypatch.setattr(combining, "search_coefficients", stop)
    base = (
        "vector",
        "combine",
        "sst2 + mnli",
        "--search-by",
        "mean",
        "--task",
        task_file,
        "--out",
        "C",
    )
    assert run_cli(*base, *options)[0] == 130
    assert seen == [ties]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0:1.5:0.1", [round(0.1 * i, 1) for i in range(16)]),
        ("0:1:0.4", [0, 0.4, 0.8, 1]),
        ("-1:0:0.5", [-1, -0.5, 0]),
        ("0:1:5", [0, 1]),
        ("2,-1e-3, 3", [2, -0.001, 3]),
        ("0:999:1", list(range(1000))),
    ],
)
def test_a_grid_is_read(text, numbers) -> None:
    assert read_grid(text) == tuple(numbers)


_LONG = ",".join(["1"] * 1001)


@pytest.mark.parametrize(
    "text",
    [
        *("1:0:0.1", "1:1:0.1", "0:1:0", "0:1:-1", "0:1", "0:1:1:1", "0:1000:1", "0:1:1e-300"),
        *("nan", "0:nan:1", "0:inf:1", "0:1:nan", "-inf,1", "many", "1,,2", "", ":", "1;2", _LONG),
    ],
)
def test_a_grid_that_is_none_is_refused(run_cli, library, task_file, text) -> None:
    search = (
        "vector",
        "combine",
        "sst2 + mnli",
        "--search-by",
        "min",
        "--task",
        task_file,
        "--out",
        "never",
    )
    failed = run_cli(*search, "--grid", text)
    fails(failed, "--grid: expected START:END:STEP", "at most 1,000 of them, got '")
    assert len(failed[2]) < 300


@pytest.mark.parametrize("expression", ["sst2 - sst2", "0*sst2", "1e-320*sst2"])
def test_a_combination_of_zero_is_told(run_cli, library, expression) -> None:
    code, _, err = run_cli("vector", "combine", expression, "--out", "P", "--json")
    assert (code, err.count("\n")) == (0, 1)
    assert "note: the combination is zero: the prompt is the bare origin" in err
    prompt = load_prompt("P")
    assert torch.equal(prompt.vectors, prompt.origin)


def test_a_search_tells_what_adds_nothing(run_cli, library, monkeypatch) -> None:
    def fake(model, vectors, tasks, start, config, *, terms, made):
        vector = merge(vectors, [2.25, 0.0])
        score = Score("accuracy", 1.0, 1.0, 1.0, 4)
        prompt = vector.apply(start, made)
        return SearchResult(prompt, vector, (2.25, 0.0), {"t": score}, {"t": 1.0}, 1.0, ())

    monkeypatch.setattr(combining, "search_coefficients", fake)
    base = ("vector", "combine", "sst2 - mnli", "--task", "topic", "--out", "P")
    code, out, err = run_cli(*base, "--search")
    assert (code, err.splitlines()[0]) == (0, "note: with coefficient 0, mnli adds nothing")
    assert "sst2 2.25, mnli 0" in out


def test_reconciling_refuses_what_is_taken_off(run_cli, library) -> None:
    for expression, got in (("sst2 - 0.5*mnli", "got -0.5*mnli."), ("0*sst2", "got none.")):
        result = run_cli("vector", "combine", expression, "--distill", "--out", "never")
        fails(result, "--distill: expected names that are added", got)


def test_combine_refuses_a_search_that_cannot_be(run_cli, library, task_file) -> None:
    base = ("vector", "combine", "sst2 + mnli", "--out", "C")
    fails(run_cli(*base, "--search-by", "median"), "criterion of the search", "'median'")
    fails(run_cli(*base, "--search"), "--task: expected a task for sst2", "recorded name 'sst2'")
    fails(run_cli(*base, "--coefficients", "separate"), "--coefficients: expected --search")
    grid = ("--grid", "0:1:0.5")
    fails(run_cli(*base, *grid), "--grid: expected --search with it")
    fails(run_cli(*base, "--precision", 0.1), "--precision: expected --search with it")
    fails(run_cli(*base, "--ties", "loss"), "--ties: expected --search with it")
    search = (*base, "--search-by", "min", "--task", task_file)
    for wrong in (-1, "nan", "inf"):
        fails(run_cli(*search, "--precision", wrong), "precision of the search: expected 0, or a")
    fails(run_cli(*search, "--ties", "both"), "ties of the search: expected smallest, loss")
    fails(
        run_cli(*base, "--method", "concatenate", "--search-by", "min", "--task", task_file),
        "without --origin, --option and --search",
    )


@pytest.mark.parametrize("more", [("--by", "labels"), ("--task", "nope"), ("--seed", 5)])
def test_a_vector_takes_no_options_of_prompts(run_cli, library, model_folder, more) -> None:
    assert run_cli("vector", "make", "sst2", "--out", "V")[0] == 0
    to = ("--to", model_folder("gpt2"), "--out", "W")
    fails(run_cli("transfer", "V", *to, *more), "a vector folder: expected no", f"got {more[0]}.")


@pytest.mark.long
def test_combine_and_reconcile(run_cli, library, task_file) -> None:
    tasks = ("--task", task_file, "--task", task_file)
    more = ("--texts", "words", "--rows", 8, "--steps", 5, "--json")
    code, out, _ = run_cli(
        "vector", "combine", "sst2 + mnli", "--out", "P", "--distill", *tasks, *more
    )
    assert code == 0
    found = json.loads(out)["distilled"]
    assert found["steps"] == 10
    assert len(found["missed"]) == 2
    assert found["after"] >= found["floor"] - 1e-5
    assert found["rows"] == 16
    prompt = load_prompt("P")
    assert [entry["step"] for entry in prompt.provenance.history][-1] == "distill_merge"
    assert torch.equal(prompt.origin, load_prompt("sst2").origin)
    assert not {"start", "tried"} & found.keys()
    either = ("vector", "combine", "sst2 + mnli", "--method", "either", "--out", "E")
    code, out, _ = run_cli(*either, "--distill", *tasks, *more)
    found = json.loads(out)
    tried = found["distilled"]["tried"]
    assert (code, list(tried)) == (0, ["sum", "concatenate"])
    assert found["method"] == min(tried, key=tried.get)
    sizes = {"sum": prompt.length, "concatenate": 2 * prompt.length}
    assert load_prompt("E").length == found["length"] == sizes[found["method"]]
    code, out, _ = run_cli(*either, "--distill", *tasks, *more[:-1])
    assert code == 0
    assert "begun from" in out
    fails(run_cli(*either), "method either: expected --distill")
    fails(
        run_cli("vector", "combine", "sst2 + 2*mnli", *either[3:], "--distill", *tasks),
        "method either: expected whole prompts",
        "2*mnli",
    )
    base = ("vector", "combine", "sst2 + mnli", "--out", "Q", "--distill")
    fails(run_cli(*base, "--task", task_file), "--task: expected one for each name")
    fails(run_cli(*base), "--task: expected a task", "'sst2'")


def test_what_is_read_or_another_s_is_not_overwritten(run_cli, library, model_folder) -> None:
    read = "--out: expected another folder than the one that is read"
    fails(run_cli("vector", "combine", "sst2", "--origin", "bare", "--out", "bare"), read)
    fails(run_cli("vector", "widen", "sst2", "--origin", "bare", "--out", "bare"), read)
    other = "--out: expected a folder of its own, or that of the prompt whose vector it is"
    fails(run_cli("vector", "make", "sst2", "--out", "bare"), other)
    assert run_cli("vector", "make", "sst2", "--out", "sst2")[0] == 0
    assert run_cli("vector", "make", "sst2", "--out", "V")[0] == 0
    fails(run_cli("transfer", "V", "--to", model_folder("gpt2"), "--out", "bare"), other)
    # A name that is no folder is no input, whatever it is called.
    assert run_cli("vector", "combine", "sst2", "--origin", "normal", "--out", "normal")[0] == 0
    assert run_cli("vector", "combine", "sst2", "--out", "own")[0] == 0
    assert run_cli("vector", "combine", "sst2", "--out", "own")[0] == 0


def test_a_file_of_something_else_is_not_overwritten(run_cli, library) -> None:
    stranger = "--out: expected a new file, or one that this command made, got sst2/promptport.json"
    out = ("--out", "sst2/promptport.json")
    fails(run_cli("library", "similarity", "sst2", "mnli.prompt", *out), stranger)
    fails(run_cli("export", "sst2", *out), stranger)
    fails(run_cli("demo", *out), stranger)
    for again in range(2):
        assert (
            run_cli("library", "similarity", "sst2", "mnli.prompt", "--out", "heat.html")[0] == 0
        ), again
        assert run_cli("export", "sst2", "--out", "p.portable")[0] == 0, again


@pytest.mark.parametrize("expression", ["-sst2", "-sst2 + mnli", "-0.5*sst2", "-happy + sst2"])
def test_an_expression_that_begins_with_a_minus(run_cli, library, expression) -> None:
    save_prompt(load_prompt("mnli.prompt"), "happy")
    code, out, err = run_cli("vector", "combine", expression, "--out", "P", "--json")
    assert (code, err) == (0, "")
    same = run_cli("vector", "combine", "--out", "P", "--json", "--", f"({expression})")
    assert same == (code, out, err)
    last = run_cli("vector", "combine", "--seed", 1, "--origin", "own", "--out", "P", expression)
    assert last[0] == 0


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("vector", "combine", "sst2", "--search-by", "--out", "P"), "'--search-by'"),
        (("vector", "check", "sst2", "--origin", "--json"), "'--origin'"),
        (("library", "pairs", "sst2", "mnli.prompt", "--forecast", "--json"), "'--forecast'"),
    ],
)
def test_an_option_does_not_swallow_the_next_one(run_cli, library, command, option) -> None:
    code, out, err = run_cli(*command)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"Option {option} needs a value, got the option '--" in err


def test_options_beside_an_expression_are_still_checked(run_cli, library) -> None:
    code, out, err = run_cli("vector", "combine", "sst2", "--ouut", "P")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--out" in err
    code, out, _ = run_cli("vector", "combine", "-h")
    assert (code, "Example" in out) == (0, True)


def test_names_may_be_paths(run_cli, library, tmp_path) -> None:
    for name in ("x", "y"):
        save_prompt(load_prompt("sst2"), f"lib/{name}")
    code, out, err = run_cli("vector", "combine", "lib/x + 0.5*lib/y", "--out", "P", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["terms"] == {"lib/x": 1.0, "lib/y": 0.5}
    assert found["folders"] == {"lib/x": "lib/x", "lib/y": "lib/y"}
    step = load_prompt("P").provenance.history[-1]
    assert step["coefficients"] == {"sst2": 1.5}, "they are one and the same vector"
    save_prompt(load_prompt("mnli.prompt").with_provenance(task="sst2"), "lib/y")
    assert run_cli("vector", "combine", "lib/x + 0.5*lib/y", "--out", "P")[0] == 0
    step = load_prompt("P").provenance.history[-1]
    assert step["coefficients"] == {"x": 1, "y": 0.5}
    assert run_cli("vector", "combine", "./lib/x/2", "--out", "Q")[0] == 0
    moved = load_prompt("Q").vectors - load_prompt("Q").origin
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5))
    assert run_cli("vector", "combine", f"{tmp_path}/lib/x", "--out", "R")[0] == 0
    fails(
        run_cli("vector", "combine", "lib/z + lib/x", "--out", "never"),
        "name 'lib/z' of the expression: expected a folder lib/z or lib/z.prompt here",
        "spaces around a slash that divides",
    )


def test_a_slash_that_may_mean_two_things(run_cli, library) -> None:
    save_prompt(load_prompt("mnli.prompt"), "sst2/2")
    result = run_cli("vector", "combine", "sst2/2", "--out", "never")
    fails(result, "expected one meaning of 'sst2/2', got two", "'\"sst2/2\"' with quotes")
    code, out, _ = run_cli("vector", "combine", "sst2 / 2", "--out", "P", "--json")
    assert json.loads(out)["terms"] == {"sst2": 0.5}
    code, out, _ = run_cli("vector", "combine", '"sst2/2"', "--out", "P", "--json")
    assert (code, json.loads(out)["combination"]) == (0, "mnli")


def test_search_stands_alone(run_cli, library, task_file) -> None:
    base = ("vector", "combine", "sst2 + mnli", "--task", task_file, "--grid", "0:1:0.5")
    code, out, err = run_cli(*base, "--search", "--out", "P", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["search"]["criterion"] == "min"
    by = run_cli(*base, "--search-by", "min", "--out", "P", "--json")
    assert by == (code, out, err)
    found = json.loads(run_cli(*base, "--search-by", "harmonic", "--out", "P", "--json")[1])
    assert found["search"]["criterion"] == "harmonic"


def test_a_search_serves_the_tasks_that_the_prompts_remember(run_cli, library, task_file) -> None:
    for folder, task in (("sst2", str(task_file)), ("mnli.prompt", str(task_file))):
        save_prompt(load_prompt(folder).with_provenance(task=task), folder)
    base = ("vector", "combine", "sst2 + mnli", "--grid", "0:1:0.5", "--out", "P", "--json")
    code, out, err = run_cli(*base, "--search")
    assert (code, err) == (0, "")
    assert list(json.loads(out)["search"]["tasks"]) == ["capitals"]
    base = ("vector", "combine", "sst2 + mnli", "--out", "P", "--json", "--distill")
    code, out, err = run_cli(*base, "--texts", "words", "--rows", 8, "--steps", 2)
    assert (code, err) == (0, "")
    assert len(json.loads(out)["distilled"]["missed"]) == 2


@pytest.mark.parametrize("method", ["sum", "concatenate"])
def test_mixed_models_name_the_folders(run_cli, library, backbone, method) -> None:
    other = backbone("gpt2")
    spec = OriginSpec("vocabulary", 0)
    start = make_origin(spec, other, N)
    made = Provenance(other.name, other.kind, fingerprint=other.space.fingerprint, task="x")
    save_prompt(SoftPrompt(start + 1, made, start), "lib/other")
    result = run_cli("vector", "combine", "sst2 + lib/other", "--method", method, "--out", "never")
    fails(result, "sst2 and lib/other: expected ", f"{other.name} (", "one model and one size")
    short = load_prompt("mnli.prompt")
    save_prompt(SoftPrompt(short.vectors[:2], short.provenance, short.origin[:2]), "lib/short")
    result = run_cli("vector", "combine", "sst2 + lib/short", "--method", method, "--out", "never2")
    if method == "concatenate":
        assert result[0] == 0
    else:
        fails(result, "sst2 and lib/short: expected", "(3 virtual tokens", "(2 virtual tokens")


@pytest.mark.long
def test_printed_commands_run(run_cli, run_printed, library, task_file) -> None:
    """Every command that make, combine and widen print runs as it stands, spaces included."""
    _, _, err = run_cli("vector", "make", "sst2", "--out", "my vectors/sst2")
    run_printed(err)
    widening = ("vector", "widen", "sst2", "--task", task_file, "--backbone", library.name)
    few = ("--texts", "words", "--rows", 12, "--steps", 2, "--origin-samples", 2)
    code, _, err = run_cli(*widening, *few, "--out", "my wide")
    assert code == 0
    run_printed("\n".join(line for line in err.splitlines() if "note:" not in line))
    base = ("vector", "combine", "sst2 + mnli", "--out", "my sum")
    err = run_cli(*base)[2]
    assert "give eval the file of the task (--task)" in err, "no task of theirs can be opened"
    run_printed(err)
    tasks = ("--task", task_file, "--grid", "0,1")
    (scored,) = run_printed(run_cli(*base, *tasks, "--search")[2])
    assert "capitals" in scored[1]


@pytest.mark.long
def test_a_sum_tells_and_uses_the_template_of_each_task(run_cli, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--backbone", "nano-llama", "--epochs", 1, "--max-train-rows", 32]
    template = "{text} {soft} is {answer} ."
    assert run_cli("tune", *short, "--task", "sentiment", "--out", "a")[0] == 0
    asked = ["--task", "topic", "--template", template, "--out", "b"]
    assert run_cli("tune", *short, *asked)[0] == 0
    assert run_cli("vector", "combine", "a + b", "--out", "c")[0] == 0
    _, out, err = run_cli("eval", "c", "--task", "topic", "--json")
    assert json.loads(out)["template"] == template
    assert "names no template" not in err
    shown = run_cli("inspect", "c")[1]
    assert re.search(r"template of sentiment.*\{text\} \{soft\} \{answer\} \.", shown)
    assert re.search(r"template of topic.*is \{answer\} \.", shown)
    assert run_cli("export", "c", "--to", "hf", "--out", "d")[0] == 0
    told = (tmp_path / "d" / "README.md").read_text()
    assert f"topic `{template}`" in told
    assert "The row above is `{text} {soft} {answer} .`" in told
    assert run_cli("export", "c", "--to", "hf", "--task", "topic", "--out", "e")[0] == 0
    assert f"The row above is `{template}`" in (tmp_path / "e" / "README.md").read_text()
