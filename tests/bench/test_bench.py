"""The benchmark runs, and its yardstick draws what the stage draws; nothing here looks at a time."""

from __future__ import annotations

from pathlib import Path

from tests.bench import shapes
from tests.bench.__main__ import Size, contracts, draw, passages, table, views
from tests.bench.crowd import crowd
from tests.bench.pandas_loop import draw as loop

SMALL = Size(0.001, 6.0)


def test_interactions_are_distinct_skewed_and_the_same_again() -> None:
    frame = shapes.interactions(20_000)
    assert frame.height == 20_000 == frame.select("user_id", "item_id").n_unique()
    assert frame.equals(shapes.interactions(20_000))
    counts = frame["item_id"].value_counts(sort=True)["count"]
    assert counts.head(len(counts) // 10).sum() > 0.4 * 20_000  # 0.1 if all were equally popular


def test_the_pandas_loop_draws_full_pools_of_untouched_items() -> None:
    frame = shapes.interactions(4_000)
    touched = {user: set(items) for user, items in frame.group_by("user_id").agg("item_id").iter_rows()}
    for user, positive, history, negatives in loop(frame.to_pandas(), 20):
        assert positive in touched[user] and touched[user].issuperset(history)
        assert len(set(negatives)) == 19 and touched[user].isdisjoint(negatives)


def test_every_part_runs_and_gives_rows(tmp_path: Path) -> None:
    rows = [*draw(tmp_path, SMALL), *contracts(tmp_path, SMALL), *views(tmp_path, SMALL), *passages(tmp_path, SMALL)]
    assert len(rows) > 10 and all(row.what in table(rows) for row in rows)


def test_no_batch_is_lost_or_seen_in_part_while_writers_are_killed(tmp_path: Path) -> None:
    seen = crowd(tmp_path, 10.0, kill=True)
    assert seen["acknowledged"] > 0 and seen["reads"] > 0 and seen["kills"] > 0, seen
    assert seen["lost"] == seen["partial"] == seen["reader_errors"] == seen["writer_errors"] == 0, seen
