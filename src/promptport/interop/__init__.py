"""Files that other software reads and writes."""

from promptport.interop.peft import load_prompt, save_prompt
from promptport.interop.vectors import load_vector, save_vector

__all__ = ["load_prompt", "load_vector", "save_prompt", "save_vector"]
