"""PromptServer: rows of many prompts in the batches of one frozen backbone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from promptport.backbone import Backbone, BackboneLike, EncodedRow, as_backbone
from promptport.backbone.generation import Writing, row_batches, without_answer
from promptport.backbone.kept_texts import KeptTexts
from promptport.errors import PromptPortError, TaskError
from promptport.evaluation import PromptedQuestion, score_questions
from promptport.library import Library
from promptport.objective import Question
from promptport.prediction import AskedTask, answers_of
from promptport.prompt import SoftPrompt
from promptport.serving.asks import Ask, Reply
from promptport.serving.sent import SentPrompts
from promptport.serving.shelf import (
    FolderShelf,
    MemoryShelf,
    ServedPrompt,
    Shelf,
    tasks_by_name,
)
from promptport.tasks import Task, TaskLike, Template, as_task
from promptport.tasks.writing import WritingConfig

PROMPT_MEMORY = 1 << 30  # bytes for keys and values of prompts
_BARE = Template.parse("{text}{answer}")

Prompts = Library | Mapping[str, SoftPrompt] | str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class LaidOut:
    """One ask, ready for the backbone.

    Attributes:
        ask: what was asked.
        served: the prompt; None for the bare model.
        row: what a backbone that writes reads.
        question: what a backbone that chooses is asked; None where it writes.
        truncated: whether only the beginning of the text is read.
        writing: how it writes.
    """

    ask: Ask
    served: ServedPrompt | None
    row: EncodedRow
    question: Question | None
    truncated: bool
    writing: WritingConfig

    @property
    def writes(self) -> bool:
        """Whether the answer is written, not chosen."""
        return self.question is None

    @property
    def read(self) -> int:
        """Tokens that the backbone reads."""
        return len(self.row.ids)


class PromptServer:
    """Answers rows of any of many prompts, mixed in the same batches.

    Keys and values of prompts that lead their rows are computed once and kept, on a causal model.
    An instance belongs to one thread.

    Args:
        backbone: the frozen model, or its name or folder.
        prompts: a library, prompts by name, or folders of prompts, which are read when they are
            asked for.
        tasks: tasks or task files of prompts whose tasks do not come with promptport.
        data: folder of `lama:` and `nlu:` tasks.
        memory: most bytes of keys and values of prompts.
        most_tokens: of a row, where the model's positions have no limit; None for any number.

    Example:
        >>> from promptport import Ask, PromptServer
        >>> server = PromptServer("nano-gpt2", "prompts")  # doctest: +SKIP
        >>> server.answer([Ask("sentiment", "A warm film"), Ask("topic", "It rains")])
        ... # doctest: +SKIP
    """

    def __init__(
        self,
        backbone: BackboneLike,
        prompts: Prompts,
        *,
        tasks: Sequence[TaskLike] = (),
        data: str | Path | None = None,
        memory: int = PROMPT_MEMORY,
        most_tokens: int | None = None,
    ) -> None:
        self.backbone: Backbone = as_backbone(backbone)
        self.shelf: Shelf = _shelf(self.backbone, prompts, tasks, data)
        self._sent = SentPrompts(self.backbone, self.shelf)
        self._kept = KeptTexts(memory, disk=0)
        self._most_tokens = most_tokens
        text = Task("text", "text2text", _BARE, "exact-match")
        self._bare = AskedTask(self.backbone, text, template=_BARE)

    @property
    def names(self) -> list[str]:
        """The prompts that can be asked now."""
        return self.shelf.names()

    def answer(self, asks: Sequence[Ask]) -> list[Reply]:
        """Answer rows, whatever their prompts; those of one kind share forward passes.

        Args:
            asks: one or more.

        Raises:
            UnknownNameError: there is no such prompt.
            TaskError: a text that does not fit its template.
            PromptPortError: a damaged prompt folder, one of another model, or a masked backbone
                that would have to write.
        """
        laid_out = self.lay_out_all(asks)
        replies: dict[int, Reply] = {}
        chosen = [i for i, own in enumerate(laid_out) if not own.writes]
        found = self.choose([laid_out[i] for i in chosen])
        replies |= zip(chosen, found, strict=True)
        written = [i for i, own in enumerate(laid_out) if own.writes]
        for batch in self.together([laid_out[i] for i in written]):
            numbers = [written[place] for place in batch]
            writing = self.begin([laid_out[i] for i in numbers])
            while not writing.is_done:
                writing.step()
            for number, i in enumerate(numbers):
                replies[i] = reply_of(laid_out[i], writing, number)
        return [replies[i] for i in range(len(asks))]

    def stream(self, ask: Ask) -> Iterator[str]:
        """What the model writes for one row, piece by piece; a label comes as one piece.

        Raises:
            PromptPortError: as `answer`.
        """
        own = self.lay_out(ask)
        if not own.writes:
            yield self.choose([own])[0].text
            return
        writing, sent = self.begin([own]), 0
        while not writing.is_done:
            writing.step()
            text = settled(writing, 0, own.writing.stop)
            if len(text) > sent:
                yield text[sent:]
                sent = len(text)

    def lay_out(self, ask: Ask) -> LaidOut:
        """An ask, ready for the backbone.

        Raises:
            PromptPortError: as `answer`.
        """
        return self.lay_out_all([ask])[0]

    def lay_out_all(self, asks: Sequence[Ask]) -> list[LaidOut]:
        """The same of many asks, the plain texts of each prompt at once.

        Raises:
            PromptPortError: as `answer`, for the first that cannot be answered.
        """
        together: dict[tuple[int, str], list[int]] = {}
        served = [self._served(ask) for ask in asks]
        for i, ask in enumerate(asks):
            alike = str(ask.writing) if ask.messages is None else f"chat {i}"
            together.setdefault((id(self._task_of(served[i])), alike), []).append(i)
        laid_out: dict[int, LaidOut] = {}
        for places in together.values():
            laid_out |= zip(places, self._alike(asks, served, places), strict=True)
        return [laid_out[i] for i in range(len(asks))]

    def _alike(
        self, asks: Sequence[Ask], served: Sequence[ServedPrompt | None], places: Sequence[int]
    ) -> list[LaidOut]:
        """One chat, or some texts of prompts that are asked alike."""
        first, own = asks[places[0]], served[places[0]]
        asked = self._task_of(own)
        if own is None:
            _refuse_masked(self.backbone)
        # A label is chosen: its length and temperature mean nothing.
        usual = asked.objective.task.writing
        writing = _changed(usual, first.writing) if asked.writes else usual
        if first.messages is not None and _is_conversation(first, own):
            lead = 0 if own is None else own.prompt.length
            row = without_answer(self.backbone.layout.conversation(first.messages, lead))
            self._refuse_long(row, "messages")
            return [LaidOut(first, own, row, None, False, writing)]
        texts = [_text_of(asks[i], asked) for i in places]
        found = asked.lay_out(texts, [i + 1 for i in places])
        return [
            self._row(i, asks[i], served[i], found.questions[number], found.cut[number], writing)
            for number, i in enumerate(places)
        ]

    def _task_of(self, served: ServedPrompt | None) -> AskedTask:
        """What a prompt, or the bare model, is asked."""
        return self._bare if served is None else served.asked

    def _served(self, ask: Ask) -> ServedPrompt | None:
        """The prompt of an ask; None for the bare model."""
        if ask.soft_prompt is not None:
            return self._sent.get(ask.prompt, ask.soft_prompt)
        return None if ask.prompt is None else self.shelf.get(ask.prompt)

    def _row(
        self,
        place: int,
        ask: Ask,
        served: ServedPrompt | None,
        question: Question,
        cut: bool,
        writing: WritingConfig,
    ) -> LaidOut:
        """A text of a prompt, at its place in the request."""
        row = question.inputs[0]
        self._refuse_long(row, f"text {place + 1}")
        if served is not None and not served.writes:
            return LaidOut(ask, served, row, question, cut, writing)
        if self.backbone.kind == "causal":
            row = without_answer(row)
        return LaidOut(ask, served, row, None, cut, writing)

    def _refuse_long(self, row: EncodedRow, name: str) -> None:
        """Refuse what only the memory would end, on a model whose positions have no limit."""
        most, size = self._most_tokens, max(len(row.ids), len(row.decoder_ids))
        if most is not None and self.backbone.max_tokens is None and size > most:
            raise TaskError(
                name,
                expected=f"at most {most} tokens with the prompt",
                got=str(size),
                fix="Shorten it, or send it in parts",
            )

    @torch.no_grad()
    def choose(self, laid_out: Sequence[LaidOut]) -> list[Reply]:
        """Labels and words of rows that are not written, in as few forward passes as fit."""
        if not laid_out:
            return []
        table, starts = self._table(laid_out)
        queries = [
            PromptedQuestion(self._task_of(own.served).objective, own.question, start)
            for own, start in zip(laid_out, starts, strict=True)
            if own.question is not None
        ]
        answers: dict[int, tuple[str, dict[str, float] | None]] = {}
        with self._keeping():
            for part in score_questions(self.backbone, queries, table):
                most = max(laid_out[place].ask.top for place in part.places)
                answers |= zip(part.places, answers_of(part, most), strict=True)
        return [
            Reply(answers[i][0], _first(answers[i][1], own), own.truncated, own.read)
            for i, own in enumerate(laid_out)
        ]

    def together(self, laid_out: Sequence[LaidOut]) -> Iterator[list[int]]:
        """Numbers of the rows that may be written in one batch, batch by batch."""
        new = [own.writing.max_new_tokens for own in laid_out]
        return row_batches([own.row for own in laid_out], new)

    def begin(self, laid_out: Sequence[LaidOut]) -> Writing:
        """Read rows that are to be written together; `step` writes a token of each.

        Args:
            laid_out: a batch that `together` gives.
        """
        table, starts = self._table(laid_out)
        rows = [own.row for own in laid_out]
        with torch.no_grad(), self._keeping():
            return Writing(self.backbone, rows, table, starts, [own.writing for own in laid_out])

    def _keeping(self) -> contextlib.AbstractContextManager[None]:
        return self.backbone.keeping_prompts(self._kept)

    def _table(self, laid_out: Sequence[LaidOut]) -> tuple[torch.Tensor, list[int]]:
        """Virtual tokens of all prompts of a batch (N, d), and the first row of each row's."""
        starts: dict[int, int] = {}
        parts: list[torch.Tensor] = []
        length = 0
        for own in laid_out:
            if own.served is not None and id(own.served) not in starts:
                starts[id(own.served)] = length
                parts.append(own.served.vectors)
                length += own.served.prompt.length
        if not parts:
            parts.append(torch.zeros(1, self.backbone.width, device=self.backbone.device))
        own_starts = [0 if own.served is None else starts[id(own.served)] for own in laid_out]
        return torch.cat(parts), own_starts


def settled(writing: Writing, row: int, stops: Sequence[str]) -> str:
    """What is written of a row and cannot change any more, without white space at its ends."""
    text = writing.text(row).lstrip()
    if writing.ended(row) is not None:
        return text.rstrip()
    text = text.rstrip("\ufffd")  # the first bytes of a character
    held = max((_overlap(text, stop) for stop in stops), default=0)
    return text[: len(text) - held].rstrip()


def reply_of(own: LaidOut, writing: Writing, row: int) -> Reply:
    """The reply of a row that has ended."""
    ended = writing.ended(row) or "stopped"
    text = writing.text(row).strip()
    return Reply(text, None, own.truncated, own.read, writing.tokens(row), ended)


def _overlap(text: str, stop: str) -> int:
    """Characters at the end of a text that a stop may begin with."""
    most = min(len(text), len(stop) - 1)
    return next((n for n in range(most, 0, -1) if stop.startswith(text[-n:])), 0)


def _first(shares: Mapping[str, float] | None, own: LaidOut) -> Mapping[str, float] | None:
    """Of a probe, as many words as were asked for."""
    if shares is None or own.served is None or own.served.task.kind != "probe":
        return shares
    return dict(list(shares.items())[: own.ask.top])


def _changed(usual: WritingConfig, given: Mapping[str, Any]) -> WritingConfig:
    """How a row is written; where nothing is drawn, `top_p` means nothing, whatever it is."""
    drawn = given.get("temperature", usual.temperature) != 0
    return usual.changed({k: v for k, v in given.items() if drawn or k != "top_p"})


def _is_conversation(ask: Ask, served: ServedPrompt | None) -> bool:
    """Whether the whole chat is read, not its only message as the text of a row."""
    if served is None:
        return True
    template = served.asked.objective.template
    whole = template.has_chat and template.leads_with_soft and len(template.fields) == 1
    return whole and served.writes and len(ask.messages or ()) > 1


def _text_of(ask: Ask, asked: AskedTask) -> str | Mapping[str, str]:
    """The text of an ask, or its only message."""
    return _only_message(ask, asked) if ask.text is None else ask.text


def _only_message(ask: Ask, asked: AskedTask) -> str:
    messages = ask.messages or ()
    template = asked.objective.template
    if len(messages) != 1:
        raise TaskError(
            f"messages for {ask.prompt}",
            expected="one message of the user, which fills its template",
            got=f"{len(messages)} messages",
            fix="Send the last message alone; whole chats are for the bare model, and for prompts "
            "that were tuned as '{soft} {chat} {text}'",
        )
    if len(template.fields) != 1:
        raise TaskError(
            f"messages for {ask.prompt}",
            expected=f"the fields {', '.join(template.fields)}",
            got="one text",
            fix="Use /classify or /v1/completions, where a row may be a JSON object",
        )
    return messages[0]["content"]


def _refuse_masked(backbone: Backbone) -> None:
    if backbone.kind == "masked":
        raise PromptPortError(
            backbone.name,
            expected="the name of a prompt, since a masked model cannot write",
            got="none",
            fix="Name one, for instance model='MODEL:PROMPT'",
        )


def _shelf(
    backbone: Backbone, prompts: Prompts, tasks: Sequence[TaskLike], data: str | Path | None
) -> Shelf:
    known = tasks_by_name([as_task(task, data) for task in tasks])
    if isinstance(prompts, str | Path):
        return FolderShelf(backbone, [prompts], known, data=data)
    if not isinstance(prompts, Mapping):
        return FolderShelf(backbone, prompts, known, data=data)
    library = prompts.on(backbone) if isinstance(prompts, Library) else Library.of(prompts)
    named = tasks_by_name(library.tasks.values())
    for prompt in library.values():
        name = prompt.provenance.task
        if name is not None and name not in known | named:
            with contextlib.suppress(PromptPortError):
                named[name] = as_task(name, data)
    return MemoryShelf(backbone, library, named | known)
