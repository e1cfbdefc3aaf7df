"""What came of a study: per-query values of every arm from the lake, seeds averaged, intervals over users or
sources.

The unit of the bootstrap is the group (user, source), as in an evaluation: values are averaged over seeds
first, so an interval speaks of other test queries, and not of other seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from ranker.config import task
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.metrics.significance import Interval, bootstrap_mean, bootstrap_relative, p_above
from ranker.stages import evaluate

ORDER = ("untrained", "sft", "rl", evaluate.PRETRAINED, evaluate.CONSTRAINED, *evaluate.BASELINES)
IDENTITY = ["arm", "task", "model", "strategy", "thinking"]
VALUES = ("rr", "ndcg_10", "hit_1", *evaluate.COSTS)


@dataclass(frozen=True, slots=True)
class Pick:
    """One row of a study: which arm, which of its models or baselines, ranked how."""

    arm: str
    model: str
    strategy: str = "iterative"
    thinking: bool = True

    @property
    def how(self) -> str:
        return (
            ""
            if self.strategy == "baseline"
            else f"{self.strategy}, {'think' if self.thinking else 'no-think'}"
        )


def baseline(arm: str, name: str) -> Pick:
    """A baseline (random, popularity, teacher, …) on the test queries of an arm."""
    return Pick(arm, name, "baseline", False)


def read(lake: Lake, sets_key: str, traces_key: str, scores_key: str, limit: int) -> pl.DataFrame:
    """Per-query values of one evaluation, baselines included: set_id, task, group_id, model, strategy,
    thinking and VALUES.

    Args:
        limit: test queries per task, as the evaluation had it.
    """
    test = load_sets(lake, sets_key, split="test", limit=limit)
    teacher = lake.named("evaluate/teacher", {"batch_id": traces_key})
    episodes = lake.named("studies/episodes", {"batch_id": scores_key})
    first = lake.named("evaluate/first_stages", {"batch_id": scores_key})
    scored = evaluate.score(test, teacher, episodes, first)
    return scored.drop("model").rename({"arm": "model"}).select("set_id", "group_id", *IDENTITY[1:], *VALUES)


def gather(lake: Lake, done: Iterable[Any]) -> pl.DataFrame:
    """`read` for every finished run of a study (`design.Done`), with columns arm, seed and pools (key of
    the candidate sets).
    """
    parts = []
    for one in done:
        values = read(lake, one.sets.key, one.traces.key, one.scores.key, one.run.params.evaluate.max_queries)
        parts.append(
            values.with_columns(
                arm=pl.lit(one.run.arm), seed=pl.lit(one.run.seed), pools=pl.lit(one.sets.key)
            )
        )
    return pl.concat(parts)


@dataclass(frozen=True)
class Results:
    """The per-query values of a study, and every figure that is computed from them.

    `scores` has a row per arm, seed, task, model, strategy, thinking and set_id. `resamples` and `seed` are
    the bootstrap's.
    """

    scores: pl.DataFrame
    resamples: int = 2_000
    seed: int = 23

    @cached_property
    def pooled(self) -> pl.DataFrame:
        """Mean over seeds of every value; `cluster` is what the bootstrap draws (users of two tasks are
        not the same user).
        """
        cluster = (pl.col("task") + "/" + pl.col("group_id")).alias("cluster")
        keys = [*IDENTITY, "set_id", "pools"]
        means = [pl.col(name).mean() for name in VALUES]
        return (
            self.scores.with_columns(cluster)
            .group_by(*keys, "cluster", maintain_order=True)
            .agg(*means, pl.col("seed").n_unique().alias("seeds"))
        )

    @cached_property
    def arms(self) -> list[str]:
        return self.scores["arm"].unique(maintain_order=True).to_list()

    @cached_property
    def tasks(self) -> list[str]:
        return sorted(self.scores["task"].unique())

    @cached_property
    def scenarios(self) -> dict[str, list[str]]:
        """Scenario → its tasks."""
        found: dict[str, list[str]] = {}
        for name in self.tasks:
            found.setdefault(task(name).scenario, []).append(name)
        return found

    @cached_property
    def picks(self) -> list[Pick]:
        """Every row there is: arms in their order, models before baselines; a baseline once for arms that
        share their pools.
        """
        found = self.pooled.select("arm", "model", "strategy", "thinking", "pools").unique(
            maintain_order=True
        )
        owner: dict[tuple[str, str], str] = {}
        kept = []
        for row in found.iter_rows(named=True):
            pick = Pick(row["arm"], row["model"], row["strategy"], row["thinking"])
            if (
                pick.strategy != "baseline"
                or owner.setdefault((pick.model, row["pools"]), pick.arm) == pick.arm
            ):
                kept.append(pick)
        return sorted(dict.fromkeys(kept), key=self._place)

    def _place(self, pick: Pick) -> tuple[bool, int, int, bool, bool]:
        model = ORDER.index(pick.model) if pick.model in ORDER else len(ORDER)
        return (
            pick.strategy == "baseline",
            self.arms.index(pick.arm),
            model,
            pick.strategy != "iterative",
            not pick.thinking,
        )

    def of(self, pick: Pick, tasks: Sequence[str] | None = None) -> pl.DataFrame:
        """Per-query values of one row (seeds averaged), of some tasks or of all; empty where there is no
        such row.
        """
        same = {"arm": pick.arm, "model": pick.model, "strategy": pick.strategy, "thinking": pick.thinking}
        part = self.pooled.filter(**same)
        return part if tasks is None else part.filter(pl.col("task").is_in(list(tasks)))

    def mean(self, pick: Pick, tasks: Sequence[str] | None = None, value: str = "rr") -> Interval | None:
        """Mean over test queries with its 95% interval; None where there is no such row."""
        part = self.of(pick, tasks)
        return self._interval(part, part[value]) if part.height else None

    def difference(
        self, one: Pick, other: Pick, tasks: Sequence[str] | None = None, value: str = "rr"
    ) -> Interval | None:
        """Paired difference on shared queries, one − other; None where they share none (arms with other
        pools).
        """
        both = self._paired(one, other, tasks)
        return self._interval(both, both[value] - both[f"{value}_other"]) if both.height else None

    def p_above(self, one: Pick, other: Pick, tasks: Sequence[str] | None = None) -> float | None:
        """One-sided p-value of the paired difference of MRR being at most 0; None where they share no
        query.
        """
        both = self._paired(one, other, tasks)
        if not both.height:
            return None
        gaps = (both["rr"] - both["rr_other"]).to_list()
        return p_above(gaps, both["cluster"].to_list(), resamples=self.resamples, seed=self.seed)

    def relative(self, one: Pick, other: Pick, value: str = "rr") -> Interval | None:
        """Mean over tasks of the relative gain of one over other; None where they share no query."""
        both = self._paired(one, other, None)
        parts = [
            (part[value].to_list(), part[f"{value}_other"].to_list(), part["cluster"].to_list())
            for part in both.partition_by("task")
        ]
        return bootstrap_relative(parts, resamples=self.resamples, seed=self.seed) if parts else None

    def seeds(self, pick: Pick) -> int:
        """Training seeds that a row is the mean of."""
        return int(self.of(pick)["seeds"].max() or 0)  # type: ignore[arg-type]

    def _paired(self, one: Pick, other: Pick, tasks: Sequence[str] | None) -> pl.DataFrame:
        return self.of(one, tasks).join(
            self.of(other, tasks), on=["task", "set_id", "cluster"], suffix="_other", maintain_order="left"
        )

    def _interval(self, frame: pl.DataFrame, values: pl.Series) -> Interval:
        return bootstrap_mean(
            values.to_list(), frame["cluster"].to_list(), resamples=self.resamples, seed=self.seed
        )
