"""A lake that holds a training and its evaluation, written by hand: what registering and reporting read."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from ranker.lake import Lake
from ranker.refs import Ref

METRICS = ("RR", "nDCG@5", "nDCG@10", "Hit@1", "Hit@3")
ACCEPT = lambda staged: []  # noqa: E731 - these rows are not under test; the contracts have tests of their own


def commit(
    lake: Lake,
    stage: str,
    key: str,
    tables: Mapping[str, pl.DataFrame],
    *,
    inputs: tuple[str, ...] = (),
    details: dict | None = None,
) -> Ref:
    return lake.write(
        stage,
        key,
        tables,
        inputs=inputs,
        parameters='{"seed": 1}',
        code="c0de",
        read_snapshot=lake.snapshot(),
        details=details or {},
        check=ACCEPT,
    )


def trained(lake: Lake, key: str) -> Ref:
    folder = lake.home / "models" / key / "rl"
    folder.mkdir(parents=True)
    steps = pl.DataFrame(
        {
            "phase": ["sft", "sft", "rl", "rl"],
            "step": pl.Series([5, 10] * 2, dtype=pl.Int32),
            "name": ["loss", "loss", "reward", "reward"],
            "value": [2.0, 1.0, 0.1, 0.4],
        }
    )
    return commit(lake, "train", key, {"training_metrics": steps}, details={"model": f"models/{key}"})


def scored(
    lake: Lake,
    key: str,
    of: Ref,
    *,
    rr: float = 0.6,
    half: float = 0.05,
    random: float = 0.4,
    malformed: float = 0.0,
    tokens: float = 100.0,
    against_champion: tuple[float, float, float] | None = None,
) -> Ref:
    """An evaluation of one task: rl (iterative, thinking), sft and random; perhaps a champion with its
    paired difference.
    """
    means = [
        *_arm("rl", rr, half, malformed, tokens),
        *_arm("sft", rr - 0.1, half, malformed, tokens),
        *_baseline("random", random),
    ]
    paired = [_paired("sft", 0.1, 0.02, 0.18)]
    if against_champion:
        means += _arm("champion", rr - against_champion[0], half, 0.0, 100.0)
        paired.append(_paired("champion", *against_champion))
    tables = {
        "evaluations": pl.DataFrame(means, schema_overrides={"queries": pl.Int32}),
        "comparisons": pl.DataFrame(paired, schema_overrides={"queries": pl.Int32}),
    }
    return commit(lake, "evaluate", key, tables, inputs=(of.key,))


def _arm(arm: str, rr: float, half: float, malformed: float, tokens: float) -> list[dict]:
    identity = {
        "task": "synthetic",
        "arm": arm,
        "model": f"m/{arm}",
        "strategy": "iterative",
        "thinking": True,
        "queries": 100,
    }
    quality = [
        {**identity, "metric": name, "value": rr, "lower": rr - half, "upper": rr + half} for name in METRICS
    ]
    costs = {
        "malformed": malformed,
        "calls": 3.0,
        "prompt_tokens": tokens * 0.8,
        "completion_tokens": tokens * 0.2,
    }
    return quality + [
        {**identity, "metric": name, "value": value, "lower": value, "upper": value}
        for name, value in costs.items()
    ]


def _baseline(arm: str, value: float) -> list[dict]:
    identity = {
        "task": "synthetic",
        "arm": arm,
        "model": arm,
        "strategy": "baseline",
        "thinking": False,
        "queries": 100,
    }
    return [{**identity, "metric": name, "value": value, "lower": value, "upper": value} for name in METRICS]


def _paired(against: str, difference: float, lower: float, upper: float) -> dict:
    return {
        "task": "synthetic",
        "strategy": "iterative",
        "thinking": True,
        "metric": "RR",
        "arm": "rl",
        "against": against,
        "difference": difference,
        "lower": lower,
        "upper": upper,
        "queries": 100,
    }
