"""What `move` and `import` print: tables with what a good number is beside each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from promptport.cli.console import (
    interval,
    note,
    print_facts,
    print_json,
    print_table,
    readable,
    tell,
)

if TYPE_CHECKING:
    from promptport.cli.move_options import MoveOptions
    from promptport.distillation.written_answers import WritingResult
    from promptport.moving import AnswerCheck, MoveResult, PreparedMove
    from promptport.tasks import Score


_LABELS = 6  # whose shares are told
_STILL_FALLING = 0.1  # of what is missed, at the last look: more updates may be worth it

# What alignment begins from, for people; other kinds of origins as they are named.
_BEGAN = {
    "mixture": "the prompt as a mixture of words, carried by tables",
    "port": "the prompt, carried by tables",
    "vocabulary": "random rows of the target's vocabulary",
    "text": "words of the target's vocabulary",
    "prompt": "the prompt that --start names",
}


def show_move(
    prepared: PreparedMove,
    result: MoveResult,
    scores: Mapping[str, Score] | None,
    options: MoveOptions,
) -> None:
    """The result of a move on standard output, as tables or as one JSON object."""
    from promptport.distillation.written_answers import WritingResult

    selection = result.prompt.provenance.history[-1].get("selection")
    if options.json_output:
        told: dict[str, Any] = {"folder": str(options.out), "target": prepared.target.name}
        if prepared.task is not None:
            told["task"] = prepared.task.name
        told |= result.to_dict()
        extra = {"selection": selection, "scores": _plain(scores)}
        print_json({**told, **{name: value for name, value in extra.items() if value is not None}})
        return
    if selection is not None:
        rows = [[name, score] for name, score in selection["scores"].items()]
        title = f"chosen by {selection['by']} (read: {selection['touched']}): {selection['chosen']}"
        print_table(title, ["way", "score"], sorted(rows, key=lambda row: -row[1]))
    if isinstance(result.report, WritingResult):
        _show_writing(prepared, result.report)
    elif result.plan.method == "answers":
        _show_answers(prepared, result.report.to_dict())
    else:
        show_transfer(result.report.to_dict())
    if result.check is not None:
        show_check(result.check)
    if result.expected is not None:
        tell(f"- {result.expected.line}")
    if scores is not None:
        rows = [[name, interval(score.to_dict()), score.rows] for name, score in scores.items()]
        print_table("test rows (labels are read for this table alone)", ["", "score", "rows"], rows)


def _plain(scores: Mapping[str, Score] | None) -> dict[str, Any] | None:
    return None if scores is None else {name: score.to_dict() for name, score in scores.items()}


def _show_answers(prepared: PreparedMove, report: dict[str, Any]) -> None:
    """The table of the road by answers."""
    names = [source.place.name for source in prepared.sources]
    rows: list[list[Any]] = []
    for name, fitted in zip(names, report["mixtures"], strict=False):
        if fitted is not None:
            rows.append([f"mixture on {name}: cross-entropy (at best the floor)", _losses(fitted)])
    for name, moved in zip(names, report["transfers"], strict=False):
        rows.append([f"anchors: words shared with {name}", moved["anchors"]])
    rows.append(["alignment starts from", _BEGAN.get(report["began"], report["began"])])
    if len(report["transfers"]) > 1:
        rows.append(["alignment starts from the mixture of", names[report["start"]]])
    if report["cue_word"] is not None:
        rows.append(["cue word, in front of the answer", report["cue_word"]])
    before, after, aligned = report["before"], report["after"], report["aligned"]
    texts = {"words": "random words", "write": "written by a model"}.get(
        report["texts"], "texts of the task"
    )
    rows += [
        ["alignment: cross-entropy (at best the floor)", _losses(aligned)],
        ["equal first answers, before and after alignment", f"{_share(before)}, {_share(after)}"],
        [
            "divergence from the source (nats, 0: none)",
            f"{before['divergence']:.3f}, {after['divergence']:.3f}",
        ],
        ["rows held back to measure that", after["rows"]],
        ["rows read or made", f"{aligned['rows']} ({texts})"],
        ["labels used", aligned["labelled"] or "no"],
        ["updates", aligned["steps"]],
    ]
    task = "" if prepared.task is None else f"{prepared.task.name} "
    print_facts(f"{task}moved to {prepared.target.name}", rows)
    if aligned["falling"] >= _STILL_FALLING:
        note(
            f"the answers still came closer when the {aligned['steps']} updates were over "
            f"(by {aligned['falling']:.0%} at the last look): --steps {2 * aligned['steps']} may "
            "bring more"
        )


def _show_writing(prepared: PreparedMove, report: WritingResult) -> None:
    """The table of a text-to-text task."""
    texts = f"{report.rows} texts of the task"
    if report.left_out:
        texts += f" ({report.left_out} more got none that can be learned)"
    rows: list[list[Any]] = [
        ["learned from", f"the source's answers to {texts}"],
        ["began from", _BEGAN.get(report.began, report.began)],
        ["updates", report.steps],
        [f"{report.metric} against the source's answers", f"{report.like_source:.3f}"],
        ["texts held back to measure that, and to choose by", report.held_back],
        ["labels used", report.labelled or "no"],
    ]
    task = "" if prepared.task is None else f"{prepared.task.name} "
    print_facts(f"{task}moved to {prepared.target.name}", rows)


def _losses(learned: Mapping[str, Any]) -> str:
    return f"{learned['before']:.3f} to {learned['after']:.3f} (floor {learned['floor']:.3f})"


def _share(agreement: Mapping[str, Any]) -> str:
    return f"{agreement['same']:.0%}"


def show_check(check: AnswerCheck) -> None:
    """How far the answers agree, what to compare that with, and what it means."""
    for line in check.lines:
        tell(f"- {line}")
    if check.labels:
        told = [f"{name} {a:.0%} and {b:.0%}" for name, (a, b) in check.labels.items()]
        most = "" if len(told) <= _LABELS else f" and {len(told) - _LABELS} labels more"
        tell(f"- answers of the source and here: {', '.join(told[:_LABELS])}{most}")


def show_transfer(report: Mapping[str, Any]) -> None:
    """The report of the road by embeddings as tables, with the bounds of a bad number."""
    from promptport.transfers.report import LOW_MATCHING, LOW_ROUNDTRIP

    facts = [
        ["anchors: words that both models know", report["anchors"]],
        ["agreement of the anchors' cosines (1: same geometry)", report["agreement"]],
        [f"matching (mean cosine, low below {LOW_MATCHING:.2f})", report["matching"]],
        [f"round trip (mean cosine, low below {LOW_ROUNDTRIP:.2f})", report["roundtrip"]],
        ["method", report["method"]],
        ["magnitude", report["magnitude"]],
        ["weight on shared words (1: nothing lost)", report["kept_weight"]],
        ["seconds", report["seconds"]],
        ["labels used", "yes" if report["labels_used"] else "no"],
    ]
    way = f"{report['source']} -> {report['target']}"
    print_facts(way, [fact for fact in facts if fact[1] is not None])
    pairs = zip(report["nearest_before"], report["nearest_after"], strict=True)
    rows = [[i + 1, _words(before), _words(after)] for i, (before, after) in enumerate(pairs)]
    print_table("nearest words of each virtual token", ["token", "before", "after"], rows)


def _words(nearest: Any) -> str:
    return " ".join(readable(word) for word, _ in nearest)
