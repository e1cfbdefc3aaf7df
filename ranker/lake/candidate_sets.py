"""Candidate sets as rows, and read from the lake."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from ranker.lake.connection import Lake
from ranker.types import Candidate, CandidateSet, JsonObject

_POOL = pl.Struct(
    {
        "label": pl.String,
        "item_id": pl.String,
        "text": pl.String,
        "relevance": pl.Float64,
        "prior": pl.Float64,
    }
)
_SETS = {
    "set_id": pl.String,
    "task": pl.String,
    "split": pl.String,
    "group_id": pl.String,
    "query": pl.String,
    "query_items": pl.List(pl.String),
    "pool": pl.List(_POOL),
}


def load_sets(
    lake: Lake, batch_id: str, *, split: str | None = None, task: str | None = None, limit: int | None = None
) -> list[CandidateSet]:
    """Candidate sets of one candidates batch, by task, split and a digest of the query; pools in shown order.

    That order is the same where candidates are drawn anew, by other settings or other code: what is drawn
    from it by a seed is, too.

    Args:
        lake: an open lake.
        batch_id: key of the candidates stage.
        split, task: restrict to one split or task.
        limit: at most so many sets per task and split, the first in that order: a random sample of its
            queries.
    """
    frame = lake.named("evaluate/sets", {"batch_id": batch_id, "split": split, "task": task, "most": limit})
    return from_frame(frame)


def to_frame(sets: Sequence[CandidateSet]) -> pl.DataFrame:
    """One row a set, its pool a list of structs in shown order; `from_frame` reads it back."""
    rows = [
        {
            **asdict(given),
            "query_items": list(given.query_items),
            "pool": [asdict(c) for c in given.candidates],
        }
        for given in sets
    ]
    return pl.DataFrame([{name: row[name] for name in _SETS} for row in rows], schema=_SETS)


def from_frame(frame: pl.DataFrame) -> list[CandidateSet]:
    """The sets of such a frame, in its order."""
    return [_from_row(row) for row in frame.iter_rows(named=True)]


def from_rows(sets: pl.DataFrame, candidates: pl.DataFrame) -> list[CandidateSet]:
    """The sets of rows as the tables `candidate_sets` and `candidates` have them, by set_id."""
    pools = (
        candidates.sort("set_id", "slot")
        .group_by("set_id", maintain_order=True)
        .agg(pl.struct([field.name for field in _POOL.fields]).alias("pool"))
    )
    return from_frame(sets.sort("set_id").join(pools, on="set_id", maintain_order="left"))


def split_shares(details: JsonObject) -> JsonObject:
    """What decides the sides (`sql/candidates/splits.sql`), of a candidates stage's details; in a lake of
    version 0.2.0 nothing is sealed or kept back.
    """
    later = {"audit_share": 0.0, "gates": 1, "gate": 1}
    return later | {
        name: value
        for name, value in details.items()
        if name in ("seed", "test_share", "valid_share", *later)
    }


def load_set(lake: Lake, batch_id: str, set_id: str) -> CandidateSet | None:
    """One candidate set of a candidates batch; None where it has no such set."""
    rows = lake.named("replay/set", {"batch_id": batch_id, "set_id": set_id}).to_dicts()
    return _from_row(rows[0]) if rows else None


def _from_row(row: JsonObject) -> CandidateSet:
    pool = tuple(
        Candidate(c["label"], c["item_id"], c["text"], c["relevance"], c["prior"]) for c in row["pool"]
    )
    return CandidateSet(
        row["set_id"],
        row["task"],
        row["split"],
        row["group_id"],
        row["query"],
        tuple(row["query_items"]),
        pool,
    )
