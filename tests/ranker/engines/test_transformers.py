from __future__ import annotations

import math

import pytest
import torch

from ranker.engines import Sampling, load, transformers
from ranker.errors import BadModel, PromptTooLong
from ranker.policy.prompts import Prompt
from tests.ranker.engines.models import FAMILIES, family, tiny
from tests.ranker.factories import make_set, overlap_sets


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny(tmp_path_factory.mktemp("model"))


def test_completions_come_back_in_order_with_their_counts(folder):
    engine = load(folder, batch=3)
    prompts = [Prompt("exclude", i % 2 == 0, given) for i, given in enumerate(overlap_sets(8, pool=3))]
    together = engine.complete(prompts, Sampling(12))
    assert engine.style == "compact"
    for prompt, completion in zip(prompts, together, strict=True):
        assert prompt.set.query in completion.prompt and completion.prompt.startswith("<bos>")
        assert completion.prompt_tokens == len(completion.prompt.split())
        assert 1 <= completion.completion_tokens <= 12
        assert completion.finish == ("stop" if completion.completion_tokens < 12 else completion.finish)


def test_batching_does_not_change_a_greedy_answer(folder):
    prompts = [Prompt("rank", True, given) for given in overlap_sets(6, pool=4)]
    one_by_one = [c.text for c in load(folder, batch=1).complete(prompts, Sampling(16))]
    assert [c.text for c in load(folder, batch=6).complete(prompts, Sampling(16))] == one_by_one


def test_sampling_follows_its_seed(folder):
    prompts = [Prompt("exclude", True, overlap_sets(1)[0])] * 4
    engine = load(folder)
    first, again, other = (
        engine.complete(prompts, Sampling(12, temperature=1.0, seed=seed)) for seed in (1, 1, 2)
    )
    assert [c.text for c in first] == [c.text for c in again] != [c.text for c in other]


def test_a_prompt_beyond_the_context_is_an_error_before_any_token(folder):
    with pytest.raises(PromptTooLong, match="context"):
        load(folder).complete(
            [Prompt("exclude", True, make_set([1] + [0] * 25, texts=["a1 a2 a3 a4 a5 a6"] * 26))],
            Sampling(12),
        )


def test_no_asks_no_completions(folder):
    assert load(folder).complete([], Sampling(4)) == []


@pytest.mark.parametrize(
    ("computes", "least", "dtype"),
    [(True, 0, torch.bfloat16), (False, 0, torch.float32), (True, 10**9, torch.float32)],
)
def test_weights_are_bfloat16_where_they_are_many_and_the_machine_computes_in_it(
    folder, monkeypatch, computes, least, dtype
):
    monkeypatch.setattr(transformers, "computes_bfloat16", lambda: computes)
    monkeypatch.setattr(transformers, "SMALL", least)
    assert transformers.load_model(folder).dtype == dtype


@pytest.mark.parametrize("name", FAMILIES)
def test_any_causal_lm_answers_and_scores(tmp_path, name):
    engine = load(family(tmp_path / name, name))
    assert engine.style == "chat" and engine.context in (1024, 2048)
    prompts = [Prompt("exclude", thinking, make_set([1, 0])) for thinking in (False, True)]
    budget = Sampling(80, constrained=True)
    cached = load(tmp_path / name, cache=8)
    for _ in range(2):  # the second time from the cache, where the model's layers allow for one
        texts = [[one.text for one in each.complete(prompts, budget)] for each in (engine, cached)]
        assert texts[0] == texts[1] and all(texts[0])
    if name == "mamba":
        with pytest.raises(BadModel, match="keys and values"):
            engine.score(prompts[:1], budget)
    else:
        scores = [[one.scores for one in each.score(prompts, budget)] for each in (engine, cached)]
        for one, other in zip(*scores, strict=True):
            assert sum(map(math.exp, one)) == pytest.approx(1) and one == pytest.approx(other, abs=1e-4)
