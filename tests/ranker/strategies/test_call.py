"""One call of a strategy: its fallback where an answer is invalid, and many queries in one batch."""

from __future__ import annotations

from itertools import pairwise

from ranker.engines.scripted import ScriptedEngine, ScriptedScorer
from ranker.strategies import strategy
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
