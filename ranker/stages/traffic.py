"""The clicks that a policy would have got on requests that were served by another.

The policy ranks the logged requests of days that passed (`feedback_days`). What clients did where, by the
chance of `ranker serve --explore`, its document stood at its place tells what they would have done:
ranker/metrics/counterfactual.py has the estimators. The estimates go into the lake (`traffic_estimates`), by
`ranker audit traffic` or beside an evaluation's metrics (`evaluate.traffic_requests`), where the promotion
rule can ask for them (`register.max_traffic_loss`); no episode does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from ranker.engines import Engine, Sampling
from ranker.errors import StageMissing
from ranker.lake import Lake
from ranker.metrics.counterfactual import NO_TRAFFIC, Estimate, Policy, estimates
from ranker.refs import Check, digest
from ranker.stages.run import keep_measured
from ranker.strategies.base import Strategy
from ranker.types import Candidate, CandidateSet, JsonObject

STAGE = "traffic"
ESTIMATES = {
    **dict.fromkeys(("model", "task", "strategy"), pl.String),
    "thinking": pl.Boolean,
    "estimator": pl.String,
    "requests": pl.Int32,
    "depth": pl.Int32,
    **dict.fromkeys(
        ("value", "lower", "upper", "gain", "gain_lower", "gain_upper", "effective", "covered"), pl.Float64
    ),
    "measured_at": pl.Datetime("us", "UTC"),
}


@dataclass(frozen=True, slots=True)
class Logged:
    """Requests of one task, as they were shown and clicked. Arrays are (requests, depth)."""

    sets: tuple[CandidateSet, ...]
    """`group_id` is the user, where feedback said one."""
    ranked: tuple[tuple[str, ...], ...]
    """Labels of what was shown, in the order of the ranking that served."""
    shown: np.ndarray
    """Place (0-based) by that ranking of the document shown at each place."""
    clicks: np.ndarray
    share: np.ndarray
    """Of the requests that were shuffled when this one came, (requests, 1)."""

    @property
    def depth(self) -> int:
        return self.shown.shape[1]

    @property
    def identity(self) -> str:
        """Which requests these are, and what was clicked."""
        named = [one.set_id for one in self.sets]
        return digest(named, *(each.tolist() for each in (self.shown, self.clicks, self.share)))

    def only(self, kept: Sequence[bool]) -> Logged:
        """Some of the requests."""
        which = np.flatnonzero(kept)
        return Logged(
            tuple(self.sets[one] for one in which),
            tuple(self.ranked[one] for one in which),
            self.shown[which],
            self.clicks[which],
            self.share[which],
        )


def logged(lake: Lake, task: str, most: int = 0) -> Logged:
    """The latest `most` (0: all) requests on a task that an estimate can rest on.

    Raises:
        StageMissing: there is none.
    """
    found = _logged(lake, task, most)
    if found is None:
        raise StageMissing(
            "an estimate needs requests of which some were shuffled, of days whose feedback has passed",
            seen=f"none on {task!r}",
            remedy='`ranker serve --log --explore 0.05`, and see `ranker query "from feedback_days"`',
        )
    return found


def by_task(lake: Lake, tasks: Iterable[str], most: int) -> dict[str, Logged | None]:
    """The latest `most` of each task; None where there are none, and no task at all where `most` is 0."""
    return {task: _logged(lake, task, most) for task in sorted(tasks)} if most else {}


def identity(asked: Mapping[str, Logged | None]) -> dict[str, str]:
    """What `by_task` has found, for the key of a stage that reads it."""
    return {task: found.identity if found else NO_TRAFFIC for task, found in asked.items()}


def _logged(lake: Lake, task: str, most: int) -> Logged | None:
    every = lake.named("traffic/logged", {"task": task})
    found = (every.tail(most) if most else every).to_dicts()
    if not found:
        return None
    depth = found[0]["depth"]
    return Logged(
        tuple(_set(task, row) for row in found),
        tuple(tuple(row["ranked"]) for row in found),
        np.array([[row["ranked"].index(label) for label in row["shown"][:depth]] for row in found]),
        np.array([[label in row["clicked"] for label in row["shown"][:depth]] for row in found], float),
        np.array([[row["share"]] for row in found]),
    )


def _set(task: str, row: JsonObject) -> CandidateSet:
    pool = tuple(Candidate(one["label"], one["item_id"], one["text"], 0.0) for one in row["candidates"])
    return CandidateSet(
        row["set_id"], task, "serve", row["grouped"], row["query"], tuple(row["query_items"]), pool
    )


def policy(asked: Logged, rankings: Sequence[Sequence[str]]) -> Policy:
    """A ranking of each request, in order, as the first places of what was shown: documents that the client
    did not get are passed over.
    """
    firsts = [
        [own.index(label) for label in ranking if label in own][: asked.depth]
        for own, ranking in zip(asked.ranked, rankings, strict=True)
    ]
    ranks = np.array(firsts)
    return Policy(ranks, asked.shown == ranks)


def estimated(asked: Logged, found: Policy, resamples: int, seed: int) -> list[Estimate]:
    """What it would have got: SNIPS, then DR."""
    groups = [one.group_id for one in asked.sets]
    return estimates(found, asked.clicks, asked.shown, asked.share, groups, resamples=resamples, seed=seed)


def ranked(
    asked: Logged, way: Strategy, thinking: bool, engine: Engine, sampling: Sampling, tolerant: bool = False
) -> list[tuple[str, ...]]:
    """The requests by a policy."""
    episodes = way(list(asked.sets), engine, thinking=thinking, sampling=sampling, tolerant=tolerant)
    return [episode.ranking for episode in episodes]


def rows(
    model: str, task: str, how: tuple[str, bool], asked: Logged, found: Sequence[Estimate]
) -> pl.DataFrame:
    """The estimates, as `traffic_estimates` has them.

    Args:
        model: as in episodes.model.
        how: strategy, and whether it reasoned.
    """
    shared = {
        "model": model,
        "task": task,
        "strategy": how[0],
        "thinking": how[1],
        "requests": len(asked.sets),
        "depth": asked.depth,
        "measured_at": datetime.now(UTC),
    }
    made = [
        shared
        | {
            "estimator": one.estimator,
            "value": one.value.value,
            "lower": one.value.lower,
            "upper": one.value.upper,
            "gain": one.gain.value,
            "gain_lower": one.gain.lower,
            "gain_upper": one.gain.upper,
            "effective": one.effective,
            "covered": one.covered,
        }
        for one in found
    ]
    return pl.DataFrame(made, schema=ESTIMATES)


def store(
    lake: Lake,
    model: str,
    task: str,
    how: tuple[str, bool],
    asked: Logged,
    found: Sequence[Estimate],
    check: Check,
) -> str:
    """Keep an audit's estimates (as `rows` takes them); their key."""
    return keep_measured(
        lake,
        STAGE,
        {"traffic_estimates": rows(model, task, how, asked, found)},
        parameters={"model": model, "task": task},
        inputs=[],
        roots=[__name__],
        details={"model": model, "task": task, "requests": len(asked.sets)},
        check=check,
    )
