"""The data sets of "Task Prompt Vectors": local folders, copies of the Hub's, and the Hub."""

from __future__ import annotations

import json
import sys
from collections import Counter

import pytest

from promptport.errors import TaskError, UnknownNameError
from promptport.tasks import open_task, tpv_forms, tpv_names, tpv_source
from promptport.tasks.tpv_source import TpvSource

NAMES = tpv_names()
CLASSED = [name for name in NAMES if name not in ("squad_v2", "math")]


def test_nineteen_data_sets_and_the_forms_of_the_authors():
    assert " ".join(NAMES) == (
        "mnli qqp qnli sst2 stsb mrpc rte cola scitail snli dbpedia trec ag_news yahoo yelp sst5 "
        "imdb squad_v2 math"
    )
    assert [n for n in NAMES if "t5" not in tpv_forms(n)] == ["squad_v2", "math"]
    instructed = "mnli qqp qnli sst2 stsb mrpc rte cola dbpedia trec yelp squad_v2 math"
    assert [n for n in NAMES if "instruct" in tpv_forms(n)] == instructed.split()


@pytest.mark.parametrize("name", NAMES)
def test_every_form_opens_without_data(name):
    plain = open_task(f"tpv:{name}")
    assert (plain.name, plain.splits) == (f"tpv:{name}", ("train", "dev", "test"))
    assert plain.template.leads_with_soft
    assert plain.manual.fields == plain.template.fields
    assert not plain.sentinel
    for form in tpv_forms(name):
        task = open_task(f"tpv:{name}:{form}")
        assert task.name == f"tpv:{name}:{form}"
        assert task.template.has_chat == (form == "instruct")
        assert task.kind == ("classification" if name == "stsb" else "text2text")


def test_texts_and_labels_are_those_of_the_paper():
    assert open_task("tpv:mnli:t5").template.text == (
        "{soft} mnli premise: {text} hypothesis: {text_b} {answer}"
    )
    assert open_task("tpv:mnli").template.text == (
        "{soft} mnli premise: {text} hypothesis: {text_b} label: {answer}"
    )
    assert open_task("tpv:rte:instruct").template.text == (
        "{soft} {chat} Classify the sentence1 and sentence2 pair into labels: entailment, not "
        "entailment. Reply only the corresponding label.\nsentence1: {text}\nsentence2: {text_b}\n"
        "label: {answer}"
    )
    dbpedia = open_task("tpv:dbpedia")
    assert dbpedia.label_names[1:6:2] == (
        "Educational Institution",
        "Athlete",
        "Mean Of Transportation",
    )
    assert dbpedia.labels["Office Holder"] == ("Office Holder",)
    assert len(open_task("tpv:stsb").labels) == 26
    assert open_task("tpv:stsb").label_values[-2:] == (4.8, 5.0)


def write_folder(folder, rows):
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_folders_of_nlu_tasks_get_the_labels_of_the_paper(tmp_path):
    write_folder(tmp_path / "dbpedia", [{"text": "a", "label": "School"}])
    write_folder(tmp_path / "scitail", [{"text": "a", "text_b": "b", "label": "not_entailment"}])
    write_folder(tmp_path / "rte", [{"text": "a", "text_b": "b", "label": "not_entailment"}])
    write_folder(tmp_path / "stsb", [{"text": "a", "text_b": "b", "label": "2.7"}])
    write_folder(tmp_path / "squad_v2", [{"text": "Who?", "text_b": "We.", "target": "We"}])

    def answer(name):
        return open_task(name, tmp_path).load("dev")[0].answer

    assert answer("tpv:dbpedia") == answer("tpv:dbpedia:t5") == "Educational Institution"
    assert answer("tpv:scitail") == "neutral"
    assert answer("tpv:rte") == answer("tpv:rte:t5") == "not_entailment"
    assert answer("tpv:rte:instruct") == "not entailment"
    assert answer("tpv:stsb") == "2.7"
    assert answer("tpv:squad_v2") == answer("tpv:squad_v2:instruct") == "We"


def test_a_folder_with_fewer_splits(tmp_path):
    write_folder(tmp_path / "sst2", [{"text": "a", "label": "positive"}])
    (tmp_path / "sst2" / "dev.jsonl").unlink()
    assert open_task("tpv:sst2", tmp_path).splits == ("train", "test")


def test_names_and_folders_that_are_wrong(tmp_path):
    with pytest.raises(UnknownNameError, match=r"'tpv:mlni'.*Did you mean 'mnli'\?"):
        open_task("tpv:mlni")
    with pytest.raises(
        UnknownNameError, match=r"expected tpv:imdb, or .*\(tpv:imdb:t5\), got 'chat'"
    ):
        open_task("tpv:imdb:chat")
    with pytest.raises(UnknownNameError, match="got ''"):
        open_task("tpv:imdb:")
    with pytest.raises(
        TaskError, match=r"mnli with train.jsonl.*nyu-mll/glue as the Hub has it, got nei"
    ):
        open_task("tpv:mnli", tmp_path)
    with pytest.raises(TaskError, match="got no folder at this path"):
        open_task("tpv:mnli", tmp_path / "none")


# What the Hub's data sets look like: columns, and the names of the classes where they have some.
HUB = {
    "mnli": ({"premise": "P", "hypothesis": "H", "idx": 0}, 3),
    "qqp": ({"question1": "A?", "question2": "B?"}, 2),
    "qnli": ({"question": "A?", "sentence": "B."}, 2),
    "sst2": ({"sentence": "A."}, 2),
    "stsb": ({"sentence1": "A.", "sentence2": "B."}, 0),
    "mrpc": ({"sentence1": "A.", "sentence2": "B."}, 2),
    "rte": ({"sentence1": "A.", "sentence2": "B."}, 2),
    "cola": ({"sentence": "A."}, 2),
    "scitail": ({"sentence1": "A.", "sentence2": "B."}, 0),
    "snli": ({"premise": "A.", "hypothesis": "B."}, 3),
    "dbpedia": ({"title": "T", "content": "C"}, 14),
    "trec": ({"text": "Q?", "fine_label": 3}, 6),
    "ag_news": ({"text": "T"}, 4),
    "yahoo": ({"question_title": "T?", "question_content": "", "best_answer": "A"}, 10),
    "yelp": ({"text": "T"}, 2),
    "sst5": ({"text": "T", "label_text": "?"}, 0),
    "imdb": ({"text": "T"}, 2),
    "squad_v2": ({"question": "Q?", "context": "C", "id": "1"}, 0),
    "math": ({"problem": "P", "level": "Level 2", "type": "Algebra"}, 0),
}
DEV = 210  # in place of 1,000, to be quick
LARGE, SMALL = 420, 84


def hub_dataset(name, rows, **changed):
    """A split as the Hub has it, with classes where it has them."""
    datasets = pytest.importorskip("datasets")
    records, classes = hub_records(name, rows)
    for number, change in changed.items():
        records[int(number.removeprefix("row"))] |= change
    made = datasets.Dataset.from_list(records)
    if not classes:
        return made
    label = open_task(f"tpv:{name}").source.data.label
    return made.cast_column(label, datasets.ClassLabel(names=classes))


def hub_records(name, rows):
    """Records as the Hub has them, and the names of the classes."""
    base, classes = HUB[name]
    data = open_task(f"tpv:{name}").source.data
    records = []
    for number in range(rows):
        record = {**base, "number": f"{number}"}
        text = next(iter(base))
        record[text] = f"{base[text]}{number}"
        if name == "stsb":
            record["label"] = (number % 26) / 5 + (0.049 if number == 0 else 0)
        elif name == "scitail":
            record["gold_label"] = ("neutral", "entailment")[number % 2]
        elif name == "sst5":
            record["label"] = number % 5
        elif name == "squad_v2":
            texts = [] if number % 2 else ["C's", "b"]
            record["answers"] = {"text": texts, "answer_start": [4, 9][: len(texts)]}
        elif name == "math":
            record["solution"] = f"So it is $\\boxed{{\\frac{{{number}}}{{2}}}}$."
        else:
            record[data.label] = number % classes
        records.append(record)
    return records, [f"class {number}" for number in range(classes)]


def write_hub_copy(name, root, rows):
    """A data set as `hf download` lays it: Parquet files and a card that names its splits."""
    data = open_task(f"tpv:{name}").source.data
    folder = root / name / data.hub
    folder.mkdir(parents=True)
    theirs = sorted({*data.splits.values(), *([data.held] if data.held else [])})
    for split in theirs:
        made = hub_dataset(name, rows)
        made.to_parquet(folder / f"{split}.parquet")
    files = [f"  - split: {s}\n    path: {s}.parquet\n" for s in theirs]
    head = f"configs:\n- config_name: {data.config or 'default'}\n  data_files:\n{''.join(files)}"
    (folder / "README.md").write_text(f"---\n{head}---\n")
    return root / name


class Hub:
    """Stands in for `load_dataset`: gives one answer, and keeps what it was asked."""

    def __init__(self):
        self.calls = []
        self.answer = None

    def load_dataset(self, name, config, **options):
        self.calls.append((name, config, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def hub(monkeypatch):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    made = Hub()
    monkeypatch.setattr(datasets, "load_dataset", made.load_dataset)
    monkeypatch.setattr(tpv_source, "DEV_ROWS", DEV)
    yield made
    datasets.enable_progress_bars()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own for `datasets`, without bars."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield tmp_path / "root"
    datasets.enable_progress_bars()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_data_sets_of_the_hub_are_divided_as_in_the_paper(name, hub):
    large = open_task(f"tpv:{name}").source.data.rule == "large"
    rows = LARGE if large else SMALL
    hub.answer = hub_dataset(name, rows)
    task = open_task(f"tpv:{name}")
    numbers = {s: [row.fields["text"] for row in task.load(s)] for s in task.splits}
    sizes = {split: len(own) for split, own in numbers.items()}
    expected = (rows - DEV, DEV, rows) if large else (rows, rows // 2, rows // 2)
    assert tuple(sizes.values()) == expected
    divided = ("train", "dev") if large else ("dev", "test")
    parts = [set(numbers[split]) for split in divided]
    assert not parts[0] & parts[1]
    assert len(parts[0] | parts[1]) == rows
    if name in CLASSED and name != "stsb":  # every label in its share
        counts = Counter(row.answer for row in task.load("dev"))
        assert set(counts) == set(task.label_names)
        assert max(counts.values()) - min(counts.values()) <= 1
    assert task.load("test") != tuple(sorted(task.load("test"), key=lambda r: r.fields["text"]))


@pytest.mark.parametrize("name", ["trec", "scitail"])
def test_copies_of_the_hub(name, cache):
    rows = 1_300 if name == "scitail" else SMALL
    task = open_task(f"tpv:{name}", write_hub_copy(name, cache, rows))
    assert len(task.load("dev")) == (1_000 if name == "scitail" else SMALL // 2)
    assert {row.answer for row in task.load("test")} == set(task.label_names)


@pytest.mark.long
def test_rows_are_those_of_the_authors_own_calls(cache):
    from datasets import load_dataset

    copy = write_hub_copy("sst2", cache, 1_600)
    whole = load_dataset(str(copy / "nyu-mll" / "glue"), "sst2", split="train")
    share = 1000 / len(whole)
    parts = whole.train_test_split(
        train_size=share, test_size=1 - share, seed=42, stratify_by_column="label", shuffle=True
    )["train"]
    rows = open_task("tpv:sst2", copy).load("dev")
    assert [row.fields["text"] for row in rows] == list(parts["sentence"])
    assert [row.answer for row in rows] == [("negative", "positive")[k] for k in parts["label"]]


@pytest.mark.long
def test_rows_of_each_kind(hub):
    def rows(name, *splits):
        small = name.partition(":")[0] in ("stsb", "sst5", "rte")
        hub.answer = hub_dataset(name.partition(":")[0], SMALL if small else LARGE)
        task = open_task(f"tpv:{name}")
        return {row.fields["text"]: row for s in splits or ("test",) for row in task.load(s)}

    stsb = rows("stsb", "dev", "test")
    assert [stsb[f"A.{k}"].answer for k in (0, 1, 14, 25)] == ["0.0", "0.2", "2.8", "5.0"]
    assert rows("scitail")["A.0"].answer == "neutral"
    assert rows("scitail")["A.1"].answer == "entailment"
    assert rows("dbpedia")["title: T3 content: C"].answer == "Athlete"
    assert rows("dbpedia:instruct")["title: T3\ncontent: C"].answer == "Athlete"
    assert rows("yahoo")["title: T?9 content:  answer: A"].answer == "Politics"
    labels = {row.answer for row in rows("sst5").values()}
    assert labels == set(open_task("tpv:sst5").label_names)
    assert rows("squad_v2")["Q?0"].answer == "C's"
    assert rows("squad_v2")["Q?1"].answer == "unanswerable"
    literal = """{'text': ["C's", 'b'], 'answer_start': [4, 9]}"""
    assert rows("squad_v2:instruct")["Q?0"].answer == literal
    math = rows("math")["P7"]
    assert math.answer == r"\frac{7}{2}"
    assert math.fields == {"text": "P7", "level": "Level 2", "area": "Algebra"}
    assert rows("math:instruct")["P7"].answer == r"So it is $\boxed{\frac{7}{2}}$."
    assert {r.answer for r in rows("rte:instruct").values()} == {"entailment", "not entailment"}


def test_the_hub_is_asked_by_its_ids(hub):
    trec, cola = (hub_dataset(name, SMALL) for name in ("trec", "cola"))
    hub.answer = trec
    assert len(open_task("tpv:trec").load("dev")) == SMALL // 2
    options = {"split": "test", "revision": "refs/convert/parquet"}
    assert hub.calls.pop() == ("CogComp/trec", None, options)
    hub.answer = cola
    assert len(open_task("tpv:cola").load("train")) == SMALL
    assert hub.calls.pop() == ("nyu-mll/glue", "cola", {"split": "train", "revision": None})


def test_unlabelled_pairs_and_empty_questions_are_left_out(hub):
    snli = hub_dataset("snli", LARGE, row5={"label": -1}, row6={"label": -1})
    qqp = hub_dataset("qqp", LARGE, row7={"question1": " "})
    hub.answer = snli
    assert len(open_task("tpv:snli").load("test")) == LARGE - 2
    hub.answer = qqp
    task = open_task("tpv:qqp")
    assert len(task.load("train")) + len(task.load("dev")) == LARGE - 1


def test_what_cannot_be_had_is_one_line(hub, monkeypatch, tmp_path):
    hub.answer = ConnectionError("Couldn't\nreach the Hub.")
    with pytest.raises(TaskError) as caught:
        open_task("tpv:mnli").load("train")
    assert str(caught.value) == (
        "data set 'nyu-mll/glue', split 'train': expected a data set that can be loaded, got "
        "ConnectionError (Couldn't reach the Hub). Where there is a network run 'hf download "
        "nyu-mll/glue --repo-type dataset --local-dir FOLDER/nyu-mll/glue', then give --data "
        "FOLDER."
    )
    assert len(hub.calls) == 1
    (tmp_path / "nyu-mll" / "glue").mkdir(parents=True)
    with pytest.raises(
        TaskError, match=r"nyu-mll/glue, split 'validation_matched': expected a data"
    ):
        open_task("tpv:mnli", tmp_path).load("test")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        TaskError, match=r"Run pip install 'promptport\[datasets\]', or give --data"
    ):
        open_task("tpv:mnli").load("train")


def test_data_sets_that_are_too_small_or_lack_columns(hub):
    datasets = pytest.importorskip("datasets")
    few = datasets.Dataset.from_list([{"sentence": "a", "label": k % 2} for k in range(9)])
    hub.answer = few
    with pytest.raises(
        TaskError, match=r"more than 210 rows, of which so many become 'dev', got 9"
    ):
        open_task("tpv:sst2").load("dev")
    with pytest.raises(TaskError, match="expected a column 'coarse_label', got sentence, label"):
        open_task("tpv:trec").load("dev")


def test_sources_compare_by_what_they_are():
    assert open_task("tpv:mnli").source == open_task("tpv:mnli").source
    assert open_task("tpv:mnli").source != open_task("tpv:snli").source
    assert isinstance(open_task("tpv:mnli").source, TpvSource)
