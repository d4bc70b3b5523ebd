"""Names that a terminal or a shell would act on: shown as escapes, quoted in commands."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest

from promptport.backbone import open_space
from promptport.catalog.changing import add_folder, restore
from promptport.cli.console.output import command_line, print_json, print_table, say
from promptport.errors import FileFormatError, StorageError, TaskError
from promptport.files import json_bytes
from promptport.prompt import SoftPrompt
from promptport.provenance import Provenance
from promptport.storage import load_prompt, prompt_of_tensor, save_prompt
from promptport.tasks import open_task
from promptport.token_text import harmless


@pytest.fixture
def folder(tmp_path):
    space = open_space("nano-gpt2")
    made = Provenance(space.backbone, space.kind, fingerprint=space.fingerprint)
    return save_prompt(SoftPrompt(space.rows([5, 6]), made), tmp_path / "p")


def test_what_a_terminal_acts_on_is_an_escape(capsys) -> None:
    assert harmless("a\x1b[2Jb\u202ec\x9bd") == r"a\x1b[2Jb\u202ec\x9bd"
    assert harmless("two\nlines\tand 🙂, \u3000, \xa0") == "two\nlines\tand 🙂, \u3000, \xa0"
    say("a\x1bb")
    print_table("a\x07 title", ["one\x1b"], [["x\x1b]0;y\x07"]])
    out, err = capsys.readouterr()
    assert err == "a\\x1bb\n"
    assert "\x1b" not in out
    assert r"x\x1b]0;y\x07" in out


def test_json_has_the_same_value_in_escapes(capsys) -> None:
    print_json({"name": "a\x9b\u202eb", "plain": "é"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": "a\x9b\u202eb", "plain": "é"}
    assert "\x9b" not in out


def test_a_printed_command_is_one_line() -> None:
    assert command_line("eval", "a\nb", task="$(id)") == r"promptport eval $'a\nb' --task '$(id)'"


def test_a_command_in_an_error_is_quoted(tmp_path) -> None:
    import numpy as np

    file = tmp_path / "a; touch b.npy"
    np.save(file, np.zeros((2, 3)))
    with pytest.raises(StorageError, match=f"promptport import '{file}' --to MODEL"):
        load_prompt(file)


@pytest.mark.long
def test_a_pickle_that_is_called_safetensors(tmp_path) -> None:
    file = tmp_path / "p.safetensors"
    file.write_bytes(pickle.dumps([print]))
    with pytest.raises(FileFormatError, match="expected "):
        prompt_of_tensor(file, open_space("nano-gpt2"))
    with pytest.raises(StorageError, match="expected a file with one tensor, got Is a directory"):
        prompt_of_tensor(tmp_path, open_space("nano-gpt2"))


@pytest.mark.long
def test_a_link_that_leads_elsewhere_is_not_copied(folder, tmp_path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    (folder / "notes.txt").symlink_to(secret)
    with pytest.raises(StorageError, match="notes.txt: .*got a link to .*secret"):
        add_folder(folder, tmp_path / "library")
    assert list((tmp_path / "library").glob("[!.]*")) == []
    (folder / "notes.txt").unlink()
    (folder / "notes.txt").symlink_to(folder / "README.md")
    added = add_folder(folder, tmp_path / "library")
    assert (added / "notes.txt").read_bytes() == (folder / "README.md").read_bytes()


@pytest.mark.long
def test_files_of_the_cache_of_the_hub_are_copied(folder, tmp_path) -> None:
    snapshot, blobs = tmp_path / "repo/snapshots/abc", tmp_path / "repo/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(folder.iterdir())):
        shutil.move(file, blobs / str(number))
        (snapshot / file.name).symlink_to(blobs / str(number))
    added = add_folder(snapshot, tmp_path / "library")
    assert load_prompt(added).vectors.equal(load_prompt(snapshot).vectors)
    assert (added / "README.md").is_file()


@pytest.mark.long
def test_nothing_is_restored_through_a_link(folder, tmp_path) -> None:
    library = tmp_path / "library"
    add_folder(folder, library)
    removed = library / ".trash" / "1-1"
    shutil.copytree(folder, removed / "content")
    record = {"schema": 1, "name": "x", "place": "link/x", "removed": "2026-01-01T00:00:00+00:00"}
    (removed / "record.json").write_bytes(json_bytes({**record, "written_by": "promptport"}))
    (tmp_path / "elsewhere").mkdir()
    (library / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="expected a free place in the library, got one outside"):
        restore("x", library)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "got"),
    [
        (["&a [x, x]"] + [f"x{i}: &b{i} [*a, *a]" for i in range(2)], "unknown key"),
        (
            ["&a0 [x, x, x, x]"]
            + [f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)],
            "got more, by aliases of aliases",
        ),
        (["&a [*a]"], "got a value that holds itself"),
    ],
)
def test_aliases_of_aliases_are_refused(tmp_path, lines, got) -> None:
    text = "schema: 1\ndescription: " + "\n".join(lines) + "\n"
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(TaskError) as caught:
        open_task(str(tmp_path / "t.yaml"))
    assert (got in str(caught.value)) == (got != "unknown key")
    assert len(str(caught.value)) < 2000
