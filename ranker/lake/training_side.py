"""What the training side of a batch of candidate sets had touched and judged: all that teachers, first stages
and counts may be derived from, read the same by every stage.

The side is a hash of the group, or by time what happened before training ends (`cuts` in the details of the
stage `candidates`).
"""

from __future__ import annotations

import polars as pl

from ranker.lake.candidate_sets import split_shares
from ranker.lake.connection import Lake
from ranker.refs import Ref
from ranker.types import JsonObject


def visits(lake: Lake, sets: Ref, task: str) -> pl.DataFrame:
    """What users of the training side touched, in the order of time: user_id, item_id."""
    where, cut = _shown(lake, sets, task), sets.details.get("cuts", {}).get(task)
    before = cut["train_before"] if cut else None
    return lake.named("distill/visits", {**where, "seed": sets.details["seed"], "before": before})


def judgements(lake: Lake, sets: Ref, task: str) -> pl.DataFrame:
    """Judgements of training queries: query_id, query, item_id, relevance."""
    return lake.named("distill/judgements", _shown(lake, sets, task))


def _shown(lake: Lake, sets: Ref, task: str) -> JsonObject:
    """Which rows are meant; who is on the training side is registered as `splits`, which the SQL joins."""
    where = {"batch_id": sets.details["source"], "task": task}
    found = lake.named("candidates/splits", {**where, **split_shares(sets.details)})
    if task in sets.details.get("cuts", {}):  # by time every user trains, until training ends
        found = found.with_columns(pl.lit("train").alias("split"))
    lake.register("splits", found)
    return where
