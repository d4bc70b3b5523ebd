"""Lines of code that load an export and answer a row, for each engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from promptport.engines.material import Carried, Material, Part, slot_file
from promptport.history import public_name
from promptport.pages.markdown import python_text
from promptport.shell import quoted
from promptport.zoo import embedded_folder

_SHOWN = 100  # characters of a line


def _parts(parts: Sequence[Part]) -> str:
    return "[" + ", ".join(repr(part) for part in parts) + "]"


def _row(
    item: Carried, tokenizer: str, name: str = "row", parts: Sequence[Part] | None = None
) -> list[str]:
    """A function that lays out token ids: the row of a prompt, or other parts.

    It takes the fields by name in one mapping, whose names cannot be in the way of others.
    """
    return [
        "# Ids, and texts: literal, field, literal, ... in turn.",
        f"{name.upper()} = {_parts(item.parts if parts is None else parts)}",
        "",
        f"def {name}(fields):",
        "    ids = []",
        f"    for part in {name.upper()}:",
        "        if isinstance(part, tuple):",
        f"            part = {_spelled('fields')}",
        f"            part = {tokenizer}",
        "        ids += part",
        "    return ids",
        "",
    ]


def _call(item: Carried, name: str = "row") -> str:
    return f"{name}({_fields(item)})"


def _fields(item: Carried) -> str:
    """The fields of a row, as a mapping in Python."""
    return json.dumps({field: f"A {field} of yours" for field in item.template.fields})


def _spelled(fields: str) -> str:
    """What a text part becomes with the fields of a mapping."""
    return f'"".join({fields}[p] if i % 2 else p for i, p in enumerate(part))'


def _python(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```"])


_TOKENIZED = "tokenizer(part, add_special_tokens=False)"


def _hf(material: Material, facts: Mapping[str, Any]) -> str:
    item = material.items[0]
    kind = {"masked": "MaskedLM", "causal": "CausalLM", "seq2seq": "Seq2SeqLM"}[material.kind]
    lines = [
        "import torch",
        f"from transformers import AutoModelFor{kind}, AutoTokenizer",
        "",
        'FOLDER = "."  # this folder',
        "tokenizer = AutoTokenizer.from_pretrained(FOLDER)",
        f"model = AutoModelFor{kind}.from_pretrained(FOLDER).eval()",
        *_row(item, f'{_TOKENIZED}["input_ids"]'),
        f"ids = torch.tensor([{_call(item)}])",
    ]
    if material.kind == "seq2seq":
        tokenized = f'{_TOKENIZED}["input_ids"]'
        lines += ["", "# What the decoder begins with."]
        lines += _row(item, tokenized, "start", item.decoder_parts)
        lines.append(f"begun = torch.tensor([{_call(item, 'start')}])")
        lines.append("logits = model(input_ids=ids, decoder_input_ids=begun).logits[0, -1]")
    elif material.kind == "masked":
        lines.append("place = ids[0].tolist().index(tokenizer.mask_token_id)")
        lines.append("logits = model(input_ids=ids).logits[0, place]")
    else:
        lines.append("logits = model(input_ids=ids).logits[0, -1]")
    lines.append(f"logits[{[i for it in material.items for i in it.ids]}] = -torch.inf")
    lines.append("print(tokenizer.decode(logits.argmax()))")
    if material.kind == "causal":
        lines.append("said = model.generate(ids, max_new_tokens=8, do_sample=False)")
        lines.append("print(tokenizer.decode(said[0, ids.shape[1]:]))")
    return _python(lines)


def _gguf(material: Material, facts: Mapping[str, Any]) -> str:
    item = material.items[0]
    barred = [i for it in material.items for i in it.ids]
    shell = "```sh\nllama-server -m THIS.gguf --port 8080\n```"
    return f"{shell}\n\n" + _python(
        [
            *_server(),
            *_row(item, 'post("/tokenize", content=part, add_special=False)["tokens"]'),
            f"BARRED = [[i, False] for i in {barred}]",
            f'said = post("/completion", prompt={_call(item)}, n_predict=8,',
            "            temperature=0, logit_bias=BARRED, n_probs=20)",
            'print(said["content"])',
        ]
    )


def _server() -> list[str]:
    return [
        "import json, urllib.request",
        "",
        'SERVER = "http://127.0.0.1:8080"',
        "",
        "def post(path, **body):",
        '    kind = {"Content-Type": "application/json"}',
        "    asked = urllib.request.Request(SERVER + path, json.dumps(body).encode(), kind)",
        "    return json.load(urllib.request.urlopen(asked))",
        "",
    ]


def _slot(material: Material, facts: Mapping[str, Any]) -> str:
    item = material.items[0]
    base = public_name(material.base)
    shell = f"```sh\nllama-server -m {quoted(base)} --port 8080 --slot-save-path THIS-FOLDER/ \\\n"
    shell += "  --parallel 1 --no-cache-idle-slots --cache-ram 0\n```"
    return f"{shell}\n\n" + _python(
        [
            *_server(),
            *_row(item, 'post("/tokenize", content=part, add_special=False)["tokens"]'),
            f'post("/slots/0?action=restore", filename="{slot_file(item)}")',
            f'said = post("/completion", prompt={_call(item)}, n_predict=8,',
            "            temperature=0, id_slot=0, cache_prompt=True, n_probs=20)",
            f'assert said["timings"]["cache_n"] >= {item.prompt.length}, "the slot was lost"',
            'print(said["content"])',
        ]
    )


def _embd(material: Material, facts: Mapping[str, Any]) -> str:
    item = material.items[0]
    return _python(
        [
            "import ctypes",
            "import llama_cpp, numpy as np",
            "",
            f"MODEL = {python_text(public_name(material.base))}",
            "llama = llama_cpp.Llama(MODEL, n_ctx=512, verbose=False)",
            f'PROMPT = np.load("{item.name}.npy")  # (n, d) float32',
            "# Ids, texts (literal, field, literal, ... in turn), and places of virtual tokens.",
            f"ROW = {_parts(item.parts)}",
            f"FIELDS = {_fields(item)}",
            "",
            "def feed(past, ids=None, rows=None):",
            "    n = len(rows if ids is None else ids)",
            "    width = llama.n_embd() if ids is None else 0",
            "    batch = llama_cpp.llama_batch_init(n, width, 1)",
            "    batch.n_tokens = n",
            "    for i in range(n):",
            "        if ids is not None:",
            "            batch.token[i] = ids[i]",
            "        batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = past + i, 1, 0",
            "        batch.logits[i] = i == n - 1",
            "    if ids is None:",
            "        rows = np.ascontiguousarray(rows, dtype=np.float32)",
            "        ctypes.memmove(batch.embd, rows.ctypes.data, rows.nbytes)",
            "    assert llama_cpp.llama_decode(llama.ctx, batch) == 0",
            "    llama_cpp.llama_batch_free(batch)",
            "    return past + n",
            "",
            "past = 0",
            "for part in ROW:",
            "    if isinstance(part, slice):",
            "        past = feed(past, rows=PROMPT[part])",
            "        continue",
            "    if isinstance(part, tuple):",
            f"        part = {_spelled('FIELDS')}",
            "        part = llama.tokenize(part.encode(), add_bos=False)",
            "    past = feed(past, ids=part)",
            "logits = np.ctypeslib.as_array(",
            "    llama_cpp.llama_get_logits_ith(llama.ctx, -1), shape=(llama.n_vocab(),))",
            "print(llama.detokenize([int(logits.argmax())]).decode())",
        ]
    )


def _mlx(material: Material, facts: Mapping[str, Any]) -> str:
    item = material.items[0]
    head = ["import mlx.core as mx", "from mlx_lm import load"]
    opened = [
        f"CONFIG = {facts['model_config']}  # what mlx-lm does not read of config.json",
        f"model, tokenizer = load({python_text(_model(material))}, model_config=CONFIG)",
    ]
    rows = _row(item, "tokenizer.encode(part, add_special_tokens=False)", parts=_behind(item))
    if facts.get("caches"):
        return _python(
            [
                *head,
                "from mlx_lm.generate import generate_step",
                "from mlx_lm.models.cache import load_prompt_cache",
                "",
                *opened,
                *rows,
                f"cache = load_prompt_cache({python_text(facts['caches'][0])})",
                f"ids = mx.array({_call(item)})",
                "steps = generate_step(ids, model, max_tokens=8, prompt_cache=cache)",
                "print(tokenizer.decode([int(token) for token, _ in steps]))",
            ]
        )
    return _python(
        [
            *head,
            "from mlx_lm.generate import generate_step",
            "",
            *opened,
            *rows,
            f'PROMPT = mx.load("vectors.safetensors")["{item.name}"]  # (n, d)',
            f"ids = mx.array({_call(item)})",
            "rows = mx.concatenate([PROMPT, model.model.embed_tokens(ids)])",
            f"ids = mx.concatenate([mx.zeros({item.prompt.length}, dtype=ids.dtype), ids])",
            "steps = generate_step(ids, model, max_tokens=8, input_embeddings=rows)",
            "print(tokenizer.decode([int(token) for token, _ in steps]))",
        ]
    )


def _behind(item: Carried) -> list[Part]:
    """The row behind leading virtual tokens."""
    return [part for part in item.parts if not isinstance(part, slice)]


def _model(material: Material) -> str:
    """The model as others load it: a Hub id, or the folder's name."""
    folder = embedded_folder(material.base)
    return public_name(material.base if folder is None else str(folder))


def _served(command: str, ask: Sequence[str]) -> Callable[[Material, Mapping[str, Any]], str]:
    def lines(material: Material, facts: Mapping[str, Any]) -> str:
        item = material.items[0]
        fields = _fields(item)
        shell = f"```sh\n{command.format(model=quoted(_model(material)))}\n```"
        code = [
            "from client import Client",
            "",
            f"client = Client({python_text(_model(material))})  # reads the embedding table alone",
            f'print(client.ask("{item.name}", {fields}))',
            *(line.replace("FIELDS", fields) for line in ask),
        ]
        return f"{shell}\n\n{_python(code)}"

    return lines


LINES: dict[str, Callable[[Material, Mapping[str, Any]], str]] = {
    "hf": _hf,
    "gguf": _gguf,
    "llama.cpp-embd": _embd,
    "llama.cpp-slot": _slot,
    "mlx": _mlx,
    "vllm": _served(
        "vllm serve {model} --enable-prompt-embeds",
        [
            "",
            "# Offline, rows of several prompts in one batch:",
            "from vllm import LLM, SamplingParams",
            "model = LLM(client.model, enable_prompt_embeds=True)",
            'rows = [{"prompt_embeds": client.row(name, FIELDS)} for name in client.names]',
            "print(model.generate(rows, SamplingParams(temperature=0, max_tokens=8)))",
        ],
    ),
    "sglang": _served(
        "python -m sglang.launch_server --model-path {model} --disable-radix-cache", []
    ),
}
