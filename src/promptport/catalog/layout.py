"""Names of the files of prompt, vector and attention folders, and what their records must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from promptport.provenance import SCHEMA_VERSION
from promptport.records import OBJECT, Field, RecordFormat, is_number

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
LEGACY_WEIGHTS_FILE = "adapter_model.bin"
PROVENANCE_FILE = "promptport.json"
ORIGIN_FILE = "origin.safetensors"
MIXTURE_FILE = "mixture.safetensors"
DELTA_FILE, VECTOR_FILE = VECTOR_FILES = ("vector.safetensors", "vector.json")
ATTENTION_TENSORS_FILE, ATTENTION_FILE = "attention.safetensors", "attention.json"
TAGS_FILE = "tags.json"
PORTABLE_SUFFIX = ".portable"

PROMPT_KEY = "prompt_embeddings"
DELTA_KEY = "delta"
MIXTURE_KEY = "weights"
ATTENTION_PARTS = ("sources", "target", "down", "up", "gain")
PORTABLE_FIELD = "promptport"  # of a portable file's header
CHECKSUM_FIELD = "checksum"

# The file by which a folder is known, in the order in which they count, and all of its files from
# which anything is told.
MARKS = (CONFIG_FILE, VECTOR_FILE, ATTENTION_FILE)
FILES = frozenset(
    (
        *(*MARKS, WEIGHTS_FILE, LEGACY_WEIGHTS_FILE, PROVENANCE_FILE, ORIGIN_FILE, MIXTURE_FILE),
        *(DELTA_FILE, ATTENTION_TENSORS_FILE, TAGS_FILE),
    )
)


def _is_part(value: Any) -> bool:
    return isinstance(value, list) and list(map(type, value)) == [str] * 3


def _is_table(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


PROMPT_FORMAT = RecordFormat(
    SCHEMA_VERSION,
    "Restore the file, or delete it to use the folder as a bare PEFT adapter",
    {"prompt": OBJECT},
)
VECTOR_FORMAT = RecordFormat(
    1,
    "Restore the folder, or make the vector again",
    {
        "vector": OBJECT,
        "coefficients": Field("a number per task", _is_table(is_number)),
        "parts": Field("three texts per task", _is_table(_is_part), optional=True),
    },
)
ATTENTION_FORMAT = RecordFormat(
    1,
    "Restore the folder from its source",
    {
        "prompt": OBJECT,
        "temperature": Field("a number above 0", lambda t: is_number(t) and t > 0),
    },
)
PORTABLE_FORMAT = RecordFormat(
    1, "Restore the file from its source, or encode the prompt again", {"prompt": OBJECT}
)
TAGS_FORMAT = RecordFormat(
    1,
    "Restore the file, or delete it and tag the prompt again",
    {
        "tags": Field(
            "a list of texts",
            lambda value: isinstance(value, list) and all(isinstance(tag, str) for tag in value),
        )
    },
)
