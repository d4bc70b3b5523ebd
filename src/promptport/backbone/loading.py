"""From a name to a checkpoint: embedded, local folder or Hub id; kind, tokenizer, model class."""

from __future__ import annotations

import contextlib
import difflib
import logging as python_logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from promptport.backbone.gguf import find_gguf, front_folder, model_folder
from promptport.backbone.kinds import Kind, model_class
from promptport.backbone.quantised import quantised_line
from promptport.backbone.trusting import check_attention, check_folder
from promptport.errors import BackboneError, PromptPortError
from promptport.memory import is_out_of_memory, memory_error
from promptport.zoo import embedded_folder, embedded_names

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

TRUST_VARIABLE = "PROMPTPORT_TRUST_CODE"


@dataclass(frozen=True)
class Checkpoint:
    """A place that holds a model: a folder on disk, a GGUF file, or a Hub id with its revision."""

    name: str
    location: str
    local: bool
    revision: str | None = None
    gguf: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder of a local checkpoint."""
        return Path(self.location)


def find_checkpoint(name: str, revision: str | None = None) -> Checkpoint:
    """Resolve a name: embedded backbones first, then local folders and files, then Hub ids.

    Args:
        name: embedded name, model folder, GGUF file (`model.gguf`, a folder that holds one, or
            `hub-id:file.gguf`, which is fetched) or Hub id.
        revision: Hub revision.

    Raises:
        BackboneError: a path that does not exist, or a folder without `config.json`.
    """
    embedded = embedded_folder(name)
    if embedded is not None:
        return Checkpoint(name, str(embedded), local=True)
    with one_line(name):
        file = find_gguf(name, revision)
    if file is not None:
        return Checkpoint(name, str(file), local=True, gguf=file)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise BackboneError(
                name,
                expected="a model folder with config.json, or with one .gguf file",
                got="a folder without",
                fix="Name the folder that save_pretrained wrote, or a GGUF file",
            )
        check_folder(folder, name)
        return Checkpoint(name, str(folder), local=True)
    if not name or name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise BackboneError(
            name or "backbone",
            expected="a model folder or GGUF file",
            got="a file of another kind" if folder.is_file() else "a path that does not exist",
            fix="Check the path",
        )
    close = difflib.get_close_matches(name, embedded_names(), n=1, cutoff=0.85)
    if close:  # a slip of the pen should not ask the network
        raise BackboneError(
            name,
            expected="an embedded name, a model folder or a Hub id",
            got=repr(name),
            fix=f"Did you mean {close[0]!r}?",
        )
    return Checkpoint(name, name, local=False, revision=revision)


@contextlib.contextmanager
def one_line(name: str) -> Iterator[None]:
    """Turn what Hugging Face raises for missing or broken checkpoints into one clear line."""
    try:
        yield
    except PromptPortError:
        raise
    except Exception as error:  # a broken file can raise anything, from Rust even a bare one
        if is_out_of_memory(error):
            raise memory_error(error) from error
        text = str(error).strip()
        first = text.splitlines()[0].rstrip(".") if text else type(error).__name__
        raise BackboneError(
            name,
            expected="a model that can be loaded",
            got=f"{type(error).__name__}: {first}",
            fix=_what_to_do(name, first),
        ) from error


def _what_to_do(name: str, reason: str) -> str:
    if "custom code" in reason:
        return (
            "Read the Python files beside its config.json; if you trust them, set the environment "
            f"variable {TRUST_VARIABLE}=1"
        )
    if "config.json" in reason and "/" in name:
        return f"If the repository holds GGUF files, name one of them: {name}:FILE.gguf"
    if "gated" in reason:
        return "Ask for access on the model's page, then log in with `hf auth login`"
    return (
        f"Give an embedded name ({', '.join(embedded_names())}), a model folder "
        "or a Hub id that is reachable"
    )


def trusts_code() -> bool:
    """Whether Python files that come with a model may be run; never asked, for scripts wait."""
    return os.environ.get(TRUST_VARIABLE, "") not in ("", "0")


def load_config(checkpoint: Checkpoint) -> PreTrainedConfig:
    """Read `config.json`, or what a GGUF file says in its place.

    Raises:
        BackboneError: it cannot be read or names an unknown architecture.
    """
    from transformers import AutoConfig

    with one_line(checkpoint.name), _front(checkpoint) as place:
        config = AutoConfig.from_pretrained(
            place, revision=checkpoint.revision, trust_remote_code=trusts_code()
        )
        check_attention(config, checkpoint.name)
        return cast("PreTrainedConfig", config)


def load_tokenizer(checkpoint: Checkpoint, **options: Any) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a checkpoint; `options` are those of its transformers class.

    Raises:
        BackboneError: it cannot be loaded, or is not one of the fast tokenizers.
    """
    from transformers import AutoTokenizer

    with one_line(checkpoint.name), _front(checkpoint) as place:
        options = {
            "revision": checkpoint.revision,
            "trust_remote_code": trusts_code(),
            **options,
        }
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
    if not getattr(tokenizer, "is_fast", False):
        raise BackboneError(
            checkpoint.name,
            expected="a fast tokenizer (tokenizer.json)",
            got=type(tokenizer).__name__,
            fix="Convert the tokenizer with transformers and save it",
        )
    return cast("PreTrainedTokenizerBase", tokenizer)


@contextlib.contextmanager
def _front(checkpoint: Checkpoint) -> Iterator[str]:
    """Where configuration and tokenizer are, which stay there meanwhile."""
    if checkpoint.gguf is None:
        yield checkpoint.location
        return
    with front_folder(checkpoint.gguf) as folder:
        yield str(folder)


@contextlib.contextmanager
def _weights(checkpoint: Checkpoint) -> Iterator[str]:
    """Where the weights are, which stay there meanwhile."""
    if checkpoint.gguf is None:
        yield checkpoint.location
        return
    with model_folder(checkpoint.gguf) as folder:
        yield str(folder)


def load_model(checkpoint: Checkpoint, kind: Kind, **options: Any) -> PreTrainedModel:
    """Load the language model of a checkpoint, in evaluation mode and frozen.

    Raises:
        BackboneError: it cannot be loaded, or has no weights for a part of the model, which would
            be random: a language-model head, most likely.
    """
    config = load_config(checkpoint)
    with (
        one_line(checkpoint.name),
        _weights(checkpoint) as place,
        quantised_line(checkpoint.name, config),
    ):
        model, found = model_class(kind).from_pretrained(
            place,
            revision=checkpoint.revision,
            trust_remote_code=trusts_code(),
            output_loading_info=True,
            **options,
        )
    if missing := sorted(found["missing_keys"]):
        raise BackboneError(
            checkpoint.name,
            expected=f"weights for every part of a {kind} language model",
            got=f"none for {missing[0]} ({len(missing)} missing in all)",
            fix="Name a checkpoint that was saved with its language-model head",
        )
    model.eval().requires_grad_(False)
    return cast("PreTrainedModel", model)


def silence_libraries() -> None:
    """Turn off progress bars and advice of transformers and the Hub client, for our own output."""
    from huggingface_hub.utils import disable_progress_bars
    from transformers.utils import logging

    logging.set_verbosity_error()
    python_logging.getLogger("huggingface_hub").setLevel(python_logging.ERROR)
    logging.disable_progress_bar()
    disable_progress_bars()
