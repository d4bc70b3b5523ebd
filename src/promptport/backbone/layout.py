"""From a template and a row to token ids: where the text, the virtual tokens and the answer stand.

Text pieces are tokenised as they would be inside the running text (the leading space of byte-level
BPE and SentencePiece is a property of the *following* word), without re-tokenising across a slot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from promptport.backbone.chat import ChatFrame, read_chat, render_chat
from promptport.backbone.encoded import EncodedRow, Ids, Outline, SpecialTokens
from promptport.backbone.kinds import Kind
from promptport.errors import BackboneError, TaskError
from promptport.tasks.template import Answer, Chat, Soft, Template, Text

# Words behind which a piece is tokenised to learn its form inside a text; the first that works.
_CONTEXTS = ("the", "a", "x", ".", "1")
_MOST_CACHED = 100_000  # texts; a row is read several times, but not all rows of all tasks
_MARK = "\0"  # around the name of a field, which may stand in braces in the text itself
_COMMON = ("France", "music", "water", "seven")
# A leading run of virtual tokens, then ids before and after the answer.
Flat = tuple[int, list[int | None], list[int | None]]


class Layout:
    """Encodes rows for one backbone.

    Args:
        tokenizer: fast tokenizer.
        special: its special tokens.
        kind: kind of the backbone.
        max_tokens: positions that the backbone has, virtual tokens included; None for no limit.
        name: name of the backbone for messages.
        rows: of the embedding; tokens beyond them are refused. None if they are not known.
    """

    def __init__(
        self,
        tokenizer: Any,
        special: SpecialTokens,
        kind: Kind,
        max_tokens: int | None,
        name: str,
        rows: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.kind = kind
        self.max_tokens = max_tokens
        self.name = name
        self.rows = rows
        self._cache: dict[tuple[bool, str], Ids] = {}

    @cached_property
    def chat(self) -> ChatFrame:
        """What the tokenizer's chat template puts around a message.

        Raises:
            TaskError: the backbone knows no chats.
        """
        if self.kind != "causal":
            raise TaskError(
                self.name,
                expected="a causal backbone, since the template has {chat}",
                got=f"a {self.kind} one",
                fix="Leave out --chat (or {chat}), or choose a causal backbone",
            )
        return read_chat(self.tokenizer, self.name)

    def answer_ids(
        self,
        words: Sequence[str],
        *,
        spaced: bool = True,
        initial: bool = False,
        chat: bool = False,
    ) -> list[Ids]:
        """Token ids of answers.

        Args:
            words: the answers.
            spaced: they begin a new word (`Answer.spaced` of the rendered template).
            initial: they are texts of their own, as a decoder writes them, not inside a text.
            chat: they stand where the model answers in a chat.

        Raises:
            TaskError: a word contains something that the tokenizer does not know.
        """
        if chat:
            found = self._behind(self.chat.closing, words)
        else:
            forms = [f" {word}" if spaced and not initial else word for word in words]
            self._fill(initial, forms)
            found = [self._cache[initial, form] for form in forms]
        for word, ids in zip(words, found, strict=True):
            if not ids or self.special.unknown in ids:
                raise TaskError(
                    f"answer {word!r}",
                    expected=f"a word in the vocabulary of {self.name}",
                    got="an unknown token",
                    fix="Choose another label word for this backbone",
                )
        return found

    @cached_property
    def cuts_first_words(self) -> bool:
        """Whether the first word of a text becomes other tokens than the same word elsewhere, as
        with byte-level tokenizers that put no space in front of it (GPT-2's)."""
        inside = [f" {word}" for word in _COMMON]
        self._fill(False, inside)
        self._fill(True, _COMMON)
        pairs = zip(inside, _COMMON, strict=True)
        return all(self._cache[False, a] != self._cache[True, b] for a, b in pairs)

    def encode(
        self,
        template: Template,
        rows: Sequence[Mapping[str, str]],
        answers: Sequence[Ids],
        length: int,
        *,
        truncate: bool = False,
        free_text: bool = False,
    ) -> list[EncodedRow]:
        """Lay out rows.

        Args:
            template: the template; its soft runs are filled with `length` virtual tokens.
            rows: field values by name.
            answers: token ids of the answer of each row (their number is all that a masked model
                sees of them).
            length: number of virtual tokens, 0 for templates without `{soft}`.
            truncate: shorten the longest field of rows that do not fit, instead of refusing them.
            free_text: the answer is text of its own (text to text), not a word in its sentence.

        Raises:
            TaskError: a row does not fit, or the template does not.
        """
        if self.kind == "causal":
            template = template.until_answer()
        if len(self._cache) > _MOST_CACHED:
            self._cache.clear()
        runs = template.soft_counts(length)
        rendered = [self._pieces(template, row) for row in rows]
        self._fill_pieces(rendered)
        encoded = []
        for row, pieces, answer in zip(rows, rendered, answers, strict=True):
            made = self._encode_one(pieces, answer, runs, free_text)
            if self.max_tokens is not None and self._size(made) > self.max_tokens:
                made = self._shorten(template, row, answer, runs, truncate, free_text)
            encoded.append(made)
        return encoded

    def conversation(self, messages: Sequence[Mapping[str, str]], lead: int) -> EncodedRow:
        """Lay out a chat of several messages, up to where the model answers.

        Args:
            messages: role and content of each, the last one of the user.
            lead: virtual tokens in front of it.

        Raises:
            TaskError: the backbone knows no chats, or the chat does not fit.
        """
        _ = self.chat
        (ids,) = self._tokenize([render_chat(self.tokenizer, messages, self.name)])
        row = self._causal([*[None] * lead, *ids], (self.special.pad,))
        if self.max_tokens is not None and self._size(row) > self.max_tokens:
            raise TaskError(
                "messages",
                expected=f"at most {self.max_tokens} tokens with the prompt ({self.name})",
                got=str(self._size(row)),
                fix="Leave out the oldest messages",
            )
        return row

    def _pieces(self, template: Template, row: Mapping[str, str]) -> Sequence[Any]:
        """The template with a row's fields, inside the chat template where it is a message.

        A message has no white space at its ends: some chat templates strip it, others do not.
        """
        pieces = template.render(row)
        if not template.has_chat:
            return pieces
        place = pieces.index(Chat())
        message = [p for p in pieces[place + 1 :] if isinstance(p, Text | Soft)]
        if not message or isinstance(message[0], Soft):
            message.insert(0, Text(""))
        if isinstance(message[-1], Soft):
            message.append(Text(""))
        message[0] = Text(_said(message[0]).lstrip())
        message[-1] = Text(_said(message[-1]).rstrip())
        message[0] = Text(self.chat.opening + _said(message[0]))
        message[-1] = Text(_said(message[-1]) + self.chat.closing)
        return [*pieces[: place + 1], *message, Answer(spaced=False)]

    @staticmethod
    def _size(row: EncodedRow) -> int:
        return max(len(row.ids), len(row.decoder_ids))

    def _shorten(
        self,
        template: Template,
        row: Mapping[str, str],
        answer: Ids,
        runs: Sequence[int],
        truncate: bool,
        free_text: bool,
    ) -> EncodedRow:
        """Every field cut to its first words, as many as fit; where not even one does, to its first
        characters."""
        limit = self.max_tokens or 0

        def laid_out(values: Mapping[str, str]) -> EncodedRow:
            pieces = self._pieces(template, values)
            self._fill_pieces([pieces])
            return self._encode_one(pieces, answer, runs, free_text)

        def most_of(cut: Callable[[str, int], str], most: int) -> EncodedRow | None:
            low, high, fits = 0, most, None
            middle = 1  # mostly nothing fits where one does not
            while low < high:
                made = laid_out({name: cut(value, middle) for name, value in row.items()})
                if self._size(made) <= limit:
                    low, fits = middle, made
                else:
                    high = middle - 1
                middle = (low + high + 1) // 2
            return fits

        words = max((len(value.split()) for value in row.values()), default=0)
        characters = max(map(len, row.values()), default=0)
        found = None
        if truncate:
            found = most_of(_first_words, min(words, limit))  # a word has a token or more
            found = found or most_of(_first_characters, characters)
        if found is None:
            raise TaskError(
                f"text {_short(row)!r}",
                expected=f"at most {limit} tokens with the prompt ({self.name})",
                got=str(self._size(laid_out(row))),
                fix="Shorten the template or the prompt, or choose another backbone"
                if truncate
                else "Cut long texts (--truncate, truncate=True), or choose another backbone",
            )
        return found

    def outline(
        self, template: Template, answer: Ids, length: int, *, free_text: bool = False
    ) -> Outline:
        """How every row is laid out, before its texts are known.

        Args:
            template: the template.
            answer: token ids of an answer; a masked model has as many masks.
            length: number of virtual tokens.
            free_text: as in `encode`.

        Raises:
            TaskError: the template does not fit.
        """
        if self.kind == "causal":
            template = template.until_answer()
        named = {name: f"{_MARK}{name}{_MARK}" for name in template.fields}
        marked = re.compile(f"{_MARK}({'|'.join(map(re.escape, named)) or _MARK}){_MARK}")
        pieces = self._pieces(template, named)
        self._fill_pieces([pieces])

        def spelled(initial: bool, text: str) -> Sequence[Any]:
            return (
                (tuple(marked.split(text)),) if marked.search(text) else self._cache[initial, text]
            )

        flat = self._flatten(pieces, template.soft_counts(length), spelled)
        row = self._assembled(pieces, flat, answer, free_text)
        soft = set(row.soft)
        line = tuple(None if i in soft else token for i, token in enumerate(row.ids))
        return Outline(line, row.decoder_ids)

    def _encode_one(
        self, pieces: Sequence[Any], answer: Ids, runs: Sequence[int], free_text: bool
    ) -> EncodedRow:
        return self._assembled(pieces, self._flatten(pieces, runs), answer, free_text)

    def _assembled(
        self, pieces: Sequence[Any], flat: Flat, answer: Ids, free_text: bool
    ) -> EncodedRow:
        lead, before, after = flat
        if self.kind == "masked":
            return self._masked(lead, before, after, answer)
        if self.kind == "causal":
            # A chat template writes the special tokens itself.
            prefix = () if Chat() in pieces else self.special.prefix
            return self._causal([*[None] * lead, *prefix, *before], answer)
        return self._seq2seq(lead, before, after, answer, free_text)

    def _flatten(
        self,
        pieces: Sequence[Any],
        runs: Sequence[int],
        spelled: Callable[[bool, str], Sequence[int]] | None = None,
    ) -> Flat:
        """Ids before and after the answer, None for a virtual token; a leading run apart.

        `spelled` gives the ids of a text, and is told whether it is the first.
        """
        spelled = spelled or (lambda initial, text: self._cache[initial, text])
        sides: tuple[list[int | None], list[int | None]] = ([], [])
        lead, side, started = 0, 0, False
        counts = iter(runs)
        for i, piece in enumerate(pieces):
            if isinstance(piece, Soft):
                count = next(counts)
                if i == 0:
                    lead = count
                else:
                    sides[side].extend([None] * count)
                started = started or i > 0
            elif isinstance(piece, Answer):
                side, started = 1, True
            elif isinstance(piece, Text):
                text = piece.text if started else piece.text.lstrip()
                sides[side].extend(spelled(not started, text))
                started = True
        return lead, sides[0], sides[1]

    def _masked(
        self, lead: int, before: list[int | None], after: list[int | None], answer: Ids
    ) -> EncodedRow:
        if self.special.mask is None:
            raise TaskError(
                self.name,
                expected="a tokenizer with a mask token",
                got="none",
                fix="Use the tokenizer that the model was pretrained with",
            )
        self.check_rows((self.special.mask,))
        masks = [self.special.mask] * len(answer)
        head = [*[None] * lead, *self.special.prefix, *before]
        ids, soft = self._place([*head, *masks, *after, *self.special.suffix])
        scored = tuple(range(len(head), len(head) + len(answer)))
        return EncodedRow(ids, soft, scored, answer)

    def _causal(self, head: list[int | None], answer: Ids) -> EncodedRow:
        if not head:
            raise TaskError(
                "template",
                expected="something in front of {answer} for a causal model",
                got="nothing",
                fix="Put text or {soft} in front of {answer}",
            )
        ids, soft = self._place([*head, *answer[:-1]])
        scored = tuple(range(len(head) - 1, len(head) - 1 + len(answer)))
        return EncodedRow(ids, soft, scored, answer)

    def _seq2seq(
        self,
        lead: int,
        before: list[int | None],
        after: list[int | None],
        answer: Ids,
        free_text: bool,
    ) -> EncodedRow:
        special = self.special
        start = () if special.decoder_start is None else (special.decoder_start,)
        if free_text:
            middle, opening = [], (*start, *special.prefix)
        elif special.sentinel is not None:
            middle, opening = [special.sentinel], (*start, special.sentinel)
        elif special.mask is not None:
            # BART restores the whole text: the answer follows the text that stands before it.
            text = tuple(i for i in before if i is not None)
            middle, opening = [special.mask], (*start, *special.prefix, *text)
        else:
            middle, opening = [], (*start, *special.prefix)
        if not opening:
            raise TaskError(
                self.name,
                expected="decoder_start_token_id in the model's config.json",
                got="none",
                fix="Add it to the configuration",
            )
        line = [*[None] * lead, *special.prefix, *before, *middle, *after, *special.suffix]
        ids, soft = self._place(line)
        scored = tuple(range(len(opening) - 1, len(opening) - 1 + len(answer)))
        return EncodedRow(ids, soft, scored, answer, (*opening, *answer[:-1]))

    def _place(self, line: Sequence[int | None]) -> tuple[Ids, Ids]:
        soft = tuple(i for i, token in enumerate(line) if token is None)
        return tuple(self.special.pad if token is None else token for token in line), soft

    def _fill_pieces(self, rendered: Sequence[Sequence[Any]]) -> None:
        inside: set[str] = set()
        initial: set[str] = set()
        for pieces in rendered:
            started = False
            for i, piece in enumerate(pieces):
                if isinstance(piece, Text):
                    (inside if started else initial).add(
                        piece.text if started else piece.text.lstrip()
                    )
                    started = True
                elif (i > 0 and isinstance(piece, Soft)) or isinstance(piece, Answer):
                    started = True
        self._fill(False, sorted(inside))
        self._fill(True, sorted(initial))

    def _fill(self, initial: bool, texts: Sequence[str]) -> None:
        """Tokenise texts that are not yet known, in one call per context."""
        missing = [text for text in texts if (initial, text) not in self._cache]
        if initial:
            for text, ids in zip(missing, self._tokenize(missing), strict=True):
                self._cache[True, text] = ids
            return
        for context in _CONTEXTS:
            before = self._tokenize([context])[0]
            later = []
            for text, ids in zip(
                missing, self._tokenize([context + t for t in missing]), strict=True
            ):
                if ids[: len(before)] == before:
                    self._cache[False, text] = ids[len(before) :]
                else:
                    later.append(text)
            missing = later
            if not missing:
                return
        # No context keeps its own tokens: the piece is tokenised on its own.
        for text, ids in zip(missing, self._tokenize(missing), strict=True):
            self._cache[False, text] = ids

    def _behind(self, before: str, texts: Sequence[str]) -> list[Ids]:
        """Token ids of texts right behind another one, where its own tokens stay as they are."""
        (start,) = self._tokenize([before])
        joined = self._tokenize([before + text for text in texts])
        if all(ids[: len(start)] == start for ids in joined):
            return [ids[len(start) :] for ids in joined]
        self._fill(True, texts)
        return [self._cache[True, text] for text in texts]

    def _tokenize(self, texts: Sequence[str]) -> list[Ids]:
        if not texts:
            return []
        try:
            # verbose=False: texts beyond the positions are our own business
            encoded = self.tokenizer(list(texts), add_special_tokens=False, verbose=False)
        except TypeError as error:  # what tokenizers say of text that is none in UTF-8
            raise _no_text(texts) from error
        for ids in encoded["input_ids"]:
            self.check_rows(ids)
        return [tuple(ids) for ids in encoded["input_ids"]]

    def check_rows(self, ids: Sequence[int]) -> None:
        """Refuse a token that the embedding has no row for: the tokenizer grew, the model did not.

        Raises:
            BackboneError: there is one.
        """
        last = max(ids, default=0)
        if self.rows is None or last < self.rows:
            return
        token = self.tokenizer.convert_ids_to_tokens(last)
        raise BackboneError(
            self.name,
            expected="an embedding row for every token of the texts",
            got=f"token {token!r} with id {last}, and {self.rows} rows",
            fix="Resize the model to its tokenizer and save it: "
            "model.resize_token_embeddings(len(tokenizer))",
        )


def _no_text(texts: Sequence[str]) -> TaskError:
    bad = next((text for text in texts if any("\ud800" <= c <= "\udfff" for c in text)), texts[0])
    return TaskError(
        f"text {bad[:40]!a}",
        expected="text that can be written as UTF-8",
        got="half of a surrogate pair",
        fix="Decode the text again, or leave it out",
    )


def _said(piece: Text | Soft) -> str:
    assert isinstance(piece, Text)
    return piece.text


def _first_words(text: str, most: int) -> str:
    words = text.split()
    return text if len(words) <= most else " ".join(words[:most])


def _first_characters(text: str, most: int) -> str:
    return text[:most].rstrip()


def _short(row: Mapping[str, str], width: int = 40) -> str:
    text = " ".join(row.values())
    return text if len(text) <= width else text[: width - 1] + "…"
