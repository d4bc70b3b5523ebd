"""The options of `move`, by panel, and what was given of them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptport.cli.console import refuse_together, seed_option
from promptport.cli.parsing import parse_options, read_words

if TYPE_CHECKING:
    from promptport.moving import EmbeddingsConfig, MoveConfig
    from promptport.prompt import SoftPrompt
    from promptport.transfers import TransferConfig

ROAD_PANEL = "Road"
TEXTS_PANEL = "Texts and learning"
TABLES_PANEL = "Embeddings road"
UNFINISHED = ".unfinished-move"  # folder in the one that is written
MINIMUM = 32  # usual --minimum-anchors

Prompts = Annotated[
    list[Path],
    typer.Argument(
        help="Prompt folder (ours or PEFT's); several of one task become one. Or one vector "
        "folder, which stays a vector."
    ),
]
To = Annotated[
    str | None,
    typer.Option(
        help="Target model: embedded name, folder or Hub id. Only --only may leave it out."
    ),
]
Out = Annotated[Path, typer.Option(help="Prompt folder to write, or vector folder.")]
TaskName = Annotated[
    str | None,
    typer.Option(
        help="Task that both models are asked about, if the prompt does not remember it: a name "
        "or a .yaml file."
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="auto: the road that works. answers: ask both models. embeddings: their tables alone, "
        "or a transfer method by name (see 'promptport methods').",
        rich_help_panel=ROAD_PANEL,
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        help="One stage of the road by answers. mixture: a mixture of words that answers alike, on "
        "the prompt's own model. align: pull --start towards the answers of the prompt.",
        rich_help_panel=ROAD_PANEL,
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        help="What the target's prompt begins from: mixture (the prompt as a mixture of words, "
        "carried by tables; usual of small models), port (the prompt, carried by tables), "
        "vocabulary (random rows; usual of large models), labels, text:WORDS, or a prompt folder "
        "of the target. With --only align a folder.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
WordsOf = Annotated[
    list[str] | None,
    typer.Option(
        "--words-of",
        help="With --only mixture: mix only words that this model knows too; repeat.",
        rich_help_panel=ROAD_PANEL,
    ),
]
Vector = Annotated[
    bool,
    typer.Option(
        "--vector",
        help="Carry what tuning added to a mixture prompt, as words with signs: a vector folder "
        "for origins of the target (vector combine --origin mixture).",
        rich_help_panel=ROAD_PANEL,
    ),
]
Weight = Annotated[
    list[float] | None,
    typer.Option(
        help="Weight of a prompt; repeat, one per prompt. Usual: all alike.",
        rich_help_panel=ROAD_PANEL,
    ),
]
Template = Annotated[
    str | None,
    typer.Option(
        help="Template in place of the prompt's (a PEFT folder names none: '{soft} ...').",
        rich_help_panel=ROAD_PANEL,
    ),
]
Check = Annotated[
    bool | None,
    typer.Option(
        "--check/--no-check",
        help="Compare the moved prompt's answers with its source's on 64 rows, without labels. "
        "Usual on the embeddings road if both models are here and small.",
        rich_help_panel=ROAD_PANEL,
    ),
]
ScoreFlag = Annotated[
    bool,
    typer.Option(
        "--score",
        help="Score both sides on the task's test rows; labels are read for this report alone.",
        rich_help_panel=ROAD_PANEL,
    ),
]
Texts = Annotated[
    str,
    typer.Option(
        help="What both models are asked. task: unlabelled texts of the task. write: texts that "
        "one of them writes. words: random words. auto: the task's, if there are 8.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
About = Annotated[
    str | None,
    typer.Option(
        help="With --texts write: what the texts are, for instance 'short film reviews'.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Shown = Annotated[
    int | None,
    typer.Option(
        help="With --texts write: texts of the task that the writer is shown. Usual: 8.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
WrittenTo = Annotated[
    Path | None,
    typer.Option(
        "--written-to",
        help="With --texts write: file that gets the written texts, JSON lines.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Labelled = Annotated[
    int,
    typer.Option(
        min=0,
        help="Rows of the split whose labels are learned beside the source's answers. Usual: none.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Split = Annotated[
    str, typer.Option(help="Split whose texts are read.", rich_help_panel=TEXTS_PANEL)
]
Rows = Annotated[
    int | None,
    typer.Option(
        help="Most unlabelled rows to read or make. Usual: 256.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(
        help="Most passes over them in alignment (usual: 10, and no limit for large targets); with "
        "--only mixture in fitting (30).",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        help="Most updates of alignment. Usual: no limit; for large targets 60 to 120, by how much "
        "answers still differ; of text-to-text tasks half of those of tuning.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
RelativeLr = Annotated[
    float | None,
    typer.Option(
        help="Step of alignment as a share of the embeddings' spread. Usual: 0.03, and 0.1 for "
        "large targets.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Noise = Annotated[
    float | None,
    typer.Option(
        help="Fit a mixture under noise of this share of a virtual token's norm: it moves better. "
        "Usual: 1.",
        rich_help_panel=TEXTS_PANEL,
    ),
]
Seed = Annotated[
    int, seed_option("Seed of mixtures, random words and methods that draw.", TEXTS_PANEL)
]
Magnitude = Annotated[
    str | None,
    typer.Option(
        help="Rule for the norms: token (usual), keep (usual of mixture), paper, dimension.",
        rich_help_panel=TABLES_PANEL,
    ),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option(help="Option of the method, NAME=VALUE; repeat.", rich_help_panel=TABLES_PANEL),
]
Anchors = Annotated[
    str,
    typer.Option(
        help="Which shared words: all, frequent:COUNT, agreeing:SHARE.",
        rich_help_panel=TABLES_PANEL,
    ),
]
Words = Annotated[
    Path | None,
    typer.Option(
        help="File with the anchor words to use, one a line.", rich_help_panel=TABLES_PANEL
    ),
]
MinimumAnchors = Annotated[
    int, typer.Option(help="Refuse with fewer anchors.", rich_help_panel=TABLES_PANEL)
]
Lengths = Annotated[
    str,
    typer.Option(
        help="Prompts of different length: same (refuse), cut, repeat, stretch.",
        rich_help_panel=TABLES_PANEL,
    ),
]
OwnAnchors = Annotated[
    bool,
    typer.Option(
        "--own-anchors",
        help="Every source uses all words that it shares with the target.",
        rich_help_panel=TABLES_PANEL,
    ),
]
Candidate = Annotated[
    list[str] | None,
    typer.Option(
        "--try",
        help="Several ways, the best is kept; repeat. METHOD, or METHOD:OPTION=VALUE,RULE as in "
        "omp:k=16,token.",
        rich_help_panel=TABLES_PANEL,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        help="What decides between --try: matching, roundtrip (usual), agreement (unlabelled text "
        "of the task), or labels (its dev rows).",
        rich_help_panel=TABLES_PANEL,
    ),
]
CueWord = Annotated[
    str | None,
    typer.Option(
        help="For causal targets: word to put in front of {answer}, for instance is. choose: the "
        "one that answers most like the source. The answers road always chooses.",
        rich_help_panel=TABLES_PANEL,
    ),
]


@dataclass(frozen=True)
class MoveOptions:
    """What a user typed behind `move` or `transfer`; fields as the options."""

    prompts: list[Path]
    to: str | None
    out: Path
    task: str | None
    data: Path | None
    method: str
    only: str | None
    start: str | None
    words_of: list[str]
    vector: bool
    backbone: list[str]
    weight: list[float]
    template: str | None
    check: bool | None
    score: bool
    texts: str
    about: str | None
    shown: int | None
    written_to: Path | None
    split: str
    labelled: int
    rows: int | None
    epochs: int | None
    steps: int | None
    relative_lr: float | None
    noise: float | None
    seed: int
    truncate: bool
    magnitude: str | None
    option: list[str]
    anchors: str
    words: Path | None
    minimum_anchors: int
    lengths: str
    own_anchors: bool
    candidate: list[str]
    by: str | None
    cue_word: str | None
    force: bool
    json_output: bool
    loading: dict[str, Any] = field(default_factory=dict)

    @property
    def is_method(self) -> bool:
        """Whether --method names a transfer method."""
        return self.method not in ("auto", "answers", "embeddings")

    @property
    def of_tables(self) -> dict[str, bool]:
        """Options of the embeddings road alone -> whether they were given."""
        return {
            "--magnitude": self.magnitude is not None,
            "--option": bool(self.option),
            "--anchors": self.anchors != "all",
            "--words": self.words is not None,
            "--minimum-anchors": self.minimum_anchors != MINIMUM,
            "--lengths": self.lengths != "same",
            "--own-anchors": self.own_anchors,
            "--try": bool(self.candidate),
            "--by": self.by is not None,
            "--cue-word": self.cue_word is not None,
        }

    @property
    def of_answers(self) -> dict[str, bool]:
        """Options of the answers road alone -> whether they were given."""
        return {
            "--texts": self.texts != "auto",
            **self.of_writing,
            "--labelled": self.labelled > 0,
            "--rows": self.rows is not None,
            "--epochs": self.epochs is not None,
            "--steps": self.steps is not None,
            "--relative-lr": self.relative_lr is not None,
            "--noise": self.noise is not None,
            "--start": self.start is not None,
        }

    @property
    def of_writing(self) -> dict[str, bool]:
        """Options of --texts write alone -> whether they were given."""
        return {
            "--about": self.about is not None,
            "--shown": self.shown is not None,
            "--written-to": self.written_to is not None,
        }

    @property
    def of_stages(self) -> dict[str, bool]:
        """Options of --only -> whether they were given."""
        return {
            "--only": self.only is not None,
            "--words-of": bool(self.words_of),
        }

    @property
    def learning(self) -> dict[str, Any]:
        """Fields of `DistillConfig` that were given."""
        steps = self.steps if self.steps or self.epochs is None else 0
        given = {
            "rows": self.rows,
            "shown": self.shown,
            "about": self.about,
            "epochs": self.epochs,
            "steps": steps,
            "relative_lr": self.relative_lr,
            "noise": self.noise,
        }
        own = {name: value for name, value in given.items() if value is not None}
        return {"seed": self.seed, "truncate": self.truncate, **own}

    def move_config(self) -> MoveConfig:
        """As the room below wants it.

        Raises:
            PromptPortError: a value out of its range, or a word list that cannot be read.
        """
        from promptport.moving import MoveConfig

        return MoveConfig(
            data=self.data,
            split=self.split,
            learning=self.learning,
            start=self._start(),
            labelled=self.labelled,
            embeddings=self._embeddings_config(),
            asked_of_tables=tuple(name for name, given in self.of_tables.items() if given),
            check=self.check,
            template=self.template,
            weights=tuple(self.weight),
            loading=self.loading,
            state=self.out / UNFINISHED,
        )

    def _start(self) -> str | SoftPrompt:
        """What alignment begins from: a folder of the target's is a prompt."""
        from promptport.storage import load_prompt

        if self.start is None:
            return "auto"
        return load_prompt(Path(self.start)) if Path(self.start).is_dir() else self.start

    def _embeddings_config(self) -> EmbeddingsConfig:
        from promptport.distillation.selection import parse_candidate
        from promptport.moving import EmbeddingsConfig
        from promptport.transfers import TransferConfig

        common = TransferConfig(
            words=None if self.words is None else read_words(self.words),
            anchors=self.anchors,
            minimum_anchors=self.minimum_anchors,
            lengths=self.lengths,
            seed=self.seed,
        )
        return EmbeddingsConfig(
            transfer=replace(
                common,
                method=self.method if self.is_method else None,
                magnitude=self.magnitude,
                options=parse_options(self.option),
                own_anchors=self.own_anchors,
            ),
            candidates={
                text: parse_candidate(text, parse_options, common) for text in self.candidate
            },
            by=self.by or "roundtrip",
            cue_word=self.cue_word,
        )

    def vector_config(self) -> TransferConfig:
        """How a vector is carried.

        Raises:
            PromptPortError: an option of prompts was given, or words that cannot be read.
        """
        from promptport.transfers import TransferConfig

        of_vectors = ("--option", "--anchors", "--words", "--minimum-anchors")
        others = {name: given for name, given in self.of_tables.items() if name not in of_vectors}
        others |= {"--weight": bool(self.weight), "--task": self.task is not None}
        others |= {"--template": self.template is not None, "--score": self.score}
        others |= {"--check": self.check is not None, "--seed": self.seed != 0}
        who = "--vector" if self.vector else "a vector folder"
        refuse_together(who, {**others, **self.of_answers, **self.of_stages})
        if self.method == "answers":
            refuse_together(who, {"--method answers": True})
        return TransferConfig(
            method=self.method if self.is_method else None,
            words=None if self.words is None else read_words(self.words),
            anchors=self.anchors,
            minimum_anchors=self.minimum_anchors,
            options=parse_options(self.option),
        )
