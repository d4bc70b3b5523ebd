"""The map of the command line: every command with its panel and summary, and panels of options.

Nothing of a command is imported here, so that `promptport --help` needs this table alone. The first
line of a command's docstring is the summary in this table (a test compares them).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Panels of commands.
START = "Start"
MAKE = "Make and use a prompt"
MOVE = "Move it to another model"
MANY = "Many prompts"
LOOK = "Look"
PANELS = (START, MAKE, MOVE, MANY, LOOK)

# Panels of options, for `rich_help_panel`. Options without one are what the command is about.
TASK_PANEL = "Task and data"
METHOD_PANEL = "Method"
START_PANEL = "Where tuning starts"
TRAINING_PANEL = "Training"
WRITING_PANEL = "Writing (text to text)"
SERVER_PANEL = "Server"
RUN_PANEL = "Engine"
MODEL_PANEL = "Model loading"
OUTPUT_PANEL = "Output"


@dataclass(frozen=True)
class Command:
    """A command, or a group of commands.

    Attributes:
        summary: one line, without a full stop at its end.
        module: where its function is; of a group: what it does when no command is named, None to
            show its help.
        panel: in the help of the root.
        function: the name in the module.
        commands: of a group, by name.
    """

    summary: str
    module: str | None = None
    panel: str = ""
    function: str = "command"
    commands: Mapping[str, Command] = field(default_factory=dict)


_TASKS = {
    "show": Command("Show one task with some of its rows", "promptport.cli.tasks", function="show"),
    "init": Command(
        "Make a task of a table of labelled texts", "promptport.cli.tasks", function="init"
    ),
    "check": Command(
        "Read every row of a task and list what is wrong with it",
        "promptport.cli.tasks",
        function="check",
    ),
}
_LIBRARY = {
    "list": Command("List the prompts and vectors of a library", "promptport.cli.library.listing"),
    "search": Command(
        "Find prompts by words, or as starts for a new task", "promptport.cli.library.search"
    ),
    "show": Command(
        "Show all that is known of one prompt of a library",
        "promptport.cli.library.listing",
        function="show",
    ),
    "report": Command(
        "Write a library as one HTML file: table, every prompt, how alike they are",
        "promptport.cli.library.report",
    ),
    "add": Command(
        "Copy a prompt folder into a library, if it is whole",
        "promptport.cli.library.keeping",
        function="add",
    ),
    "remove": Command(
        "Move a prompt to the trash of its library",
        "promptport.cli.library.keeping",
        function="remove",
    ),
    "restore": Command(
        "Bring a prompt back from the trash of its library",
        "promptport.cli.library.keeping",
        function="restore",
    ),
    "empty-trash": Command(
        "Delete what lies in the trash of a library, for good",
        "promptport.cli.library.keeping",
        function="empty_trash",
    ),
    "tag": Command(
        "Give a prompt tags, or take some from it",
        "promptport.cli.library.keeping",
        function="tag",
    ),
    "verify": Command(
        "Check that everything in a library is as it was saved",
        "promptport.cli.library.keeping",
        function="verify",
    ),
    "dedupe": Command(
        "Find prompts of a library whose values are equal",
        "promptport.cli.library.keeping",
        function="dedupe",
    ),
    "rank": Command("Rank prompts as starts for a new task", "promptport.cli.library.rank"),
    "similarity": Command(
        "Compare prompts of one model: cosines, signs, norms, spans",
        "promptport.cli.library.similarity",
    ),
    "forecast": Command(
        "Forecast which pairs of prompts harm each other when added",
        "promptport.cli.library.forecast",
    ),
    "pairs": Command(
        "Score every sum of two task vectors on both tasks", "promptport.cli.library.pairs"
    ),
    "curves": Command(
        "Score ways to start on a new task with few labelled rows", "promptport.cli.library.curves"
    ),
    "adapt": Command(
        "Make a prompt for a new task from prompts of other tasks", "promptport.cli.library.adapt"
    ),
}
_VECTOR = {
    "make": Command("Take what tuning added: prompt minus origin", "promptport.cli.vector.make"),
    "combine": Command(
        "Add, subtract, scale and merge task vectors", "promptport.cli.vector.combine"
    ),
    "widen": Command(
        "Learn a task vector again, so that it holds on many origins",
        "promptport.cli.vector.widen",
    ),
    "check": Command(
        "Whether a task vector holds on other origins than its own",
        "promptport.cli.vector.check",
    ),
}
_REPORT = {
    "write": Command(
        "Write the report of a run: a page, Markdown, CSV and LaTeX tables, SVG figures",
        "promptport.cli.report",
        function="write",
    ),
    "diff": Command(
        "Compare two runs: cells beyond their noise, settings, environments",
        "promptport.cli.report",
        function="diff",
    ),
}
_CACHE = {
    "clear": Command(
        "Remove everything that is kept and that no other process is using",
        "promptport.cli.cache",
        function="clear",
    ),
}

COMMANDS: dict[str, Command] = {
    "demo": Command(
        "Tune, move and score prompts on the embedded models", "promptport.cli.demo", START
    ),
    "models": Command("List the models that come with promptport", "promptport.cli.models", START),
    "tasks": Command(
        "List the tasks; show, make or check one",
        "promptport.cli.tasks",
        START,
        "listing",
        commands=_TASKS,
    ),
    "tune": Command("Learn soft prompts for tasks on a frozen model", "promptport.cli.tune", MAKE),
    "eval": Command(
        "Score a prompt on a task, beside the baselines", "promptport.cli.evaluate", MAKE
    ),
    "predict": Command("Answer texts of your own with a prompt", "promptport.cli.predict", MAKE),
    "serve": Command(
        "Answer requests over HTTP with all prompts of a library", "promptport.cli.serve", MAKE
    ),
    "move": Command("Carry a prompt to another model, without labels", "promptport.cli.move", MOVE),
    "transfer": Command(
        "The same by the embedding tables alone: move --method embeddings",
        "promptport.cli.transfer",
        MOVE,
    ),
    "export": Command(
        "Write prompts for an engine that serves them, or a prompt as a file for other models",
        "promptport.cli.export",
        MOVE,
    ),
    "import": Command(
        "Make a prompt for a model from such a file", "promptport.cli.import_portable", MOVE
    ),
    "app": Command(
        "Show a library on a page in the browser: find, try, compare, move, combine",
        "promptport.cli.library_app",
        MANY,
    ),
    "push": Command(
        "Send a prompt to the Hub, with its model card", "promptport.cli.hub", MANY, "push"
    ),
    "pull": Command("Get a prompt from the Hub, and check it", "promptport.cli.hub", MANY, "pull"),
    "library": Command(
        "Many prompts: keep, find, rank, compare, adapt",
        panel=MANY,
        commands=_LIBRARY,
    ),
    "vector": Command(
        "Task vectors (prompt minus origin): make, combine, check", panel=MANY, commands=_VECTOR
    ),
    "run": Command(
        "Run a recipe: an experiment in a file, cell by cell", "promptport.cli.run", MANY
    ),
    "inspect": Command(
        "Show what a prompt, vector, file, library or model is", "promptport.cli.inspect", LOOK
    ),
    "methods": Command(
        "List the methods of move, transfer and combine", "promptport.cli.methods", LOOK
    ),
    "compat": Command(
        "Which words models share, and how alike they place them", "promptport.cli.compat", LOOK
    ),
    "report": Command(
        "Runs of recipes: write a report, compare two runs", panel=LOOK, commands=_REPORT
    ),
    "cache": Command(
        "Show what is kept on disk: unpacked GGUF models, fetched files, words of tokenizers",
        "promptport.cli.cache",
        LOOK,
        "listing",
        commands=_CACHE,
    ),
    "help": Command("Show the help of a command", "promptport.cli.help", LOOK),
}

# What people may type who know an earlier version, or another tool -> what to type here.
OTHER_NAMES = {
    "zoo": "models",
    "backbones": "models",
    "encode": "export --format portable",
    "decode": "import",
    "origins": "vector check",
    "calibrate": "move --only align",
    "align": "move --only align",
    "anchor": "move --only mixture",
    "anchors": "compat",
    "rank": "library rank",
    "similarity": "library similarity",
    "forecast": "library forecast",
    "pairs": "library pairs",
    "curves": "library curves",
    "adapt": "library adapt",
    "combine": "vector combine",
    "widen": "vector widen",
    "evaluate": "eval",
    "score": "eval",
    "train": "tune",
    "generate": "predict",
    "port": "move",
    "convert": "move",
    "upload": "push",
    "download": "pull",
    "show": "inspect",
    "info": "inspect",
    "merge": "vector combine",
    "version": "--version",
}
