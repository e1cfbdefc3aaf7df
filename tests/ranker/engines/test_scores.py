"""Labels' scores and the prefix cache, against plain forward passes of the same models."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch

from ranker.engines import Sampling, load
from ranker.engines.transformers import TransformersEngine
from ranker.policy.prompts import Prompt
from tests.ranker.engines.models import bytewise, tiny
from tests.ranker.factories import make_set, overlap_sets

KINDS = {"compact": tiny, "chat": bytewise}
LONG = Sampling(60)


@cache
def folder(kind: str) -> Path:
    return KINDS[kind](Path(mkdtemp()), context=1024)


@cache
def engine(kind: str, mebibytes: int = 0) -> TransformersEngine:
    return load(folder(kind), batch=4, cache=mebibytes)  # type: ignore[return-value]


def plain(model: TransformersEngine, prompt: Prompt, before: str = "") -> list[float]:
    """By teacher forcing, one label at a time, unbatched: log P(label | prompt, before, <answer>) over the
    pool.
    """
    asked = model._renderer.prompts([prompt], 900)[1][0]
    values = []
    for label in prompt.set.labels:
        head = model.tokenizer(before + "<answer>", add_special_tokens=False)["input_ids"]
        whole = model.tokenizer(f"{before}<answer> {label}", add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            logits = model.model(input_ids=torch.tensor([asked + whole])).logits[0].float().log_softmax(-1)
        values.append(sum(float(logits[len(asked) + i - 1, whole[i]]) for i in range(len(head), len(whole))))
    return torch.tensor(values).log_softmax(0).tolist()


@pytest.mark.parametrize("mebibytes", [0, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_model_s_likelihoods_of_each_label(kind, mebibytes):
    prompts = [
        Prompt("rank" if i % 2 else "exclude", False, given)
        for i, given in enumerate(overlap_sets(6, pool=5))
    ]
    prompts.append(
        Prompt("exclude", False, make_set([1] + [0] * (7 if kind == "compact" else 29), set_id="long"))
    )
    model = engine(kind, mebibytes)
    for prompt, found in zip(prompts, model.score(prompts, LONG), strict=True):
        assert found.scores == pytest.approx(plain(model, prompt), abs=1e-3)
        assert sum(torch.tensor(found.scores).exp().tolist()) == pytest.approx(1)
        assert found.completion.text == "" and found.completion.completion_tokens == 0
    if kind == "chat":
        assert {len(model._label(label)) for label in prompts[-1].set.labels} == {
            1,
            2,
        }, "labels of one token and of two"


@pytest.mark.parametrize("kind", KINDS)
def test_reasoning_that_is_asked_for_comes_before_the_scores(kind):
    prompts = [Prompt("exclude", i % 2 == 0, given) for i, given in enumerate(overlap_sets(5, pool=4))]
    model = engine(kind)
    for prompt, found in zip(prompts, model.score(prompts, LONG), strict=True):
        assert found.completion.prompt == model._renderer.prompts([prompt], 900)[0][0], (
            "what was asked is kept"
        )
        if not prompt.thinking:
            assert found.completion.text == ""
            continue
        assert (
            found.completion.text.startswith("<think>")
            and found.completion.text.endswith("</think>")
            and found.completion.constrained
        )
        assert 0 < found.completion.completion_tokens <= 60
        written = model.complete([prompt], Sampling(60, constrained=True))[0].text
        assert written.startswith(found.completion.text), "the same reasoning as in a written answer"
        label = prompt.set.labels[max(range(4), key=lambda i: found.scores[i])]
        if kind == "compact":
            assert written.endswith(f"<answer> {label} </answer>"), (
                "and the likeliest label is the one written"
            )
