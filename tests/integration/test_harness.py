"""EleutherAI's harness behind a soft prompt, against our own scoring and against transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

pytest.importorskip("lm_eval", reason="not installed: pip install 'promptport[harness]'")
pytestmark = pytest.mark.slow

from lm_eval.api.instance import Instance  # noqa: E402

from promptport.backbone import Backbone  # noqa: E402
from promptport.errors import PromptPortError  # noqa: E402
from promptport.evaluation import evaluate  # noqa: E402
from promptport.serving.harness import PromptLM  # noqa: E402
from promptport.storage import save_prompt  # noqa: E402
from promptport.tasks import open_task  # noqa: E402
from promptport.tuning.baselines import random_prompt  # noqa: E402

TEXTS = ("the old river", "a good film and a bad story of the house", "It was")


def asked(kind: str, *arguments) -> list[Instance]:
    return [Instance(kind, {}, own, i) for i, own in enumerate(arguments)]


@pytest.fixture(params=["gpt2", "llama"])
def model(request, backbone) -> tuple[Backbone, PromptLM, torch.Tensor]:
    own = backbone(request.param)
    prompt = random_prompt(own, 4, 1)
    prompt = replace(prompt, vectors=3 * prompt.vectors)
    return own, PromptLM.of(own, prompt), prompt.vectors


def logits_of(own: Backbone, vectors: torch.Tensor, ids: list[int]) -> torch.Tensor:
    """Of transformers itself, virtual tokens in front of all: (T, V) behind them."""
    rows = torch.cat([vectors, own.embed(torch.tensor(ids))])[None]
    with torch.no_grad():
        logits = own.model(inputs_embeds=rows).logits[0, len(vectors) :]
    # Rows of the head beyond the tokenizer's tokens are untrained: they are left out everywhere.
    return logits[:, : len(own.tokenizer)].log_softmax(-1)


def test_log_likelihoods_are_those_of_transformers_whatever_the_batch(model) -> None:
    own, lm, vectors = model
    pairs = [(text, " " + other) for text in TEXTS for other in ("great film", "house")]
    got = lm.loglikelihood(asked("loglikelihood", *pairs), disable_tqdm=True)
    for (context, continuation), (score, greedy) in zip(pairs, got, strict=True):
        whole, start = lm.tok_encode(context + continuation), len(lm.tok_encode(context))
        told = logits_of(own, vectors, whole)
        wanted = sum(float(told[i - 1, whole[i]]) for i in range(start, len(whole)))
        assert score == pytest.approx(wanted, abs=2e-3)
        best = [int(told[i - 1].argmax()) for i in range(start, len(whole))]
        assert greedy == (best == whole[start:])


def test_rolling_log_likelihoods_read_every_token_once(model) -> None:
    own, lm, vectors = model
    (score,) = lm.loglikelihood_rolling(asked("loglikelihood_rolling", (TEXTS[1],)))
    ids = [lm.prefix_token_id, *lm.tok_encode(TEXTS[1], add_special_tokens=False)]
    told = logits_of(own, vectors, ids)
    wanted = sum(float(told[i, ids[i + 1]]) for i in range(len(ids) - 1))
    assert score == pytest.approx(wanted, abs=5e-3)


def test_greedy_texts_are_those_of_transformers(model) -> None:
    own, lm, vectors = model
    settings = {"max_gen_toks": 6, "until": ["\n\n"], "do_sample": False}
    got = lm.generate_until(asked("generate_until", *((text, settings) for text in TEXTS)))
    for text, said in zip(TEXTS, got, strict=True):
        ids = lm.tok_encode(text)
        for _ in range(6):
            ids.append(int(logits_of(own, vectors, ids)[-1].argmax()))
            if ids[-1] in {lm.eot_token_id, own.special.end}:
                break
        new = ids[len(lm.tok_encode(text)) :]
        assert said == own.tokenizer.decode(new, skip_special_tokens=True)


def test_without_a_prompt_it_is_the_bare_model(backbone) -> None:
    own = backbone("gpt2")
    (got,) = PromptLM.of(own, None).loglikelihood(asked("loglikelihood", ("It was", " great")))
    none = torch.zeros(0, own.width)
    lm = PromptLM.of(own, None)
    ids, start = lm.tok_encode("It was great"), len(lm.tok_encode("It was"))
    told = logits_of(own, none, ids)
    wanted = sum(float(told[i - 1, ids[i]]) for i in range(start, len(ids)))
    assert got[0] == pytest.approx(wanted, abs=2e-3)


def test_what_it_cannot_do_is_one_line(backbone) -> None:
    with pytest.raises(PromptPortError, match="expected a causal model, got a masked one"):
        PromptLM.of(backbone("bert"), None)
    with pytest.raises(PromptPortError, match="got neither"):
        PromptLM()


def test_a_task_on_the_command_line_scores_as_eval_does(tmp_path) -> None:
    task = open_task("sentiment")
    task = task.with_template("{soft} {text} It was {answer} .")
    task = task.with_rows(test=task.load("test")[:40])
    own = Backbone.load("nano-gpt2", device="cpu", dtype="float32")
    prompt = random_prompt(own, 3, 0).with_provenance(task=task.name, template=task.template.text)
    save_prompt(prompt, tmp_path / "prompt")
    words = {label: words[0] for label, words in task.labels.items()}
    rows = [
        {"text": row.fields["text"], "gold": list(words).index(row.answer)}
        for row in task.load("test")
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "films.yaml").write_text(
        "task: films\n"
        "dataset_path: json\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'rows.jsonl'}}}}}\n"
        "test_split: test\n"
        "output_type: multiple_choice\n"
        "doc_to_text: '{{text}} It was'\n"
        "doc_to_target: gold\n"
        f"doc_to_choice: {json.dumps(list(words.values()))}\n"
        "metric_list: [{metric: acc}]\n"
    )
    command = "from promptport.serving.harness import main; main()"
    arguments = ["--model", "promptport", "--model_args"]
    arguments += [
        f"prompt={tmp_path / 'prompt'},dtype=float32",
        "--device",
        "cpu",
        "--tasks",
        "films",
    ]
    arguments += ["--include_path", str(tmp_path), "--output_path", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", command, "run", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (file,) = (tmp_path / "out").rglob("results_*.json")
    got = json.loads(file.read_text())["results"]["films"]["acc,none"]
    single = replace(task, labels={label: (word,) for label, word in words.items()})
    assert got == pytest.approx(evaluate(own, single, prompt).score.value, abs=1e-9)
