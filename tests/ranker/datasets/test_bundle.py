"""What a reader gives."""

from __future__ import annotations

import polars as pl

from ranker.datasets.bundle import INTERACTIONS, ITEMS, QRELS, QUERIES, Bundle, empty


def test_what_a_reader_leaves_out_is_there_and_empty_in_the_lakes_columns() -> None:
    bundle = Bundle(empty(ITEMS))
    frames = (bundle.items, bundle.interactions, bundle.queries, bundle.qrels)
    for frame, schema in zip(frames, (ITEMS, INTERACTIONS, QUERIES, QRELS), strict=True):
        assert frame.is_empty() and frame.schema == pl.DataFrame(schema=dict(schema)).schema
    assert bundle.rows_read == 0 and not bundle.left_out


def test_the_main_part_is_interactions_or_else_judgements() -> None:
    judged = pl.DataFrame([("q", "i", 1.0)] * 3, schema=dict(QRELS), orient="row")
    met = pl.DataFrame({"user_id": ["u", "v"]}).join(empty(INTERACTIONS), on="user_id", how="left")
    assert Bundle(empty(ITEMS), qrels=judged).rows_read == 3
    assert Bundle(empty(ITEMS), interactions=met, qrels=judged).rows_read == 2
