"""The row `fusion`: the policy's likelihoods and the first stages in one score, with weights learned on
validation queries. It tells what a first stage still knows that the policy does not.

No weight is below 0: the negatives of a pool were chosen by a first stage, so the relevant candidate is the
one that it finds less likely than the others, which says how the pool was drawn and nothing of relevance.
(Seen on passages: the BM25 prior with −1.05, and a fusion of 0.843.)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import optimize as _optimize  # type: ignore[import-untyped]

from ranker.engines import Likely
from ranker.progress import Progress
from ranker.stages.first_stages import SCORES, by_pool
from ranker.strategies.likelihood import score_pools
from ranker.types import CandidateSet

optimize: Any = _optimize  # scipy has no types
ROW, POLICY, PRIOR = "fusion", "policy", "prior"
RIDGE = 1e-3
"""Weight of the squared weights: features that say the same have finite ones."""
BATCH = 64
Weights = dict[str, float]
Known = Mapping[tuple[str, str], Mapping[str, float]]
"""(first stage, set_id) → score by label."""


def fused(
    valid: Sequence[CandidateSet],
    test: Sequence[CandidateSet],
    first: pl.DataFrame,
    engine: Likely,
    log: Callable[[str], None],
) -> tuple[pl.DataFrame, dict[str, Weights]]:
    """Scores of every test pool (as `first_stages.SCORES`), and the weights by task: of the policy's score
    over its temperature, and of each first stage's, in standard deviations of its validation scores.

    Args:
        first: set_id, label, teacher, score of the validation and test pools, by whatever first stages there
            are; the candidates' own `prior` is one more.
    """
    known = by_pool(first)
    parts, weights = [pl.DataFrame(schema=SCORES)], dict[str, Weights]()
    for task in sorted({given.task for given in valid} & {given.task for given in test}):
        own = (
            [given for given in valid if given.task == task],
            [given for given in test if given.task == task],
        )
        names = [
            name
            for name in dict.fromkeys(first["teacher"])
            if all((name, one.set_id) in known for part in own for one in part)
        ]
        with Progress(f"{task} fusion, queries", sum(map(len, own)), log) as progress:
            learned, asked = (_features(part, [PRIOR, *names], known, engine, progress) for part in own)
        spread = _spread(learned)
        found = fit([one / spread for one in learned], [_relevant(given) for given in own[0]])
        weights[task] = dict(zip([POLICY, PRIOR, *names], found.tolist(), strict=True))
        log(f"{task} fusion: " + ", ".join(f"{name} {value:.2f}" for name, value in weights[task].items()))
        rows = [
            (given.set_id, label, ROW, float(value))
            for given, features in zip(own[1], asked, strict=True)
            for label, value in zip(given.labels, features / spread @ found, strict=True)
        ]
        parts.append(pl.DataFrame(rows, schema=SCORES, orient="row"))
    return pl.concat(parts), weights


def fit(features: Sequence[np.ndarray], relevant: Sequence[np.ndarray]) -> np.ndarray:
    """Weights (k,), none below 0, that make the choice of a relevant candidate by softmax(features @ weights)
    most likely.

    Args:
        features: of each pool, (n, k).
        relevant: of each pool, (n,) bool. Pools of equals tell nothing.
    """
    pools = [
        (x - x.mean(0), hit) for x, hit in zip(features, relevant, strict=True) if 0 < hit.sum() < len(hit)
    ]
    start = np.zeros(features[0].shape[1])
    start[0] = 1.0
    if not pools:
        return start

    def loss(weights: np.ndarray) -> float:
        values = [(x @ weights, hit) for x, hit in pools]
        missed = [np.logaddexp.reduce(own) - np.logaddexp.reduce(own[hit]) for own, hit in values]
        return float(np.mean(missed) + RIDGE * weights @ weights)

    return np.asarray(optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(0, None)] * len(start)).x)


def _features(
    sets: Sequence[CandidateSet], names: Sequence[str], known: Known, engine: Likely, progress: Progress
) -> list[np.ndarray]:
    """Of each pool (n, 1 + names): the policy's score over its temperature, then the first stages'."""
    found: list[np.ndarray] = []
    for start in range(0, len(sets), BATCH):
        part = sets[start : start + BATCH]
        for given, own in zip(part, score_pools(part, engine), strict=True):
            columns = [[own.by_label[label] / own.temperature for label in given.labels]]
            for name in names:
                table = (
                    {c.label: c.prior for c in given.candidates}
                    if name == PRIOR
                    else known[name, given.set_id]
                )
                columns.append([table[label] for label in given.labels])
            found.append(np.array(columns, float).T)
        progress.done(parts=len(part))
    return found


def _spread(features: Sequence[np.ndarray]) -> np.ndarray:
    """Standard deviation within pools of each first stage's scores; 1 for the policy's and for constants."""
    spread = np.sqrt(np.mean([one.var(0) for one in features], axis=0))
    spread[0] = 1.0
    return np.where(spread > 0, spread, 1.0)


def _relevant(given: CandidateSet) -> np.ndarray:
    worth = np.array([c.relevance for c in given.candidates])
    return worth == worth.max()
