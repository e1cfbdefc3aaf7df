"""How much is new since the champion was trained, on data that grows."""

from __future__ import annotations

from pathlib import Path

from ranker.lake import Lake
from ranker.refs import Champion, Ref
from ranker.stages import news
from tests.ranker.evaluated import commit
from tests.ranker.material import Row, movies, taste


def _since(lake: Lake, sets: Ref) -> news.News:
    found = news.since(lake, sets, Champion("3", "trained", "models/trained/rl"))
    assert found is not None
    return found


def test_new_and_changed_rows_are_counted_beside_the_champions(lake: Lake, tmp_path: Path) -> None:
    rows = taste(users=20, each=14)
    first = movies(lake, tmp_path / "first", rows)
    commit(lake, "train", "trained", {}, inputs=(first.key,))
    assert news.since(lake, first, Champion("3", "elsewhere", "models/other/rl")) is None
    same = _since(lake, first)
    assert {one.fresh for one in same.fresh} == {0} and not same.due(0.001)
    changed: list[Row] = [(u, i, 1 if place < 3 else r, at) for place, (u, i, r, at) in enumerate(rows)]
    known = sum(r == 1 for _, _, r, _ in rows[:3])
    grown = movies(lake, tmp_path / "grown", [*changed, *((99, i, 3, 2_000_000 + i) for i in range(11))])
    found = _since(lake, grown)
    (interactions,) = (one for one in found.fresh if one.kind == "interactions")
    assert (interactions.rows, interactions.fresh) == (291, 14 - known)
    assert not found.drift and found.due(0.04) and not found.due(0.05)
    new = 14 - known
    assert found.sentence(0.05) == (
        f"{new / 291:.1%} new interactions (rec-movie: {new} of 291) since champion version 3; no drift;"
        " from 5.0% a retraining is due"
    )


def test_drift_is_a_reason_however_little_is_new(lake: Lake, tmp_path: Path) -> None:
    """By the contracts' own measure: titles that are twice as long."""
    first = movies(lake, tmp_path / "first")
    commit(lake, "train", "trained", {}, inputs=(first.key,))
    longer = movies(lake, tmp_path / "longer", titles={i: f"Film number {i} of many" for i in range(40)})
    found = _since(lake, longer)
    assert found.drift == ("length of queries (rec-movie)",)
    assert news.News("3", (), found.drift).due(1.0) and not news.News("3", (), ()).due(1.0)
    assert "drift of length of queries (rec-movie)" in found.sentence(1.0)
