"""Checkpoints that are quantised in ways of their own: bitsandbytes, GPTQ, AWQ and others.

transformers loads them where it has the packages; the embedding table is hardly ever quantised.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from promptport.errors import BackboneError, PromptPortError
from promptport.memory import is_out_of_memory

# What transformers needs for a method, where that is not a package of the method's name.
_PACKAGES = {
    "bitsandbytes": "bitsandbytes accelerate",
    "bitsandbytes_4bit": "bitsandbytes accelerate",
    "bitsandbytes_8bit": "bitsandbytes accelerate",
    "gptq": "optimum gptqmodel",
    "awq": "gptqmodel accelerate",
    "aqlm": "aqlm[gpu,cpu] accelerate",
    "quanto": "optimum-quanto",
    "fp8": "accelerate kernels",
    "auto-round": "auto-round",
    "fbgemm_fp8": "fbgemm-gpu accelerate",
}


def quantisation_method(config: Any) -> str | None:
    """How a checkpoint is quantised, for instance `gptq`; None if it is not.

    Args:
        config: of transformers.
    """
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    method = found.get("quant_method") if isinstance(found, Mapping) else found.quant_method
    return str(getattr(method, "value", None) or method or "an unnamed method")


@contextlib.contextmanager
def quantised_line(name: str, config: Any) -> Iterator[None]:
    """Say what to install where a quantised checkpoint cannot be loaded.

    Args:
        name: of the backbone.
        config: its configuration.

    Raises:
        BackboneError: transformers cannot load it here.
    """
    method = quantisation_method(config)
    try:
        yield
    except PromptPortError:
        raise
    except (ImportError, OSError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        if method is None or is_out_of_memory(error):
            raise
        first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        packages = _PACKAGES.get(method, method)
        fix = f"Install what reads it (pip install {packages})"
        if not isinstance(error, ImportError):
            fix += ", on a machine that it runs on"
        raise BackboneError(
            name,
            expected=f"a checkpoint that can be loaded here; this one is quantised by {method}",
            got=first,
            fix=f"{fix}, or name the model that it was made of",
        ) from error
