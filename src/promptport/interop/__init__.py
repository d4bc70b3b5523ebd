"""Files that other software reads and writes."""

from promptport.interop.peft import load_prompt, save_prompt

__all__ = ["load_prompt", "save_prompt"]
