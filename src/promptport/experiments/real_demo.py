"""The demo on real models: tune on one pretrained model, move to another, compare.

Every step is kept in a folder, so that a run that was stopped goes on. No step but tuning reads a
label; scores are of test rows.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from promptport._version import __version__
from promptport.backbone import Backbone
from promptport.backbone.gguf.needs import check_package
from promptport.errors import TuningError
from promptport.evaluation import choose_template, evaluate
from promptport.experiments.pretrained import MODELS, fetch, models_folder
from promptport.experiments.result_store import task_stamp
from promptport.files import json_bytes, read_json, storage_error, write_atomic
from promptport.moving import MoveConfig, move
from promptport.moving.places import ModelPlace
from promptport.parameters import OriginSpec
from promptport.progress import Stage, stage
from promptport.prompt import SoftPrompt
from promptport.records import digest
from promptport.storage import load_prompt, save_prompt
from promptport.tasks import Score, Task, Template, open_task
from promptport.transfers import transfer
from promptport.tuning import (
    TuneConfig,
    TuneJob,
    score_baselines,
    tune,
    usual_settings,
)
from promptport.tuning.label_prior import PRIOR_OFF
from promptport.tuning.usual import placed_in

Announce = Callable[[str], None]
REVIEWS = Path(__file__).parent / "reviews"
MOVED, CEILING = "moved, answers", "tuned here"

# What is compared, in the order of the table: name -> what it has read for the model it is scored
# on.
SEEN = {
    "majority": "training answers",
    "random": "nothing",
    "manual": "nothing; a person wrote it",
    PRIOR_OFF: "unlabelled texts; a person wrote it",
    "moved, paper A's search": "its embedding table",
    "moved, least squares": "its embedding table",
    MOVED: "unlabelled texts",
    CEILING: "labelled rows",
}


@dataclass(frozen=True)
class RealDemoSettings:
    """What the demo on real models runs.

    Attributes:
        source: where the prompt is tuned: a name of `pretrained.MODELS`, which is fetched, or any
            reference of a backbone.
        target: where it is moved to, likewise.
        seed: of origins and the order of rows.
        steps: updates of each of the three: tuning, moving, tuning on the target. 1 or more.
        paper_steps: steps of paper A's search (2,000 in the paper).
    """

    source: str = "smollm2-135m"
    target: str = "gemma3-270m"
    seed: int = 0
    steps: int = 96
    paper_steps: int = 2000


@dataclass(frozen=True)
class RealDemoResult:
    """Outcome of the demo on real models.

    Attributes:
        settings: what was run.
        folder: where steps and prompts are kept.
        names: of the models, for people: `source`, `target`.
        scores: `source`, `target` -> key of `SEEN` -> score on test rows.
        curves: `tuned-source`, `tuned-target` -> per look at the dev rows: updates so far, training
            loss, dev loss, dev score.
        aligned: the move by answers: cross-entropy `before` and `after` on held-back texts, its
            `floor`, `rows` and `steps`.
        seconds: step -> how long it took.
        setup: what was chosen, in words.
        models: references of the backbones: `source`, `target`.
    """

    settings: RealDemoSettings
    folder: Path
    names: dict[str, str]
    scores: dict[str, dict[str, Score]]
    curves: dict[str, list[list[float]]]
    aligned: dict[str, Any]
    seconds: dict[str, float]
    setup: str
    models: dict[str, str] = field(default_factory=dict)

    def kept(self, name: str) -> float:
        """A score on the target as a share of that of a prompt tuned there with labels."""
        on_target = self.scores["target"]
        return on_target[name].value / max(on_target[CEILING].value, 1e-9)

    def gain_kept(self, name: str) -> float | None:
        """The same of what lies above the majority; None if tuning there is not surely above it."""
        on_target = self.scores["target"]
        floor = on_target["majority"].value
        gain = on_target[CEILING].value - floor
        return None if on_target[CEILING].low <= floor else (on_target[name].value - floor) / gain

    @property
    def verdict(self) -> str:
        """What came out, in words."""
        scores = self.scores["target"]
        tables = " and ".join(
            f"{scores[name].value:.2f}" for name in SEEN if "search" in name or "squares" in name
        )
        return (
            f"Moved by answers, the prompt keeps {self.kept(MOVED):.0%} of tuning on the target "
            f"({scores[MOVED].value:.2f} of {scores[CEILING].value:.2f}) without a label; it had "
            f"{self.scores['source'][CEILING].value:.2f} on the source. Moved by embedding tables "
            f"alone it gets {tables}, where one answer to everything gets "
            f"{scores['majority'].value:.2f} and a person's template with its prior off "
            f"{scores[PRIOR_OFF].value:.2f}."
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "source": self.names["source"],
            "target": self.names["target"],
            "metric": self.scores["target"][CEILING].metric,
            "scores": {
                side: {name: score.to_dict() for name, score in own.items()}
                for side, own in self.scores.items()
            },
            "retention": {name: self.kept(name) for name in self.scores["target"]},
            "gain_kept": {name: self.gain_kept(name) for name in self.scores["target"]},
            "aligned": self.aligned,
            "seconds": self.seconds,
            "folder": str(self.folder),
            "models": self.models,
        }


def run_real_demo(
    folder: Path,
    settings: RealDemoSettings | None = None,
    *,
    progress: Announce = lambda text: None,
    models: Path | None = None,
) -> RealDemoResult:
    """Run the demo on real models, or what is left of it.

    Args:
        folder: keeps steps, prompts and the task; made if missing.
        settings: what to run. Steps of other settings are done anew.
        progress: told what is being done.
        models: where fetched models go; None for the cache.

    Raises:
        PromptPortError: a model cannot be got or opened, the folder cannot be written.
    """
    settings = settings or RealDemoSettings()
    demo = _Demo(folder, settings, progress)
    paths = {
        side: fetched(getattr(settings, side), models or models_folder(), progress)
        for side in ("source", "target")
    }
    return demo.run(paths)


def fetched(name: str, folder: Path, progress: Announce = lambda text: None) -> str:
    """The reference of a model: the file of a known one, which is got if it is missing.

    Raises:
        BackboneError: nothing that opens such files is installed.
        PromptPortError: as `fetch`.
    """
    if name not in MODELS:
        return name
    check_package(name)
    model = MODELS[name]
    if not (folder / f"{name}.gguf").is_file():
        progress(f"getting {name}, {model.size / 1e6:.0f} MB ({model.licence})")
    return str(fetch(name, model, folder))


@dataclass(frozen=True)
class _Step:
    """Something that takes long.

    Attributes:
        name: of its file.
        label: for people.
        cost: about how many seconds it takes on real models, beside the others.
        needs: models that it asks: `source`, `target`.
        make: does it, and gives what is kept.
        prompt: folder that it writes; empty for none.
    """

    name: str
    label: str
    cost: float
    needs: tuple[str, ...]
    make: Callable[[], dict[str, Any]]
    prompt: str = ""


class _Demo:
    """One run: its folder, its models, its steps."""

    def __init__(self, folder: Path, settings: RealDemoSettings, progress: Announce) -> None:
        self.folder, self.settings = folder, settings
        self._told, self._progress = Stage("demo"), progress
        self.places: dict[str, ModelPlace] = {}
        self._opening = 0.0
        self._where = (0, 1, 0.0, 1.0)  # steps done, of so many, share done, share of this one
        try:
            (folder / "steps").mkdir(parents=True, exist_ok=True)
            shutil.copytree(REVIEWS, folder / REVIEWS.name, dirs_exist_ok=True)
        except OSError as error:
            raise storage_error(folder, error, "a folder that can be written") from None

    @cached_property
    def task(self) -> Task:
        return open_task(self.folder / REVIEWS.name / "task.yaml")

    def run(self, paths: Mapping[str, str]) -> RealDemoResult:
        """Do what is not done yet."""
        self.places = {side: ModelPlace(path) for side, path in paths.items()}
        steps = self._steps()
        missing = [step for step in steps if self._known(step) is None]
        if len(missing) < len(steps):
            kept = len(steps) - len(missing)
            self._progress(f"going on in {self.folder}: {kept} of {len(steps)} steps are done")
        self._open(missing)
        costs = [step.cost for step in steps]
        done: dict[str, dict[str, Any]] = {}
        with stage("demo") as self._told:
            for number, step in enumerate(steps):
                before = sum(costs[:number]) / sum(costs)
                self._where = (number, len(steps), before, step.cost / sum(costs))
                self._within(0, 1)
                done[step.name] = self._do(step)
            self._told.at(len(steps), len(steps))
        return self._result(done)

    def _open(self, missing: Sequence[_Step]) -> None:
        """Load what steps ask, before time is measured: unpacking a model takes a while, once."""
        began = time.perf_counter()
        for side in sorted({side for step in missing for side in step.needs}):
            self._progress(f"opening {short_name(self.places[side].name)}")
            _ = self.places[side].backbone
        self._opening = time.perf_counter() - began

    def _within(self, done: int, total: int) -> None:
        """Tell how far the step is, so that there is a time left during the first one too."""
        number, steps, before, own = self._where
        self._told.at(number, steps, share=before + own * done / max(total, 1))

    def _do(self, step: _Step) -> dict[str, Any]:
        known = self._known(step)
        if known is not None:
            return known
        self._progress(step.label)
        self._file(step).unlink(missing_ok=True)  # before its prompt is replaced
        began = time.perf_counter()
        record = {"stamp": self._stamp(step), **step.make()}
        record["seconds"] = time.perf_counter() - began
        write_atomic(self._file(step), json_bytes(record))
        return record

    def _known(self, step: _Step) -> dict[str, Any] | None:
        """What a step came to, if that is still valid."""
        if not self._file(step).is_file():
            return None
        if step.prompt and not (self.folder / step.prompt).is_dir():
            return None
        record = read_json(self._file(step))
        return record if record.get("stamp") == self._stamp(step) else None

    def _file(self, step: _Step) -> Path:
        return self.folder / "steps" / f"{step.name}.json"

    def _stamp(self, step: _Step) -> str:
        """Of all that a step's outcome depends on; of a moved prompt, also the source's."""
        settings = self.settings
        values: list[Any] = [__version__, step.name, settings.seed, settings.steps]
        values += [self._identity(side) for side in step.needs]
        values += [task_stamp(self.task, split) for split in ("train", "dev", "test")]
        if step.name == "paper":
            values.append(settings.paper_steps)
        if step.name != "tuned-source" and (self.folder / "tuned-source").is_dir():
            values.append(hashlib.sha256(self._tuned.vectors.numpy().tobytes()).hexdigest())
        return digest(*values)

    def _identity(self, side: str) -> list[Any]:
        """What tells a model from others, without reading it."""
        name = getattr(self.settings, side)
        if name in MODELS:
            return [name, MODELS[name].sha256]
        path = Path(name)
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        stats = [(file.name, file.stat()) for file in files if file.is_file()]
        return [name, *([n, stat.st_size, stat.st_mtime_ns] for n, stat in stats)]

    def _steps(self) -> list[_Step]:
        source, target = (short_name(self.places[side].name) for side in ("source", "target"))
        updates = f"{self.settings.steps} updates"
        both = ("source", "target")
        return [
            _Step(
                "tuned-source",
                f"tuning a prompt on {source}: {updates}",
                200,
                ("source",),
                lambda: self._tune("source"),
                "tuned-source",
            ),
            _Step(
                "answers",
                f"moving it to {target} by the source's answers to unlabelled texts: {updates}",
                220,
                both,
                self._by_answers,
                "moved",
            ),
            _Step(
                "least-squares",
                f"moving it to {target} by embedding tables: least squares",
                20,
                both,
                lambda: self._by_tables("least-squares", None),
                "moved-least-squares",
            ),
            _Step(
                "paper",
                f"moving it to {target} by embedding tables: paper A's search",
                200,
                both,
                lambda: self._by_tables("paper", "gradient"),
                "moved-paper",
            ),
            _Step(
                "baselines-source",
                f"scoring the baselines on {source}",
                60,
                ("source",),
                lambda: self._baselines("source"),
            ),
            _Step(
                "baselines-target",
                f"scoring the baselines on {target}",
                80,
                ("target",),
                lambda: self._baselines("target"),
            ),
            _Step(
                "tuned-target",
                f"tuning a prompt on {target} with labels, as the ceiling: {updates}",
                220,
                ("target",),
                lambda: self._tune("target"),
                "tuned-target",
            ),
        ]

    @property
    def _tuned(self) -> SoftPrompt:
        """The prompt of the source."""
        return load_prompt(self.folder / "tuned-source")

    def _backbone(self, side: str) -> Backbone:
        return self.places[side].backbone

    def _tune(self, side: str) -> dict[str, Any]:
        """Tune on a model; on the target in the same place and length as on the source."""
        settings, backbone = self.settings, self._backbone(side)
        usual = usual_settings(backbone)
        length, template = usual.length, placed_in(backbone, self.task, None)
        if side == "target":
            length, template = self._tuned.length, self._asked_in
        job = TuneJob(
            self.task,
            OriginSpec("vocabulary", settings.seed),
            length,
            settings.seed,
            relative_lr=usual.relative_lr,
            template=template,
        )
        name = f"tuned-{side}"
        stamp = digest(settings.seed, settings.steps, self._identity(side))
        results = tune(
            backbone,
            [job],
            tune_config(usual.config, settings.steps),
            state=self.folder / "steps" / f".{name}-{stamp}.safetensors",
            save=lambda done: self._save(done[0].prompt, name),
            progress=lambda told: self._within(told.step, told.total),
        )
        result = results[0]
        if result.prompt is None:
            raise TuningError(
                backbone.name, expected="a finite loss", got=str(result.error), fix="Take --seed 1"
            )
        check = min(_check(settings.steps), result.steps)
        return {
            "score": self._score(side, result.prompt),
            "curve": [
                [min(check * (i + 1), result.steps), *point] for i, point in enumerate(result.curve)
            ],
            "steps": result.steps,
            "length": length,
            "template": template.text,
        }

    @property
    def _asked_in(self) -> Template:
        """The template of the source's prompt."""
        return choose_template(self.task, self._tuned)

    def _by_answers(self) -> dict[str, Any]:
        """`promptport move`: from random vocabulary rows towards the source's answers."""
        settings = self.settings
        budget = {"steps": settings.steps, "check": _check(settings.steps), "epochs": 0}
        moved = move(
            self._tuned,
            to=self._backbone("target"),
            backbone=self._backbone("source"),
            task=self.task,
            method="answers",
            texts="task",
            config=MoveConfig(
                learning={**budget, "seed": settings.seed, "truncate": True},
                start="vocabulary",
            ),
            progress=lambda _, done, total: self._within(done, total),
        )
        self._save(moved.prompt, "moved")
        aligned = moved.to_dict()["aligned"]
        learned = {k: v for k, v in aligned.items() if k not in ("missed", "made")}
        return {"score": self._score("target", moved.prompt), "aligned": learned}

    def _by_tables(self, name: str, method: str | None) -> dict[str, Any]:
        options = {"steps": self.settings.paper_steps} if method else {}
        moved = transfer(
            self._tuned,
            self._backbone("source").space,
            self._backbone("target").space,
            method=method,
            magnitude="paper" if method else None,
            seed=self.settings.seed,
            options=options,
            roundtrip=False,
            progress=self._within,
        )
        self._save(moved.prompt, f"moved-{name}")
        return {"score": self._score("target", moved.prompt)}

    def _baselines(self, side: str) -> dict[str, Any]:
        scores = score_baselines(self._backbone(side), self.task, self._tuned, truncate=True)
        return {"scores": {name: score.to_dict() for name, score in scores.items()}}

    def _score(self, side: str, prompt: SoftPrompt) -> dict[str, Any]:
        backbone = self._backbone(side)
        with stage(f"scoring test rows on {short_name(backbone.name)}"):
            return evaluate(backbone, self.task, prompt, truncate=True).score.to_dict()

    def _save(self, prompt: SoftPrompt | None, name: str) -> None:
        if prompt is not None:
            save_prompt(prompt, self.folder / name)

    def _result(self, done: Mapping[str, Mapping[str, Any]]) -> RealDemoResult:
        found = {
            side: {
                **done[f"baselines-{side}"]["scores"],
                CEILING: done[f"tuned-{side}"]["score"],
            }
            for side in ("source", "target")
        }
        found["target"] |= {
            "moved, paper A's search": done["paper"]["score"],
            "moved, least squares": done["least-squares"]["score"],
            MOVED: done["answers"]["score"],
        }
        tuned, settings = done["tuned-source"], self.settings
        rows = ", ".join(f"{len(self.task.load(s))} {s}" for s in ("train", "dev", "test"))
        labels = {step.name: step.label for step in self._steps()}
        seconds = {labels[name]: record["seconds"] for name, record in done.items()}
        if self._opening > 1:
            seconds["opening the models"] = self._opening
        return RealDemoResult(
            settings,
            self.folder,
            {side: short_name(place.name) for side, place in self.places.items()},
            {
                side: {name: Score(**own[name]) for name in SEEN if name in own}
                for side, own in found.items()
            },
            {name: done[name]["curve"] for name in ("tuned-source", "tuned-target")},
            dict(done["answers"]["aligned"]),
            seconds,
            f"{tuned['length']} virtual tokens in '{tuned['template']}'; {settings.steps} updates "
            f"for each of tuning, moving and tuning on the target; rows: {rows}; seed "
            f"{settings.seed}",
            {side: place.name for side, place in self.places.items()},
        )


def _check(steps: int) -> int:
    """Updates between two looks at rows that decide."""
    return max(1, steps // 4)


def tune_config(usual: TuneConfig, steps: int) -> TuneConfig:
    """The usual settings of a model with another budget, to its end."""
    return replace(
        usual,
        epochs=max(usual.epochs, steps),
        max_steps=steps,
        check=_check(steps),
        patience=0,
        schedule="linear",
        truncate=True,
    )


def short_name(reference: str) -> str:
    """A model's name for people: of a file or folder, without the way to it."""
    return Path(reference).name.removesuffix(".gguf") or reference
