"""Files that try: each would make the canary, or bring in what lies outside of its folder."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.trust.watching import Outside

from promptport.catalog.facts import Facts

Make = Callable[[Path, Path, Outside], Path]  # seeds, a new folder, outside -> what is read


@dataclass(frozen=True)
class Hostile:
    """A hostile file or folder.

    Attributes:
        kind: of the issue's list.
        name: what it tries.
        make: writes it.
        refused: readers that must refuse it, since there is nothing else in it to read.
    """

    kind: str
    name: str
    make: Make
    refused: tuple[str, ...] = field(default=())


class Evil:
    """Makes the canary when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def _code(canary: Path) -> str:
    return f"open({str(canary)!r}, 'w').close()\n"


def _pickled(place: Path, outside: Outside, how: str) -> None:
    """A pickle of an object that runs a command, in one of the forms that torch and NumPy have."""
    import numpy as np
    import torch

    evil = Evil(outside.canary)
    place.parent.mkdir(parents=True, exist_ok=True)
    if how == "zip":
        torch.save({"prompt_embeddings": torch.zeros(3, 64), "x": evil}, place)
    elif how == "legacy":
        torch.save({"prompt_embeddings": evil}, place, _use_new_zipfile_serialization=False)
    elif how == "plain":
        place.write_bytes(pickle.dumps(evil, protocol=4))
    elif how == "old protocol":
        place.write_bytes(f"cos\nsystem\n(S'touch {outside.canary}'\ntR.".encode())
    elif how == "eval":
        said = f"open({str(outside.canary)!r}, 'w')"
        place.write_bytes(b"\x80\x02c__builtin__\neval\n(X" + len(said).to_bytes(4, "little")
                          + said.encode() + b"tR.")  # fmt: skip
    elif how == "npy":
        with place.open("wb") as stream:
            np.save(stream, np.array([evil], dtype=object), allow_pickle=True)
    elif how == "npz":
        with place.open("wb") as stream:
            np.savez(stream, prompt=np.array([evil], dtype=object), allow_pickle=True)
    elif how == "tar":
        with tarfile.open(place, "w") as archive:
            _add(archive, "pickle", pickle.dumps(evil, protocol=2))
            _add(archive, f"..{os.sep}..{os.sep}canary", b"")
    else:
        _zip_with_members(place, pickle.dumps(evil, protocol=2), outside)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _zip_with_members(place: Path, data: bytes, outside: Outside) -> None:
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", "3\n")
        archive.writestr("../../outside/canary", b"")
        archive.writestr(str(outside.canary), b"")


PICKLES = (
    *(
        "zip",
        "legacy",
        "plain",
        "old protocol",
        "eval",
        "npy",
        "npz",
        "tar",
        "zip with ../ members",
    ),
)


def _bare_pickle(how: str, name: str) -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        _pickled(place / name, outside, how)
        return place / name

    return make


def _adapter_pickle(how: str, name: str = "adapter_model.bin") -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / "peft", place)
        (place / "adapter_model.safetensors").unlink()
        _pickled(place / name, outside, how)
        return place

    return make


def _model_pickle(how: str, *, sharded: bool = False) -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / "model", place)
        (place / "model.safetensors").unlink()
        name = "pytorch_model-00001-of-00001.bin" if sharded else "pytorch_model.bin"
        _pickled(place / name, outside, how)
        if sharded:
            index = {"metadata": {}, "weight_map": {"transformer.wte.weight": name}}
            (place / "pytorch_model.bin.index.json").write_text(json.dumps(index))
        return place

    return make


def edited(path: Path, **values: Any) -> None:
    """A JSON file with other values."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def _model(change: Callable[[Path, Outside], None]) -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / "model", place)
        change(place, outside)
        return place

    return make


def _prompt(change: Callable[[Path, Outside], None], seed: str = "prompt") -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / seed, place)
        change(place, outside)
        return place

    return make


def _auto_map(file: str, values: Mapping[str, Any], module: str) -> Make:
    def change(place: Path, outside: Outside) -> None:
        edited(place / file, **values)
        names = ("Config", "Model", "Tokenizer")
        classes = "".join(f"class Evil{name}:\n    pass\n" for name in names)
        (place / f"{module}.py").write_text(_code(outside.canary) + classes)

    return _model(change)


def _tokenizer_code(place: Path, outside: Outside) -> None:
    """A PEFT folder whose text was cut by a tokenizer with code of its own."""
    other = place / "tokenizer"
    other.mkdir()
    (other / "tokenizer_config.json").write_text(
        json.dumps({"auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]},
                    "tokenizer_class": "EvilTokenizer"})
    )  # fmt: skip
    (other / "evil.py").write_text(_code(outside.canary) + "class EvilTokenizer:\n    pass\n")
    (other / "config.json").write_text(
        json.dumps({"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}})
    )
    options = {"trust_remote_code": True, "code_revision": "main", "_from_auto": True,
               "tokenizer_file": str(outside.secret), "vocab_file": str(outside.secret),
               "gguf_file": str(outside.secret), "subfolder": "../outside"}  # fmt: skip
    edited(
        place / "adapter_config.json", prompt_tuning_init="TEXT", prompt_tuning_init_text="a film",
        tokenizer_name_or_path=str(other), tokenizer_kwargs=options,
        auto_mapping={"base_model_class": "EvilModel", "parent_library": "evil"},
    )  # fmt: skip


def _kernel(place: Path, outside: Outside) -> None:
    edited(place / "config.json", attn_implementation="evil/attention")


def _adapter_beside(place: Path, outside: Outside) -> None:
    """A model with an adapter beside it, whose base model is another one."""
    config = {"peft_type": "LORA", "base_model_name_or_path": str(outside.folder / "model")}
    (place / "adapter_config.json").write_text(json.dumps(config))
    _pickled(place / "adapter_model.bin", outside, "zip")


TAGS = {
    "apply": "!!python/object/apply:os.system ['touch {canary}']",
    "new": "!!python/object/new:subprocess.Popen [['touch', '{canary}']]",
    "name": "!!python/name:os.system",
    "module": "!!python/module:antigravity",
    "tuple": "!!python/tuple [!!python/object/apply:os.system ['touch {canary}']]",
    "plain tag": "!touch '{canary}'",
}


def _yaml(value: str, *, key: str = "description") -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / "task", place)
        text = (place / "task.yaml").read_text()
        kept = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
        line = f"{key}: {value.replace('{canary}', str(outside.canary))}"
        (place / "task.yaml").write_text("\n".join([*kept, line]) + "\n")
        return place / "task.yaml"

    return make


# Each line ten times the one before it: a gigabyte of text as soon as anything writes it out.
BOMB = "\n".join(
    ["&a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"x{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
)
TEMPLATES = {
    "cycler": "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "classes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "attr": "{{ (messages|attr('__class__'))|attr('__base__') }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "include": "{% include 'SECRET' %}",
    "import": "{% import 'SECRET' as x %}{{ x }}",
    "change": "{{ messages.append(messages) }}",
    "division": "{{ 1 / 0 }}",
    "missing": "{{ messages[99].content.x.y }}",
    "number": "{{ 10 ** 10 ** 3 }}{{ raise_exception('no') }}",
    "undefined": "{{ namespace.__init__.__globals__ }}",
}


def _chat(text: str, *, apart: bool = False) -> Make:
    def change(place: Path, outside: Outside) -> None:
        made = text.replace("CANARY", str(outside.canary)).replace("SECRET", str(outside.secret))
        made += "{% for m in messages %}{{ m.content }}{% endfor %}"
        if apart:
            (place / "chat_template.jinja").write_text(made)
        else:
            edited(place / "tokenizer_config.json", chat_template=made)

    return _model(change)


SLOTS = (
    *("{soft} {text.__class__} {answer}", "{soft} {text!r} {answer}", "{soft} {0} {answer}"),
    *("{soft} {text:>999999999} {answer}", "{soft} {text[0]} {answer}", "{soft:999999} {answer}"),
    "{soft} {text.__init__.__globals__[os]} {answer}",
)
MARKUP = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "`</code><script>alert(1)</script>", "a\n\n# b\n\n<script>alert(1)</script>", "| | x |\n|--|",
    'x"); import os; os.system("touch CANARY")  #', "x')\nimport os\n#", "--> <script>alert(1)",
    "{{ 1 }}{% raw %}", "\x1b[2J\x1b]0;x\x07", "\u202egnp.exe", "$\\frac{1}{0$",
)  # fmt: skip


def _record(text: str) -> Make:
    def change(place: Path, outside: Outside) -> None:
        text_ = text.replace("CANARY", str(outside.canary))
        plain = text_.replace("{", "{{").replace("}", "}}")
        record = json.loads((place / "promptport.json").read_text())
        record["prompt"] |= {
            "task": text_, "backbone": text_, "revision": text_,
            "template": f"{{soft}} {plain} {{text}} {{answer}}",
            "tuning": {"dev_score": 0.5, "metric": text_},
            "history": [{"step": text_, "source": text_}, {"step": "align", "source": text_,
                         "teachers": [{"backbone": text_}]}, {"step": "import", "source": text_}],
        }  # fmt: skip
        (place / "promptport.json").write_text(json.dumps(record))
        (place / "README.md").unlink(missing_ok=True)

    return _prompt(change)


# Names of files and folders that a shell, a terminal or a reader of lines would act on.
NAMES = (
    "a\nb", "a\rb", "a\tb", "a\x1b[31mb", "$(touch canary)", "`touch canary`", "; touch canary",
    "a b", "a'b", 'a"b', "&& touch canary", "| tee canary", "> canary", "*", "~", "#a", "!!",
    "%s%n",
    "{0.__class__}", "$HOME", "\\", "a\u202eb", "a\u2028b", "a\x9b31mb", "=a", "a;b",
    "[red]a[/red]",
    "\udcff", "a\\nb", "'\n'; touch canary #", "-rf", "--help",
)  # fmt: skip


def _named(name: str, seed: str = "prompt") -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        place.mkdir()
        shutil.copytree(seeds / seed, place / name)
        return place / name

    return make


def _copied(seed: Path, place: Path) -> Path:
    place.parent.mkdir(parents=True)  # a name with a slash is a folder and a file
    shutil.copyfile(seed, place)
    return place


def _table_named(name: str) -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        return _copied(seeds / "task" / "rows.csv", place / f"{name}.csv")

    return make


def _tensor_named(name: str) -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        return _copied(seeds / "tensor" / "p.npy", place / f"{name}.npy")

    return make


def _link(name: str) -> Make:
    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / "prompt", place)
        (place / name).unlink(missing_ok=True)
        (place / name).symlink_to(outside.secret)
        return place

    return make


def _index(file: str, *, absolute: bool) -> Make:
    """A checkpoint whose index has its shards elsewhere."""

    def change(place: Path, outside: Outside) -> None:
        (place / "model.safetensors").unlink()
        there = outside.folder / "model" / "model.safetensors"
        shard = str(there) if absolute else os.path.relpath(there, place)
        index = {"metadata": {}, "weight_map": {"transformer.wte.weight": shard}}
        (place / file).write_text(json.dumps(index))

    return _model(change)


def _tokenizer_elsewhere(key: str) -> Make:
    def change(place: Path, outside: Outside) -> None:
        there = str(outside.folder / "model" / "tokenizer.json")
        edited(place / "tokenizer_config.json", **{key: there})
        (place / "tokenizer.json").unlink()

    return _model(change)


def _trash(where: str) -> Make:
    """A library whose trash would be restored outside of it."""

    def make(seeds: Path, place: Path, outside: Outside) -> Path:
        shutil.copytree(seeds / "prompt", place / "library" / "one")
        removed = place / "library" / ".trash" / "1-1"
        shutil.copytree(seeds / "prompt", removed / "content")
        (place / "library" / "link").symlink_to(outside.folder)
        path = where.replace("OUT", os.path.relpath(outside.folder, place / "library"))
        path = path.replace("ABS", str(outside.folder))
        record = {
            "schema": 1,
            "name": "gone",
            "place": path,
            "removed": "2026-01-01T00:00:00+00:00",
        }
        (removed / "record.json").write_text(
            json.dumps(record | {"written_by": "promptport 0.1.0"})
        )
        return place / "library"

    return make


def _index_of_library(seeds: Path, place: Path, outside: Outside) -> Path:
    """An index whose table is a view that would load a library of compiled code."""
    shutil.copytree(seeds / "prompt", place / "library" / "one")
    file = place / "library" / ".promptport-index.sqlite"
    base = sqlite3.connect(file)
    base.execute(f"PRAGMA application_id = {0x50504958}")
    base.execute("PRAGMA user_version = 1")
    base.execute(
        f"CREATE VIEW things AS SELECT load_extension('{outside.canary}') AS place, 1 AS own, "
        + ", ".join(f"1 AS {name}" for name in ("children", "files", "stamp", *Facts._fields))
    )
    base.commit()
    base.close()
    return place / "library"


def _library_link(seeds: Path, place: Path, outside: Outside) -> Path:
    shutil.copytree(seeds / "prompt", place / "library" / "one")
    (place / "library" / "rows.safetensors").symlink_to(outside.secret)
    return place / "library"


def all_hostile() -> list[Hostile]:
    """Every hostile file, by kind."""
    unread = ("prompt", "vector", "portable", "tensor")
    models = ("space", "model")
    return [
        *(Hostile("pickle", f"bare tensor, {how}, {end}", _bare_pickle(how, f"p{end}"), unread)
          for how in PICKLES for end in (".bin", ".pt", ".npy", ".safetensors", ".portable")),
        *(Hostile("pickle", f"adapter_model.bin, {how}", _adapter_pickle(how), ("prompt",))
          for how in PICKLES),
        *(Hostile("pickle", f"adapter_model.safetensors, {how}",
                  _adapter_pickle(how, "adapter_model.safetensors"), ("prompt", "add"))
          for how in PICKLES),
        *(Hostile("pickle", f"pytorch_model.bin, {how}", _model_pickle(how), models)
          for how in PICKLES),
        *(Hostile("pickle", f"a shard, {how}", _model_pickle(how, sharded=True), models)
          for how in PICKLES),
        Hostile("code", "an unknown model with a configuration of its own", _auto_map(
            "config.json", {"model_type": "evil", "auto_map": {"AutoConfig": "evil.EvilConfig"}},
            "evil"), models),
        Hostile("code", "a known model with a class of its own", _auto_map(
            "config.json", {"auto_map": {"AutoModelForCausalLM": "evil.EvilModel",
                                         "AutoConfig": "evil.EvilConfig"}}, "evil")),
        Hostile("code", "code of another repository", _auto_map(
            "config.json", {"model_type": "evil", "trust_remote_code": True, "auto_map": {
                "AutoConfig": "someone/else--evil.EvilConfig"}}, "evil"), models),
        Hostile("code", "a tokenizer of its own", _auto_map(
            "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.EvilTokenizer", None]},
                                      "tokenizer_class": "EvilTokenizer"}, "evil")),
        Hostile("code", "attention from the Hub", _model(_kernel), models),
        Hostile("code", "an adapter beside a model", _model(_adapter_beside), models),
        Hostile("code", "a tokenizer that PEFT would trust", _prompt(_tokenizer_code, "peft"),
                ("origin",)),
        *(Hostile("yaml", name, _yaml(tag), ("task",)) for name, tag in TAGS.items()),
        Hostile("yaml", "aliases of aliases", _yaml(BOMB), ("task",)),
        Hostile("yaml", "aliases of aliases as schema", _yaml(BOMB, key="schema"), ("task",)),
        Hostile("yaml", "a list in itself", _yaml("&a [*a]"), ("task",)),
        *(Hostile("chat", name, _chat(text)) for name, text in TEMPLATES.items()),
        *(Hostile("chat", f"{name}, a file", _chat(text, apart=True))
          for name, text in TEMPLATES.items()),
        *(Hostile("format", slot, _yaml(json.dumps(slot), key="template")) for slot in SLOTS),
        *(Hostile("markup", f"record {i}", _record(text)) for i, text in enumerate(MARKUP)),
        *(Hostile("markup", f"task {i}", _yaml(json.dumps(text), key="name"))
          for i, text in enumerate(MARKUP)),
        *(Hostile("link", name, _link(name)) for name in (
            "README.md", "notes.txt", "tags.json", "promptport.json", "origin.safetensors",
            "adapter_model.safetensors", "adapter_config.json")),
        Hostile("link", "in a library", _library_link),
        *(Hostile("path", f"{name}, {'absolute' if absolute else '..'}",
                  _index(name, absolute=absolute), models)
          for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json")
          for absolute in (True, False)),
        *(Hostile("path", key, _tokenizer_elsewhere(key), models)
          for key in ("tokenizer_file", "vocab_file", "merges_file")),
        Hostile("path", "transformers_weights", _model(lambda place, outside: edited(
            place / "config.json", transformers_weights=os.path.relpath(
                outside.folder / "model" / "model.safetensors", place))), models),
        *(Hostile("path", f"trash to {where}", _trash(where), ("restore",))
          for where in ("OUT/new", "ABS/new", "one/../OUT/new", "link/new")),
        Hostile("path", "an index of a library with a view", _index_of_library),
        *(Hostile("name", f"prompt folder {name!r}", _named(name)) for name in NAMES),
        *(Hostile("name", f"vector folder {name!r}", _named(name, "vector")) for name in NAMES),
        *(Hostile("name", f"model folder {name!r}", _named(name, "model")) for name in NAMES),
        *(Hostile("name", f"table {name!r}", _table_named(name)) for name in NAMES),
        *(Hostile("name", f"tensor {name!r}", _tensor_named(name)) for name in NAMES),
    ]  # fmt: skip
