"""One call of a strategy: its fallback where an answer is invalid, and many queries in one batch."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from ranker.engines.scripted import ScriptedEngine, ScriptedScorer
from ranker.strategies import strategy
from ranker.strategies.episodes import Entry, Origin, tables
from ranker.types import Episode
from tests.ranker.factories import make_set, oracle
from tests.ranker.strategies.policies import SAMPLING, weigh


def test_invalid_answers_fall_back_as_stated_and_are_counted():
    engine = ScriptedEngine(lambda prompt: "no idea")
    episode = strategy("iterative")([make_set([1, 0, 0])], engine, thinking=True, sampling=SAMPLING)[0]
    assert episode.ranking == ("A", "B", "C") and [step.taken for step in episode.steps] == [("C",), ("B",)]
    assert [step.reason for step in episode.steps] == ["no_answer"] * 2 and not episode.valid
    assert all(step.reward == -1 for step in episode.steps)


class Listening(ScriptedScorer):
    """Keeps what it was asked, batch by batch."""

    def __init__(self, batch: int) -> None:
        super().__init__(oracle, weigh, batch=batch)
        self.heard: list[list[tuple[str, int]]] = []

    def complete(self, prompts, sampling):
        self.heard.append([(prompt.set.set_id, len(prompt.set)) for prompt in prompts])
        return super().complete(prompts, sampling)


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


@pytest.mark.parametrize(
    ("way", "answer", "ranking", "repairs"),
    [
        ("direct", "<answer> A", "ADCB", ("no_tags", "missing")),
        ("direct", "<answer> D C B A </answer>", "DCBA", ()),
        ("direct", "no idea", "DCBA", ()),
        ("window:size=3,step=1,start=retrieved", "<answer> B </answer>", "BDCA", ("missing",)),
    ],
)
def test_read_tolerantly_what_is_missing_follows_in_the_order_of_the_first_stage(
    way: str, answer: str, ranking: str, repairs: tuple[str, ...]
) -> None:
    """Priors D > C > B > A, shown A to D. A window that slides over the first stage keeps what earlier ones
    brought forward: B, named in the last three and then in the first three.
    """
    given = make_set([0, 0, 1, 2])
    given = replace(
        given, candidates=tuple(replace(one, prior=float(n)) for n, one in enumerate(given.candidates))
    )
    engine = ScriptedEngine(lambda prompt: answer)

    def ranked(tolerant: bool) -> Episode:
        (found,) = strategy(way)([given], engine, thinking=False, sampling=SAMPLING, tolerant=tolerant)
        return found

    assert "".join(ranked(True).ranking) == ranking
    steps = tables([Entry(ranked(True), Origin("evaluate", "m", "untrained", 1), "t", given.labels)])["steps"]
    assert steps["repairs"][-1].to_list() == list(repairs)
    assert ranked(True).valid == (answer != "no idea"), "an answer that names nobody stays invalid"
    strict = tables([Entry(ranked(False), Origin("evaluate", "m", "rl", 1), "t", given.labels)])["steps"]
    assert strict["repairs"].null_count() == strict.height, "and what is read strictly has none"
