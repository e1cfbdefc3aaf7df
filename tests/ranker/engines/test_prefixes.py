"""Keys and values of prompts that begin alike."""

from __future__ import annotations

import pytest

from ranker.engines import Sampling, load
from ranker.engines.transformers import TransformersEngine
from ranker.policy.prompts import Prompt, without
from tests.ranker.engines.test_scores import KINDS, engine, folder
from tests.ranker.factories import make_set, overlap_sets


def eliminated(model: TransformersEngine, asked: list[Prompt]) -> list[list[str]]:
    """Texts and cached tokens of a chain of prompts, each with the third candidate of the one before gone."""
    shown = []
    while len(asked[0].set) > 3:
        shown.append(
            [(c.text, c.cached_tokens, c.prompt_tokens) for c in model.complete(asked, Sampling(24))]
        )
        asked = [
            Prompt(prompt.mode, prompt.thinking, without(prompt.set, prompt.set.labels[2:3]))
            for prompt in asked
        ]
    return shown


@pytest.mark.parametrize("kind", KINDS)
def test_what_prompts_begin_alike_is_read_once_and_changes_nothing(kind):
    prompts = [Prompt("exclude", i % 2 == 0, given) for i, given in enumerate(overlap_sets(6, pool=7))]
    fresh, kept = (
        eliminated(engine(kind), prompts),
        eliminated(load(folder(kind), batch=4, cache=64), prompts),
    )
    assert [[text for text, *_ in row] for row in kept] == [[text for text, *_ in row] for row in fresh]
    assert all(cached == 0 for row in fresh for _, cached, _ in row) and all(
        cached == 0 for _, cached, _ in kept[0]
    )
    assert all(0.3 < cached / prompt < 1 for row in kept[1:] for _, cached, prompt in row)


def test_what_is_kept_is_bounded_and_the_longest_unused_goes_first():
    model = load(folder("chat"), batch=4, cache=1)
    prefixes = model._prefixes
    prompts = [Prompt("exclude", False, make_set([1] + [0] * 20, set_id=f"s{i}")) for i in range(12)]
    for prompt in prompts:
        model.complete([prompt], Sampling(2))
    assert prefixes is not None and 0 < prefixes._bytes <= 2**20
    kept = [key[0] for key in prefixes._kept]
    assert kept == [f"s{i}" for i in range(12 - len(kept), 12)] and 1 < len(kept) < 12
