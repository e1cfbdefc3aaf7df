"""Ranking metrics per query, by ir-measures.

A query that is missing from a run scores 0 and stays in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import ir_measures
from ir_measures import RR, Measure, Metric, Success, nDCG

COLUMNS = {"rr": RR, "ndcg_5": nDCG @ 5, "ndcg_10": nDCG @ 10, "hit_1": Success @ 1, "hit_3": Success @ 3}
"""Column of the table `episodes` → measure."""
NAMES = {"rr": "RR", "ndcg_5": "nDCG@5", "ndcg_10": "nDCG@10", "hit_1": "Hit@1", "hit_3": "Hit@3"}
"""Column → name in the table `evaluations`."""
_GRADED = {column for column, measure in COLUMNS.items() if measure.NAME == "nDCG"}


def per_query(
    rankings: Mapping[str, Sequence[str]], relevance: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Metric values by query.

    Args:
        rankings: labels or item ids, best first, by query id.
        relevance: graded relevance of every candidate, by query id. nDCG uses the grades; RR and Hit count
            the pool's best grade as relevant (ties are several positives), so that graded pools are not
            trivially hit.

    Returns:
        {query id: {column: value in [0, 1]}} for every query of `relevance`; 0 where no ranking was given.

    Raises:
        ValueError: a grade is not a whole number ≥ 0 (trec_eval's rule).
    """
    run = {
        query: {label: float(-place) for place, label in enumerate(ranking)}
        for query, ranking in rankings.items()
    }
    values = {query: dict.fromkeys(COLUMNS, 0.0) for query in relevance}
    graded = {
        query: {label: _whole(grade) for label, grade in pool.items()} for query, pool in relevance.items()
    }
    best = {
        query: {label: int(grade == max(pool.values()) and grade > 0) for label, grade in pool.items()}
        for query, pool in graded.items()
    }
    for columns, qrels in ((_GRADED, graded), (set(COLUMNS) - _GRADED, best)):
        metrics = {COLUMNS[column]: column for column in columns}
        for metric in _calculate(metrics, qrels, run):
            values[metric.query_id][metrics[metric.measure]] = metric.value
    return values


def _calculate(
    metrics: Iterable[Measure], qrels: dict[str, dict[str, int]], run: dict[str, dict[str, float]]
) -> Iterable[Metric]:
    return ir_measures.iter_calc(list(metrics), qrels, run) if run else ()


def _whole(grade: float) -> int:
    if grade < 0 or grade != int(grade):
        raise ValueError(f"a relevance grade must be a whole number of at least 0; seen {grade}")
    return int(grade)


def random_expectation(pool: Sequence[float]) -> dict[str, float]:
    """Expected metric values of a uniformly random order of one pool, in closed form (no sampling noise in
    the random row).

    With p best candidates among n: P(first hit at rank r) = C(n − r, p − 1) / C(n, p); Hit@k is
    hypergeometric; nDCG@k is the mean gain times the first k discounts, over the ideal DCG@k. All 0 for a
    pool without relevance.
    """
    n, best = len(pool), max(pool)
    if best <= 0:
        return dict.fromkeys(COLUMNS, 0.0)
    p = sum(grade == best for grade in pool)
    values = {"rr": sum(math.comb(n - r, p - 1) / math.comb(n, p) / r for r in range(1, n - p + 2))}
    for column, measure in COLUMNS.items():
        if column == "rr":
            continue
        k = min(measure["cutoff"], n)
        values[column] = (
            _random_ndcg(pool, k) if column in _GRADED else 1 - math.comb(n - p, k) / math.comb(n, k)
        )
    return values


def _random_ndcg(pool: Sequence[float], k: int) -> float:
    discounts = [1 / math.log2(i + 2) for i in range(k)]
    ideal = sum(grade * d for grade, d in zip(sorted(pool, reverse=True), discounts, strict=False))
    return sum(pool) / len(pool) * sum(discounts) / ideal
