"""What a worker of the page can do, and the models that it keeps between two jobs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptport.catalog.catalog import known_task

if TYPE_CHECKING:
    from promptport.backbone import Backbone
    from promptport.prompt import SoftPrompt
    from promptport.tasks import Task

_MODELS = 3  # that are kept

# Kind of job -> where it is done. A function gets the session, what was asked, and `tell`.
WORK: Mapping[str, str] = {
    "read": "promptport.app.asking:read_prompt",
    "similar": "promptport.app.comparing:similar",
    "try": "promptport.app.asking:try_texts",
    "compare": "promptport.app.comparing:compare_prompts",
    "forecast": "promptport.app.comparing:forecast_sum",
    "move": "promptport.app.making:move_prompt",
    "score sum": "promptport.app.making:score_sum",
    "combine": "promptport.app.making:combine_prompts",
    "push": "promptport.app.hub:push",
    "pull": "promptport.app.hub:pull",
}
Tell = Callable[[Mapping[str, Any]], None]
Asked = Mapping[str, Any]


@dataclass
class Session:
    """What a worker keeps.

    Attributes:
        data: folder of `lama:` and `nlu:` tasks; None for none.
        tasks: task files of prompts whose tasks do not come with promptport.
        loading: device, dtype and device_map of models.
        models: places of models that prompts may belong to, where they are not where those say.
        scores: of single prompts on dev rows, by prompt, task and rows.
    """

    data: str | None = None
    tasks: Sequence[str] = ()
    loading: Mapping[str, Any] = field(default_factory=dict)
    models: Sequence[str] = ()
    scores: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    _models: OrderedDict[tuple[str, str | None], Backbone] = field(default_factory=OrderedDict)
    _places: dict[str, str] | None = None
    _own_tasks: dict[str, Task] | None = None

    def backbone(self, name: str, revision: str | None = None) -> Backbone:
        """A model, kept for the next job.

        Raises:
            BackboneError: it cannot be opened.
        """
        from promptport.backbone import Backbone
        from promptport.progress import stage

        key = (name, revision)
        if key not in self._models:
            with stage(f"loading {name}"):
                self._models[key] = Backbone.load(name, revision=revision, **self.loading)
        self._models.move_to_end(key)
        while len(self._models) > _MODELS:
            self._models.popitem(last=False)
        return self._models[key]

    def backbone_of(self, prompt: SoftPrompt) -> Backbone:
        """The model that a prompt belongs to: one of `models`, else the one that it names.

        Raises:
            BackboneError: it cannot be opened.
            MismatchError: the prompt does not belong to it.
        """
        made = prompt.provenance
        place = self._place_of(made.fingerprint)
        model = self.backbone(*((made.backbone, made.revision) if place is None else (place,)))
        model.check_prompt(prompt)
        return model

    def _place_of(self, fingerprint: str | None) -> str | None:
        """Where among `models` the one of this fingerprint is."""
        from promptport.backbone import open_space

        if self._places is None:
            self._places = {open_space(place).fingerprint: place for place in self.models}
        return None if fingerprint is None else self._places.get(fingerprint)

    def task(self, name: str | None) -> Task | None:
        """The task of a name, as prompts record it; None if it is not known."""
        from promptport.tasks import as_task

        if self._own_tasks is None:
            opened = [as_task(file, self.data) for file in self.tasks]
            self._own_tasks = {task.name: task for task in opened}
        if name is None:
            return None
        return self._own_tasks.get(name) or known_task(name, self.data)


def work(session: Session, kind: str, asked: Asked, tell: Tell) -> dict[str, Any]:
    """Do a job.

    Args:
        session: of the worker.
        kind: a name in `WORK`.
        asked: plain JSON values, as the function of the kind reads them.
        tell: takes `note` events on the way.

    Returns:
        Plain JSON values.
    """
    module, _, name = WORK[kind].partition(":")
    done: dict[str, Any] = getattr(import_module(module), name)(session, asked, tell)
    return done


def opened_prompt(session: Session, path: str | Path) -> SoftPrompt:
    """A prompt of the library; a vector is put on its usual origin.

    Raises:
        PromptPortError: it is damaged, or no prompt can be made of it.
    """
    from promptport.library import Library
    from promptport.storage import load_prompt
    from promptport.storage.vector_folder import is_vector

    place = Path(path).absolute()  # never a name on the Hub
    if not is_vector(place):
        return load_prompt(place)
    return next(iter(Library.open(place, data=session.data).values()))
