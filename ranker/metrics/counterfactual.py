"""What users would have done with another ranking, from what they did with those that were shown.

Clicks tell of documents and of places: who stands first is looked at more. Two corrections, both from answers
whose first places were shuffled (`ranker/serving/explore.py`):

- A click at place k counts 1 / p(k), with p(k) how much more seldom place k is looked at than the first:
  inverse propensity scoring (Joachims, Swaminathan and Schnabel 2017, arXiv 1608.04468). Under the
  position-based model a click is "looked at" times "relevant", and shuffled places hold documents of the same
  mean relevance, so p(k) is the ratio of click rates. It needs no shuffling of what is corrected, but the
  model to be true.
- The clicks that a policy would get at its first places are those of requests in which, by chance, its
  document stood at its place, each counting 1 / its propensity (item-position model: Li, Abbasi-Yadkori,
  Kveton, Muthukrishnan, Vinay and Wen 2018, arXiv 1804.10488). SNIPS divides by the weights' own sum
  (Swaminathan and Joachims 2015, NIPS), DR adds them to a prediction's errors alone (Dudík, Langford and Li
  2011, arXiv 1103.4601). It needs no click model beyond this: a document's clicks at a place do not hang on
  its neighbours.

Arrays are (requests, places): the first places of each request, from the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ranker.metrics.significance import Interval, resampled

CLIP = 0.1
"""Propensities below it count as this much: variance for a bounded bias (Strehl, Langford, Li and Kakade
2010, arXiv 1003.0120).
"""
LEAST_EFFECTIVE = 100.0
"""Effective requests from which an estimate says something; what is less is shown, and decides nothing."""
NO_TRAFFIC = "no randomised traffic"
"""Said of a task on which nothing can be estimated."""
_PRIOR = 10.0
"""Showings that a predicted click rate is drawn towards that of its place with."""


def propensities(clicks: np.ndarray, groups: Sequence[str], *, resamples: int, seed: int) -> list[Interval]:
    """How often each place is looked at, as a share of the first, with a 95% cluster-bootstrap interval.

    Args:
        clicks: of requests whose places were shuffled, every order alike; 0 or 1.
        groups: the user (or else the request) of each request: what is drawn.

    Raises:
        ValueError: the first place was never clicked.
    """
    rates = clicks.mean(axis=0)
    if not rates[0]:
        raise ValueError(f"a propensity needs clicks on the first place; seen none in {len(clicks)} requests")
    drawn = resampled(clicks, groups, resamples, np.random.default_rng(seed))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = drawn / drawn[:, :1]
    return [
        _interval(float(rate / rates[0]), ratios[:, place], len(clicks)) for place, rate in enumerate(rates)
    ]


def relevance(clicks: np.ndarray, propensity: np.ndarray, clip: float = CLIP) -> np.ndarray:
    """Each click as relevance: 1 / max(p, clip). Its mean over showings is the document's relevance, but for
    a factor that all documents have in common.

    Args:
        propensity: of each click's place; any shape that goes with `clicks`.
    """
    return clicks / np.maximum(propensity, clip)


def placing(ranks: np.ndarray, share: float | np.ndarray, depth: int) -> np.ndarray:
    """The chance that a document stands at a place: (1 − share) · [ranked there] + share / depth, and 0 for a
    document that is not among the first `depth`.

    Args:
        ranks: place (0-based) that the policy which served gave the document that another puts at each place;
            `depth` or more where it stands beyond.
        share: of the requests that were shuffled; one value, or one a request, (requests, 1).
    """
    there = (ranks == _places(ranks)).astype(float)
    return np.where(ranks < depth, (1 - share) * there + share / depth, 0.0)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy beside what was shown."""

    ranks: np.ndarray
    """As `placing` takes them: its document's place by the policy which served."""
    matches: np.ndarray
    """Whether its document was shown at its place."""

    def weights(self, share: float | np.ndarray) -> np.ndarray:
        """1 / the chance of what was shown, where it is this policy's; 0 elsewhere."""
        chance = placing(self.ranks, share, self.ranks.shape[1])
        return np.where(self.matches & (chance > 0), 1 / np.where(chance > 0, chance, 1), 0.0)


Estimator = Literal["SNIPS", "DR"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """Clicks a request at the first places."""

    estimator: Estimator
    value: Interval
    """That the policy would get."""
    gain: Interval
    """Beyond those of the policy that served, without its shuffling, by the same estimator."""
    effective: float
    """Effective sample size, (Σ w)² / Σ w² (Kish 1965): at the place where it is least."""
    covered: float
    """Share of its documents that could have been shown at their places. What lies beyond counts as unclicked
    for SNIPS, and as predicted for DR.
    """


def estimates(
    policy: Policy,
    clicks: np.ndarray,
    shown: np.ndarray,
    share: float | np.ndarray,
    groups: Sequence[str],
    *,
    resamples: int,
    seed: int,
) -> list[Estimate]:
    """What a policy would get, by SNIPS and by DR, with 95% cluster-bootstrap intervals.

    Args:
        clicks: at the places as shown; 0 or 1.
        shown: place (0-based) that the policy which served gave the document that was shown at each place.
        share: of the requests whose first places (all of `clicks.shape[1]`) were shuffled; as `placing`.
        groups: the user (or else the request) of each request.

    Raises:
        ValueError: nothing was shuffled, so nothing can be known of another order; or no requests.
    """
    least = float(np.min(share))
    if not len(clicks) or not 0 < least <= float(np.max(share)) <= 1:
        raise ValueError(f"an estimate needs shuffled requests; seen {len(clicks)} at a share of {least:g}")
    own: np.ndarray = np.broadcast_to(_places(clicks), clicks.shape)
    served = Policy(own, shown == own)
    predicted, mine, theirs = _predicted(shown, clicks, groups, [shown, policy.ranks, own])
    weights, other = policy.weights(share), served.weights(share)
    snips = [_snips_parts(weights, clicks), _snips_parts(other, clicks)]
    dr = [_dr_parts(weights, clicks, predicted, mine), _dr_parts(other, clicks, predicted, theirs)]
    effective = float(min(map(effective_size, weights.T)))
    covered = float((placing(policy.ranks, share, clicks.shape[1]) > 0).mean())

    def both(
        parts: Sequence[np.ndarray], of: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[Interval, Interval]:
        return _value_and_gain(np.concatenate(parts, axis=1), of, groups, resamples, seed)

    return [
        Estimate("SNIPS", *both(snips, _snips), effective, covered),
        Estimate("DR", *both(dr, _dr), effective, covered),
    ]


def _value_and_gain(
    parts: np.ndarray,
    of: Callable[[np.ndarray], np.ndarray],
    groups: Sequence[str],
    resamples: int,
    seed: int,
) -> tuple[Interval, Interval]:
    """What `of` makes of the means of the left half of the columns, and how much that is beyond the right
    half, on the same draws.
    """

    def apart(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, other = (of(half) for half in np.split(means, 2, axis=1))
        return value, value - other

    value, gain = apart(parts.mean(axis=0, keepdims=True))
    values, gains = apart(resampled(parts, groups, resamples, np.random.default_rng(seed)))
    return _interval(float(value[0]), values, len(parts)), _interval(float(gain[0]), gains, len(parts))


def _places(values: np.ndarray) -> np.ndarray:
    """0, 1, …: one a column."""
    return np.asarray(range(values.shape[1]))


def effective_size(weights: np.ndarray) -> float:
    """(Σ w)² / Σ w²: as many requests of equal weight would say as much; 0 without any."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _snips_parts(weights: np.ndarray, clicks: np.ndarray) -> np.ndarray:
    return np.concatenate([weights * clicks, weights], axis=1)


def _snips(means: np.ndarray) -> np.ndarray:
    """Sum over places of Σ w c / Σ w, (draws, 2 places) → (draws,); one without any weight adds nothing."""
    above, below = np.split(means, 2, axis=1)
    return np.where(below > 0, above / np.where(below > 0, below, 1), 0.0).sum(axis=1)


def _dr_parts(
    weights: np.ndarray, clicks: np.ndarray, predicted: np.ndarray, target: np.ndarray
) -> np.ndarray:
    return (target + weights * (clicks - predicted)).sum(axis=1, keepdims=True)


def _dr(means: np.ndarray) -> np.ndarray:
    return means[:, 0]


def _predicted(
    shown: np.ndarray, clicks: np.ndarray, groups: Sequence[str], asked: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """The click rate of (place by the policy which served, place as shown), as seen in the other half of the
    groups, for each array of served places in `asked`. A place beyond the last counts as the last.
    """
    depth = clicks.shape[1]
    place: np.ndarray = np.broadcast_to(_places(clicks), clicks.shape)
    half = np.unique(np.asarray(groups), return_inverse=True)[1] % 2
    found = [np.empty(clicks.shape) for _ in asked]
    for fold in (0, 1):
        seen = half != fold if (half != fold).any() else half == fold
        cells = (np.minimum(shown[seen], depth - 1) * depth + place[seen]).ravel()
        counts = np.bincount(cells, minlength=depth * depth).reshape(depth, depth)
        sums = np.bincount(cells, clicks[seen].ravel(), depth * depth).reshape(depth, depth)
        rates = (sums + _PRIOR * clicks[seen].mean(axis=0)) / (counts + _PRIOR)
        for filled, ranks in zip(found, asked, strict=True):
            here = half == fold
            filled[here] = rates[np.minimum(ranks[here], depth - 1), place[here]]
    return found


def _interval(value: float, draws: np.ndarray, requests: int) -> Interval:
    lower, upper = np.nanquantile(draws, [0.025, 0.975])
    return Interval(value, float(lower), float(upper), requests)
