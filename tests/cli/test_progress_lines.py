"""What long commands show while they run: lines of a log, a bar, nothing beside JSON."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from rich.console import Console

from promptport.backbone import Backbone, checkpoint, model
from promptport.cli.console import progress as shown
from promptport.cli.console.bar import Bar
from promptport.cli.console.progress import Log, Watcher, duration
from promptport.progress import counted, listening, stage
from promptport.storage import load_prompt, save_portable, save_prompt
from promptport.tasks import open_task
from promptport.transfers import encode_prompt
from promptport.tuning import TuneConfig, TuneJob, tune


class Clock:
    """Seconds that pass when they are told to; whoever watches looks then."""

    def __init__(self) -> None:
        self.now, self.watcher = 0.0, None

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.now += step
            self.watcher.look()


@pytest.fixture
def clock():
    """Stages are written to a log by its time."""
    clock = Clock()
    clock.watcher = Watcher(Log(), clock)
    with listening(clock.watcher):
        yield clock


def test_a_log_gets_a_line_every_ten_seconds_or_tenth(clock, capsys) -> None:
    with stage("tuning") as told:
        told.at(0, 100)
        clock.wait(7)
        told.at(30, 100, "3 running")
        clock.wait(0.5)
        told.at(31, 100, "3 running")
        clock.wait(1)
        told.at(42, 100, "3 running")
        clock.wait(1)
        told.at(43, 100, "3 running")
        clock.wait(16)
    assert capsys.readouterr().err.splitlines() == [
        "tuning: 0/100, 0%",
        "tuning: 31/100, 31%, 3 running, about 16 s left",
        "tuning: 43/100, 43%, 3 running, about 9 s left",
        "tuning: 43/100, 43%, 3 running, 23 s so far",
    ]


def test_what_is_soon_done_gets_no_line(clock, capsys) -> None:
    with stage("loading"):
        clock.wait(2.5)
    with stage("scoring") as told:
        for done in range(5):
            told.at(done, 5)
            clock.wait(1)
    assert capsys.readouterr().err == ""


def test_what_cannot_tell_how_far_it_is(clock, capsys) -> None:
    with stage("loading it"):
        clock.wait(14)
    with stage("asking") as told:
        told.at(7, 0)
        clock.wait(4)
    assert capsys.readouterr().err.splitlines() == [
        "loading it ...",
        "loading it ... 13 s so far",
        "asking: 7",
    ]


def test_many_short_stages_are_one_long_wait(clock, capsys) -> None:
    for number in range(12):
        with stage(f"part {number}"):
            clock.wait(2)
    assert capsys.readouterr().err.splitlines() == ["part 4 ...", "part 9 ..."]


def test_a_run_that_goes_on_does_not_count_what_was_done_before(clock, capsys) -> None:
    with stage("tuning") as told:
        told.at(80, 100)
        clock.wait(2)
        told.at(82, 100)
        clock.wait(1)
    assert capsys.readouterr().err == "tuning: 82/100, 82%, about 17 s left\n"


def test_a_long_run_gets_fewer_lines(clock, capsys) -> None:
    with stage("tuning") as told:
        for done in range(3600):
            told.at(done, 36000)
            clock.wait(1, step=1)
    assert 60 < len(capsys.readouterr().err.splitlines()) < 160


def test_the_time_left_goes_by_what_parts_cost(clock, capsys) -> None:
    with stage("scoring the manual template"):
        for _ in counted(["long", "short", "short"], [10, 20, 30], [8.0, 1.0, 1.0]):
            clock.wait(8)
    assert capsys.readouterr().err.splitlines()[:2] == [
        "scoring the manual template: 0/60, 0%",
        "scoring the manual template: 10/60, 17%, about 1 s left",
    ]


def test_what_is_done_within_a_step_is_its_note(clock, capsys) -> None:
    with stage("tuning") as told:
        told.at(6, 10, "best dev score 0.500")
        with stage("scoring dev rows"):
            for _ in counted(["a", "b"], [60, 60], [1.0, 1.0]):
                clock.wait(3)
        for _ in counted(["a"], [32], [1.0]):  # rows of a step
            clock.wait(10)
    assert capsys.readouterr().err.splitlines() == [
        "tuning: 6/10, 60%, best dev score 0.500, scoring dev rows 0/120",
        "tuning: 6/10, 60%, best dev score 0.500, 13 s so far",
    ]


def test_a_note_counts_what_its_words_count(clock, capsys) -> None:
    with stage("demo") as told:
        told.at(1, 7)
        with stage("tuning") as inner:
            inner.at(5, 96)
            for _ in counted(["a"], [16], [1.0]):  # rows of a step
                clock.wait(4)
    assert capsys.readouterr().err.splitlines() == ["demo: 1/7, 14%, tuning 5/96"]


def test_counts_belong_to_the_words_around_them(clock, capsys) -> None:
    with stage("scoring the baselines"), stage("scoring no prompt"):
        for _ in counted(["a", "b"], [60, 60], [1.0, 1.0]):
            clock.wait(3)
    for _ in counted(["a"], [8], [1.0]):
        clock.wait(3)
    assert capsys.readouterr().err.splitlines() == [
        "scoring no prompt: 0/120, 0%",
        "scoring rows: 0/8, 0%",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (300, "5 min"), (7800, "2 h 10 min")]
)
def test_durations(seconds, text) -> None:
    assert duration(seconds) == text


def _drawn(clock, buffer: io.StringIO) -> str:
    """What a bar wrote, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", buffer.getvalue())


def test_a_terminal_gets_one_bar_which_is_gone_at_the_end() -> None:
    clock, buffer = Clock(), io.StringIO()
    console = Console(file=buffer, force_terminal=True, width=100)
    clock.watcher = Watcher(Bar(console), clock)
    with listening(clock.watcher):
        with stage("loading it"):
            clock.wait(0.4, step=0.2)
            assert buffer.getvalue() == ""  # nothing is drawn for a moment
            clock.wait(12)
        with stage("tuning") as told:
            told.at(1, 4, "[best] 0.5")
            clock.wait(2)
            told.at(2, 4, "[best] 0.5")
            clock.wait(1)
            with stage("scoring dev rows"):
                for _ in counted(["a", "b"], [6, 6], [1.0, 1.0]):
                    clock.wait(2)
    drawn = _drawn(clock, buffer)
    assert "loading it" in drawn
    assert "12 s so far" in drawn
    assert re.search(r"tuning ━+.* 2/4 about 3 s left \[best\] 0.5\b", drawn)
    assert "[best] 0.5, scoring dev rows 6/12" in drawn
    assert buffer.getvalue().endswith("\x1b[2K")  # the line is empty
    assert buffer.getvalue().count("\x1b[?25l") == buffer.getvalue().count("\x1b[?25h") == 2


_ON_A_TERMINAL = """
import sys, time
from promptport.cli.console import showing
from promptport.progress import stage
with showing(), stage("tuning") as told:
    for done in range(9):
        told.at(done, 9)
        time.sleep(0.15)
    print("a result")
"""


@pytest.mark.long
def test_on_a_terminal_results_go_to_their_file() -> None:
    main, end = pty.openpty()
    run = subprocess.Popen(
        [sys.executable, "-c", _ON_A_TERMINAL],
        stdout=subprocess.PIPE,
        stderr=end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(end)
    out, _ = run.communicate(timeout=60)
    drawn = os.read(main, 100_000).decode()
    os.close(main)
    assert (run.returncode, out) == (0, b"a result\n")
    assert "tuning" in drawn
    assert "a result" not in drawn


def test_the_thread_looks_by_itself(monkeypatch, capsys) -> None:
    monkeypatch.setattr(shown, "_FIRST", 0.0)
    monkeypatch.setattr(Log, "every", 0.01)
    with shown.showing(), stage("loading it"):
        ends = time.monotonic() + 30
        while not (err := capsys.readouterr().err) and time.monotonic() < ends:
            time.sleep(0.01)
    assert err == "loading it ...\n"


# Commands on a slow backbone.

SECONDS = 12.0  # that a forward pass, or reading a file, takes


@pytest.fixture
def slow(monkeypatch):
    """Every forward pass, every load and every table takes long, by a clock of its own."""
    clock = Clock()

    class Slow(Watcher):
        def __init__(self, display) -> None:
            super().__init__(display, clock)
            clock.watcher = self

        def start(self) -> None:
            """No thread: it looks when time passes."""

    monkeypatch.setattr(shown, "Watcher", Slow)

    def slowly(holder, name):
        own = getattr(holder, name)

        def made(*arguments, **options):
            if clock.watcher is not None:
                clock.wait(SECONDS, step=3.0)
            return own(*arguments, **options)

        monkeypatch.setattr(holder, name, made)

    slowly(Backbone, "answer_logits")
    slowly(model, "load_model")
    slowly(checkpoint, "_read_embedding")
    return clock


@pytest.fixture(scope="module")
def made(model_folder, tmp_path_factory):
    """A folder with two tasks and their rows, a prompt of each in runs/, and a portable file."""
    folder = tmp_path_factory.mktemp("made")
    rows = [("a great film", "good"), ("a terrible film", "bad"), ("a bad story", "bad")] * 4
    lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
    (folder / "rows.jsonl").write_text("\n".join(lines))
    (folder / "inputs.txt").write_text("a great film\na sad film\n")
    films = {
        "schema": 1,
        "name": "films",
        "kind": "classification",
        "template": "{soft} {text} It was {answer} .",
        "manual": "{text} It was {answer} .",
        "metric": "accuracy",
        "labels": {"good": ["great"], "bad": ["terrible"]},
        "data": {split: "rows.jsonl" for split in ("train", "dev", "test")},
    }
    words = {"good": ["good"], "bad": ["unhappy"]}
    (folder / "films.yaml").write_text(yaml.safe_dump(films))
    other = {**films, "name": "other", "labels": words}
    (folder / "other.yaml").write_text(yaml.safe_dump(other))
    tasks = [open_task(str(folder / name)) for name in ("films.yaml", "other.yaml")]
    jobs = [TuneJob(task, length=2) for task in tasks]
    model = Backbone.load(str(model_folder("bert")))
    for result in tune(model, jobs, TuneConfig(epochs=1)):
        save_prompt(result.prompt, folder / "runs" / result.job.label)
    films_prompt = load_prompt(folder / "runs" / "films-seed0")
    save_portable(encode_prompt(films_prompt, model.space), folder / "film.portable")
    return folder


@pytest.fixture
def place(made, model_folder, tmp_path, monkeypatch):
    """A copy of that folder, and the names of two models."""
    shutil.copytree(made, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return {"MODEL": str(model_folder("bert")), "TARGET": str(model_folder("gpt2"))}


TUNE = "tune --backbone MODEL --task films.yaml --length 2 --epochs 1 --batch-size 4"
FEW = "--texts words --rows 12"
EVAL = ["loading MODEL", "scoring the prompt: 0/12"]
BASELINES = [
    "scoring the manual template on test rows: 0/12",
    "reading the label prior: 0/3",
    *(f"scoring random prompt {number} of 3: 0/12" for number in (1, 2, 3)),
]
LIBRARY = "--data . --backbone MODEL"
COMMANDS = {
    f"{TUNE} --out P": [
        "loading MODEL",
        "tuning: 0/3",
        "tuning: 1/3, 33%, about",
        "scoring dev rows 0/12",
        "scoring the manual template on dev rows: 0/12",
    ],
    f"{TUNE} --mixture --with TARGET --out P": ["loading TARGET", "tuning jointly: 1/3"],
    f"{TUNE} --task other.yaml --together one --out P": ["tuning together: 1/3"],
    f"{TUNE} --start attention --library runs --out P": [
        "tuning films-seed0: 1/3",
        "scoring films-seed0 on dev rows: 0/12",
        "scoring the averaged prompt of films-seed0 on dev rows: 0/12",
    ],
    "eval runs/films-seed0 --task films.yaml --tuned": [
        *EVAL,
        *BASELINES,
        "tuning: 1/",
        "scoring the prompt tuned here: 0/12",
    ],
    "eval --backbone MODEL --task films.yaml": ["scoring the manual template: 0/12"],
    "predict runs/films-seed0 --task films.yaml --file inputs.txt": ["answering texts: 0/2"],
    f"move runs/films-seed0 --to TARGET --task films.yaml --out Q {FEW} --epochs 1 --score": [
        "loading MODEL",
        "loading TARGET",
        "asking MODEL for its answers: 0/",
        "fitting a mixture on MODEL: 0/",
        "scoring held-back rows: 0/",
        "comparing answers on TARGET: 0/",
        "aligning on TARGET: 0/",
        "scoring test rows on MODEL: 0/12",
        "scoring test rows on TARGET: 0/12",
    ],
    "transfer runs/films-seed0 --to TARGET --task films.yaml --out Q": [
        "reading the words of MODEL",
        "reading the words of TARGET",
    ],
    "export runs/films-seed0 --out another.portable": ["reading the words of MODEL"],
    "import film.portable --to TARGET --out Q": ["reading the words of TARGET"],
    "inspect TARGET": ["reading the words of TARGET"],
    "inspect runs/films-seed0": ["reading the words of MODEL"],
    "compat MODEL TARGET": ["reading the words of MODEL", "reading the words of TARGET"],
    "library rank runs --task films.yaml": ["asking the prompts: 0/2", "films-seed0 0/"],
    "library rank runs --task films.yaml --labelled 4": [
        "scoring the prompts on labelled rows: 0/8"
    ],
    "library adapt runs --task films.yaml --steps 2 --out A": [
        "asking the prompts: 0/2",
        "-seed0: 0/2",
    ],
    "library forecast runs --task films.yaml --task other.yaml": [
        "asking about the texts of both tasks: 0/2, 0%, asking films alone 0/",
        "asking a combination 0/",
    ],
    "library pairs runs --task films.yaml --task other.yaml": ["scoring films-seed0: 0/12"],
    "library curves runs --task films.yaml --rows 2 --start random --reference random --seed 0 "
    "--steps 2 --out C": ["measuring starts for films: 0/1", "scoring test rows 0/12"],
    "vector make runs/films-seed0 --out V": [],
    "vector combine films-seed0+other-seed0 --load films-seed0=runs/films-seed0 --load "
    "other-seed0=runs/other-seed0 --task films.yaml --task other.yaml --distill --texts words "
    "--rows 12 --steps 2 --out D": ["distilling into one prompt on MODEL: 0/"],
    "vector combine films-seed0+other-seed0 --load films-seed0=runs/films-seed0 --load "
    "other-seed0=runs/other-seed0 --task films.yaml --search --out S": ["searching coefficients, "],
    f"vector widen runs/films-seed0 --task films.yaml --origin-samples 2 {FEW} --steps 2 --out W": [
        "widening on MODEL: 0/"
    ],
    "vector check runs/films-seed0 --task films.yaml --unseen 1": [
        "scoring films on other origins: 0/"
    ],
    "vector check --backbone MODEL --task films.yaml --length 2 --epochs 1": ["tuning: 0/1"],
}


@pytest.mark.long
@pytest.mark.parametrize("line", COMMANDS)
def test_every_long_stage_of_a_command_has_its_line(run_cli, place, slow, line) -> None:
    words = [place.get(word, word) for word in line.split()]
    _, out, err = run_cli(*words)
    for name, folder in place.items():
        err = err.replace(folder, name)
    for part in COMMANDS[line]:
        assert part in err, f"{part}\n--- not in\n{err}"
    assert "so far" not in out
    assert "loading" not in out


@pytest.mark.parametrize("line", ["eval runs/films-seed0 --task films.yaml --tuned --json"])
def test_json_is_one_object_and_nothing_is_told(run_cli, place, slow, line) -> None:
    code, out, err = run_cli(*line.split())
    assert (code, err) == (0, "")
    assert json.loads(out)["task"] == "films"


def test_short_commands_tell_nothing(run_cli, place) -> None:
    code, _, err = run_cli("eval", "runs/films-seed0", "--task", "films.yaml")
    assert (code, [line for line in err.splitlines() if not line.startswith("Verdict")]) == (0, [])


def test_a_failure_is_still_one_line(run_cli, place, slow) -> None:
    code, out, err = run_cli("eval", "runs/nothing", "--task", "films.yaml")
    assert (code, out, err.count("\n")) == (1, "", 1)
