"""Sharing keys and values gives the logits and gradients of whole rows, on every architecture."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from tests.models import ARCHITECTURES, save_model, unigram

from promptport.backbone import Backbone
from promptport.backbone.causal_states import CausalStates
from promptport.backbone.encoded import EncodedRow
from promptport.backbone.kept_texts import KeptTexts
from promptport.backbone.sharing import remainder, share

CAUSAL = sorted(name for name, (kind, *_) in ARCHITECTURES.items() if kind == "causal")
LENGTH = 3


@pytest.fixture(scope="module", params=CAUSAL)
def causal(request, tmp_path_factory):
    folder = save_model(request.param, tmp_path_factory.mktemp(request.param) / "model")
    return Backbone.load(str(folder), dtype="float32")


def rows_of(backbone, *, behind: bool, answers: int = 1):
    """Rows of different lengths, each with `answers` answers of two tokens."""
    texts = [
        "Paris is the capital of France",
        "it was a great film and a good story",
        "the dog and the cat of the house",
    ]
    tail = backbone.tokenizer(" It was", add_special_tokens=False)["input_ids"]
    made = []
    for text in texts:
        ids = backbone.tokenizer(text, add_special_tokens=False)["input_ids"]
        soft = [0] * LENGTH
        line = [*ids, *soft, *tail] if behind else [*soft, *ids, *tail]
        first = len(ids) if behind else 0
        for answer in range(answers):
            whole = (*line, 5 + answer)
            places = (len(line) - 1, len(line))
            own = tuple(range(first, first + LENGTH))
            made.append(EncodedRow(tuple(whole), own, places, (5 + answer, 7)))
    return made


def logits_and_gradient(ask, rows, vectors, starts):
    leaf = vectors.clone().requires_grad_(True)
    logits = ask(rows, leaf, starts)[..., :20]
    weights = torch.linspace(-1, 1, logits.numel()).reshape(logits.shape)
    (logits * weights).sum().backward()
    return logits.detach(), leaf.grad


@pytest.mark.long
@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("answers", [1, 3])
@pytest.mark.parametrize("keep", [True, False])
def test_logits_and_gradients_are_those_of_whole_rows(causal, behind, answers, keep):
    rows = rows_of(causal, behind=behind, answers=answers)
    generator = torch.Generator().manual_seed(3)
    vectors = 3 * torch.randn(2 * LENGTH, causal.width, generator=generator)
    both = [*rows, *rows]
    starts = [0] * len(rows) + [LENGTH] * len(rows)
    wanted = logits_and_gradient(causal.plain_logits, both, vectors, starts)
    if keep:
        with causal.keeping_texts():
            first = logits_and_gradient(causal.answer_logits, both, vectors, starts)
            again = logits_and_gradient(causal.answer_logits, both, vectors, starts)
        torch.testing.assert_close(again, first, rtol=0, atol=0)
    else:
        first = logits_and_gradient(causal.answer_logits, both, vectors, starts)
    assert causal.states.works
    assert share(both, starts, keep_texts=keep) is not None
    for made, right in zip(first, wanted, strict=True):
        torch.testing.assert_close(made, right, rtol=2e-4, atol=2e-4 * float(right.abs().max()))


def test_a_long_text_beside_a_long_rest(causal):
    """Padding behind the rest of the one would lie beyond the last of 64 positions."""
    rows = []
    for before, after in ((50, 2), (3, 50)):
        ids = (*range(5, 5 + before), *[0] * LENGTH, *range(6, 6 + after))
        soft = tuple(range(before, before + LENGTH))
        rows.append(EncodedRow(ids, soft, (len(ids) - 1,), (5,)))
    vectors = torch.randn(LENGTH, causal.width, generator=torch.Generator().manual_seed(3))
    wanted = causal.plain_logits(rows, vectors, [0, 0])[..., :20]
    with causal.keeping_texts():
        made = causal.answer_logits(rows, vectors, [0, 0])[..., :20]
    torch.testing.assert_close(made, wanted, rtol=2e-4, atol=2e-4 * float(wanted.abs().max()))


def test_a_text_is_passed_once(causal, monkeypatch):
    rows = rows_of(causal, behind=True)
    vectors = torch.randn(LENGTH, causal.width)
    passed = []
    real = CausalStates._pass

    def counting(self, rows, vectors, starts, past, *, keep=False):
        passed.append(sum(len(row.ids) for row in rows))
        return real(self, rows, vectors, starts, past, keep=keep)

    with causal.keeping_texts():
        causal.answer_logits(rows, vectors, [0] * 3)  # tries whether sharing works
    monkeypatch.setattr(CausalStates, "_pass", counting)
    behind = sum(len(row.ids) - row.soft[0] for row in rows)
    with causal.keeping_texts():
        causal.answer_logits(rows, vectors, [0] * 3)
        assert sum(passed) == sum(len(row.ids) for row in rows)
        passed.clear()
        causal.answer_logits(rows, vectors, [0] * 3)
    assert passed == [behind]


def test_a_prompt_in_front_is_passed_once_for_all_its_rows(causal):
    rows = rows_of(causal, behind=False)
    shared = share(rows * 2, [0] * 3 + [LENGTH] * 3, keep_texts=False)
    assert shared is not None
    assert len(shared.prefixes) == 2
    assert set(shared.cuts) == {LENGTH}
    assert shared.owners == [0, 0, 0, 1, 1, 1]


def test_answers_of_several_tokens_share_their_question(causal):
    rows = rows_of(causal, behind=True, answers=3)
    shared = share(rows, [0] * 9, keep_texts=False)
    assert shared is not None
    assert len(shared.prefixes) == 3
    rests = [remainder(row, cut).ids for row, cut in zip(rows, shared.cuts, strict=True)]
    assert rests == [row.ids[-2:] for row in rows]


def test_rows_that_have_nothing_in_common_are_not_cut():
    rows = [EncodedRow((i, i + 1, i + 2, i + 3), (), (3,), (1,)) for i in range(5)]
    assert share(rows, [0] * 5, keep_texts=False) is None
    assert share(rows, [0] * 5, keep_texts=True) is None


def test_a_model_without_keys_and_values_is_asked_whole_rows(causal, monkeypatch):
    def refuse(*_args, **_options):
        raise TypeError("no cache")

    rows = rows_of(causal, behind=True)
    vectors = torch.randn(LENGTH, causal.width)
    wanted = causal.plain_logits(rows, vectors, [0] * 3)[..., : len(causal.tokenizer)]
    monkeypatch.setattr(CausalStates, "_pass", refuse)
    monkeypatch.setitem(causal.__dict__, "states", CausalStates(causal))
    with causal.keeping_texts():
        torch.testing.assert_close(causal.answer_logits(rows, vectors, [0] * 3), wanted)


def test_kept_texts_go_to_a_file_beyond_the_bound_and_come_back():
    kept = KeptTexts(memory=1000, disk=2000)
    values = {(i,): torch.full((1, 2, 1, 5, 10), float(i)) for i in range(8)}  # 400 bytes each
    for ids, states in values.items():
        kept.put(ids, states)
    there = [ids for ids in values if ids in kept]
    assert len(there) == 7 == len(kept)  # two in memory, five in the file, one forgotten
    for ids in there:
        assert torch.equal(kept.get(ids, torch.device("cpu")), values[ids])
    kept.close()
    assert len(kept) == 0
    with pytest.raises(KeyError):
        kept.get((0,), torch.device("cpu"))


WINDOW = 4  # tokens, fewer than the texts have


def _windowed(name, words):
    shape = {
        "vocab_size": words,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "sliding_window": WINDOW,
    }
    if name == "mistral":
        return hf.MistralForCausalLM(hf.MistralConfig(**shape))
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    config = hf.Gemma3TextConfig(**shape, head_dim=8, layer_types=kinds, pad_token_id=0)
    return hf.Gemma3ForCausalLM(config)


@pytest.mark.parametrize("name", ["mistral", "gemma3"])
@pytest.mark.parametrize("behind", [True, False])
def test_windows_of_attention_are_those_of_whole_rows(name, behind):
    tokenizer = unigram("llama")
    torch.manual_seed(0)
    model = _windowed(name, len(tokenizer) + 3).eval()
    model.get_input_embeddings().weight.data.mul_(10)
    backbone = Backbone(model, tokenizer, name=name, kind="causal")
    rows = rows_of(backbone, behind=behind)
    vectors = 3 * torch.randn(LENGTH, backbone.width)
    with torch.no_grad():
        wanted = backbone.plain_logits(rows, vectors, [0] * 3)[..., : len(tokenizer)]
        with backbone.keeping_texts():
            shared = backbone.answer_logits(rows, vectors, [0] * 3)
    assert backbone.states.works
    tolerance = 1e-5 * float(wanted.abs().max())
    torch.testing.assert_close(shared, wanted, rtol=1e-5, atol=tolerance)
