"""Files that other software reads and writes."""

from promptport.interop.peft import load_prompt, save_prompt
from promptport.interop.portable import load_portable, save_portable
from promptport.interop.vectors import load_vector, save_vector

__all__ = [
    "load_portable",
    "load_prompt",
    "load_vector",
    "save_portable",
    "save_prompt",
    "save_vector",
]
