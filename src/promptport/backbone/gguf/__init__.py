"""GGUF files, llama.cpp's format, as backbones."""

from promptport.backbone.gguf.appending import Appended, append_tokens
from promptport.backbone.gguf.building import entry_of, front_folder, model_folder
from promptport.backbone.gguf.facts import file_facts
from promptport.backbone.gguf.finding import find_gguf
from promptport.backbone.gguf.header import GgufHeader, read_header
from promptport.backbone.gguf.table import kept_dtype, read_table
from promptport.backbone.gguf.vocabulary import Vocabulary, keep_vocabulary, kept_vocabulary

__all__ = [
    "Appended",
    "GgufHeader",
    "Vocabulary",
    "append_tokens",
    "entry_of",
    "file_facts",
    "find_gguf",
    "front_folder",
    "keep_vocabulary",
    "kept_dtype",
    "kept_vocabulary",
    "model_folder",
    "read_header",
    "read_table",
]
