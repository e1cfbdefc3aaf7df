"""Data shaped like the field's large sets, drawn from a seed: MovieLens-20M's interactions, MS MARCO's
passages, a year of evaluations.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from ranker.lake import Lake
from ranker.refs import Ref, Staged, Verdict

USERS, ITEMS, INTERACTIONS = 138_000, 27_000, 20_000_000
"""Of MovieLens-20M; fewer interactions come from fewer users over the same catalogue."""
START = datetime(2015, 1, 1, tzinfo=UTC)
VOCABULARY, WORDS = 200_000, 56
"""Of MS MARCO's passages: distinct words in the order of a million passages, and words of a passage on
average.
"""
ARMS = ("untrained", "sft", "rl", "pretrained", "champion", "teacher")
POOL = 8


def accept(_staged: Staged) -> list[Verdict]:
    """A contract that passes everything, where the contract is not what is measured."""
    return []


def interactions(rows: int, seed: int = 1) -> pl.DataFrame:
    """`rows` distinct pairs: user_id, item_id, rating, happened_at; users log-normal in activity, items
    Zipfian in popularity.
    """
    rng = np.random.default_rng(seed)
    users = max(50, USERS * rows // INTERACTIONS)
    activity = np.cumsum(rng.lognormal(0.0, 0.9, users))
    popularity = np.cumsum(1.0 / (np.arange(ITEMS) + 20.0))
    pairs = np.empty(0, np.int64)
    while (
        len(pairs) < rows
    ):  # each turn adds at least a part of what is missing: users × ITEMS is far above `rows`
        lacking = int((rows - len(pairs)) * 1.3) + 1_000
        who = np.searchsorted(activity, rng.random(lacking) * activity[-1])
        what = np.searchsorted(popularity, rng.random(lacking) * popularity[-1])
        pairs = np.unique(np.concatenate([pairs, who * ITEMS + what]))
    pairs = np.sort(rng.choice(pairs, rows, replace=False, shuffle=False))
    return pl.DataFrame(
        {
            "user_id": pl.Series(pairs // ITEMS).cast(pl.String),
            "item_id": pl.Series(pairs % ITEMS).cast(pl.String),
            "rating": rng.integers(1, 11, rows) / 2,
            "happened_at": START.timestamp() + rng.integers(0, 86_400 * 3_650, rows).astype(np.float64),
        }
    ).with_columns(
        pl.from_epoch(pl.col("happened_at").cast(pl.Int64)).dt.replace_time_zone("UTC").alias("happened_at")
    )


def titles() -> pl.Series:
    """Of the items, in the order of their numbers."""
    return pl.select(pl.format("Film {}", pl.int_range(ITEMS))).to_series()


def passages(rows: int, seed: int = 2) -> list[str]:
    """Texts of Zipfian words, 20 to 92 of them."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(WORDS - 36, WORDS + 37, rows)
    frequency = np.cumsum(1.0 / (np.arange(VOCABULARY) + 3.0))
    names = np.array([f"w{number}" for number in range(VOCABULARY)], dtype=object)
    drawn = names[np.searchsorted(frequency, rng.random(int(lengths.sum())) * frequency[-1])]
    return [" ".join(words) for words in np.split(drawn, np.cumsum(lengths)[:-1])]


def ingest_interactions(lake: Lake, rows: int, folder: Path) -> Ref:
    """An ingest stage run of the task rec-movie with so many interactions; nothing is kept in `folder`."""
    path = folder / "interactions.parquet"
    interactions(rows).with_columns(pl.lit("rec-movie").alias("task")).write_parquet(path)
    items = pl.DataFrame(
        {"item_id": pl.Series(range(ITEMS)).cast(pl.String), "title": titles(), "text": titles()}
    ).with_columns(pl.lit("rec-movie").alias("task"), pl.lit(None, pl.String).alias("attributes"))
    facts = {
        "task": "rec-movie",
        "reader": "bench",
        "location": "",
        "content_digest": str(rows),
        "rows_read": rows,
    }
    tables = {
        "sources": pl.DataFrame([facts]),
        "items": items,
        "interactions": [path],
        "queries": pl.DataFrame(),
        "qrels": pl.DataFrame(),
    }
    try:
        return lake.write(
            "ingest",
            f"bench{rows}",
            tables,
            inputs=[],
            parameters="[]",
            code="bench",
            read_snapshot=0,
            details={"tasks": {"rec-movie": {"location": "", "digest": str(rows)}}},
            check=accept,
        )
    finally:
        path.unlink()


SETS = """
insert into candidate_sets by name
select 'sets' as batch_id, 's' || range as set_id, 'rec-movie' as task, 'test' as split,
       'q' || range as query_id, 'g' || range as group_id,
       'one; two; three' as query, ['1', '2', '3'] as query_items, $pool as pool_size
from range($sets)
"""
CANDIDATES = """
insert into candidates by name
select 'sets' as batch_id, 's' || s.range as set_id, c.range as slot, chr((65 + c.range)::integer) as label,
       'i' || (s.range * 31 + c.range * 7) % 27000 as item_id,
       'A film' as text, (c.range = s.range % $pool)::integer as relevance, 'popularity' as origin,
       1.0 as prior
from range($sets) s, range($pool) c
"""
EPISODES = """
create or replace temp table made as
select range as number, 'e' || range as episode_id, 's' || (range // (2 * len($arms)) % $sets) as set_id,
       $arms[1 + range % len($arms)] as arm,
       range // len($arms) % 2 = 0 as thinking, 'evaluation' || range // (2 * len($arms) * $sets) as batch_id,
       list_sort(list_transform(range($pool),
       lambda i: hash(range,
       i) // 64 * 64 + i)).list_transform(lambda h: chr((65 + h % 64)::integer)) as pool,
       1 + hash(range, 'rank') % $pool as rank, 2000 + hash(range, 'cost') % 800 as prompt_tokens
from range($episodes)
"""
INSERT_EPISODES = """
insert into episodes by name
select batch_id, episode_id, 'evaluate' as stage, set_id, 'rec-movie' as task, 'model/' || arm as model, arm,
       'iterative' as strategy, thinking, 0 as seed,
       null as train_step, pool as ranking, pool, $pool - 1 as calls, 0 as invalid_calls, prompt_tokens,
       100 as completion_tokens, 5.0 as milliseconds,
       0.0 as reward, 1 / rank as rr, 1 / log2(rank + 1) as ndcg_5, 1 / log2(rank + 1) as ndcg_10,
       (rank = 1)::integer as hit_1, (rank <= 3)::integer as hit_3
from made
"""
ROLLOUTS = """
insert into episodes by name
select 'training' as batch_id, 'r' || range as episode_id, 'train' as stage, 's' || range % $sets as set_id,
       'rec-movie' as task, 'model/rl' as model, 'rl' as arm,
       'iterative' as strategy, true as thinking, 0 as seed, range // 128 as train_step,
       ['A', 'B'] as ranking, ['A', 'B'] as pool, 1 as calls,
       (hash(range) % 50 = 0)::integer as invalid_calls, 300 as prompt_tokens, 12 as completion_tokens,
       5.0 as milliseconds, (hash(range) % 100) / 100 as reward
from range($rollouts)
"""
STEPS = """
insert into steps by name
select batch_id, episode_id, s.range as step, 'exclude' as mode, pool[s.range + 1:] as pool,
       'Which film fits worst?' as prompt, '<answer> ' || pool[s.range + 1] || ' </answer>' as completion,
       [pool[s.range + 1]] as action, [pool[s.range + 1]] as taken, hash(number, s.range) % 50 > 0 as valid,
       if(hash(number, s.range) % 50 > 0, '', 'truncated') as reason,
       0.1 as reward, 0.0 as reward_format, 0.1 as reward_task, 0.0 as reward_trace,
       prompt_tokens // $pool as prompt_tokens, 12 as completion_tokens, 1.0 as milliseconds,
       'model/' || arm as model, 'iterative' as strategy, 0 as seed
from made, range($pool - 1) s
"""
RUNS = """
insert into stage_runs by name
select distinct 'evaluate' as stage, batch_id, ['sets'] as inputs, '{}' as parameters, 'bench' as code,
       0 as read_snapshot, '{}' as rows_written, '{}' as details, now() as finished_at
from made
union all select 'candidates', 'sets', [], '{}', 'bench', 0, '{}', '{}', now() union all select 'train',
'training', ['sets'], '{}', 'bench', 0, '{}', '{}', now()
"""
EVALUATIONS = """
insert into evaluations by name
select batch_id, task, arm, model, strategy, thinking, 'RR' as metric, avg(rr) as value,
       avg(rr) - 0.01 as lower, avg(rr) + 0.01 as upper, count(*) as queries
from episodes where stage = 'evaluate' group by all
"""


def evaluated(lake: Lake, steps: int, sets: int = 5_000) -> int:
    """Evaluations with at least `steps` steps, written by SQL, and a quarter as many training rollouts;
    gives the number of steps.
    """
    episodes = -(-steps // (POOL - 1))
    size: dict[str, object] = {"pool": POOL, "sets": sets}
    lake.execute(SETS, size)
    lake.execute(CANDIDATES, size)
    lake.execute(EPISODES, {**size, "arms": list(ARMS), "episodes": episodes})
    for statement in (INSERT_EPISODES, STEPS):
        lake.execute(statement, {"pool": POOL})
    lake.execute(ROLLOUTS, {"sets": sets, "rollouts": steps // 4})
    lake.execute(RUNS)
    lake.execute(EVALUATIONS)
    return int(lake.rows("select count(*) from steps").item())
