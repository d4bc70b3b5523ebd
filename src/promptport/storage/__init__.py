"""Files that promptport and other software read and write."""

from promptport.storage.bare_tensor import is_bare_tensor, prompt_of_tensor
from promptport.storage.opening import PromptLike, VectorLike, as_prompt, as_vector
from promptport.storage.portable_file import load_portable, save_portable
from promptport.storage.prompt_folder import load_prompt, naming_file, save_prompt
from promptport.storage.vector_folder import is_vector, load_vector, prompt_folders, save_vector

__all__ = [
    "PromptLike",
    "VectorLike",
    "as_prompt",
    "as_vector",
    "is_bare_tensor",
    "is_vector",
    "load_portable",
    "load_prompt",
    "load_vector",
    "naming_file",
    "prompt_folders",
    "prompt_of_tensor",
    "save_portable",
    "save_prompt",
    "save_vector",
]
