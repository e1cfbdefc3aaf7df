"""A lake that holds a training and its evaluation, written by hand: what registering and reporting read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import polars as pl

from ranker.lake import Lake
from ranker.lake.connection import fill
from ranker.refs import Ref
from ranker.resources import sql_folder

QUERIES = 100
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
    parameters: str = '{"seed": 1}',
) -> Ref:
    """Rows and the record of their run in one transaction, as a stage's commit leaves them.

    Not by way of staging tables, which nobody judges here: each change of the schema lets DuckLake read its
    whole catalog again, three times a batch, which is most of what these tests would take.
    """
    record = {
        "stage": stage,
        "key": key,
        "flow_run": lake.flow_run,
        "inputs": list(inputs),
        "parameters": parameters,
        "code": "c0de",
        "identity": None,
        "read_snapshot": lake.snapshot(),
        "rows_written": json.dumps({table: frame.height for table, frame in tables.items()}),
        "details": json.dumps(details or {}, default=str),
    }
    with lake._transaction():
        message = {"message": f"{stage} {key}"}
        lake._run("call lake.set_commit_message('ranker', $message)", message)
        lake._run("delete from stage_runs where batch_id = $key", {"key": key})
        for table, frame in tables.items():
            lake._run(fill("delete from {table} where batch_id = $key", table=table), {"key": key})
            lake.register("incoming", frame)
            insert = "insert into {table} by name select $key as batch_id, * from incoming"
            lake._run(fill(insert, table=table), {"key": key})
        lake._run((sql_folder() / "lake" / "finish.sql").read_text(encoding="utf-8"), record)
    finished = lake.finished(stage, key)
    assert finished is not None
    return finished


def trained(lake: Lake, key: str, parameters: str = '{"seed": 1}', inputs: tuple[str, ...] = ()) -> Ref:
    """A finished training and the folder of its model."""
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
    details = {"model": f"models/{key}"}
    return commit(
        lake, "train", key, {"training_metrics": steps}, inputs=inputs, details=details, parameters=parameters
    )


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
    champion: str = "aaaa",
    ranked: int = QUERIES,
    first: int = 0,
    sets: Ref | None = None,
) -> Ref:
    """An evaluation of one task: rl (iterative, thinking), sft and random; perhaps a champion with its
    paired difference and interval.

    Args:
        champion: the train key of the champion that it was compared with.
        ranked: test queries with an episode, of `QUERIES`.
        first: number of the first test query; those of the same number are the same query.
        sets: of which candidates it is an evaluation by name, without an episode of theirs; else of queries
            made up for it.
    """
    sets = sets or _sets(lake, first)
    means = [
        *_arm("rl", rr, half, malformed, tokens),
        *_arm("sft", rr - 0.1, half, malformed, tokens),
        *_baseline("random", random),
    ]
    paired = [
        _paired("sft", 0.1, 0.02, 0.18),
        _paired("random", rr - random, rr - random - half, rr - random + half),
    ]
    ranks = [_episodes("rl", f"{of.key}/rl", [rr] * ranked, first, malformed, tokens)]
    if against_champion:
        gain, lower, upper = against_champion
        spread = (upper - lower) / 3.92 * ranked**0.5
        values = [rr - gain + (-spread if number % 2 else spread) for number in range(ranked)]
        ranks.append(_episodes("champion", f"{champion}/rl", values, first, 0.0, 100.0))
        means += _arm("champion", rr - against_champion[0], half, 0.0, 100.0)
        paired.append(_paired("champion", *against_champion))
    tables = {
        "episodes": pl.concat(ranks),
        "evaluations": pl.DataFrame(means, schema_overrides={"queries": pl.Int32}),
        "comparisons": pl.DataFrame(paired, schema_overrides={"queries": pl.Int32}),
    }
    return commit(lake, "evaluate", key, tables, inputs=(sets.key, of.key))


def registered(
    lake: Lake,
    key: str,
    evaluation: str,
    queries: Iterable[int],
    name: str = "r1-ranker",
    p: float | None = 0.5,
) -> Ref:
    """A verdict on the evaluation `evaluation` and its test, as a register stage writes them."""
    version = {"name": name, "version": key, "run_id": "r", "train_key": "t", "evaluate_key": evaluation}
    said = {"alias": "challenger", "verdict": "not promoted: v", "registered_at": datetime.now(UTC)}
    test = {"name": name, "version": key, "task": "synthetic", "against": "1", "queries": 100, "planned": 100}
    seen = {"query_ids": [f"q{number}" for number in queries], "look": 2, "level": 0.0025}
    ends = {"difference": 0.01, "lower": -0.01, "upper": 0.03, "p": p, "p_holm": p, "detectable": 0.061}
    frames = {
        "model_versions": pl.DataFrame([version | said]),
        "promotion_tests": pl.DataFrame(
            [test | seen | ends], schema_overrides={"p": pl.Float64, "p_holm": pl.Float64}
        ),
    }
    facts = {"strategy": "iterative", "thinking": True, "name": name, "version": key}
    return commit(lake, "register", key, frames, inputs=(evaluation,), details=facts | said)


def _sets(lake: Lake, first: int) -> Ref:
    """Test queries `first` to `first` + `QUERIES`; committed once."""
    key = f"sets{first}"
    rows = [
        {
            "set_id": f"s{number}",
            "task": "synthetic",
            "split": "test",
            "query_id": f"q{number}",
            "group_id": f"g{number}",
            "query": "",
            "query_items": [],
            "pool_size": 4,
        }
        for number in range(first, first + QUERIES)
    ]
    frame = pl.DataFrame(rows, schema_overrides={"query_items": pl.List(pl.String), "pool_size": pl.Int32})
    return lake.finished("candidates", key) or commit(lake, "candidates", key, {"candidate_sets": frame})


def _episodes(
    arm: str, model: str, values: list[float], first: int, malformed: float, tokens: float
) -> pl.DataFrame:
    """One episode a query with this reciprocal rank: iterative, thinking, of 100 calls."""
    empty = pl.Series([[]] * len(values), dtype=pl.List(pl.String))
    return pl.DataFrame(
        {
            "episode_id": [f"{model}-{number}" for number in range(len(values))],
            "stage": "evaluate",
            "set_id": [f"s{first + number}" for number in range(len(values))],
            "task": "synthetic",
            "model": model,
            "arm": arm,
            "strategy": "iterative",
            "thinking": True,
            "seed": 0,
            "ranking": empty,
            "pool": empty,
            "calls": 100,
            "invalid_calls": round(100 * malformed),
            "prompt_tokens": round(tokens * 0.8),
            "completion_tokens": round(tokens * 0.2),
            "milliseconds": 1.0,
            "reward": 0.0,
            "rr": values,
        }
    )


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
