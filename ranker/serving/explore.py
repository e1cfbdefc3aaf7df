"""A share of the answers with their first places shuffled, so that what users do tells of documents and not
of places alone. Pure.

`ranker serve --explore` draws for each request by itself, from its id, so that the draw can be made again. A
shuffled answer holds the same documents; beyond the depth they stand as ranked.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import factorial


@dataclass(frozen=True, slots=True)
class Exploration:
    """How much is shuffled."""

    share: float = 0.0
    """Of the requests, 0 to 1."""
    depth: int = 5
    """First places that are shuffled, where that many are shown."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a client gets of a ranking."""

    labels: tuple[str, ...]
    """Labels in the order shown."""
    share: float
    depth: int
    """Places that are shuffled where `drawn`: never more than are shown."""
    drawn: bool
    propensity: float | None
    """Chance of exactly this order; None where two rankings were interleaved."""
    teams: tuple[str, ...] | None = None
    """Whose choice each document was, where they were."""


def order(best: Sequence[str], request_id: str, how: Exploration) -> Order:
    """The order in which `best` (labels, best first) is shown.

    With the chance `share` the first k = min(depth, shown) places are shuffled, every order alike. So an
    order has the propensity (1 − share) · [as ranked] + share / k!, and a document of the first k stands at a
    place with the propensity (1 − share) · [ranked there] + share / k.
    """
    depth = min(how.depth, len(best))
    draw = random.Random(request_id)
    drawn = draw.random() < how.share
    first = list(best[:depth])
    if drawn:
        draw.shuffle(first)
    as_ranked = first == list(best[:depth])
    propensity = (1 - how.share) * as_ranked + how.share / factorial(depth)
    return Order((*first, *best[depth:]), how.share, depth, drawn, propensity)
