"""Order-bias audit: the same pools asked again with the gold in each slot, in reverse and shuffled. Does the
order shown decide?

The view `position_bias` answers that from what was asked anyway. This is the experiment: of one pool nothing
changes but the order, so that slots are compared on the same queries. Labels stay with the slots (the first
shown is always A), as the candidates stage deals them; what a policy holds of a label and what of a place is
one thing here. Nothing is stored in the lake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from ranker.engines import Engine, Sampling
from ranker.errors import StageMissing
from ranker.metrics.ranking import per_query
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.strategies.base import Strategy
from ranker.strategies.likelihood import log_likelihoods
from ranker.studies import plots
from ranker.studies.design import Claim
from ranker.studies.results import StudyResults, save
from ranker.types import CandidateSet, Episode, Step

FOLDER = "audits"
QUESTION = "Does it matter where in the pool a candidate is shown?"
HEAD = (
    "how",
    "shown",
    "MRR",
    "95% interval",
    "− given, paired",
    "first call spares it",
    "τ to given",
    "pools",
)
GIVEN, REVERSE, SHUFFLED = "given", "reverse", "shuffled"
Order = tuple[int, ...]
"""Places in the given order, as they are shown: (2, 0, 1) shows the third candidate first."""
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of the audit. `gold` is the place of its first most relevant candidate; the gold's equals
    count neither for nor against it.
    """

    given: CandidateSet
    gold: int
    equals: frozenset[int]
    orders: Mapping[str, tuple[Order, ...]]
    """What it is shown as (`slot 1`, …, `given`, `reverse`, `shuffled`) → the orders that are that."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a policy made of one pool in one order, in places of the given order."""

    ranking: Order
    rr: float
    """Reciprocal rank of the gold, its equals left out."""
    spared: float | None
    """1 where the first call spared the gold (exclude) or put it first (rank); None where that call did
    not show the whole pool.
    """
    calls: int
    invalid: int
    scores: tuple[float, ...] = ()
    """A likelihood policy's of the candidates in the given order, in nats; else empty."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Largest minus smallest mean over slots, and what it would be if slots were alike."""

    value: float
    best: int
    worst: int
    """Slots, 1-based."""
    chance: float
    """The spread that 95% of permutations stay below."""
    p: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way of showing the pools to one policy in one way of asking.

    Intervals are bootstraps over groups, 95%.
    """

    how: str
    shown: str
    rr: Interval
    against_given: Interval
    """Paired difference in RR to the given order."""
    spared: Interval | None
    tau: Interval
    """Kendall's τ between the ranking made of this order and that of the given one; 1 where the order
    shown decides nothing.
    """

    @property
    def cells(self) -> tuple[str, ...]:
        """As in HEAD."""
        same = self.shown == GIVEN
        spared = f"{self.spared.value:.1%}" if self.spared else ""
        return (
            self.how,
            self.shown,
            f"{self.rr.value:.3f}",
            f"{self.rr.lower:.3f}…{self.rr.upper:.3f}",
            "" if same else self.against_given.signed,
            spared,
            "" if same else f"{self.tau.value:.3f}",
            str(self.rr.queries),
        )


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking: its rows, the spread over slots, and the share of answers that were invalid."""

    how: str
    rows: tuple[Row, ...]
    spread: Spread
    spared: Spread | None
    invalid: float
    scores_differ: float | None = None
    """Of a likelihood policy the most that any candidate's score differs from one order to another, in
    nats: a candidate is read by itself, so that no more than rounding is left. None for a policy that is
    shown the pool.
    """

    def claims(self) -> Iterator[Claim]:
        """No slot is better than another; the reverse order is as good as the given one."""
        seen = self.spread
        figure = (
            f"max − min {seen.value:.3f} (slots {seen.best} and {seen.worst}), by chance at most"
            f" {seen.chance:.3f}, p = {seen.p:.4f}; {self.invalid:.1%} of the answers invalid"
        )
        yield Claim(f"{self.how}: the gold's slot does not change its MRR", seen.p >= ALPHA, figure)
        back = next(row for row in self.rows if row.shown == REVERSE)
        yield Claim(
            f"{self.how}: the reverse order gives the same MRR",
            back.against_given.lower <= 0 <= back.against_given.upper,
            f"{back.against_given.signed}, τ {back.tau.value:.3f}",
        )


def pools(sets: Sequence[CandidateSet], shuffles: int, seed: int) -> tuple[list[Pool], int]:
    """The pools that can be audited, and how many could not: those without a relevant candidate, or of
    another size than most.

    Raises:
        StageMissing: there is none.
    """
    judged = [given for given in sets if max(given.relevance.values(), default=0) > 0 and len(given) > 1]
    if not judged:
        raise StageMissing(
            "an audit needs test queries with a relevant candidate",
            seen=f"none among {len(sets)}",
            remedy="run `ranker run candidates` with this task first",
        )
    size = Counter(len(given) for given in judged).most_common(1)[0][0]
    kept = [
        _pool(given, shuffles, Random(f"{seed} {given.set_id}")) for given in judged if len(given) == size
    ]
    return kept, len(sets) - len(kept)


def _pool(given: CandidateSet, shuffles: int, draw: Random) -> Pool:
    grades = [candidate.relevance for candidate in given.candidates]
    golds = [place for place, grade in enumerate(grades) if grade == max(grades)]
    places = tuple(range(len(given)))
    rest = tuple(place for place in places if place != golds[0])
    slots = {f"slot {slot + 1}": ((*rest[:slot], golds[0], *rest[slot:]),) for slot in places}
    shuffled = tuple(tuple(draw.sample(places, len(places))) for _ in range(shuffles))
    return Pool(
        given,
        golds[0],
        frozenset(golds[1:]),
        {**slots, GIVEN: (places,), REVERSE: (places[::-1],), **({SHUFFLED: shuffled} if shuffles else {})},
    )


def ordered(given: CandidateSet, order: Order) -> CandidateSet:
    """The pool in another order, labels by slot; a set of its own, so that nothing cached of another order
    is taken for it.
    """
    moved = tuple(
        replace(given.candidates[place], label=label)
        for label, place in zip(given.labels, order, strict=True)
    )
    return replace(given, set_id=f"{given.set_id} {' '.join(map(str, order))}", candidates=moved)


def ranked_pools(
    asked: Sequence[Pool], way: Strategy, thinking: bool, engine: Engine, sampling: Sampling
) -> list[dict[Order, Seen]]:
    """Have every pool ranked once in each of its orders: by pool, order → what came of it."""
    shown = [
        (number, order)
        for number, pool in enumerate(asked)
        for order in dict.fromkeys(one for orders in pool.orders.values() for one in orders)
    ]
    episodes = way(
        [ordered(asked[number].given, order) for number, order in shown],
        engine,
        thinking=thinking,
        sampling=sampling,
    )
    rr = _reciprocal_ranks(asked, shown, episodes)
    found: list[dict[Order, Seen]] = [{} for _ in asked]
    for (number, order), episode in zip(shown, episodes, strict=True):
        pool, labels = asked[number], asked[number].given.labels
        ranking = tuple(order[labels.index(label)] for label in episode.ranking)
        spared = _spared(episode.steps[0], labels, labels[order.index(pool.gold)], way)
        found[number][order] = Seen(
            ranking,
            rr[episode.set_id],
            spared,
            len(episode.steps),
            sum(not step.valid for step in episode.steps),
            _scores(episode.steps, labels, order),
        )
    return found


def _scores(steps: Sequence[Step], labels: Sequence[str], order: Order) -> tuple[float, ...]:
    """By place in the given order, from whichever calls tell them."""
    shown = log_likelihoods(steps)
    return tuple(shown[labels[order.index(place)]] for place in range(len(labels))) if shown else ()


def _reciprocal_ranks(
    asked: Sequence[Pool], shown: Sequence[tuple[int, Order]], episodes: Sequence[Episode]
) -> dict[str, float]:
    rankings, relevance = {}, {}
    for (number, order), episode in zip(shown, episodes, strict=True):
        pool = asked[number]
        label = dict(zip(order, pool.given.labels, strict=True))
        passed = {label[place] for place in pool.equals}
        rankings[episode.set_id] = [one for one in episode.ranking if one not in passed]
        relevance[episode.set_id] = {one: float(one == label[pool.gold]) for one in rankings[episode.set_id]}
    return {set_id: values["rr"] for set_id, values in per_query(rankings, relevance).items()}


def _spared(step: Step, labels: Sequence[str], gold: str, way: Strategy) -> float | None:
    """As the view position_bias counts it."""
    if tuple(step.pool) != tuple(labels) or not step.taken:
        return None
    if way.modes == {"rank"}:
        first = step.action[0] if step.action else step.taken[0]
        return float(first == gold)
    gone = step.taken if len(step.taken) < len(labels) else step.taken[:1]
    return float(gold not in gone)


def measured(
    how: str, asked: Sequence[Pool], seen: Sequence[Mapping[Order, Seen]], resamples: int, seed: int
) -> Arm:
    """Means by what was shown, and whether slots differ."""
    groups = [pool.given.group_id for pool in asked]

    def mean(values: Sequence[float]) -> Interval:
        return bootstrap_mean(values, groups, resamples=resamples, seed=seed)

    def each(shown: str, of: Callable[[Seen], float]) -> list[float]:
        return [
            float(np.mean([of(found[order]) for order in pool.orders[shown]]))
            for pool, found in zip(asked, seen, strict=True)
        ]

    def taus(shown: str) -> list[float]:
        return [
            float(
                np.mean(
                    [
                        _tau(found[order].ranking, found[pool.orders[GIVEN][0]].ranking)
                        for order in pool.orders[shown]
                    ]
                )
            )
            for pool, found in zip(asked, seen, strict=True)
        ]

    whole = all(one.spared is not None for found in seen for one in found.values())
    base, rows = each(GIVEN, lambda one: one.rr), []
    for shown in asked[0].orders:
        rr = each(shown, lambda one: one.rr)
        spared = mean(each(shown, lambda one: one.spared or 0.0)) if whole else None
        rows.append(
            Row(how, shown, mean(rr), mean(np.subtract(rr, base).tolist()), spared, mean(taus(shown)))
        )
    slots = [shown for shown in asked[0].orders if shown.startswith("slot ")]
    by_slot = np.array([each(shown, lambda one: one.rr) for shown in slots]).T
    calls = sum(one.calls for found in seen for one in found.values())
    invalid = sum(one.invalid for found in seen for one in found.values()) / calls
    sparing = (
        spread(
            np.array([each(shown, lambda one: one.spared or 0.0) for shown in slots]).T,
            groups,
            resamples,
            seed,
        )
        if whole
        else None
    )
    return Arm(
        how, tuple(rows), spread(by_slot, groups, resamples, seed), sparing, invalid, _scores_differ(seen)
    )


def _scores_differ(seen: Sequence[Mapping[Order, Seen]]) -> float | None:
    by_pool = [np.array([one.scores for one in found.values()]) for found in seen]
    return max(float(np.ptp(scores, axis=0).max()) for scores in by_pool) if by_pool[0].size else None


def _tau(one: Order, other: Order) -> float:
    found: Any = kendalltau(np.argsort(one), np.argsort(other))  # typed without its fields
    return float(found.statistic)


def spread(values: np.ndarray, groups: Sequence[str], resamples: int, seed: int) -> Spread:
    """Largest minus smallest column mean, and a permutation test of it: were slots alike, each group's values
    could as well stand in any.

    p = (1 + permutations that reach the spread) / (1 + permutations), as Phipson & Smyth 2010 have it. The
    values of a group move together: queries of one user are not independent.

    Args:
        values: one row a pool, one column a slot.
        groups: the group of each row.
    """
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.zeros((index.max() + 1, values.shape[1]))
    np.add.at(sums, index, values)
    rng = np.random.default_rng(seed)
    drawn = np.array([np.ptp(rng.permuted(sums, axis=1).sum(0)) for _ in range(resamples)]) / len(values)
    means = values.mean(0)
    seen = float(np.ptp(means))
    reached = int((drawn >= seen - 1e-12).sum())  # of equal sums the last bits may differ
    return Spread(
        seen,
        int(means.argmax()) + 1,
        int(means.argmin()) + 1,
        float(np.quantile(drawn, 0.95)),
        (1 + reached) / (1 + resamples),
    )


def tell(folder: Path, name: str, arms: Sequence[Arm], left_out: int) -> StudyResults:
    """Write table.md, plot.svg, plot.png and study.json, and give what a caller shows of them."""
    rows = [row for arm in arms for row in arm.rows]
    notes = [f"{left_out} pools are left out: no relevant candidate, or not of the commonest size"]
    by_score = {arm.how: arm.scores_differ for arm in arms if arm.scores_differ is not None}
    independent = [
        f"{how}: a likelihood policy scores each candidate by itself, whatever is shown beside it; no score"
        f" differs by more than {most:.2g} nat between orders"
        for how, most in by_score.items()
    ]
    results = StudyResults(
        name=name,
        question=QUESTION,
        folder=folder,
        head=HEAD,
        body=tuple(row.cells for row in rows),
        claims=tuple(claim for arm in arms for claim in arm.claims()),
        notes=(*(notes if left_out else ()), *independent),
    )
    points = [
        {
            "how": row.how,
            "slot": int(row.shown.removeprefix("slot ")),
            "mrr": row.rr.value,
            "lower": row.rr.lower,
            "upper": row.rr.upper,
        }
        for row in rows
        if row.shown.startswith("slot ")
    ]
    return save(
        results,
        plots.slots(points, f"{name}: MRR by the slot in which the gold is shown"),
        {"arms": [asdict(arm) for arm in arms]},
    )
