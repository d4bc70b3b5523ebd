"""Engines that a prompt can be exported to, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptport.engines.material import Carried, Material
from promptport.engines.writers import gguf, hf, llama_slot, mlx, vectors
from promptport.errors import PromptPortError
from promptport.registry import unknown_name

Writer = Callable[[Material, Path], dict[str, Any]]
_EVERY_KIND = ("masked", "causal", "seq2seq")


@dataclass(frozen=True)
class Engine:
    """An engine.

    Attributes:
        name: as a user writes it.
        summary: one line, without a full stop.
        kinds: of backbones that it runs.
        anywhere: whether virtual tokens may stand anywhere; else in front of everything alone.
        is_file: whether it is a file with others beside it, not a folder.
        in_vocabulary: whether virtual tokens are tokens of the exported model.
        packages: what `pip install` needs for the check.
        runner: module in the folder `runners` that runs it; empty if there is none.
        exact: whether it computes what the backbone does, but for rounding; else its weights or
            activations are quantised further.
        write: (material, folder or file) -> facts for the manifest, as plain JSON values.
    """

    name: str
    summary: str
    kinds: tuple[str, ...]
    anywhere: bool
    is_file: bool
    in_vocabulary: bool
    packages: str
    runner: str
    exact: bool
    write: Writer

    @property
    def tolerance(self) -> float:
        """Nats between two tokens up to which answers of a check may fall either way."""
        return 0.1 if self.exact else 0.5

    def need_runner(self) -> None:
        """Refuse a check of an engine that no runner is there for.

        Raises:
            PromptPortError: there is none.
        """
        if not self.runner:
            raise PromptPortError(
                f"--check with {self.name}",
                expected="an engine that can be run for a check",
                got="one that runs as a server only",
                fix="Leave out --check",
            )

    def check(self, item: Carried, kind: str) -> None:
        """Refuse a prompt that the engine cannot serve, and say which engines can.

        Raises:
            PromptPortError: a kind of backbone or a place of virtual tokens that it cannot run.
        """
        if kind not in self.kinds:
            fit = [e.name for e in ENGINES.values() if kind in e.kinds]
            raise PromptPortError(
                f"--to {self.name}",
                expected=f"a prompt of a {' or '.join(self.kinds)} backbone",
                got=f"one of a {kind} backbone",
                fix=f"Engines that run such: {', '.join(fit)}",
            )
        if not self.anywhere and not item.in_front:
            fit = [e.name for e in ENGINES.values() if kind in e.kinds and e.anywhere]
            raise PromptPortError(
                f"--to {self.name}",
                expected="virtual tokens in front of everything, which a kept prefix begins with",
                got=f"the template {item.template.text!r}",
                fix=f"Engines that put them anywhere: {', '.join(fit)}",
            )


def find_engine(name: str, others: tuple[str, ...] = ()) -> Engine:
    """An engine by name; `others` are further names that a user may give.

    Raises:
        UnknownNameError: none is called so.
    """
    if name not in ENGINES:
        raise unknown_name("--to", name, (*ENGINES, *others))
    return ENGINES[name]


ENGINES = {
    engine.name: engine
    for engine in (
        Engine(
            "hf",
            "a checkpoint of transformers with the prompts in its vocabulary",
            _EVERY_KIND,
            anywhere=True,
            is_file=False,
            in_vocabulary=True,
            packages="transformers torch",
            runner="run_hf",
            exact=True,
            write=hf.write,
        ),
        Engine(
            "gguf",
            "a GGUF file with the prompts in its vocabulary: llama.cpp, Ollama, LM Studio",
            ("causal",),
            anywhere=True,
            is_file=True,
            in_vocabulary=True,
            packages=llama_slot.PACKAGES,
            runner=llama_slot.RUNNER,
            exact=False,
            write=gguf.write,
        ),
        Engine(
            "llama.cpp-embd",
            "vectors for llama_batch.embd of llama-cpp-python",
            ("causal",),
            anywhere=True,
            is_file=False,
            in_vocabulary=False,
            packages="llama-cpp-python",
            runner="run_llama_embd",
            exact=False,
            write=vectors.write_llama,
        ),
        Engine(
            "llama.cpp-slot",
            "slot files that llama-server restores: the prompts are never computed again",
            ("causal",),
            anywhere=False,
            is_file=False,
            in_vocabulary=False,
            packages=llama_slot.PACKAGES,
            runner=llama_slot.RUNNER,
            exact=False,
            write=llama_slot.write,
        ),
        Engine(
            "mlx",
            "prompt caches for mlx-lm",
            ("causal",),
            anywhere=False,
            is_file=False,
            in_vocabulary=False,
            packages=mlx.PACKAGES,
            runner=mlx.RUNNER,
            exact=True,
            write=mlx.write,
        ),
        Engine(
            "vllm",
            "prompt_embeds for vLLM, offline and over HTTP",
            ("causal",),
            anywhere=True,
            is_file=False,
            in_vocabulary=False,
            packages="vllm",
            runner="run_vllm",
            exact=True,
            write=vectors.write_vllm,
        ),
        Engine(
            "sglang",
            "input_embeds for SGLang over HTTP",
            ("causal",),
            anywhere=True,
            is_file=False,
            in_vocabulary=False,
            packages="sglang",
            runner="",
            exact=True,
            write=vectors.write_sglang,
        ),
    )
}
