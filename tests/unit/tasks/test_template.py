"""Templates: parsing, white space, runs of virtual tokens."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import pytest

from promptport.errors import TaskError
from promptport.tasks import Answer, Field, Soft, Template, Text, escape

PROBE = "{subject} {soft} {answer} ."


def render(text, /, **fields):
    return Template.parse(text).render(fields)


def test_pieces_as_written():
    assert Template.parse("{soft:3} {text} was {answer} .").pieces == (
        Soft(3),
        Text(" "),
        Field("text"),
        Text(" was "),
        Answer(),
        Text(" ."),
    )


def test_probe_gives_the_space_to_the_following_piece():
    assert render(PROBE, subject="Peru") == [Text("Peru"), Soft(None), Answer(), Text(" .")]


def test_classification_with_soft_in_front():
    assert render("{soft} {text} It was {answer} .", text="a b") == [
        Soft(None),
        Text(" a b It was"),
        Answer(),
        Text(" ."),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A {soft}B {answer}", [Text("A"), Soft(None), Text(" B"), Answer()]),
        ("A{soft}B{answer}C", [Text("A"), Soft(None), Text("B"), Answer(False), Text("C")]),
        ("A {answer}-born", [Text("A"), Answer(), Text("-born")]),
        ("un{answer}.", [Text("un"), Answer(False), Text(".")]),
        ("{soft} {answer}", [Soft(None), Answer()]),
        ("  {soft}A {answer} ", [Soft(None), Text("A"), Answer()]),
        (
            "{answer} is {soft:2} A {soft} B",
            [Answer(), Text(" is"), Soft(2), Text(" A"), Soft(None), Text(" B")],
        ),
        ("A:\n{answer}", [Text("A:\n"), Answer(False)]),
        ("A\nB {answer}", [Text("A\nB"), Answer()]),
    ],
)
def test_white_space(text, expected):
    assert render(text) == expected


def test_braces_in_values_and_doubled_braces_are_plain_text():
    template = Template.parse("{{x}} {text} {answer}")
    assert template.render({"text": "{soft} {answer} {0} %s"})[0] == Text(
        "{x} {soft} {answer} {0} %s"
    )
    assert template.text == "{{x}} {text} {answer}"
    assert Template.parse(escape("{a}") + "{answer}").render({})[0] == Text("{a}")


def test_random_templates_round_trip_and_keep_every_visible_character():
    dice = random.Random(0)
    parts = ["{soft:2}", "{soft:1}", "{subject}", "{{", "}}", " ", "  ", "a", "é.", "\n", "%s"]
    for _ in range(300):
        words = [dice.choice(parts) for _ in range(dice.randrange(8))]
        words.insert(dice.randrange(len(words) + 1), "{answer}")
        template = Template.parse("".join(words))
        assert template.text == "".join(words)
        assert Template.parse(template.text) == template
        pieces = template.render({"subject": "{S}"})
        plain = "".join(p.text for p in pieces if isinstance(p, Text))
        shown = {"{{": "{", "}}": "}", "{subject}": "{S}"}
        visible = [shown.get(w, w) for w in words if w[0] != "{" or w in shown]
        assert "".join(plain.split()) == "".join("".join(visible).split())
        assert not any(isinstance(p, Text) and p.text.isspace() for p in pieces)
        kinds = [type(piece) for piece in pieces]
        assert (Text, Text) not in pairwise(kinds)
        assert not template.without_soft().has_soft


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        (PROBE, "{subject} {answer} ."),
        ("{soft} {text} It was {answer} .", "{text} It was {answer} ."),
        ("{subject} {soft:2} {soft} {answer}", "{subject} {answer}"),
        ("A{soft} {answer}", "A {answer}"),
        ("A {soft}{answer}", "A {answer}"),
        ("{answer} {soft}", "{answer}"),
        ("{answer} {soft} .", "{answer} ."),
        ("A {soft} B {answer}", "A B {answer}"),
        ("A {answer} .", "A {answer} ."),
    ],
)
def test_without_soft_leaves_single_spaces(text, plain):
    assert Template.parse(text).without_soft() == Template.parse(plain)


def test_soft_counts():
    assert Template.parse(PROBE).soft_counts(5) == [5]
    assert Template.parse("{soft:2} {x} {soft} {answer} {soft:1}").soft_counts(8) == [2, 5, 1]
    assert Template.parse("{soft:2} {answer} {soft:1}").soft_counts(3) == [2, 1]
    assert Template.parse("{answer}").soft_counts(0) == []


@pytest.mark.parametrize(
    ("text", "n", "expected"),
    [
        ("{answer}", 1, "expected {soft}, where the virtual tokens stand"),
        (PROBE, 0, "at least 1 virtual"),
        ("{soft:2} {soft} {answer}", 2, "at least 3 virtual"),
        ("{soft:2} {answer}", 3, "of 2 virtual tokens, got 3"),
    ],
)
def test_soft_counts_that_do_not_fit(text, n, expected):
    with pytest.raises(TaskError, match=re.escape(expected)):
        Template.parse(text).soft_counts(n)


def test_leads_with_soft():
    assert Template.parse("{soft} {text} {answer}").leads_with_soft
    assert Template.parse(" {soft:1} {soft} {text} {answer}").leads_with_soft
    assert not Template.parse(PROBE).leads_with_soft
    assert not Template.parse("{soft:1} {text} {soft} {answer}").leads_with_soft
    assert not Template.parse("{text} {answer}").leads_with_soft


def test_until_answer():
    assert Template.parse(PROBE).until_answer() == Template.parse("{subject} {soft} {answer}")
    with pytest.raises(TaskError, match="a causal model could not read"):
        Template.parse("{answer} is in {subject}").until_answer()


def test_fields_each_once_in_order():
    assert Template.parse("{b} {a} {b} {answer}").fields == ("b", "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{text}", "exactly one {answer}, got 0"),
        ("{answer} {answer}", "exactly one {answer}, got 2"),
        ("{soft} {soft} {answer}", "at most one {soft} without a count"),
        ("{soft:0} {answer}", "got '{soft:0}'"),
        ("{soft:x} {answer}", "got '{soft:x}'"),
        ("{text:3} {answer}", "got '{text:3}'"),
        ("{text!r} {answer}", "got '{text!r}'"),
        ("{a.b} {answer}", "got '{a.b}'"),
        ("{} {answer}", "got '{}'"),
        ("{answer} {", "got a lone '{'"),
        ("{answer} }", "got a lone '}'"),
    ],
)
def test_bad_templates(text, message):
    with pytest.raises(TaskError, match=re.escape(message)):
        Template.parse(text)


def test_unknown_field_is_refused_when_rendered():
    with pytest.raises(TaskError, match=r"the fields of the row \(text\), got \{subject\}"):
        render(PROBE, text="x")


@pytest.mark.parametrize(
    ("text", "wanted", "reads"),
    [
        ("{subject} {soft} {answer} .", "{subject} {soft} is {answer} .", True),
        ("{subject} {soft}{answer}", "{subject} {soft} is {answer}", True),
        ("{soft} {text} It was {answer} .", "{soft} {text} It was is {answer} .", False),
        ("{{x}} {subject} {soft:2} {answer}", "{{x}} {subject} {soft:2} is {answer}", True),
        ("{answer} {soft}", "is {answer} {soft}", False),
    ],
)
def test_a_word_in_front_of_the_answer(text, wanted, reads):
    template = Template.parse(text)
    assert template.answers_from_soft == reads
    assert template.with_cue_word(" is").text == wanted
    assert Template.parse(wanted) == template.with_cue_word("is")
    with pytest.raises(TaskError, match="word: expected a word"):
        template.with_cue_word(" ")
