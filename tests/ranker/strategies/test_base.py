"""What holds of every strategy: the ideal order from a perfect policy, as many calls as theory says, a
permutation whatever is said.
"""

from __future__ import annotations

from functools import cache
from math import ceil, log2
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines import Sampling, load
from ranker.engines.scripted import ScriptedEngine, ScriptedScorer
from ranker.strategies import strategy
from tests.ranker.engines.models import tiny
from tests.ranker.factories import adversary, make_set, oracle, overlap_sets
from tests.ranker.strategies.policies import ALL, SAMPLING, graded, perfect, sifts, weigh

NAMES = ("iterative", "direct")
SETS = (
    st.integers(2, 40)
    .flatmap(lambda n: st.permutations(range(n)))
    .map(lambda order: graded(len(order), order))
)


@pytest.mark.parametrize("thinking", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_perfect_policy_ranks_perfectly_and_a_perverse_one_in_reverse(name, thinking):
    sets = overlap_sets(20, pool=6)
    for answer, sign in ((oracle, -1), (adversary, 1)):
        for given_set, episode in zip(
            sets,
            strategy(name)(sets, ScriptedEngine(answer), thinking=thinking, sampling=SAMPLING),
            strict=True,
        ):
            grades = [sign * given_set.relevance[label] for label in episode.ranking]
            assert grades == sorted(grades) and episode.valid


def ideal(name: str, n: int) -> int:
    """How many of the first places a perfect scorer has to get right."""
    if not name.startswith("window"):
        return n
    way = strategy(name)
    return n if n <= way.size else way.size - way.step


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(ALL), SETS, st.booleans())
def test_with_a_perfect_scorer_every_strategy_gives_the_ideal_order(name, given_set, thinking):
    (episode,) = strategy(name)([given_set], perfect(), thinking=thinking, sampling=SAMPLING)
    best = sorted(given_set.labels, key=lambda label: -given_set.relevance[label])
    top = ideal(name, len(given_set))
    assert (
        list(episode.ranking[:top]) == best[:top]
        and sorted(episode.ranking) == sorted(best)
        and episode.valid
    )
    assert episode.strategy == str(strategy(name))


@settings(max_examples=80, deadline=None)
@given(SETS, st.integers(2, 6), st.integers(1, 6))
def test_calls_are_as_many_as_theory_says(given_set, size, few):
    n = len(given_set)

    def calls(name: str, thinking: bool = False) -> int:
        return len(strategy(name)([given_set], perfect(), thinking=thinking, sampling=SAMPLING)[0].steps)

    assert calls("iterative") == calls("iterative:shuffle=true") == n - 1
    assert (
        calls(f"iterative:by=scores,drop={few}")
        == calls(f"iterative:by=order,drop={few}")
        == ceil((n - 1) / few)
    )
    assert calls("iterative:by=scores,drop=half") == ceil(log2(n))
    assert n > 10 or calls("iterative:by=grades,drop=half", True) == ceil(log2(n)), "a grade is one digit"
    assert calls("iterative:by=grades,drop=half") == n - 1, "without reasoning there are no grades"
    assert calls(f"iterative:keep={few}") == max(n - few, 0)
    assert calls(f"survivors:keep={size}") == max(n - size, 0) + 1
    assert calls("direct") == calls("first-token") == 1
    assert calls(f"window:size={size},step=1") == max(n - size, 0) + 1
    assert calls("window:size=20,step=10") == max(ceil((n - 20) / 10), 0) + 1
    assert calls(f"consistency:shuffles={few}") == few
    assert calls("gate:margin=0", True) == calls("gate", False) == n - 1 and calls(
        "gate:margin=1", True
    ) == 2 * (n - 1)
    assert calls("setwise:top=3") <= sifts(n, 3, 3) and calls("setwise:by=exclude,children=2") <= sifts(
        n, 2, n
    )


@settings(max_examples=60, deadline=None)
@given(SETS, st.integers(1, 5))
def test_early_stop_gives_the_top_and_no_more(given_set, top):
    best = sorted(given_set.labels, key=lambda label: -given_set.relevance[label])[:top]
    (kept,) = strategy(f"iterative:keep={top}")([given_set], perfect(), thinking=False, sampling=SAMPLING)
    assert set(kept.ranking[:top]) == set(best) and list(kept.ranking[:top]) == [
        label for label in given_set.labels if label in best
    ], "as shown"
    (sorted_,) = strategy(f"setwise:top={top}")([given_set], perfect(), thinking=False, sampling=SAMPLING)
    assert list(sorted_.ranking[:top]) == best
    (passes,) = strategy(f"window:size=4,step=2,passes={ceil(top / 2)}")(
        [given_set], perfect(), thinking=False, sampling=SAMPLING
    )
    assert list(passes.ranking[:top]) == best, "each pass brings two more into place"


BABBLE = st.sampled_from(
    [
        "",
        "A",
        "<answer> A </answer>",
        "<answer> Z </answer>",
        "<think> x </think> <answer> B </answer>",
        "<answer> B A </answer>",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(BABBLE, min_size=1, max_size=5), st.integers(2, 6), st.sampled_from(ALL), st.booleans())
def test_whatever_a_policy_says_the_ranking_is_a_permutation(answers, n, name, thinking):
    turn = iter(range(10_000))
    engine = ScriptedScorer(lambda prompt: answers[next(turn) % len(answers)], weigh, batch=2)
    sets = [make_set([1] + [0] * (n - 1), set_id=f"s{i}") for i in range(3)]
    for given_set, episode in zip(
        sets, strategy(name)(sets, engine, thinking=thinking, sampling=SAMPLING), strict=True
    ):
        assert sorted(episode.ranking) == sorted(given_set.labels)
        assert [step.step for step in episode.steps] == list(range(len(episode.steps)))
        assert all(step.valid == (step.reason == "") for step in episode.steps)
        if name in NAMES:
            assert len(episode.steps) == (n - 1 if name == "iterative" else 1)


@cache
def untrained():
    return load(tiny(Path(mkdtemp()), context=512), batch=3, cache=32)


@pytest.mark.parametrize("name", ALL)
def test_a_real_model_ranks_by_every_strategy(name):
    """Untrained, constrained: all answers are valid, batched or not, and what is asked again about a query
    is partly cached.
    """
    sets = [one for n in (2, 5, 7) for one in overlap_sets(2, pool=n, seed=n)]
    sets = [
        make_set(
            [c.relevance for c in one.candidates],
            set_id=f"s{i}",
            query=one.query,
            texts=[c.text for c in one.candidates],
        )
        for i, one in enumerate(sets)
    ]
    for thinking in (True, False):
        episodes = strategy(name)(
            sets, untrained(), thinking=thinking, sampling=Sampling(40, constrained=True)
        )
        assert all(
            e.valid and sorted(e.ranking) == sorted(one.labels) for e, one in zip(episodes, sets, strict=True)
        )
        if name == "iterative":
            assert all(step.cached_tokens > 0 for e in episodes for step in e.steps[1:])
