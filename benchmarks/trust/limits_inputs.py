"""Large inputs that take little room: layers are holes in files."""

from __future__ import annotations

import itertools
import json
import string
import struct
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_TASK = """\
schema: 1
name: many
kind: classification
template: "{soft} {text} It was {answer} ."
metric: accuracy
labels: {good: [good], bad: [bad]}
data: {train: rows.jsonl}
"""
_BLOCK = 1024  # rows of a table that are made at once


def save_sharded(
    folder: Path, *, rows: int, width: int, layers: int, words: Iterable[str] = ()
) -> int:
    """Write a sharded bfloat16 Llama checkpoint whose embedding alone holds anything.

    Args:
        folder: where to.
        rows: V.
        width: d.
        layers: number of layers, a file for each.
        words: that its tokenizer knows; made words fill the vocabulary up.

    Returns:
        Size of its files as they are read, in bytes.
    """
    folder.mkdir(parents=True)
    _save_tokenizer(folder, rows, words)
    heads = max(1, width // 128)
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": rows,
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": max(1, heads // 8), "intermediate_size": 3 * width,
        "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    shards = [{"model.embed_tokens.weight": (rows, width)}]
    inner = 3 * width
    for i in range(layers):
        block = f"model.layers.{i}."
        shards.append({
            **{f"{block}self_attn.{part}_proj.weight": (width, width) for part in "qo"},
            **{f"{block}self_attn.{part}_proj.weight": (width // 8, width) for part in "kv"},
            **{f"{block}mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")},
            f"{block}mlp.down_proj.weight": (width, inner),
        })  # fmt: skip
    shards.append({"lm_head.weight": (rows, width)})
    index: dict[str, str] = {}
    size = 0
    for number, tensors in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        index |= dict.fromkeys(tensors, file)
        size += _save_shard(folder / file, tensors)
    _fill(folder / index["model.embed_tokens.weight"], rows, width)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return size


def _save_tokenizer(folder: Path, rows: int, words: Iterable[str]) -> None:
    import transformers as hf
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = ("".join(letters) for letters in itertools.product(string.ascii_lowercase, repeat=5))
    known = dict.fromkeys(itertools.chain(["<unk>", "<s>", "</s>", "the", "of"], words, made))
    vocabulary = {word: i for i, word in enumerate(itertools.islice(known, rows))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)


def _save_shard(path: Path, tensors: Mapping[str, tuple[int, int]]) -> int:
    header, place = {}, 0
    for name, shape in tensors.items():
        end = place + 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [place, end]}
        place = end
    head = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(head)) + head)
        stream.truncate(8 + len(head) + place)
    return 8 + len(head) + place


def _fill(path: Path, rows: int, width: int) -> None:
    """Random rows behind the header of the only tensor of a file."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with path.open("r+b") as stream:
        stream.seek(8 + struct.unpack("<Q", stream.read(8))[0])
        for start in range(0, rows, _BLOCK):
            block = torch.randn(min(_BLOCK, rows - start), width, generator=generator) * 0.02
            stream.write(block.bfloat16().view(torch.uint8).numpy().data)


def save_rows(folder: Path, count: int) -> Path:
    """Write a task of so many rows, and give its file."""
    with (folder / "rows.jsonl").open("w") as stream:
        for i in range(count):
            label = "good" if i % 2 else "bad"
            text = f"A film about number {i} that goes on for a while ."
            stream.write(f'{{"text": "{text}", "label": "{label}"}}\n')
    (folder / "task.yaml").write_text(_TASK)
    return folder / "task.yaml"


if __name__ == "__main__":  # FOLDER ROWS WIDTH LAYERS, and the words as JSON on standard input
    V, d, count = map(int, sys.argv[2:5])
    known = json.load(sys.stdin)
    print(save_sharded(Path(sys.argv[1]), rows=V, width=d, layers=count, words=known))
