"""What a report writes: pages, Markdown, CSV, LaTeX and SVG hold what the tables hold."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from scipy import stats
from tests.runs import make_run, write_run

from promptport import write_report
from promptport.errors import FileFormatError
from promptport.recipes.reports import make_report, read_run
from promptport.recipes.reports.figures.bars import kept_shares

HOSTILE = "<script>alert('x')</script> & $x^2$ _a_ \\cmd{} | `b` *c* [d](e) %\x1b[31m\n\ud800"
SHOWN = "<script>alert('x')</script> & $x^2$ _a_ \\cmd{} | `b` *c* [d](e) %\\x1b[31m \\ud800"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def out(run):
    folder = run.parent / "out"
    write_report(run, folder)
    return folder


@pytest.fixture(scope="module")
def report(run):
    return make_report(read_run(run))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A run all of whose texts are hostile, and its report."""
    folder = tmp_path_factory.mktemp("hostile")
    cells = [
        ("k", {"row": HOSTILE, "way": way, "n": n, "seed": s}, {"score": 0.5 + s / 10, "loss": n})
        for way in (HOSTILE, "plain")
        for n in (1, 2)
        for s in (0, 1, 2)
    ]
    cells.append(("k", {"row": HOSTILE, "way": "failed", "n": 1, "seed": 0}, HOSTILE))
    common = {"title": HOSTILE, "note": HOSTILE}
    block = {
        "tables": [
            {
                **{"name": "t", "rows": ["row"], "columns": "way", "best": "max"},
                **{"compare_to": "plain", **common},
            }
        ],
        "figures": [
            {
                **{"name": "h", "figure": "heat_map", "rows": ["row"], "columns": "way"},
                **{"value": "score", **common},
            },
            {
                **{"name": "c", "figure": "curves", "x": "n", "lines": "way", "value": "score"},
                **common,
            },
            {**{"name": "b", "figure": "bars", "rows": ["way"], "value": "score"}, **common},
            {
                **{"name": "s", "figure": "scatter", "x": "loss", "y": "score", "colour": "way"},
                **common,
            },
        ],
        "published": [
            {
                **{"table": "t", "row": HOSTILE, "column": "plain", "value": 0.4},
                **{"source": HOSTILE, "model": HOSTILE},
            }
        ],
    }
    told = dict.fromkeys(("question", "expected", "command", "time", "reference"), HOSTILE)
    run = write_run(
        folder / "run",
        cells,
        **told,
        setting=HOSTILE,
        left_out=[{"place": {"row": HOSTILE, "way": HOSTILE}, "why": HOSTILE}],
        report=block,
    )
    (run / "environment.json").write_text(json.dumps({"python": HOSTILE}))
    return folder / "out", write_report(run, folder / "out")


class _Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.tables: list[list[list[str]]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.inside = True

    def handle_data(self, data):
        self.text.append(data)
        if self.inside:
            self.tables[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")


def _csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_the_files_of_a_report(out) -> None:
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    told = json.loads((out / "report.json").read_text())
    assert names == sorted([*told["files"], "report.json"])
    assert [n for n in names if n.endswith(".csv")] == ["tables/transfer.csv", "tables/tuned.csv"]
    assert len([n for n in names if n.endswith(".svg")]) == 5
    assert (told["finished"], told["published"], told["published_beside"]) == (209, 2, 1)


@pytest.mark.long
def test_the_same_run_gives_the_same_bytes(run, out, tmp_path) -> None:
    write_report(read_run(run), tmp_path / "again")
    for path in out.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(out)).read_bytes()


@pytest.mark.long
def test_the_csv_holds_every_entry_in_the_unit_of_the_table(out, report) -> None:
    table = report.tables[0]
    rows = _csv(out / "tables" / "transfer.csv")
    assert len(rows) == 6 * 3 + 1 + 1
    for line in rows[:18]:
        entry = table.entry((line["source"], line["target"]), line["method"])
        assert float(line["mean"]) == pytest.approx(100 * entry.mean.value)
        assert float(line["low"]) == pytest.approx(100 * entry.mean.low)
        assert (line["best"] == "yes") is entry.best
        if line["method"] == "paper":
            assert line["p"] == ""
        else:
            assert float(line["p_holm"]) == entry.test.adjusted
            assert float(line["difference"]) == pytest.approx(100 * entry.test.difference)
    beside = [line for line in rows if line["published"]]
    assert [(line["published"], line["mean"] != "") for line in beside] == [
        ("17.68", True),
        ("31.4", False),
    ]
    assert rows[-2]["state"] == "left out"
    assert [line["state"] for line in rows].count("part") == 2


def _latex_rows(text):
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    lines = [line.removesuffix(r"\\").strip() for line in body.strip().splitlines()]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in lines]


@pytest.mark.long
def test_the_latex_holds_every_entry(out, report) -> None:
    text = (out / "tables" / "transfer.tex").read_text()
    assert text.count("{") == text.count("}")
    assert r"\begin{tabular}{llrrr}" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    table = report.tables[0]
    rows = _latex_rows(text)
    for (source, target, *cells), entries in zip(rows, table.entries, strict=True):
        assert (source, target) in table.rows
        for cell, entry in zip(cells, entries, strict=True):
            if entry is None:
                assert cell == ""
                continue
            if entry.mean is None:
                assert cell == rf"\emph{{{entry.why}}}"
                continue
            number, low, high = map(float, re.findall(r"\d+\.\d", cell))
            assert number == pytest.approx(100 * entry.mean.value, abs=0.051)
            assert low == pytest.approx(100 * entry.mean.low, abs=0.051)
            assert high == pytest.approx(100 * entry.mean.high, abs=0.051)
            assert (r"\textbf" in cell, "$^{*}$" in cell) == (entry.best, entry.star)


def test_the_page_holds_the_tables_and_needs_nothing_else(out, report) -> None:
    text = (out / "index.html").read_text()
    page = _Page(text)
    head, *rows = page.tables[0]
    assert head == ["source", "target", *report.tables[0].columns]
    first = report.tables[0].entries[0][2]
    assert rows[0][4].startswith(f"{100 * first.mean.value:.1f}*[{100 * first.mean.low:.1f},")
    assert "published 17.68†" in rows[0][2]
    assert "script" not in page.tags
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)
    assert page.tags.count("svg") == 5
    ids = [value for name, value in page.attributes if name == "id" and "-" in value]
    assert len(ids) == len(set(ids))


def test_the_markdown_holds_the_tables(out, report) -> None:
    text = (out / "report.md").read_text()
    line = next(x for x in text.splitlines() if x.startswith("| nano-bert | nano-roberta |"))
    best = report.tables[0].entries[0][2].mean.value
    assert f"**{100 * best:.1f}**" in line
    for name in re.findall(r"\]\(((?:tables|figures)/[^)]*)\)", text):
        assert (out / name).is_file()
    assert "published on roberta-base, ours on nano-roberta from nano-bert: other models" in text


def test_figures_are_vectors_whose_text_is_text(out) -> None:
    for path in (out / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "image" not in tags, path
        assert "text" in tags
    heat = (out / "figures" / "heat.svg").read_text()
    assert all(f">{name}<" in heat for name in ("nano-bert", "nano-roberta", "score"))


def test_the_caption_of_a_scatter_has_the_rank_correlation(report) -> None:
    cells = [c for c in report.run.cells if c.kind == "transfer" and c.state == "finished"]
    x, y = ([c.values[key] for c in cells] for key in ("loss", "score"))
    rho = stats.spearmanr(x, y).statistic
    note = next(f.notes[0] for f in report.figures if f.spec.name == "loss")
    assert f"over all 106 cells {rho:+.2f}" in note
    assert "paper" in note


def test_kept_shares_are_over_the_cell_of_the_same_task_and_seed(report) -> None:
    spec = next(f.spec for f in report.figures if f.spec.name == "kept")
    cells = [c for c in report.run.cells if c.kind == "transfer" and c.state == "finished"]
    shares = kept_shares(report.run, spec, cells)
    assert len(shares) == 106
    keys = ("target", "task", "seed")
    tuned = {
        tuple(c.place[k] for k in keys): c.values["score"]
        for c in report.run.cells
        if c.kind == "tune"
    }
    for cell, share in zip(cells, shares, strict=True):
        below = tuned[tuple(cell.place[k] for k in keys)]
        assert share.values["share kept"] == pytest.approx(cell.values["score"] / below)


def test_cells_with_several_references_are_left_out_and_told(tmp_path) -> None:
    tuned = [("tune", {"task": "t", "length": n}, {"score": 0.8}) for n in (1, 5)]
    moved = [
        ("transfer", {"task": "t", "length": 5, "to": "a"}, {"score": 0.4}),
        ("transfer", {"task": "t", "to": "b"}, {"score": 0.4}),
        ("transfer", {"task": "u", "to": "c"}, {"score": 0.4}),
    ]
    figure = {
        **{"name": "f", "title": "F", "figure": "bars", "of": {"kind": "transfer"}},
        **{"rows": ["to"], "value": "score", "relative_to": {"kind": "tune"}},
    }
    run = write_run(tmp_path / "run", [*tuned, *moved], report={"figures": [figure]})
    (drawn,) = make_report(read_run(run)).figures
    assert "2 cells have no one reference cell above 0, and are left out." in drawn.notes
    assert ">0.500<" in drawn.svg


def test_a_figure_without_numbers_says_so(tmp_path) -> None:
    figure = {
        **{"name": "f", "title": "F", "figure": "curves"},
        **{"x": "n", "lines": "way", "value": "score"},
    }
    cells = [("k", {"n": 1, "way": "x"}, None)]
    run = write_run(tmp_path / "run", cells, report={"figures": [figure]})
    report = write_report(run, tmp_path / "out")
    assert report.figures[0].notes == ("Nothing to draw: no finished cell has its numbers.",)
    assert not (tmp_path / "out" / "figures").exists()
    assert "Nothing to draw" in (tmp_path / "out" / "index.html").read_text()


@pytest.mark.long
def test_hostile_names_are_shown_and_do_nothing_on_the_page(hostile) -> None:
    out, _ = hostile
    text = (out / "index.html").read_text()
    page = _Page(text)
    assert "script" not in page.tags
    assert page.tables[0][0] == ["row", SHOWN, "plain", "failed"]
    assert page.tables[0][1][0] == SHOWN
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "\x1b" not in text


@pytest.mark.long
def test_hostile_names_in_figures_are_text(hostile) -> None:
    out, _ = hostile
    for path in (out / "figures").iterdir():
        root = ElementTree.parse(path).getroot()
        texts = [element.text or "" for element in root.iter() if element.tag.endswith("text")]
        assert any(text.startswith("<script>alert('x')</script> & $x^") for text in texts), path
        assert not any(element.tag.endswith("script") for element in root.iter())


def test_hostile_names_come_back_from_the_csv(hostile) -> None:
    rows = _csv(hostile[0] / "tables" / "t.csv")
    assert {line["row"] for line in rows} == {SHOWN}
    assert [line["way"] for line in rows] == [SHOWN, "plain", "failed"]
    assert rows[1]["published_model"] == SHOWN


def test_hostile_names_in_latex_are_escaped(hostile) -> None:
    text = (hostile[0] / "tables" / "t.tex").read_text()
    (row,) = _latex_rows(text)
    assert row[0] == (
        r"\textless{}script\textgreater{}alert('x')\textless{}/script\textgreater{} \& \$x"
        r"\textasciicircum{}2\$ \_a\_ \textbackslash{}cmd\{\} \textbar{} `b` {*}c{*} {[}d{]}(e) \%"
        r"\textbackslash{}x1b{[}31m \textbackslash{}ud800"
    )
    assert len(row) == 4


def test_hostile_names_in_markdown_are_escaped(hostile) -> None:
    text = (hostile[0] / "report.md").read_text()
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = [len(re.split(r"(?<!\\)\|", line)) for line in tables[:3]]
    assert widths == [6, 6, 6]
    outside = re.sub(r"(`+) ?.*?\1", "", text)
    assert "<script" not in outside.replace(r"\<script", "")


@pytest.mark.long
def test_tables_and_figures_that_are_gone_are_removed(run, tmp_path) -> None:
    target = tmp_path / "out"
    write_report(run, target)
    (target / "tables" / "mine.csv").write_text("kept")
    small = write_run(tmp_path / "small", [("k", {"row": "a"}, {"score": 0.5})])
    write_report(small, target)
    names = {str(p.relative_to(target)) for p in target.rglob("*") if p.is_file()}
    assert names == {"index.html", "report.md", "report.json", "tables/mine.csv"}


@pytest.mark.long
def test_a_foreign_result_is_not_written_over(run, tmp_path) -> None:
    (tmp_path / "report.json").write_text('{"mine": 1}')
    with pytest.raises(FileFormatError, match="expected the result of an earlier report"):
        write_report(run, tmp_path)
    assert not (tmp_path / "index.html").exists()
    (tmp_path / "victim.txt").write_text("kept")
    (tmp_path / "report.json").write_text('{"files": ["victim.txt", "tables/../victim.txt", 3]}')
    write_report(run, tmp_path)
    assert (tmp_path / "victim.txt").read_text() == "kept"
