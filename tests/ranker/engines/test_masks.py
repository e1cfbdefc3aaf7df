"""Constrained decoding with real models: untrained ones babble, and yet never give an invalid answer."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines import Sampling, load
from ranker.engines.transformers import TransformersEngine
from ranker.errors import BadConfig, BadModel
from ranker.policy.parsing import parse
from ranker.policy.prompts import MODES, Prompt
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from tests.ranker.engines.models import bytewise, tiny
from tests.ranker.factories import make_set, overlap_sets

KINDS = {"compact": tiny, "chat": bytewise}


@cache
def engine(kind: str, seed: int) -> TransformersEngine:
    return load(KINDS[kind](Path(mkdtemp()), seed=seed), batch=4)  # type: ignore[return-value]


def valid(prompt: Prompt, completion) -> bool:
    return parse(
        completion.text, prompt.set.labels, prompt.mode, prompt.thinking, completion.finish == "length"
    ).valid


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from(MODES), st.booleans(), st.integers(2, 6)), min_size=1, max_size=6),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.integers(60, 88),  # the longest prompt has 39 tokens, the smaller model a context of 128
)
def test_an_untrained_model_never_gives_an_invalid_answer_when_constrained(
    kind, seed, asked, temperature, limit
):
    prompts = [
        Prompt(mode, thinking, overlap_sets(1, pool=n, seed=i)[0])
        for i, (mode, thinking, n) in enumerate(asked)
    ]
    done = engine(kind, seed).complete(prompts, Sampling(limit, temperature, seed, constrained=True))
    for prompt, completion in zip(prompts, done, strict=True):
        assert valid(prompt, completion), completion.text
        assert (
            completion.constrained and completion.finish == "stop" and completion.completion_tokens <= limit
        )


@pytest.mark.parametrize("kind", KINDS)
def test_unconstrained_their_answers_are_invalid_and_counted(kind):
    sets = overlap_sets(4, pool=4)
    for name in ("iterative", "direct"):
        loose = strategy(name)(sets, engine(kind, 0), thinking=True, sampling=Sampling(60))
        tight = strategy(name)(sets, engine(kind, 0), thinking=True, sampling=Sampling(60, constrained=True))
        assert not any(step.valid for episode in loose for step in episode.steps)
        assert all(step.valid for episode in tight for step in episode.steps)
        assert [len(e.steps) for e in loose] == [len(e.steps) for e in tight]


def test_reasoning_goes_up_to_the_limit_and_no_further():
    """A babbling model would be cut: its last tokens are the end of the reasoning and the answer."""
    prompt = Prompt("exclude", True, overlap_sets(1, pool=4)[0])
    lengths = [
        engine("compact", 0).complete([prompt], Sampling(limit, constrained=True))[0].completion_tokens
        for limit in (8, 20, 40)
    ]
    assert lengths[0] == 8 and lengths == sorted(lengths)


def test_a_valid_answer_is_not_changed_by_the_constraint():
    """Constrained to what it would have written anyway, a model writes the same: masks change no order
    among what is allowed.
    """
    model = engine("compact", 1)
    prompts = [Prompt("exclude", False, given) for given in overlap_sets(6, pool=4)]
    run_cached = model.complete(prompts, Sampling(8, constrained=True))
    assert [c.text for c in model.complete(prompts, Sampling(12, constrained=True))] == [
        c.text for c in run_cached
    ]
    assert len({c.text for c in run_cached}) > 1, "it has a choice"


def test_generation_ends_with_the_answers_where_the_generation_config_names_no_end(monkeypatch):
    """It ran on to the limit, for nothing, and its rows were cut at the tokenizer's end afterwards."""
    model = TransformersEngine(bytewise(Path(mkdtemp())), batch=4)
    model.model.generation_config.eos_token_id = None
    passes, forward = [], model.model.forward
    monkeypatch.setattr(
        model.model, "forward", lambda *args, **kwargs: (passes.append(1), forward(*args, **kwargs))[1]
    )
    done = model.complete(
        [Prompt("exclude", False, given) for given in overlap_sets(3, pool=4)], Sampling(90, constrained=True)
    )
    assert len(passes) == max(one.completion_tokens for one in done) < 40


def test_batching_does_not_change_a_constrained_answer():
    prompts = [
        Prompt("rank" if i % 2 else "exclude", i % 3 > 0, overlap_sets(1, pool=2 + i % 4, seed=i)[0])
        for i in range(7)
    ]
    model, sampling = engine("compact", 2), Sampling(30, constrained=True)
    assert [c.text for c in model.complete(prompts, sampling)] == [
        model.complete([prompt], sampling)[0].text for prompt in prompts
    ]


def test_a_limit_that_no_answer_fits_and_a_label_that_is_no_token():
    with pytest.raises(BadConfig, match="fit into the limit"):
        engine("compact", 0).complete(
            [Prompt("rank", False, overlap_sets(1, pool=6)[0])], Sampling(6, constrained=True)
        )
    with pytest.raises(BadModel, match="' I'"):
        engine("compact", 0).complete(
            [Prompt("exclude", False, make_set([1] + [0] * 8))], Sampling(20, constrained=True)
        )


def test_episodes_and_steps_say_that_decoding_was_constrained():
    sets = overlap_sets(2, pool=3)
    by_id = {given.set_id: given for given in sets}
    for constrained in (True, False):
        ranked = strategy("iterative")(
            sets, engine("compact", 0), thinking=False, sampling=Sampling(20, constrained=constrained)
        )
        for frame in judged(ranked, by_id, Origin("evaluate", "m", "rl", 0)).values():
            assert frame["constrained"].to_list() == [constrained] * frame.height
