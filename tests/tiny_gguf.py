"""Tiny GGUF files, written tensor by tensor as llama.cpp writes them, and the same as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
import transformers as hf
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

from tests.models import TEXT, byte_bpe

WIDTH, LAYERS, HEADS, KEY_HEADS, INNER = 64, 2, 4, 2, 96
HEAD = WIDTH // HEADS
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
LLAMA_NORMS = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
GEMMA_NORMS = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}
FILE_TYPES = {Type.F32: 0, Type.F16: 1, Type.Q4_0: 2, Type.Q8_0: 7}


def tiny_llama(vocabulary: int) -> hf.LlamaForCausalLM:
    """A random Llama with grouped keys and an own head."""
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        max_position_embeddings=128,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.2,
    )
    return hf.LlamaForCausalLM(config).eval()


def tiny_gemma(vocabulary: int) -> hf.Gemma3ForCausalLM:
    """A random Gemma 3: scaled embeddings, tied head, norms of weights plus one."""
    torch.manual_seed(0)
    config = hf.Gemma3TextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        head_dim=HEAD,
        max_position_embeddings=128,
        sliding_window=64,
        initializer_range=0.2,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    model = hf.Gemma3ForCausalLM(config).eval()
    for name, weight in model.named_parameters():
        if "norm" in name:
            weight.data = torch.randn_like(weight) * 0.1
    return model


def write_llama(path: Path, kind: Type = Type.Q8_0, **changes: Any) -> hf.LlamaForCausalLM:
    """A Llama file with byte-level BPE.

    Args:
        path: of the file.
        kind: of its matrices.
        changes: `add` (key -> text or number to add), `drop` (beginnings of tensors or `tokenizer`
            to leave out), `architecture`.

    Returns:
        The model of the weights as the file has them, in float32.
    """
    tokenizer = byte_bpe(frame=False, size=640)
    model = tiny_llama(len(tokenizer))
    architecture = changes.get("architecture", "llama")
    writer = gguf.GGUFWriter(path, architecture)
    _write_shape(writer, kind, changes.get("add", {}))
    writer.add_vocab_size(len(tokenizer))
    writer.add_rope_dimension_count(HEAD)
    if "tokenizer" not in changes.get("drop", ()):
        _write_bpe(writer, tokenizer)
    _write_tensors(writer, model, kind, LLAMA_NORMS, drop=changes.get("drop", ()))
    return model


def write_gemma(path: Path, kind: Type = Type.Q8_0) -> hf.Gemma3ForCausalLM:
    """A Gemma 3 file with SentencePiece pieces; returns as `write_llama`."""
    pieces = gemma_pieces()
    model = tiny_gemma(len(pieces))
    writer = gguf.GGUFWriter(path, "gemma3")
    _write_shape(writer, kind, {})
    writer.add_key_length(HEAD)
    writer.add_value_length(HEAD)
    writer.add_sliding_window(64)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([float(-i) for i in range(len(pieces))])
    special = [3, 3, 3, 2, 3]
    letters = [6 if piece.startswith("<0x") else 1 for piece in pieces[5:]]
    writer.add_token_types([*special, *letters])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(3)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    _write_tensors(writer, model, kind, GEMMA_NORMS, plus_one=True)
    return model


def gemma_pieces() -> list[str]:
    """Special tokens, bytes, letters and all beginnings of the words of a few sentences."""
    words = sorted({f"▁{word}" for line in TEXT for word in line.split()})
    grown = {word[:end] for word in words for end in range(1, len(word) + 1)}
    inner = {word[1:end] for word in words for end in range(2, len(word) + 1)}
    pieces = sorted(grown | inner | set("".join(words)), key=lambda piece: (len(piece), piece))
    return ["<pad>", "<bos>", "<eos>", "<unk>", "<mask>", *(f"<0x{i:02X}>" for i in range(256))] + [
        piece for piece in pieces if piece
    ]


def _write_shape(writer: gguf.GGUFWriter, kind: Type, add: dict[str, Any]) -> None:
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(FILE_TYPES[kind])
    for key, value in add.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_uint16(key, value)


def _write_bpe(writer: gguf.GGUFWriter, tokenizer: Any) -> None:
    import json

    state = json.loads(tokenizer.backend_tokenizer.to_str())
    by_id = {i: token for token, i in tokenizer.get_vocab().items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([by_id[i] for i in range(len(by_id))])
    writer.add_token_types([3] + [1] * (len(by_id) - 1))
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)


def _write_tensors(
    writer: gguf.GGUFWriter,
    model: Any,
    kind: Type,
    norms: dict[str, str],
    *,
    plus_one: bool = False,
    drop: tuple[str, ...] = (),
) -> None:
    """Write the weights, and put back into the model what the file holds of them."""
    for name, weight in model.named_parameters():
        target = _gguf_name(name, norms)
        if any(target.startswith(part) for part in drop):
            continue
        values = weight.detach().numpy()
        heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(target.split(".")[-2])
        turned = heads is not None and not plus_one  # as llama.cpp turns them for Llama alone
        stored = _turn(values, heads) if turned else values
        if values.ndim == 1:
            writer.add_tensor(target, values + 1 if plus_one else values)
            continue
        packed = quantize(np.ascontiguousarray(stored), kind)
        writer.add_tensor(target, packed, raw_dtype=kind)
        kept = dequantize(packed, kind).reshape(stored.shape)
        weight.data = torch.from_numpy(_turn_back(kept, heads) if turned else kept.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _gguf_name(name: str, norms: dict[str, str]) -> str:
    plain = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
        "lm_head.weight": "output.weight",
    }
    if name in plain:
        return plain[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{(NAMES | norms)[rest.removesuffix('.weight')]}.weight"


def _turn(values: np.ndarray, heads: int | None) -> np.ndarray:
    split = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return split.swapaxes(1, 2).reshape(values.shape)


def _turn_back(values: np.ndarray, heads: int | None) -> np.ndarray:
    split = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(split.swapaxes(2, 1).reshape(values.shape))
