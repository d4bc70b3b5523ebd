"""Tiny random models of many architectures, with tokenizers trained on a few sentences."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
import transformers as hf
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

TEXT = [
    "Paris is the capital of France .",
    "Berlin is the capital of Germany .",
    "Rome is the capital of Italy .",
    "Madrid is the capital of Spain .",
    "It was a great film and a good story .",
    "It was a terrible film and a bad story .",
    "the dog and the cat of the house run over the green hill to the old river",
    "this is a test of words , a red stone and a blue bird , one two three four five",
    "she said that he was happy , sad , angry or afraid in the morning",
    "red green blue black white small large long short new old good bad happy sad",
    "France Germany Italy Spain Poland Greece Paris Berlin Rome Madrid Warsaw Athens",
] * 3
WIDTH = 32


def wordpiece() -> hf.PreTrainedTokenizerFast:
    """Cased WordPiece with [CLS] and [SEP], as BERT.

    Every word and every letter is a token. Nothing is trained: the trainer numbers the pieces in an
    order that changes from run to run, and so would every test on these models.
    """
    splitter = pre_tokenizers.BertPreTokenizer()
    words = {word for line in TEXT for word, _ in splitter.pre_tokenize_str(line)}
    letters = sorted({letter for word in words for letter in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused1]"]
    tokens = [*special, *letters, *(f"##{x}" for x in letters), *sorted(words - set(letters))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tok = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tok.add_special_tokens(special)
    tok.pre_tokenizer = splitter
    tok.decoder = decoders.WordPiece()
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def byte_bpe(*, frame: bool = True, size: int = 640) -> hf.PreTrainedTokenizerFast:
    """Byte-level BPE without a prefix space; framed as RoBERTa or bare as GPT-2."""
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if frame else ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tok.train_from_iterator([" " + t for t in TEXT], trainer)
    if not frame:
        return hf.PreTrainedTokenizerFast(
            tokenizer_object=tok, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
        )
    tok.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), add_prefix_space=False
    )
    from tokenizers import AddedToken

    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token=AddedToken("<mask>", lstrip=True, special=True),
    )


def unigram(style: str) -> hf.PreTrainedTokenizerFast:
    """SentencePiece-like Unigram: `albert`, `llama` (byte fallback, BOS) or `t5` (sentinels)."""
    special = {
        "albert": ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"],
        "llama": ["<unk>", "<s>", "</s>", *[f"<0x{i:02X}>" for i in range(256)]],
        "t5": ["<pad>", "</s>", "<unk>", *[f"<extra_id_{i}>" for i in range(4)]],
    }[style]
    words = Counter(word for line in TEXT for word in line.split())
    pieces = [(f"▁{word}", -5.0 - 1 / count) for word, count in sorted(words.items())]
    letters = sorted({c for word in words for c in word} | set(string.ascii_letters))
    pieces += [(c, -12.0) for c in ["▁", *letters] if c not in dict(pieces)]
    tok = Tokenizer(
        models.Unigram([(t, 0.0) for t in special] + pieces, unk_id=special.index("<unk>"))
    )
    tok.add_special_tokens([t for t in special if not t.startswith("<0x")])
    tok.normalizer = normalizers.NFKC()
    tok.pre_tokenizer = pre_tokenizers.Metaspace()
    tok.decoder = decoders.Metaspace()
    single = {"albert": "[CLS] $A [SEP]", "llama": "<s> $A", "t5": "$A </s>"}[style]
    used = [(t, tok.token_to_id(t)) for t in special if t in single]
    tok.post_processor = processors.TemplateProcessing(single=single, special_tokens=used)
    names = {
        "albert": {
            "pad_token": "<pad>",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
        "llama": {"bos_token": "<s>", "eos_token": "</s>"},
        "t5": {"pad_token": "<pad>", "eos_token": "</s>"},
    }[style]
    return hf.PreTrainedTokenizerFast(tokenizer_object=tok, unk_token="<unk>", **names)


_SMALL = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
_HEADS = {**_SMALL, "hidden_size": WIDTH, "max_position_embeddings": 64}


def _bert(v: int) -> hf.PreTrainedModel:
    return hf.BertForMaskedLM(hf.BertConfig(vocab_size=v, initializer_range=0.1, **_HEADS))


def _roberta(v: int) -> hf.PreTrainedModel:
    return hf.RobertaForMaskedLM(
        hf.RobertaConfig(
            vocab_size=v,
            pad_token_id=1,
            bos_token_id=0,
            eos_token_id=2,
            **{**_HEADS, "max_position_embeddings": 66},
        )
    )


def _albert(v: int) -> hf.PreTrainedModel:
    return hf.AlbertForMaskedLM(hf.AlbertConfig(vocab_size=v, embedding_size=16, **_HEADS))


def _distilbert(v: int) -> hf.PreTrainedModel:
    return hf.DistilBertForMaskedLM(
        hf.DistilBertConfig(
            vocab_size=v,
            dim=WIDTH,
            n_layers=2,
            n_heads=2,
            hidden_dim=48,
            max_position_embeddings=64,
        )
    )


def _electra(v: int) -> hf.PreTrainedModel:
    return hf.ElectraForMaskedLM(hf.ElectraConfig(vocab_size=v, embedding_size=16, **_HEADS))


def _modernbert(v: int) -> hf.PreTrainedModel:
    return hf.ModernBertForMaskedLM(
        hf.ModernBertConfig(
            vocab_size=v,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
            cls_token_id=2,
            sep_token_id=3,
            attn_implementation="sdpa",
            **_HEADS,
        )
    )


def _deberta(v: int) -> hf.PreTrainedModel:
    return hf.DebertaV2ForMaskedLM(
        hf.DebertaV2Config(
            vocab_size=v,
            relative_attention=True,
            position_biased_input=False,
            pos_att_type=["p2c", "c2p"],
            attn_implementation="eager",
            **_HEADS,
        )
    )


def _gpt2(v: int) -> hf.PreTrainedModel:
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=v,
            n_embd=WIDTH,
            n_layer=2,
            n_head=2,
            n_positions=64,
            initializer_range=0.1,
            bos_token_id=0,
            eos_token_id=0,
        )
    )


def _gpt_neox(v: int) -> hf.PreTrainedModel:
    return hf.GPTNeoXForCausalLM(
        hf.GPTNeoXConfig(vocab_size=v, bos_token_id=0, eos_token_id=0, **_HEADS)
    )


def _llama_like(config: type, model: type, **extra: object) -> Callable[[int], hf.PreTrainedModel]:
    def build(v: int) -> hf.PreTrainedModel:
        values = {**_HEADS, "num_key_value_heads": 1, "bos_token_id": 1, "eos_token_id": 2, **extra}
        return model(config(vocab_size=v, **values))

    return build


def _opt(v: int) -> hf.PreTrainedModel:
    return hf.OPTForCausalLM(
        hf.OPTConfig(
            vocab_size=v,
            hidden_size=WIDTH,
            word_embed_proj_dim=16,
            ffn_dim=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            do_layer_norm_before=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def _t5(v: int) -> hf.PreTrainedModel:
    return hf.T5ForConditionalGeneration(
        hf.T5Config(
            vocab_size=v,
            d_model=WIDTH,
            d_kv=16,
            d_ff=48,
            num_layers=2,
            num_heads=2,
            decoder_start_token_id=0,
            pad_token_id=0,
            eos_token_id=1,
        )
    )


def _bart_like(config: type, model: type, **extra: object) -> Callable[[int], hf.PreTrainedModel]:
    def build(v: int) -> hf.PreTrainedModel:
        return model(
            config(
                vocab_size=v,
                d_model=WIDTH,
                encoder_layers=2,
                decoder_layers=2,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=48,
                decoder_ffn_dim=48,
                max_position_embeddings=64,
                pad_token_id=1,
                bos_token_id=0,
                eos_token_id=2,
                decoder_start_token_id=2,
                forced_eos_token_id=None,
                **extra,
            )
        )

    return build


# name -> (kind, tokenizer, model of a vocabulary size)
ARCHITECTURES: dict[str, tuple[str, Callable[[], object], Callable[[int], hf.PreTrainedModel]]] = {
    "bert": ("masked", wordpiece, _bert),
    "roberta": ("masked", byte_bpe, _roberta),
    "albert": ("masked", lambda: unigram("albert"), _albert),
    "distilbert": ("masked", wordpiece, _distilbert),
    "electra": ("masked", wordpiece, _electra),
    "modernbert": ("masked", wordpiece, _modernbert),
    "deberta": ("masked", wordpiece, _deberta),
    "gpt2": ("causal", lambda: byte_bpe(frame=False), _gpt2),
    "gpt_neox": ("causal", lambda: byte_bpe(frame=False), _gpt_neox),
    "llama": ("causal", lambda: unigram("llama"), _llama_like(hf.LlamaConfig, hf.LlamaForCausalLM)),
    "mistral": (
        "causal",
        lambda: unigram("llama"),
        _llama_like(hf.MistralConfig, hf.MistralForCausalLM),
    ),
    "qwen3": (
        "causal",
        lambda: byte_bpe(frame=False),
        _llama_like(
            hf.Qwen3Config, hf.Qwen3ForCausalLM, head_dim=16, bos_token_id=0, eos_token_id=0
        ),
    ),
    "gemma": (
        "causal",
        lambda: unigram("llama"),
        _llama_like(hf.GemmaConfig, hf.GemmaForCausalLM, head_dim=16, pad_token_id=0),
    ),
    "opt": ("causal", lambda: byte_bpe(frame=False), _opt),
    "t5": ("seq2seq", lambda: unigram("t5"), _t5),
    "bart": (
        "seq2seq",
        byte_bpe,
        _bart_like(hf.BartConfig, hf.BartForConditionalGeneration, scale_embedding=True),
    ),
    "pegasus": (
        "seq2seq",
        byte_bpe,
        _bart_like(hf.PegasusConfig, hf.PegasusForConditionalGeneration, scale_embedding=True),
    ),
}


def save_model(name: str, folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny random model and its tokenizer."""
    _, make_tokenizer, make_model = ARCHITECTURES[name]
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    # Three rows more than the tokenizer has tokens: padding rows that no token reaches.
    model = make_model(len(tokenizer) + 3)
    with torch.no_grad():  # large differences between rows, so that a mistake is seen
        model.get_input_embeddings().weight.mul_(10)
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
