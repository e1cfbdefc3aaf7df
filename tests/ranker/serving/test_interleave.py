"""Team draft: fair by position, and clicks that follow relevance tell who is better."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from ranker.serving.interleave import CHALLENGER, SERVED, team_draft

ONE, OTHER = list("ABCDEF"), list("CADBFE")


def test_each_two_places_have_one_of_either_and_each_its_best_that_is_left() -> None:
    for number in range(200):
        drawn = team_draft(ONE, OTHER, f"r{number}", 6)
        assert drawn.teams is not None and sorted(drawn.labels) == ONE and drawn.propensity is None
        assert all(one != other for one, other in list(pairwise(drawn.teams))[::2])
        for place, (label, team) in enumerate(zip(drawn.labels, drawn.teams, strict=True)):
            ranking = ONE if team == SERVED else OTHER
            assert label == next(one for one in ranking if one not in drawn.labels[:place])
        assert drawn == team_draft(ONE, OTHER, f"r{number}", 6)
    assert team_draft(ONE, OTHER, "r", 3).labels == team_draft(ONE, OTHER, "r", 6).labels[:3]


def test_places_favour_neither() -> None:
    """Who clicks at random places, the first ones more, clicks on both alike."""
    weights = Counter[str]()
    for number in range(4_000):
        drawn = team_draft(ONE, OTHER, f"r{number}", 6)
        for place, team in enumerate(drawn.teams or (), start=1):
            weights[team] += 1 / place  # type: ignore[assignment]
    assert abs(weights[SERVED] / weights[CHALLENGER] - 1) < 0.03


def test_the_ranking_with_the_relevant_document_first_wins() -> None:
    wins = Counter(
        drawn.teams[drawn.labels.index("C")]
        for number in range(400)
        if (drawn := team_draft(ONE, OTHER, f"r{number}", 2)).teams and "C" in drawn.labels
    )
    assert wins[CHALLENGER] > 0 == wins[SERVED]
