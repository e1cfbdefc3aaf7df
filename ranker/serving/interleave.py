"""Two rankings in one answer, so that clicks on either's documents tell which users prefer. Pure.

Team draft (Radlinski, Kurup and Joachims 2008, CIKM, "How does clickthrough data reflect retrieval
quality?"): as in choosing two teams, of each two places one goes to either ranking, by a coin, which puts its
best document there that is not shown yet. Position favours neither, so that no correction is needed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from ranker.serving.explore import Order

SERVED, CHALLENGER = "served", "shadow"
"""Teams: as the arms of their episodes."""


def team_draft(served: Sequence[str], challenger: Sequence[str], request_id: str, most: int) -> Order:
    """The first `most` places of two rankings of the same labels, interleaved; the id decides the draw."""
    draw, left = random.Random(request_id), {SERVED: list(served), CHALLENGER: list(challenger)}
    labels, teams = list[str](), list[str]()
    while len(labels) < len(served):
        for team in draw.sample((SERVED, CHALLENGER), 2):
            label = next((one for one in left[team] if one not in labels), None)
            if label is not None:
                labels.append(label)
                teams.append(team)
    return Order(tuple(labels[:most]), 0.0, 0, False, None, tuple(teams[:most]))
