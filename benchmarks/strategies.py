"""Every strategy on one policy and the same queries: `MODEL HOME N QUERIES` gives quality and cost of each,
one row a strategy.

What is timed is the ranking alone, after a few queries to warm up; short runs are repeated and their median
time taken.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.measure import LONG, REPEATS
from benchmarks.naive import NaiveLoop, Ranked
from benchmarks.policy import sets_of
from ranker.engines import Completion, Engine, Sampling, Scored, load, scorer
from ranker.metrics.ranking import per_query, random_expectation
from ranker.metrics.significance import bootstrap_mean
from ranker.policy.prompts import Style, longest_trace
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from ranker.types import CandidateSet

HALVES, GRADED, FIRST = "iterative:drop=half,by=scores", "iterative:drop=half,by=grades", "first-token"
CACHE = 1_024
"""MiB; what a policy of a million parameters keeps of 64 prompts is a tenth of it."""
BATCH = 64
RESAMPLES, SEED = 2_000, 23


@dataclass(frozen=True, slots=True)
class Arm:
    """One row: a strategy and how it is run."""

    how: str
    thinking: bool = False
    cache: bool = False
    constrained: bool = False

    @property
    def name(self) -> str:
        return ", ".join(
            [
                self.how,
                "think" if self.thinking else "no-think",
                *(["prefix cache"] if self.cache else []),
                *(["constrained"] if self.constrained else []),
            ]
        )


LOOP = "naive loop"
ONE_BY_ONE, CACHED, NAIVE = Arm("iterative"), Arm("iterative", cache=True), Arm(LOOP)
ARMS = (
    ONE_BY_ONE,
    CACHED,
    Arm("iterative", thinking=True),
    Arm("iterative:by=scores"),
    Arm(HALVES),
    Arm(HALVES, cache=True),
    Arm(GRADED, thinking=True),
    Arm("iterative:drop=half,by=order"),
    Arm("direct"),
    Arm("window"),
    Arm("survivors"),
    Arm(FIRST),
    Arm("setwise"),
    Arm("consistency"),
    Arm("gate", thinking=True),
    Arm("iterative", constrained=True),
    Arm("iterative", thinking=True, constrained=True),
    Arm("direct", constrained=True),
    Arm("survivors", constrained=True),
)
"""Without thinking `gate` is `iterative:by=scores`."""


class Timed:
    """An engine that knows how long it was at work: what a run takes beyond that is the loop's."""

    def __init__(self, inner: Engine) -> None:
        self.inner, self.name, self.seconds = inner, inner.name, 0.0
        self.style: Style = inner.style
        self.batch = getattr(inner, "batch", 0)

    def complete(self, prompts: Sequence[Any], sampling: Sampling) -> list[Completion]:
        return self._timed(self.inner.complete, prompts, sampling)

    def score(self, prompts: Sequence[Any], sampling: Sampling) -> list[Scored]:
        return self._timed(scorer(self.inner).score, prompts, sampling)

    def _timed(
        self, work: Callable[[Sequence[Any], Sampling], list[Any]], prompts: Sequence[Any], sampling: Sampling
    ) -> list[Any]:
        began = time.perf_counter()
        try:
            return work(prompts, sampling)
        finally:
            self.seconds += time.perf_counter() - began


Run = tuple[float, float, dict[str, tuple[str, ...]], dict[str, float]]
"""Seconds by the wall, those of them in the engine, rankings by set_id, and what all queries together
took.
"""


def _by_strategy(arm: Arm, folder: str, sets: Sequence[CandidateSet]) -> Run:
    engine = Timed(
        load(folder, batch=BATCH, cache=CACHE if arm.cache else 0)
    )  # a new one: what an earlier run left in its cache is no gain of this one
    way = strategy(arm.how)

    def ranked(given: Sequence[CandidateSet]) -> list[Any]:
        return way(
            given,
            engine,
            thinking=arm.thinking,
            sampling=Sampling(longest_trace(len(sets[0])), constrained=arm.constrained),
        )

    ranked([replace(given, set_id=f"warm {given.set_id}") for given in sets[:2]])
    engine.seconds, began = 0.0, time.perf_counter()
    episodes = ranked(sets)
    wall = time.perf_counter() - began
    rows = judged(episodes, {given.set_id: given for given in sets}, Origin("bench", folder, arm.name, SEED))[
        "episodes"
    ]
    spent = {
        name: float(rows[name].sum())
        for name in (
            "calls",
            "rounds",
            "prompt_tokens",
            "cached_tokens",
            "completion_tokens",
            "invalid_calls",
        )
    }
    return wall, engine.seconds, {episode.set_id: episode.ranking for episode in episodes}, spent


def _by_loop(thinking: bool, folder: str, sets: Sequence[CandidateSet]) -> Run:
    loop = NaiveLoop(folder, BATCH)
    loop.rank(sets[:2], thinking)
    began = time.perf_counter()
    ranked = loop.rank(sets, thinking)
    wall = time.perf_counter() - began

    def total(what: Callable[[Ranked], int]) -> float:
        return float(sum(what(one) for one in ranked))

    calls = total(lambda one: one.calls)
    spent = {
        "calls": calls,
        "rounds": calls,
        "prompt_tokens": total(lambda one: one.prompt_tokens),
        "cached_tokens": 0.0,
        "completion_tokens": total(lambda one: one.completion_tokens),
        "invalid_calls": total(lambda one: one.invalid),
    }
    return wall, 0.0, {given.set_id: one.ranking for given, one in zip(sets, ranked, strict=True)}, spent


def measured(name: str, runs: Sequence[Run], sets: Sequence[CandidateSet]) -> dict[str, Any]:
    """One row: means a query with 95% intervals of quality; `loop` is the share of time on top of the
    engine's own, median of the runs.
    """
    _, _, rankings, spent = runs[0]
    seconds = median(wall for wall, *_ in runs)
    row = {
        "arm": name,
        "queries": len(sets),
        "seconds": seconds,
        "per_second": len(sets) / seconds,
        "invalid": int(spent["invalid_calls"]),
        "answers": int(spent["calls"]),
    }
    row |= {key: total / len(sets) for key, total in spent.items() if key != "invalid_calls"}
    row["loop"] = median((wall - engine) / engine for wall, engine, *_ in runs) if runs[0][1] else None
    return (
        row
        | quality(rankings, sets)
        | {"rankings": {set_id: list(ranking) for set_id, ranking in rankings.items()}}
    )


def quality(rankings: Mapping[str, Sequence[str]], sets: Sequence[CandidateSet]) -> dict[str, list[float]]:
    """Mean and 95% interval of `rr` and `ndcg_10`."""
    values = per_query(rankings, {given.set_id: given.relevance for given in sets})
    groups = [given.group_id for given in sets]
    means = {
        column: bootstrap_mean(
            [values[given.set_id][column] for given in sets], groups, resamples=RESAMPLES, seed=SEED
        )
        for column in ("rr", "ndcg_10")
    }
    return {column: [found.value, found.lower, found.upper] for column, found in means.items()}


def main(folder: str, home: Path, n: int, queries: int) -> dict[str, Any]:
    """Rows of all arms and of the naive loop.

    They take turns, so that what else the machine does falls on all of them.
    """
    sets = sets_of(home, n, queries)
    loops = [Arm(LOOP, thinking) for thinking in (False, True)]
    runs: dict[Arm, list[Run]] = {arm: [] for arm in (*ARMS, *loops)}
    for turn in range(REPEATS):
        for arm, done in runs.items():
            if sum(one[0] for one in done) < LONG:
                done.append(
                    _by_loop(arm.thinking, folder, sets) if arm in loops else _by_strategy(arm, folder, sets)
                )
                print(
                    f"n = {n}, turn {turn + 1}: {arm.name}, {done[-1][0]:.1f} s", file=sys.stderr, flush=True
                )
    rows = [
        {
            **measured(arm.name, done, sets),
            "how": arm.how,
            "thinking": arm.thinking,
            "constrained": arm.constrained,
        }
        for arm, done in runs.items()
    ]
    by_name = {row["arm"]: row for row in rows}
    same = {name: alike(by_name[ONE_BY_ONE.name], by_name[name]) for name in (CACHED.name, NAIVE.name)}
    chance = sum(random_expectation([c.relevance for c in given.candidates])["rr"] for given in sets) / len(
        sets
    )
    for row in rows:
        del row["rankings"]
    return {"n": n, "chance": chance, "rows": rows, "alike": same, "threads": torch.get_num_threads()}


def alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Share of queries that both runs rank in the same order."""
    return sum(one["rankings"][set_id] == ranking for set_id, ranking in other["rankings"].items()) / len(
        other["rankings"]
    )


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
