"""Checkpoints of the shape of large models: only the embedding holds anything."""

from __future__ import annotations

import itertools
import json
import string
import struct
from collections.abc import Iterable
from pathlib import Path

import torch
import transformers as hf
from tokenizers import Tokenizer, models, pre_tokenizers

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_SPECIAL = ["<unk>", "<s>", "</s>"]


def save_large(
    folder: Path, *, rows: int, width: int, layers: int, words: Iterable[str] = ()
) -> Path:
    """Write a sharded bfloat16 Llama checkpoint without its layers; its head is a hole in a file.

    Args:
        folder: where to.
        rows: V.
        width: d.
        layers: of config.json.
        words: that its tokenizer knows; made words fill the vocabulary up.
    """
    folder.mkdir(parents=True)
    made = ("".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=5))
    known = dict.fromkeys(itertools.chain(_SPECIAL, ["the", "of"], words, made))
    vocabulary = {word: i for i, word in enumerate(itertools.islice(known, rows))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    hf.LlamaConfig(
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=64,
        num_key_value_heads=8,
        intermediate_size=3 * width,
        architectures=["LlamaForCausalLM"],
    ).save_pretrained(folder)
    files = {
        EMBEDDING: "model-00001-of-00002.safetensors",
        HEAD: "model-00002-of-00002.safetensors",
    }
    for name, file in files.items():
        _save_shard(folder / file, name, rows, width)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return folder


def _save_shard(path: Path, name: str, rows: int, width: int) -> None:
    size = 2 * rows * width
    entry = {"dtype": "BF16", "shape": [rows, width], "data_offsets": [0, size]}
    header = json.dumps({name: entry}).encode()
    generator = torch.Generator().manual_seed(0)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        for start in range(0, rows if name == EMBEDDING else 0, 1024):
            block = torch.randn(min(1024, rows - start), width, generator=generator) * 0.02
            stream.write(block.bfloat16().view(torch.uint8).numpy().data)
        stream.truncate(8 + len(header) + size)
