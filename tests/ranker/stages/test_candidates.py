"""Candidate sets: what must never happen (leaks, false negatives, twins), what must always (seeded, split,
of size).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.gate import validate_batch
from ranker.config import CandidateParams, IngestParams, task
from ranker.errors import BadConfig, BadPool
from ranker.lake import Lake, open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.refs import Ref, digest
from ranker.stages import candidates, ingest
from ranker.stages.candidates import _put_hits_first, _smallest
from ranker.types import slot_labels
from tests.ranker.material import ML_100K, Row, movies, needs_movielens, passes, read_in, recbole, taste

SMALL = CandidateParams(
    history=4,
    test_per_user=3,
    train_per_user=6,
    pool_size={"rec-movie": 6, "passage-pydoc": 4, "synthetic": 4},
)


def _draw(
    lake: Lake, ref: Ref, name: str, params: CandidateParams = SMALL
) -> tuple[pl.DataFrame, pl.DataFrame]:
    return candidates.draw(lake, ref.key, task(name), params)


def _pool_rows(lake: Lake, ref: Ref) -> pl.DataFrame:
    return lake.rows(
        "select * from candidates join candidate_sets using (set_id, batch_id) where batch_id = $key order by"
        " set_id, slot",
        {"key": ref.key},
    )


# -- recommendation


def test_history_is_the_latest_before_the_target_and_test_targets_are_the_last(
    lake: Lake, tmp_path: Path
) -> None:
    rows: list[Row] = [(u, (u + k) % 30, 3, 100 * k) for u in range(8) for k in range(10)]
    ref = movies(lake, tmp_path, rows, params=SMALL)
    for one in load_sets(lake, ref.key, split="test"):
        user = int(one.group_id)
        positive = next(int(c.item_id) for c in one.candidates if c.relevance > 0)
        place = (positive - user) % 30
        assert place in (7, 8, 9)
        assert list(one.query_items) == [str((user + k) % 30) for k in range(place - 4, place)]
        assert one.query == "; ".join(f"Film {i} ({1950 + int(i)})" for i in one.query_items)


def test_a_limit_takes_the_same_queries_whatever_pools_are_drawn(lake: Lake, tmp_path: Path) -> None:
    rows: list[Row] = [(u, (u + k) % 30, 3, 100 * k) for u in range(40) for k in range(10)]
    refs = [
        movies(
            lake,
            tmp_path / str(size),
            rows,
            params=SMALL.model_copy(update={"pool_size": {"rec-movie": size}}),
        )
        for size in (6, 5)
    ]
    few, fewer = (
        [(one.group_id, one.query) for one in load_sets(lake, ref.key, split="test", limit=limit)]
        for ref, limit in zip(refs, (8, 5), strict=True)
    )
    assert refs[0].key != refs[1].key and len(few) == 8
    assert fewer == few[:5]
    assert few != sorted(few), "a sample, not the first by name"


def test_short_histories_serve_down_to_half_of_what_is_asked(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste(each=5)))
    sets, _ = _draw(lake, source, "rec-movie", SMALL.model_copy(update={"history": 6}))
    assert sets["query_items"].list.len().unique().sort().to_list() == [3, 4]


def test_popularity_counts_training_users_only(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste()))
    sides = dict(candidates.splits(lake, source.key, "rec-movie", SMALL).iter_rows())
    _, pools = _draw(lake, source, "rec-movie")
    touched = pl.DataFrame(taste(), schema=["user", "item", "rating", "time"], orient="row").filter(
        pl.col("user").cast(pl.String).replace_strict(sides) == "train"
    )
    expected = {str(item): count for item, count in touched.group_by("item").len().iter_rows()}
    assert all(prior == expected.get(item, 0) for item, prior in pools.select("item_id", "prior").iter_rows())


def test_validation_users_are_neither_trained_on_nor_tested_and_are_drawn_as_tests_are(
    lake: Lake, tmp_path: Path
) -> None:
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste(users=60)))
    params = SMALL.model_copy(update={"valid_share": 0.3, "test_per_user": 2, "max_valid": 17})
    sides = candidates.splits(lake, source.key, "rec-movie", params)
    assert sides.group_by("split").len().sort("split").rows() == [("test", 15), ("train", 31), ("valid", 14)]
    sets, _ = _draw(lake, source, "rec-movie", params)
    valid = sets.filter(pl.col("split") == "valid")
    assert valid.height == 17 and valid.group_by("group_id").len()["len"].max() == 2
    assert set(valid["group_id"]).isdisjoint(sets.filter(pl.col("split") != "valid")["group_id"])
    without = params.model_copy(update={"valid_share": 0.0})
    bare = candidates.splits(lake, source.key, "rec-movie", without)
    assert set(bare["split"]) == {"train", "test"}
    assert bare.filter(pl.col("split") == "test").equals(
        sides.filter(pl.col("split") == "test")
    )  # what is reported stays the same


@pytest.mark.parametrize("task_name", ["rec-movie", "passage-pydoc", "synthetic"])
def test_a_sealed_share_is_drawn_by_nobody_and_leaves_the_other_held_out_sides_as_they_are(
    task_name: str, lake: Lake, tmp_path: Path
) -> None:
    places = {
        "rec-movie": lambda: recbole(tmp_path / "ml", taste(users=60)),
        "passage-pydoc": lambda: _library(tmp_path / "lib", modules=12),
        "synthetic": lambda: None,
    }
    source, plain = read_in(lake, task_name, places[task_name]()), SMALL
    params = plain.model_copy(update={"audit_share": 0.2})
    open_sides = dict(candidates.splits(lake, source.key, task_name, plain).iter_rows())
    sides = dict(candidates.splits(lake, source.key, task_name, params).iter_rows())
    sealed = {group for group, side in sides.items() if side == "sealed"}
    moved = {group for group, side in sides.items() if side != open_sides[group]}
    assert sealed == moved and {open_sides[group] for group in sealed} == {"train"}
    assert not candidates.sealed_sets(lake, source.key, task(task_name), plain)

    ref = candidates.run(lake, params, source=source, check=passes)
    held = lake.rows(
        "select distinct group_id, split from candidate_sets where batch_id = $key", {"key": ref.key}
    )
    assert sealed.isdisjoint(held["group_id"]) and "sealed" not in set(held["split"])
    drawn = candidates.sealed_sets(lake, source.key, task(task_name), params)
    assert drawn and {one.group_id for one in drawn} <= sealed
    assert drawn == candidates.sealed_sets(lake, source.key, task(task_name), params), "always the same"
    assert all(max(one.relevance.values()) > min(one.relevance.values()) for one in drawn)
    assert lake.rows("select count(*) from candidate_sets").item() == ref.rows["candidate_sets"]


def test_gates_part_the_test_side_by_group_and_nobody_learns_from_what_is_kept_back(
    lake: Lake, tmp_path: Path
) -> None:
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste(users=60)))

    def sides(**gate: int) -> dict[str, str]:
        params = SMALL.model_copy(update=gate)
        return dict(candidates.splits(lake, source.key, "rec-movie", params).iter_rows())

    plain = sides()
    tests = [{group for group, side in sides(gates=4, gate=n).items() if side == "test"} for n in range(1, 5)]
    assert sorted(group for part in tests for group in part) == sorted(
        g for g, s in plain.items() if s == "test"
    )
    assert all(3 <= len(part) <= 4 for part in tests), "of 15 users"
    assert {side: sides(gates=4, gate=2)[group] for group, side in plain.items() if side != "test"} == {
        "train": "train",
        "valid": "valid",
    }
    sets, _ = _draw(lake, source, "rec-movie", SMALL.model_copy(update={"gates": 4, "gate": 2}))
    held = {side: set(part["group_id"]) for (side,), part in sets.group_by("split")}
    assert held["test"] == tests[1] and not (held["train"] | held["valid"]) & {
        g for part in tests for g in part
    }


@st.composite
def _worlds(draw: st.DrawFn) -> list[Row]:
    """Few users and items, many equal times."""
    users, items = draw(st.integers(4, 8)), 40
    length = st.lists(st.integers(0, items - 1), min_size=4, max_size=10, unique=True)
    return [(u, i, 3, draw(st.integers(0, 3))) for u in range(users) for i in draw(length)]


@given(rows=_worlds(), seed=st.integers(0, 50), how=st.sampled_from(["popularity", "uniform"]))
@settings(max_examples=6, deadline=None)
def test_whatever_the_data_no_negative_was_ever_touched_and_no_user_is_on_both_sides(
    rows: list[Row], seed: int, how: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    room = tmp_path_factory.mktemp("world")
    titles = {i: f"Film {i // 2}" for i in range(40)}  # every text twice
    params = SMALL.model_copy(update={"history": 2, "seed": seed, "negatives": how})
    with open_lake(room / "home") as lake:
        source = read_in(lake, "rec-movie", _twins(room / "ml", rows, titles))
        sets, pools = _draw(lake, source, "rec-movie", params)
        again = _draw(lake, source, "rec-movie", params)
    assert sets.equals(again[0]) and pools.sort("query_id", "item_id").equals(
        again[1].sort("query_id", "item_id")
    )
    texts = {
        user: {titles[int(i)] for u, i, *_ in rows if str(u) == user}
        for user in map(str, {u for u, *_ in rows})
    }
    user_of = dict(sets.select("query_id", "group_id").iter_rows())
    assert sets.group_by("group_id").agg(pl.col("split").n_unique())["split"].max() == 1
    assert {"train", "test"} <= set(sets["split"]) <= {"train", "valid", "test"}
    for query, item, relevance in pools.select("query_id", "item_id", "relevance").iter_rows():
        assert (titles[int(item)] in texts[user_of[query]]) == (relevance > 0)
    sizes = pools.group_by("query_id").agg(
        pl.len(), pl.col("text").n_unique().alias("texts"), pl.col("relevance").sum()
    )
    assert set(sizes.select("len", "texts", "relevance").iter_rows()) == {(6, 6, 1.0)}


def _twins(folder: Path, rows: list[Row], titles: dict[int, str]) -> Path:
    recbole(folder, rows, items=0)
    (folder / "x.item").write_text(
        "item_id:token\tname:token_seq\n" + "".join(f"{i}\t{t}\n" for i, t in titles.items())
    )
    return folder


def test_a_user_who_has_touched_nearly_everything_is_named(lake: Lake, tmp_path: Path) -> None:
    rows = [*taste(items=12, each=6), *((99, i, 3, i) for i in range(9))]
    with pytest.raises(
        BadPool,
        match=r"needs 5 negatives\n.*user '99' has touched nearly everything: 3 left\n.*pool_size\.rec-movie",
    ):
        movies(lake, tmp_path, rows, items=12, params=SMALL)


def test_users_with_too_little_history_are_refused_with_a_remedy(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(BadPool, match=r"train 0.*\n.*shorter candidates\.history"):
        movies(lake, tmp_path, taste(each=2), params=SMALL)


def test_one_user_cannot_be_split(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(BadPool, match="both train and test"):
        movies(lake, tmp_path, taste(users=1), params=SMALL)


def test_a_pool_of_one_is_refused(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(BadPool, match="pool_size 1"):
        movies(lake, tmp_path, params=SMALL.model_copy(update={"pool_size": {"rec-movie": 1}}))


# -- by time


def test_the_hashed_split_is_what_it_was_before_there_was_another(lake: Lake, tmp_path: Path) -> None:
    """The digest of every row, taken at commit e36f9a5: whoever changes a draw that others have results of
    sees it here.
    """
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste()))
    sets, pools = _draw(lake, source, "rec-movie")
    rows = sets.sort("query_id").rows(), pools.sort("query_id", "item_id").rows()
    assert digest(*rows) == "a4f1b90234bf9999"


ENDS, BEGINS = 400, 700
"""Seconds at which training ends and the test begins."""
BY_TIME = CandidateParams(
    split="time",
    train_before=datetime.fromtimestamp(ENDS, UTC).isoformat(),
    test_from=datetime.fromtimestamp(BEGINS, UTC).isoformat(),
    history=3,
    pool_size={"rec-movie": 4},
)
Meetings = dict[tuple[int, int], int]
"""User and item → second."""


@st.composite
def _lives(draw: st.DrawFn) -> Meetings:
    """Few users, on both sides of the cuts and at the very moments; user 0 has enough on each side."""
    moment = st.sampled_from(range(0, 1_000, 50))
    items = st.dictionaries(st.integers(0, 39), moment, min_size=4, max_size=12)
    met = {(user, item): at for user in range(1, 5) for item, at in draw(items).items()}
    return met | {(0, item): at for item, at in enumerate((0, 100, 200, 300, 500, 600, 800, 900))}


def _until(end: int, life: Meetings, other: Meetings) -> Meetings:
    """A life that goes on as another."""
    past = {pair: at for pair, at in life.items() if at < end}
    return {pair: at for pair, at in other.items() if at >= end} | past


@pytest.fixture(scope="module")
def times(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake for many small worlds."""
    with open_lake(tmp_path_factory.mktemp("times")) as opened:
        yield opened


def _lived(lake: Lake, *lives: Meetings) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The sets and pools of each life, all written in one commit."""
    keys = [uuid4().hex for _ in lives]
    rows = [
        (key, "rec-movie", str(user), str(item), 3.0, datetime.fromtimestamp(at, UTC))
        for key, life in zip(keys, lives, strict=True)
        for (user, item), at in life.items()
    ]
    items = [(key, "rec-movie", str(i), f"Film {i}", f"Film {i}") for key in keys for i in range(40)]
    named = ["batch_id", "task", "user_id", "item_id", "rating", "happened_at"]
    lake.register("met", pl.DataFrame(rows, schema=named, orient="row"))
    lake.register(
        "films", pl.DataFrame(items, schema=["batch_id", "task", "item_id", "title", "text"], orient="row")
    )
    lake.execute(
        "begin; insert into items by name from films; insert into interactions by name from met; commit"
    )
    for key in keys:
        (cut,) = candidates.cuts(lake, key, [task("rec-movie")], BY_TIME).values()
        yield candidates.draw(lake, key, task("rec-movie"), BY_TIME, cut)


@given(life=_lives(), other=_lives())
@settings(max_examples=4, deadline=None)
def test_whatever_happens_later_changes_nothing_of_a_side(
    times: Lake, life: Meetings, other: Meetings
) -> None:
    """The strongest form of "no leak": histories, targets, negatives and counts of a side are a function of
    what had happened by its end.
    """
    (sets, pools), trained, chosen = _lived(
        times, life, _until(ENDS, life, other), _until(BEGINS, life, other)
    )
    for sides, (other_sets, other_pools) in ((["train"], trained), (["train", "valid"], chosen)):
        here, there = (one.filter(pl.col("split").is_in(sides)) for one in (sets, other_sets))
        assert here.equals(there) and here.height
        ids = here.select("query_id")
        assert _sorted(pools.join(ids, on="query_id")).equals(_sorted(other_pools.join(ids, on="query_id")))
    _keeps_time(life, sets, pools)


def _sorted(pools: pl.DataFrame) -> pl.DataFrame:
    return pools.sort("query_id", "item_id")


def _keeps_time(life: Meetings, sets: pl.DataFrame, pools: pl.DataFrame) -> None:
    target = dict(pools.filter(pl.col("relevance") > 0).select("query_id", "item_id").iter_rows())
    side = {"train": (0, ENDS), "valid": (ENDS, BEGINS), "test": (BEGINS, 1_000)}
    user_of = {row["query_id"]: int(row["group_id"]) for row in sets.iter_rows(named=True)}
    for row in sets.iter_rows(named=True):
        begins, ends = side[row["split"]]
        at = life[int(row["group_id"]), int(target[row["query_id"]])]
        assert begins <= at < ends
        history = [life[int(row["group_id"]), int(item)] for item in row["query_items"]]
        assert history == sorted(history) and history[-1] <= at
    split = dict(sets.select("query_id", "split").iter_rows())
    for query, item, relevance, prior in pools.select(
        "query_id", "item_id", "relevance", "prior"
    ).iter_rows():
        assert prior == sum(at < ENDS for (_, touched), at in life.items() if touched == int(item))
        met = life.get((user_of[query], int(item)), 1_000)
        assert (met < side[split[query]][1]) == (relevance > 0)


def test_shares_cut_the_interactions_by_time(lake: Lake, tmp_path: Path) -> None:
    rows: list[Row] = [(u, i, 3, 1_000 + 40 * i + u) for u in range(8) for i in range(25)]
    source = read_in(lake, "rec-movie", recbole(tmp_path, rows))
    params = SMALL.model_copy(update={"split": "time", "test_share": 0.2, "valid_share": 0.25})
    asked = source.key, [task("rec-movie")]
    (cut,) = candidates.cuts(lake, *asked, params).values()
    times = sorted(int(str(at)) for *_, at in rows)
    ends, begins = (datetime.fromisoformat(at).timestamp() for at in (cut.train_before, cut.test_from))
    assert [sum(at < ends for at in times), sum(at < begins for at in times)] == [120, 160]
    early = params.model_copy(update={"test_before": datetime.fromtimestamp(times[100], UTC).isoformat()})
    (cut,) = candidates.cuts(lake, *asked, early).values()
    assert datetime.fromisoformat(cut.test_from).timestamp() == times[80]
    sets, _ = candidates.draw(lake, source.key, task("rec-movie"), early, cut)
    seen = sets.explode("query_items")
    latest = max(1_000 + 40 * int(i) + int(u) for u, i in seen.select("group_id", "query_items").iter_rows())
    assert latest < times[100]


def test_a_task_without_times_stays_with_the_hash(lake: Lake, tmp_path: Path) -> None:
    """And alone it is refused: nothing would be split by time."""
    folder = recbole(tmp_path, taste())
    both = IngestParams(tasks=("synthetic", "rec-movie"), locations={"rec-movie": str(folder)})
    source = ingest.run(lake, both, check=passes)
    ref = candidates.run(lake, SMALL.model_copy(update={"split": "time"}), source=source, check=passes)
    sides = lake.rows(
        "select group_id, split from candidate_sets where batch_id = $key and task = 'synthetic' order by 1",
        {"key": ref.key},
    )
    assert sides.unique().sort("group_id").equals(candidates.splits(lake, source.key, "synthetic", SMALL))
    assert set(ref.details["cuts"]) == {"rec-movie"}
    with pytest.raises(BadConfig, match=r"synthetic: no such times\n.*candidates\.split"):
        candidates.cuts(lake, source.key, [task("synthetic")], BY_TIME)


def test_a_cut_outside_the_data_is_refused_with_its_moments(lake: Lake, tmp_path: Path) -> None:
    never = CandidateParams(split="time", train_before="2020-01-01", test_from="2021-01-01")
    with pytest.raises(
        BadPool, match=r"train 192, test 0\n.*before 2020-01-01\S+ as well as from 2021-01-01"
    ):
        movies(lake, tmp_path, params=never)


# -- passages


def _library(folder: Path, modules: int = 8, each: int = 4, topic: str = "") -> Path:
    """Documentation whose passage repeats a word of its first sentence; `topic` stands in all of them."""
    folder.mkdir()
    for m in range(modules):
        (folder / f"m{m}.py").write_text("".join(_documented(f"thing{m}x{k}", k, topic) for k in range(each)))
    return folder


def _documented(thing: str, k: int, topic: str) -> str:
    rest = f"A {thing} is computed by means of {topic} part{k} and other {thing} kinds."
    return f'def f{k}():\n    """Compute the {thing} {topic} quickly here.\n\n    {rest}\n    """\n'


def test_passages_mix_hits_and_random_ones_of_their_own_side(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "passage-pydoc", _library(tmp_path / "lib", topic="alpha"))
    sets, pools = _draw(lake, source, "passage-pydoc", SMALL.model_copy(update={"bm25_share": 0.67}))
    origins = pools.group_by("query_id").agg(pl.col("origin").sort())["origin"].to_list()
    assert origins == [["bm25", "bm25", "positive", "random"]] * 32
    side = dict(sets.select("query_id", "split").iter_rows())
    assert all(side[query] == side[item] for query, item in pools.select("query_id", "item_id").iter_rows())
    best = pools.sort("prior", descending=True).unique("query_id", keep="first", maintain_order=True)
    assert (best["origin"] == "positive").all()


def test_without_hits_negatives_are_random(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "passage-pydoc", _library(tmp_path / "lib"))
    _, pools = _draw(lake, source, "passage-pydoc", SMALL.model_copy(update={"bm25_share": 0.0}))
    assert set(pools["origin"]) == {"positive", "random"}


def test_a_query_without_a_positive_is_named(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "passage-pydoc", _library(tmp_path / "lib"))
    lake.execute("update qrels set relevance = 0 where query_id = 'm3.f1'")
    with pytest.raises(BadPool, match=r"every query needs a positive\n.*'m3\.f1'"):
        _draw(lake, source, "passage-pydoc")


def test_too_few_passages_are_refused(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "passage-pydoc", _library(tmp_path / "lib", modules=2, each=2))
    with pytest.raises(BadPool, match="needs 3 negatives"):
        _draw(lake, source, "passage-pydoc")


# -- pools that come with the data


def test_given_pools_keep_a_best_and_a_worst_one(lake: Lake) -> None:
    source = read_in(lake, "synthetic")
    _, pools = _draw(lake, source, "synthetic", SMALL.model_copy(update={"pool_size": {"synthetic": 2}}))
    spread = pools.group_by("query_id").agg(
        pl.len(), pl.col("relevance").max().alias("high"), pl.col("relevance").min().alias("low")
    )
    assert set(spread["len"]) == {2} and (spread["high"] > 0).all() and set(spread["low"]) == {0.0}
    assert set(pools["origin"]) == {"given"}


def test_queries_whose_candidates_are_all_equal_are_left_out(lake: Lake) -> None:
    source = read_in(lake, "synthetic")
    lake.execute("update qrels set relevance = 2 where query_id = 'q7'")
    sets, _ = _draw(lake, source, "synthetic")
    assert sets.height == 399 and "q7" not in sets["query_id"].to_list()
    ref = candidates.run(lake, SMALL, source=source, check=passes)
    assert ref.details["tasks"]["synthetic"]["left_out"] == {"queries whose candidates are all equal": 1}


def test_a_pool_larger_than_what_is_given_is_refused(lake: Lake) -> None:
    with pytest.raises(BadPool, match=r"comes with 8\n.*pool_size\.synthetic to 8"):
        _draw(
            lake,
            read_in(lake, "synthetic"),
            "synthetic",
            SMALL.model_copy(update={"pool_size": {"synthetic": 9}}),
        )


def test_one_text_twice_in_a_pool_is_refused(lake: Lake) -> None:
    source = read_in(lake, "synthetic")
    lake.execute(
        "update items set text = 'same' where item_id in (select item_id from qrels where query_id = 'q1')"
    )
    with pytest.raises(BadPool, match="no two candidates of a pool may have the same text"):
        _draw(lake, source, "synthetic", SMALL.model_copy(update={"pool_size": {"synthetic": 8}}))


# -- the stage


def test_the_tables_are_decided_by_the_seed_and_keep_their_contract(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste()))
    ref = candidates.run(lake, SMALL, source=source, check=validate_batch)
    first = _pool_rows(lake, ref)
    assert candidates.run(lake, SMALL, source=source, check=passes).skipped
    assert _pool_rows(lake, candidates.run(lake, SMALL, source=source, check=passes, force=True)).equals(
        first
    )
    other = _pool_rows(
        lake, candidates.run(lake, SMALL.model_copy(update={"seed": 8}), source=source, check=passes)
    )
    assert not other.sort("query_id", "slot")["item_id"].equals(first.sort("query_id", "slot")["item_id"])
    assert ref.details["source"] == source.key and ref.details["tasks"]["rec-movie"]["pool_size"] == 6


def test_slots_are_labelled_in_order_and_the_positive_stands_anywhere(lake: Lake, tmp_path: Path) -> None:
    rows = _pool_rows(lake, movies(lake, tmp_path, taste(users=40), params=SMALL))
    assert all(slot_labels(6)[slot] == label for slot, label in rows.select("slot", "label").iter_rows())
    share = rows.filter(pl.col("relevance") > 0)["slot"].value_counts(normalize=True)
    assert share.height == 6 and share["proportion"].max() < 0.35


def test_caps_are_kept(lake: Lake, tmp_path: Path) -> None:
    ref = movies(lake, tmp_path, params=SMALL.model_copy(update={"max_train": 7, "max_test": 3}))
    assert (ref.details["tasks"]["rec-movie"]["train"], ref.details["tasks"]["rec-movie"]["test"]) == (7, 3)


# -- arrays


@given(st.integers(1, 6), st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_smallest_agrees_with_a_full_sort(k: int, seed: int) -> None:
    keys = np.random.default_rng(seed).random((5, 6))
    assert (_smallest(keys, k) == np.argsort(keys, axis=1)[:, :k]).all()


def test_hits_come_first_and_misses_keep_their_draw() -> None:
    keys = np.array([[0.5, 0.1, 0.2, 0.3]], np.float32)
    _put_hits_first(keys, np.array([[0.0, 2.0, 0.0, 7.0]]), 3)
    assert _smallest(keys, 4).tolist() == [[3, 1, 2, 0]]


# -- real data


def test_users_in_parts_give_the_same_draw(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a side is cut: the cut is over all parts."""
    source = read_in(lake, "rec-movie", recbole(tmp_path, taste()))
    params = SMALL.model_copy(update={"max_train": 50, "max_test": 5})
    sets, pools = _draw(lake, source, "rec-movie", params)
    monkeypatch.setattr(candidates, "INTERACTIONS", 40)
    again = _draw(lake, source, "rec-movie", params)
    assert dict(sets["split"].value_counts().iter_rows()).items() >= {"train": 50, "test": 5}.items()
    assert again[0].equals(sets) and again[1].sort("query_id", "item_id").equals(
        pools.sort("query_id", "item_id")
    )


@needs_movielens
def test_popularity_is_no_oracle_on_movielens(lake: Lake) -> None:
    source = read_in(lake, "rec-movie", ML_100K)
    sets, pools = candidates.draw(lake, source.key, task("rec-movie"), CandidateParams(max_train=1))
    assert sets.filter(pl.col("split") == "test").height >= 900
    ranked = pools.with_columns(
        pl.col("prior").rank("average", descending=True).over("query_id").alias("rank")
    ).filter(pl.col("relevance") > 0)
    test = ranked.join(sets.filter(pl.col("split") == "test"), on="query_id")
    assert 0.28 < (1 / test["rank"]).mean() < 0.42  # random: 0.340
