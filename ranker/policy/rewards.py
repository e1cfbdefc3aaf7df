"""Rewards per model call, from the response's parsed action and the true relevance; all chance-corrected.
Rewards of a user's own come beside them, by name (`named`).

A reward of 0 is what a uniformly random valid answer earns on average, so curves over different pool
sizes can be read together and a policy that always answers at random earns nothing. (Uncorrected, a
random policy earns (m − 1)/m per exclusion: 0.95 at m = 20.)
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, cast

import numpy as np

from ranker.errors import BadConfig
from ranker.policy.parsing import FORMAT_FAULTS, Action
from ranker.policy.prompts import Mode

Exclusion = Literal["binary", "regret"]
INVALID = -1.0


@dataclass(frozen=True, slots=True)
class Reward:
    """A reward and its parts: `format` (0 or −1), `task` (−1 … 1), `trace` (weighted, −1 … 1) and `length`
    (weighted, −1 … 0).
    """

    format: float
    task: float
    trace: float = 0.0
    length: float = 0.0

    @property
    def total(self) -> float:
        return self.format + self.task + self.trace + self.length

    @property
    def parts(self) -> dict[str, float]:
        return {"format": self.format, "task": self.task, "trace": self.trace, "length": self.length}


def reward(
    action: Action, relevance: Mapping[str, float], mode: Mode, exclusion: Exclusion = "binary"
) -> Reward:
    """Reward of one call.

    Args:
        action: the parsed response.
        relevance: graded relevance by label, for exactly the pool as shown.
        mode: 'exclude' or 'rank'.
        exclusion: how an exclusion is judged, see `exclusion_quality`.

    Returns:
        −1 in total for an answer that cannot be read, or whose labels are not of the pool, repeated or too
        many; quality − chance for an exclusion; nDCG − chance + coverage − 1 for an order. An incomplete
        order is invalid, too, but scored by the latter: with one relevant candidate of 20, one that leaves
        out a single other earns +0.598 at most, one that names a single other −1.302.
    """
    if action.reason in FORMAT_FAULTS:
        return Reward(INVALID, 0.0)
    if not action.labels:
        return Reward(0.0, INVALID)
    if mode == "exclude":
        return Reward(0.0, _exclude(action.labels[0], relevance, exclusion))
    return Reward(0.0, _rank(action.labels, relevance))


def trace_reward(grades: Mapping[str, int], relevance: Mapping[str, float]) -> float:
    """How well the grades of a reasoning order the pool: nDCG minus chance, in (−1, 1).

    A single exclusion says one bit about a pool; the grades before it say how every candidate was judged, so
    they carry far more signal per rollout. Equal grades earn what a random order of them would earn on
    average: ties are neither rewarded nor punished. No grades earn what the worst ones would: who says
    nothing of the pool is not better off than who reasons and errs.
    """
    ideal = _dcg(sorted(relevance.values(), reverse=True))
    if not ideal:
        return 0.0
    if not grades:
        return _dcg(sorted(relevance.values())) / ideal - random_ndcg(tuple(sorted(relevance.values())))
    total, place = 0.0, 0
    for grade in sorted(set(grades.values()), reverse=True):
        tied = [relevance[label] for label in grades if grades[label] == grade]
        total += sum(tied) / len(tied) * sum(_discount(i) for i in range(place, place + len(tied)))
        place += len(tied)
    return total / ideal - random_ndcg(tuple(sorted(relevance.values())))


def shown_order(pool: Sequence[str]) -> dict[str, float]:
    """What the blind control is rewarded by instead of relevance: how early a label stands in the shown
    (shuffled) order.

    The published DRanker reward followed the shown order (correlation 0.55) and hardly the ranking (0.27).
    With this in place of the relevance there is as much to learn as before, and none of it is ranking: a
    proof that a policy learns to rank has to fail on it.
    """
    return {label: float(len(pool) - 1 - place) for place, label in enumerate(pool)}


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion, as a reward of a user's own sees it (`train.grpo.rewards`)."""

    text: str
    """What the model wrote, its end removed; begun with <think> where the template had opened it."""
    action: Action
    mode: Mode
    thinking: bool
    """Whether reasoning was asked for."""
    relevance: Mapping[str, float]
    """True relevance by label, of the pool as shown."""
    tokens: int
    """Of the completion, its end with them."""
    limit: int
    """Tokens that it might have had."""


OwnReward = Callable[[Answer], float]


def brevity(answer: Answer) -> float:
    """An example of a reward of one's own: the shorter a valid answer, the better, from −1 (the limit) to 0;
    −1 for an invalid one.

        [train.grpo.rewards]
        "ranker.policy.rewards.brevity" = 0.1
    """
    return -answer.tokens / answer.limit if answer.action.valid else -1.0


def named(path: str) -> OwnReward:
    """The function at a dotted path, `package.module.function`.

    Raises:
        BadConfig: there is none.
    """
    module, _, name = path.rpartition(".")
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _no_reward(f"{path}: {error}") from error
    if not callable(found):
        raise _no_reward(f"{path} is a {type(found).__name__}")
    return cast("OwnReward", found)


def _no_reward(seen: str) -> BadConfig:
    return BadConfig(
        "a reward of one's own is a function that the trainer can import by its dotted path",
        seen=seen,
        remedy=(
            "name one in train.grpo.rewards, e.g. ranker.policy.rewards.brevity, and put its module on"
            " $PYTHONPATH"
        ),
    )


def exclusion_quality(label: str, relevance: Mapping[str, float], exclusion: Exclusion) -> float:
    """How good it is to exclude `label`, in [0, 1].

    binary: 0 where a most relevant candidate goes, 1 otherwise. regret: 1 − (its relevance − least) / (most −
    least).
    A pool of equals has nothing to lose: 1.
    """
    least, most = min(relevance.values()), max(relevance.values())
    if most == least:
        return 1.0
    if exclusion == "binary":
        return float(relevance[label] < most)
    return 1.0 - (relevance[label] - least) / (most - least)


def _exclude(label: str, relevance: Mapping[str, float], exclusion: Exclusion) -> float:
    chance = sum(exclusion_quality(other, relevance, exclusion) for other in relevance) / len(relevance)
    return exclusion_quality(label, relevance, exclusion) - chance


def _rank(order: Sequence[str], relevance: Mapping[str, float]) -> float:
    coverage = len(order) / len(relevance)
    return (
        ndcg([relevance[label] for label in order], list(relevance.values()))
        - random_ndcg(tuple(sorted(relevance.values())))
        + coverage
        - 1.0
    )


# --- every alternative at once ---


def exclusion_gains(relevance: np.ndarray, exclusion: Exclusion) -> np.ndarray:
    """`_exclude` for each candidate of a pool: relevance (n,) → rewards (n,)."""
    least, most = relevance.min(), relevance.max()
    if most == least:
        return np.zeros(len(relevance))
    quality = (
        (relevance < most).astype(float)
        if exclusion == "binary"
        else 1.0 - (relevance - least) / (most - least)
    )
    return quality - quality.mean()


def choice_gains(relevance: np.ndarray, mode: Mode, exclusion: Exclusion) -> np.ndarray:
    """Chance-corrected reward of choosing each candidate of a pool: to exclude it, or (mode rank) to name it
    first. relevance (n,) → rewards (n,), which sum to 0.
    """
    excluded = exclusion_gains(relevance, exclusion)
    return excluded if mode == "exclude" else -excluded


def expected_reward(
    probabilities: Sequence[float], relevance: Sequence[float], mode: Mode, exclusion: Exclusion
) -> float:
    """The exact expected reward of one choice drawn from `probabilities`, both as shown: in (−1, 1), 0 for a
    uniform policy.
    """
    return float(np.dot(probabilities, choice_gains(np.asarray(relevance, float), mode, exclusion)))


def length_penalty(tokens: int, limit: int, weight: float) -> float:
    """What an answer of `tokens` loses of its reward: `weight` at the limit, in proportion below it."""
    return -weight * min(tokens / limit, 1.0)


def ndcg(gains: Sequence[float], pool: Sequence[float], k: int | None = None) -> float:
    """nDCG@k with linear gain and log2 discount (Järvelin & Kekäläinen 2002): `gains` in ranked order over
    the ideal order of `pool`.

    1 for a pool without any relevance: no order is better than another.
    """
    ideal = _dcg(sorted(pool, reverse=True)[:k])
    return _dcg(gains[:k]) / ideal if ideal else 1.0


@cache
def random_ndcg(pool: tuple[float, ...]) -> float:
    """Expected nDCG of a uniformly random order of `pool`: mean gain × sum of discounts, over the ideal."""
    ideal = _dcg(sorted(pool, reverse=True))
    return sum(pool) / len(pool) * sum(_discount(i) for i in range(len(pool))) / ideal if ideal else 1.0


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain * _discount(i) for i, gain in enumerate(gains))


def _discount(index: int) -> float:
    return 1.0 / math.log2(index + 2)
