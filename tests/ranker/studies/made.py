"""Per-query values of made-up arms, as `scores.gather` gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from ranker.stages.evaluate import COSTS
from ranker.studies.design import Claim, Study
from ranker.studies.scores import Results

BASELINES = {"random": 0.34, "first-position": 0.34, "teacher": 0.6}


def values(
    means: Mapping[tuple[str, str, str], float],
    *,
    tasks: Sequence[str] = ("synthetic",),
    queries: int = 200,
    seeds: int = 1,
    noise: float = 0.1,
    baselines: Mapping[str, float] = BASELINES,
    pools: Mapping[str, str] | None = None,
    thinking: bool = True,
) -> pl.DataFrame:
    """Reciprocal ranks around `means` (by arm, model, strategy), 4 queries a group; every arm also has the
    baselines.

    Queries differ in how hard they are, alike for all arms, so that pairing matters.
    """
    return pl.DataFrame(list(_rows(means, tasks, queries, seeds, noise, baselines, pools or {}, thinking)))


def _rows(means, tasks, queries, seeds, noise, baselines, pools, thinking) -> Iterator[dict[str, Any]]:
    wanted = [(*key, thinking, mean) for key, mean in means.items()]
    wanted += [
        (arm, name, "baseline", False, mean)
        for arm in dict.fromkeys(arm for arm, _, _ in means)
        for name, mean in baselines.items()
    ]
    for place, task in enumerate(tasks):
        hard = np.random.default_rng(place).normal(scale=0.2, size=queries)
        for number, (arm, model, strategy, thinks, mean) in enumerate(wanted):
            for seed in range(seeds):
                own = np.random.default_rng([place, number, seed]).normal(scale=noise, size=queries)
                for i in range(queries):
                    identity = {
                        "arm": arm,
                        "task": task,
                        "model": model,
                        "strategy": strategy,
                        "thinking": thinks,
                        "seed": seed,
                    }
                    quality = dict.fromkeys(("rr", "ndcg_10", "hit_1"), float(mean + hard[i] + own[i]))
                    yield {
                        **identity,
                        "set_id": f"{task}-{i}",
                        "group_id": str(i // 4),
                        "pools": pools.get(arm, "p"),
                        **quality,
                        **dict.fromkeys(COSTS, 1.0),
                    }


def results(means: Mapping[tuple[str, str, str], float], **given: Any) -> Results:
    """`values` as Results."""
    return Results(values(means, **given), resamples=400)


MEANS = {("a", "sft", "iterative"): 0.5, ("a", "rl", "iterative"): 0.55, ("b|c", "rl", "iterative"): 0.45}
CLAIMS = (
    Claim("it learns", True, "+0.1"),
    Claim("it flies", False, "−1"),
    Claim("it sings", None, "not heard"),
)
STUDY = Study("s", "Does it learn?", "tiny", (), claims=lambda found: CLAIMS)
