"""What backbones write, against transformers' own generate and against each row alone."""

from __future__ import annotations

import pytest
import torch
import transformers as hf
from tests.models import ARCHITECTURES, WIDTH, byte_bpe, unigram

from promptport.backbone import Backbone, generation
from promptport.backbone.causal_states import CausalStates
from promptport.backbone.generation import draw_tokens, end_tokens
from promptport.backbone.next_tokens import CausalSteps
from promptport.backbone.sharing import share
from promptport.errors import BackboneError, PromptPortError
from promptport.objective import Objective
from promptport.tasks import MemorySource, Row, Task, Template, WritingConfig

CAUSAL = [name for name, (kind, _, _) in ARCHITECTURES.items() if kind == "causal"]
TEXTS = (
    "the old river and the green hill",
    "a dog",
    "a good film and a bad story of the house",
    "the cat",
)
SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


def _other(name: str, seed: int = 0) -> Backbone:
    """Backbones with windows, biases and states."""
    tokenizer = unigram("llama") if name == "gemma3" else byte_bpe(frame=False)
    v = len(tokenizer)
    torch.manual_seed(seed)
    model: hf.PreTrainedModel
    if name == "gemma3":
        model = hf.Gemma3ForCausalLM(
            hf.Gemma3TextConfig(
                vocab_size=v,
                hidden_size=WIDTH,
                num_key_value_heads=1,
                head_dim=16,
                sliding_window=6,
                layer_types=["sliding_attention", "full_attention"],
                max_position_embeddings=128,
                bos_token_id=1,
                eos_token_id=[2, 5],
                pad_token_id=0,
                **SIZES,
            )
        )
    elif name == "bloom":
        model = hf.BloomForCausalLM(
            hf.BloomConfig(vocab_size=v, hidden_size=WIDTH, n_layer=2, n_head=2, eos_token_id=0)
        )
    else:
        model = hf.MambaForCausalLM(
            hf.MambaConfig(
                vocab_size=v, hidden_size=WIDTH, state_size=4, num_hidden_layers=2, eos_token_id=0
            )
        )
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(10)
    return Backbone(model.eval(), tokenizer, name=name, kind="causal")


@pytest.fixture
def lively(model_folder):
    """Backbones by name with a head of their own: a tied one repeats the last token for ever."""

    def get(name: str) -> Backbone:
        known = name in ARCHITECTURES
        backbone = Backbone.load(model_folder(name)) if known else _other(name)
        old = backbone.model.get_output_embeddings()
        head = torch.nn.Linear(old.in_features, old.out_features, bias=False)
        torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(0))
        backbone.model.set_output_embeddings(head.requires_grad_(False))
        return backbone

    return get


@pytest.fixture(params=[*CAUSAL, "gemma3", "bloom"])
def writer(request, lively) -> Backbone:
    return lively(request.param)


def _rows(model: Backbone, texts=TEXTS, template="{soft} Now say : {text} {answer}", length=3):
    source = MemorySource({"test": tuple(Row({"text": text}, "sad") for text in texts)})
    task = Task("t", "text2text", Template.parse(template), "exact-match", source=source)
    objective = Objective(model, task, length=length)
    return [q.inputs[0] for q in objective.prepare(task.load("test")).questions]


def _vectors(model: Backbone, number=6, seed=0):
    random = torch.randn(number, model.width, generator=torch.Generator().manual_seed(seed))
    return random * float(model.embed(torch.arange(3)[None]).detach().std())


def _theirs(model: Backbone, row, vectors, new) -> str:
    """transformers' greedy answer to one causal row."""
    end = row.scored[0] + 1
    embeds = model.embed(torch.tensor([row.ids[:end]])).clone()
    for j, place in enumerate(row.soft):
        embeds[0, place] = vectors[j]
    out = model.model.generate(
        inputs_embeds=embeds,
        attention_mask=torch.ones(1, end, dtype=torch.long),
        do_sample=False,
        max_new_tokens=new,
        pad_token_id=model.special.pad,
        suppress_tokens=list(range(len(model.tokenizer), model.model.config.vocab_size)) or None,
    )
    return str(model.tokenizer.decode(out[0], skip_special_tokens=True))


def test_greedy_answers_are_those_of_transformers(writer) -> None:
    """In one batch, behind two prompts, with a shared beginning."""
    rows = _rows(writer)
    vectors = _vectors(writer)
    starts = [0, 3, 3, 0]
    said = writer.generate(rows, vectors, starts, WritingConfig(8))
    theirs = [_theirs(writer, r, vectors[s:], 8) for r, s in zip(rows, starts, strict=True)]
    assert said == theirs
    assert len(set(said)) >= 3


def test_a_shared_beginning_changes_no_logits(writer, monkeypatch) -> None:
    cut = [_cut(row) for row in _rows(writer)]
    vectors, starts = _vectors(writer), [0, 3, 3, 0]
    shared = share(cut, starts, keep_texts=False)
    assert shared is not None
    assert min(shared.cuts) >= 6, "three virtual tokens and the fixed words"
    with torch.no_grad():
        quick = CausalSteps(writer, cut, vectors, starts)
        monkeypatch.setattr(CausalStates, "begin", lambda *_: None)  # whole rows, step by step
        plain = CausalSteps(writer, cut, vectors, starts)
        for number in range(3):
            torch.testing.assert_close(quick.logits, plain.logits, rtol=1e-4, atol=1e-4)
            ids = plain.logits.argmax(-1)
            if number == 1:  # two rows leave
                plain.keep(torch.tensor([0, 2]))
                quick.keep(torch.tensor([0, 2]))
                ids = ids[[0, 2]]
            plain.step(ids)
            quick.step(ids)


def test_a_model_with_states_reads_everything_anew(lively) -> None:
    model = lively("mamba")
    assert not model.states.works
    rows = _rows(model, ["a dog"])
    vectors = _vectors(model)
    said = model.generate(rows, vectors, [0], WritingConfig(6))
    assert said == [_theirs(model, rows[0], vectors, 6)]


@pytest.mark.parametrize("name", ["t5", "bart", "pegasus"])
def test_a_decoder_goes_on_from_its_opening(lively, name) -> None:
    model = lively(name)
    rows, vectors, starts = _rows(model), _vectors(model), [0, 3, 3, 0]
    said = model.generate(rows, vectors, starts, WritingConfig(7))
    for text, row, start in zip(said, rows, starts, strict=True):
        embeds = model.embed(torch.tensor([row.ids])).clone()
        for j, place in enumerate(row.soft):
            embeds[0, place] = vectors[start + j]
        ids = list(row.decoder_ids[: row.scored[0] + 1])
        opening = len(ids)
        for _ in range(7):
            with torch.no_grad():
                logits = model.model(
                    inputs_embeds=embeds, decoder_input_ids=torch.tensor([ids])
                ).logits[0, -1, : len(model.tokenizer)]
            if int(logits.argmax()) in end_tokens(model):
                break
            ids.append(int(logits.argmax()))
        assert text == model.tokenizer.decode(ids[opening:], skip_special_tokens=True)


def test_all_ends_of_a_model_end_an_answer(lively) -> None:
    model = lively("gemma3")
    assert end_tokens(model) == {2, 5}
    rows, vectors = _rows(model, ["a dog"]), _vectors(model)
    with torch.no_grad():
        steps = CausalSteps(model, [_cut(rows[0])], vectors, [0])
    first = int(steps.logits.argmax())
    model.model.generation_config.eos_token_id = [2, first]
    assert model.generate(rows, vectors, [0], WritingConfig(6)) == [""]


def _cut(row):
    from promptport.backbone.generation import without_answer

    return without_answer(row)


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_drawn_answers_depend_on_text_and_seed_alone(lively, name) -> None:
    model = lively(name)
    rows, vectors = _rows(model), _vectors(model)
    writing = WritingConfig(8, temperature=1.5, top_p=0.95, seed=1)
    together = model.generate(rows, vectors, [0] * 4, writing)
    assert together == [model.generate([r], vectors, [0], writing)[0] for r in rows]
    backwards = model.generate(rows[::-1], vectors, [0] * 4, writing)
    assert together == backwards[::-1]
    other = WritingConfig(8, temperature=1.5, top_p=0.95, seed=2)
    assert set(together).isdisjoint(model.generate(rows, vectors, [0] * 4, other))
    cold = WritingConfig(8, temperature=1e-4, seed=2)
    assert model.generate(rows, vectors, [0] * 4, cold) == model.generate(
        rows, vectors, [0] * 4, WritingConfig(8)
    )


def test_a_tiny_temperature_is_greedy_and_leaves_its_neighbours_alone(lively) -> None:
    model = lively("gpt2")
    rows, vectors = _rows(model), _vectors(model)
    greedy = model.generate(rows, vectors, [0] * 4, WritingConfig(8))
    drawn = WritingConfig(8, temperature=1.5, seed=1)
    mixed = [WritingConfig(8, temperature=1e-40), WritingConfig(8), drawn, drawn]
    alone = model.generate(rows[2:], vectors, [0] * 2, drawn)
    assert model.generate(rows, vectors, [0] * 4, mixed) == [*greedy[:2], *alone]


def test_tokens_are_drawn_with_their_probabilities() -> None:
    shares = torch.tensor([0.1, 0.5, 0.15, 0.25])
    logits = shares.log().expand(4, 4)
    chances = torch.tensor([0.0, 0.49, 0.51, 0.999])
    assert draw_tokens(logits, chances, 1.0).tolist() == [1, 1, 3, 0]
    # 0.5 + 0.25 reach 0.7: two candidates, two thirds and one third
    assert draw_tokens(logits, chances, 0.7).tolist() == [1, 1, 1, 3]
    assert draw_tokens(logits, chances, 1e-9).tolist() == [1, 1, 1, 1]
    many = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    drawn = draw_tokens(shares.log().expand(20_000, 4), many, 1.0).bincount(minlength=4) / 20_000
    torch.testing.assert_close(drawn, shares, rtol=0, atol=0.01)


@pytest.mark.parametrize("top_p", [0.3, 0.9, 0.999, 1.0])
def test_few_candidates_or_all_give_the_same_tokens(monkeypatch, top_p) -> None:
    generator = torch.Generator().manual_seed(0)
    sharp = 5 * torch.randn(40, 500, generator=generator)
    flat = 0.01 * torch.randn(40, 500, generator=generator)
    alike = torch.randint(3, (40, 500), generator=generator).float()  # many equal ones
    logits = torch.cat([sharp, flat, alike])
    chances = torch.rand(120, generator=generator, dtype=torch.float64)
    monkeypatch.setattr(generation, "_CANDIDATES", 10_000)
    whole = draw_tokens(logits, chances, top_p)
    sorted_rows = []
    plain = generation._sorted
    monkeypatch.setattr(
        generation, "_sorted", lambda a, b: sorted_rows.append(a.shape) or plain(a, b)
    )
    monkeypatch.setattr(generation, "_CANDIDATES", 50)
    assert draw_tokens(logits, chances, top_p).equal(whole)
    assert draw_tokens(logits[7:9], chances[7:9], top_p).equal(whole[7:9])  # whatever the batch
    if top_p < 0.9:
        assert (120, 50) in sorted_rows
        assert (120, 500) not in sorted_rows


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_stop_texts_end_an_answer_and_are_cut_off(lively, name) -> None:
    model = lively(name)
    rows, vectors = _rows(model), _vectors(model)
    whole = model.generate(rows, vectors, [0] * 4, WritingConfig(10))
    stop = (whole[0][3:5], whole[1][4:6])
    assert all(text in whole[0] for text in stop[:1])
    cut = model.generate(rows, vectors, [0] * 4, WritingConfig(10, stop=stop))
    for text, short in zip(whole, cut, strict=True):
        ends = [text.find(s) for s in stop if s in text]
        assert short == (text[: min(ends)] if ends else text)


def test_rows_are_written_in_batches_of_bounded_size(lively, monkeypatch) -> None:
    from promptport.backbone import generation

    model = lively("gpt2")
    rows, vectors = _rows(model), _vectors(model)
    whole = model.generate(rows, vectors, [0, 3, 0, 3], WritingConfig(6))
    lengths = sorted((len(row.ids) for row in rows), reverse=True)
    monkeypatch.setattr(generation, "_BATCH_TOKENS", 2 * (lengths[1] + 6))
    assert [len(b) for b in generation.row_batches(rows, [6] * 4)] == [1, 2, 1]
    assert model.generate(rows, vectors, [0, 3, 0, 3], WritingConfig(6)) == whole


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: expected 1 or more, got 0"),
        ({"temperature": -0.1}, "temperature: expected 0 or more, got -0.1"),
        ({"temperature": float("nan")}, "temperature: expected 0 or more, got nan"),
        ({"top_p": 0.0}, "top_p: expected above 0, at most 1, got 0.0"),
        ({"top_p": 1.1}, "top_p: expected above 0, at most 1, got 1.1"),
        ({"stop": ("",)}, "stop: expected texts of one character or more"),
        ({"seed": -1}, "seed: expected a number from 0"),
    ],
)
def test_settings_out_of_range_are_refused(value, line) -> None:
    with pytest.raises(PromptPortError, match=line):
        WritingConfig(**value)


def test_a_masked_backbone_does_not_write(backbone) -> None:
    with pytest.raises(BackboneError, match="expected a causal or seq2seq backbone"):
        backbone("bert").generate([], torch.zeros(1, WIDTH), [])
