from __future__ import annotations

from functools import cache
from itertools import pairwise
from math import ceil, log, log2
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.engines import Sampling, load
from ranker.engines.scripted import ScriptedEngine, ScriptedScorer
from ranker.errors import BadConfig
from ranker.policy.prompts import Prompt
from ranker.refs import PROJECT
from ranker.strategies import all_strategies, strategy
from ranker.strategies.episodes import Origin, frames
from ranker.strategies.window import windows
from tests.ranker.engines.models import tiny
from tests.ranker.factories import adversary, make_set, oracle, overlap_sets

NAMES = ("iterative", "direct")
SAMPLING = Sampling(400)
ALL = [
    "iterative",
    "iterative:shuffle=true",
    "iterative:drop=3,by=order",
    "iterative:drop=half,by=order",
    "iterative:drop=2,by=scores",
    "iterative:drop=half,by=scores",
    "iterative:drop=half,by=grades",
    "survivors:drop=2,by=grades",
    "iterative:by=scores",
    "direct",
    "window",
    "window:size=4,step=2",
    "window:size=4,step=1,by=scores",
    "survivors",
    "survivors:keep=3,drop=half,by=scores",
    "first-token",
    "first-token:mode=rank",
    "setwise:top=100",
    "setwise:top=100,children=2",
    "setwise:by=exclude",
    "setwise:by=scores,top=100",
    "consistency",
    "consistency:shuffles=3,by=scores",
    "gate",
    "gate:margin=0.1",
    "gate:drop=half",
]


def weigh(ask: Prompt) -> dict[str, float]:
    """A perfect scorer: the better, the likelier named first, and the less likely excluded."""
    return {label: grade if ask.mode == "rank" else -grade for label, grade in ask.set.relevance.items()}


def perfect(batch: int = 0) -> ScriptedScorer:
    return ScriptedScorer(oracle, weigh, batch=batch)


def graded(n: int, order, name: str = "s0"):
    """A set of `n` candidates, all of different grades, in the given shown order."""
    return make_set([float(place) for place in order[:n]], set_id=name)


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


def sifts(n: int, children: int, extractions: int) -> int:
    """Most calls of a heapsort: each sift goes down at most as many levels as are below its root."""

    def depth(root: int, size: int) -> int:
        levels = 0
        while (root := children * root + 1) < size:
            levels += 1
        return levels

    building = sum(depth(root, n) for root in range((n - 2) // children, -1, -1))
    return building + sum(depth(0, size) for size in range(n - 1, max(n - 1 - extractions, 0), -1))


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


def test_twenty_candidates_by_halves_take_five_calls_and_windows_are_those_of_rank_llm():
    (episode,) = strategy("iterative:drop=half,by=scores")(
        [graded(20, range(20))], perfect(), thinking=False, sampling=SAMPLING
    )
    assert [len(step.pool) for step in episode.steps] == [20, 10, 5, 3, 2]
    assert windows(100, 20, 10) == [(start, start + 20) for start in range(80, -1, -10)]
    assert (
        windows(20, 20, 10) == [(0, 20)]
        and windows(7, 20, 10) == [(0, 7)]
        and windows(25, 20, 10) == [(5, 25), (0, 15)]
    )


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (
            "<think> A 2 B 0 C 1 D 0 E 3 </think> <answer> C </answer>",
            ("C", "D"),
        ),  # the answer first, then the lowest grades, of equals the one shown last
        ("<think> A 2 B 0 C 1 D 0 E 3 </think> <answer> D </answer>", ("D", "B")),
        (
            "<think> A 2 B 0 C 1 D 0 E 3 </think> <answer> D D </answer>",
            ("D", "B"),
        ),  # invalid, and its grades count
        (
            "<think> A 2 B 0 C 1 D 0 </think> <answer> B </answer>",
            ("B",),
        ),  # a candidate without a grade: one goes
        ("<think> A 2 B 0 C 1 D 0 </think> <answer> B", ("E",)),  # nothing to go by: the fallback
        ("<answer> B </answer>", ("E",)),
    ],
)
def test_by_grades_the_answer_goes_and_those_of_the_lowest_grades(said: str, taken: tuple[str, ...]) -> None:
    (episode,) = strategy("iterative:drop=half,by=grades,keep=3")(
        [graded(5, range(5))], ScriptedEngine(lambda ask: said), thinking=True, sampling=SAMPLING
    )
    assert episode.steps[0].taken == taken
    assert episode.ranking[-len(taken) :] == tuple(reversed(taken))


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
    engine = ScriptedScorer(lambda ask: answers[next(turn) % len(answers)], weigh, batch=2)
    sets = [make_set([1] + [0] * (n - 1), set_id=f"s{i}") for i in range(3)]
    for given_set, episode in zip(
        sets, strategy(name)(sets, engine, thinking=thinking, sampling=SAMPLING), strict=True
    ):
        assert sorted(episode.ranking) == sorted(given_set.labels)
        assert [step.step for step in episode.steps] == list(range(len(episode.steps)))
        assert all(step.valid == (step.reason == "") for step in episode.steps)
        if name in NAMES:
            assert len(episode.steps) == (n - 1 if name == "iterative" else 1)


def test_invalid_answers_fall_back_as_stated_and_are_counted():
    engine = ScriptedEngine(lambda ask: "no idea")
    episode = strategy("iterative")([make_set([1, 0, 0])], engine, thinking=True, sampling=SAMPLING)[0]
    assert episode.ranking == ("A", "B", "C") and [step.taken for step in episode.steps] == [("C",), ("B",)]
    assert [step.reason for step in episode.steps] == ["no_answer"] * 2 and not episode.valid
    assert all(step.reward == -1 for step in episode.steps)


def test_an_incomplete_order_keeps_what_it_named_first():
    engine = ScriptedEngine(lambda ask: "<answer> C </answer>")
    episode = strategy("direct")([make_set([0, 0, 1])], engine, thinking=False, sampling=SAMPLING)[0]
    assert episode.ranking == ("C", "A", "B") and episode.steps[0].reason == "incomplete"


def test_pools_of_different_sizes_advance_together():
    sets = [make_set([1] + [0] * k, set_id=f"s{k}") for k in range(1, 6)]
    episodes = strategy("iterative")(sets, ScriptedEngine(oracle), thinking=True, sampling=SAMPLING)
    assert [len(e.steps) for e in episodes] == [1, 2, 3, 4, 5]
    assert all(e.ranking[0] == "A" for e in episodes)


# --- one engine, many queries
# -------------------------------------------------------------------------------------


class Listening(ScriptedScorer):
    """Keeps what it was asked, batch by batch."""

    def __init__(self, batch: int) -> None:
        super().__init__(oracle, weigh, batch=batch)
        self.heard: list[list[tuple[str, int]]] = []

    def complete(self, asks, sampling):
        self.heard.append([(ask.set.set_id, len(ask.set)) for ask in asks])
        return super().complete(asks, sampling)


def test_no_query_waits_for_another_and_batches_are_full():
    """Three at once: the long one is asked about in every batch until it is done, whatever the others do."""
    sets = [make_set([1] + [0] * (n - 1), set_id=f"s{n}", texts=["a1"] * n) for n in (3, 3, 9, 4, 5, 2)]
    sets = [
        make_set([g.relevance for g in one.candidates], set_id=f"{one.set_id}-{i}", texts=["a1"] * len(one))
        for i, one in enumerate(sets)
    ]
    engine = Listening(3)
    episodes = strategy("iterative")(sets, engine, thinking=False, sampling=SAMPLING)
    calls = sum(len(one) - 1 for one in sets)
    assert [e.set_id for e in episodes] == [one.set_id for one in sets] and sum(
        map(len, engine.heard)
    ) == calls
    assert [len(batch) for batch in engine.heard] == [
        3,
        3,
        3,
        3,
        3,
        3,
        1,
        1,
    ], "places that are free are taken by the next query"
    for earlier, later in pairwise(engine.heard):
        going = {name for name, size in earlier if size > 2}
        assert going <= {name for name, _ in later}, (
            "a query that was asked about is asked about again at once"
        )


def test_calls_say_which_round_they_are_of_and_what_they_cost():
    sets = overlap_sets(3, pool=5)
    by_id = {one.set_id: one for one in sets}
    for name, rounds, calls in (
        ("iterative", 4, 4),
        ("consistency:shuffles=3", 1, 3),
        ("gate:margin=1", 8, 8),
        ("first-token", 1, 1),
    ):
        episodes, steps = frames(
            strategy(name)(sets, perfect(), thinking=True, sampling=SAMPLING),
            by_id,
            Origin("evaluate", "m", "rl", 0),
        )
        assert (
            set(episodes["rounds"]) == {rounds}
            and set(episodes["calls"]) == {calls}
            and set(episodes["strategy"]) == {name}
        )
        assert episodes["prompt_tokens"].to_list() == [
            sum(part["prompt_tokens"]) for (_,), part in steps.group_by("episode_id", maintain_order=True)
        ]
        assert set(episodes["cached_tokens"]) == {0} and set(episodes["invalid_calls"]) == {0}


def test_a_gate_reasons_only_where_it_is_in_doubt():
    """Of three candidates one is clearly worst; of the two that are left neither is."""
    sure = {"A": 0.0, "B": 0.2, "C": 9.0}
    engine = ScriptedScorer(oracle, lambda ask: {label: sure[label] for label in ask.set.labels})
    (episode,) = strategy("gate:margin=0.5")([make_set([2, 1, 0])], engine, thinking=True, sampling=SAMPLING)
    assert [(len(step.pool), bool(step.scores), step.taken) for step in episode.steps] == [
        (3, True, ("C",)),
        (2, True, ()),
        (2, False, ("B",)),
    ]
    assert episode.ranking == ("A", "B", "C")


def test_survivors_keep_their_order_unless_they_are_to_be_shuffled():
    given_set = graded(8, range(8))
    (kept,) = strategy("iterative")([given_set], perfect(), thinking=False, sampling=SAMPLING)
    assert all(list(step.pool) == sorted(step.pool) for step in kept.steps)
    shuffled = [
        strategy("iterative:shuffle=true")(
            [given_set], perfect(), thinking=False, sampling=Sampling(400, seed=seed)
        )[0]
        for seed in (1, 1, 2)
    ]
    assert any(list(step.pool) != sorted(step.pool) for step in shuffled[0].steps)
    assert shuffled[0] == shuffled[1] and shuffled[0].steps != shuffled[2].steps, "the seed decides"


def test_a_vote_over_shuffles_takes_out_what_the_place_says():
    """A policy that puts whoever stands first one place up too high: one shuffle is wrong, a vote is
    right.
    """

    def biased(ask: Prompt) -> str:
        order = sorted(
            ask.set.labels,
            key=lambda label: -ask.set.relevance[label] - (1.5 if label == ask.set.labels[0] else 0),
        )
        return f"<answer> {' '.join(order)} </answer>"

    given_set = graded(6, [3, 5, 0, 1, 4, 2])
    best = sorted(given_set.labels, key=lambda label: -given_set.relevance[label])
    run_cached, often = (
        strategy(name)([given_set], ScriptedEngine(biased), thinking=False, sampling=SAMPLING)[0].ranking
        for name in ("consistency:shuffles=1", "consistency:shuffles=9")
    )
    assert list(run_cached) != best == list(often)


def test_names_are_read_back_as_they_are_written_and_wrong_ones_are_named():
    for name in ALL:
        assert strategy(str(strategy(name))) == strategy(name)
    assert (
        str(strategy("iterative:drop=1")) == "iterative"
        and str(strategy("window:size=10,step=5")) == "window:size=10,step=5"
    )
    for wrong, says in (
        ("iterativ", "choose one of"),
        ("window:width=3", "size, step"),
        ("window:size=3,step=3", "overlap"),
        ("iterative:drop=2", "by=scores"),
        ("gate:margin=2", "margin"),
        ("survivors:drop=half", "by=scores"),
    ):
        with pytest.raises(BadConfig, match=says):
            strategy(wrong)
    assert len(all_strategies()) == 8


def test_the_document_names_every_strategy_and_parameter():
    told = (PROJECT / "docs" / "strategies.md").read_text(encoding="utf-8")
    for title, way in all_strategies().items():
        (row,) = [line for line in told.splitlines() if line.startswith(f"| `{title}` |")]
        for name, about in way.model_fields.items():
            assert f"`{name}`" in row, f"{title} has a parameter {name}"
            if f"`{name}` (" in row:
                assert f"`{name}` ({str(about.default).lower()})" in row


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


def test_theory_itself():
    """A heap of n with d children has ⌊log_d⌋ levels: what `sifts` adds up is within the textbook's bound."""
    for n in range(2, 120):
        for children in (2, 3, 5):
            assert sifts(n, children, n) <= n + n * (log(n * (children - 1) + 1, children) + 1)
