"""The benchmark runs, and its yardstick draws what the stage draws; nothing here looks at a time."""

from __future__ import annotations

import json
import time
from pathlib import Path

import polars as pl
import pytest

from benchmarks import gpu, shapes
from benchmarks.__main__ import Size, contracts, draw, on_postgres, passages, table, views
from benchmarks.__main__ import main as bench
from benchmarks.candidates import UNCAPPED
from benchmarks.crowd import crowd
from benchmarks.frontier import AXES, cached, caching, frontier, goals, write
from benchmarks.naive import NaiveLoop
from benchmarks.pandas_loop import draw as loop
from benchmarks.strategies import ARMS, Timed, main
from ranker.config import parse_params, task
from ranker.engines import Sampling, load
from ranker.lake import open_lake
from ranker.refs import PROJECT
from ranker.stages import candidates
from ranker.strategies import all_strategies, strategy
from ranker.train.estimate import hardware
from ranker.train.model_size import read
from tests.full_length import in_bench_alone
from tests.ranker.engines.models import tiny
from tests.ranker.factories import overlap_sets
from tests.ranker.lake.servers import postgres_binaries

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
    sets, pools = (pl.from_pandas(table) for table in loop(frame.to_pandas(), shapes.titles().to_list(), 20))
    shown = {query: rows for (query,), rows in pools.group_by("query_id")}
    for query, user, history in sets.select("query_id", "group_id", "query_items").iter_rows():
        assert (
            touched[user].issuperset(history)
            and shown[query].height == 20 == shown[query]["item_id"].n_unique()
        )
        assert [item in touched[user] for item in shown[query]["item_id"]] == (
            shown[query]["relevance"] > 0
        ).to_list()


def test_the_pandas_loop_and_the_stage_give_the_same_columns_and_as_many_rows(tmp_path: Path) -> None:
    with open_lake(tmp_path) as lake:
        source = shapes.ingest_interactions(lake, 20_000, tmp_path)
        ours = candidates.draw(lake, source.key, task("rec-movie"), UNCAPPED)
    naive = [
        pl.from_pandas(table)
        for table in loop(shapes.interactions(20_000).to_pandas(), shapes.titles().to_list(), 20)
    ]
    for one, other in zip(ours, naive, strict=True):
        assert dict(one.schema) == dict(other.schema)
        assert one.height == pytest.approx(other.height, rel=0.05)  # other users are held out


def test_every_part_runs_and_gives_rows(tmp_path: Path) -> None:
    rows = [
        *draw(tmp_path, SMALL),
        *contracts(tmp_path, SMALL),
        *views(tmp_path, SMALL),
        *passages(tmp_path, SMALL),
    ]
    assert len(rows) > 10 and all(row.what in table(rows) for row in rows)


def test_a_part_that_cannot_be_measured_is_one_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RANKER_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["bench", "--only", "serving"])
    with pytest.raises(SystemExit, match=r"benchmarks.serving .* ended with 1"):
        bench()
    said = capfd.readouterr().err
    assert "serving under load needs a champion" in said and "Traceback" not in said


@in_bench_alone  # tests/ranker/lake kills writers, too
def test_no_batch_is_lost_or_seen_in_part_while_writers_are_killed(tmp_path: Path) -> None:
    seen = crowd(tmp_path, 6.0, kill=True)
    assert seen["acknowledged"] > 0 and seen["reads"] > 0 and seen["kills"] > 0, seen
    assert seen["lost"] == seen["partial"] == seen["reader_errors"] == seen["writer_errors"] == 0, seen


@in_bench_alone
@pytest.mark.skipif(postgres_binaries() is None, reason="no PostgreSQL server on this machine")
def test_ten_on_a_catalog_in_postgresql_lose_nothing_while_writers_are_killed(tmp_path: Path) -> None:
    row = on_postgres(tmp_path, Size(0.001, 9.0))
    assert (
        row.holds and row.what.startswith("6 writers, 4 readers on PostgreSQL") and "kills 2" in row.measured
    )
    assert not (tmp_path / "crowd-postgres" / "lake" / "catalog.sqlite").exists()
    assert list((tmp_path / "parquet").rglob("*.parquet"))


def test_without_postgresql_the_row_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.postgres_binaries", lambda: None)
    row = on_postgres(tmp_path, SMALL)
    assert row.holds is None and row.measured.startswith("not run: no PostgreSQL server")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("policy"), context=256)


def test_the_naive_loop_ranks_as_one_by_one_elimination_does_and_counts_alike(folder: Path) -> None:
    sets = overlap_sets(5, pool=5)
    for thinking in (False, True):
        episodes = strategy("iterative")(sets, load(folder), thinking=thinking, sampling=Sampling(100))
        for ranked, episode in zip(NaiveLoop(folder, 3).rank(sets, thinking), episodes, strict=True):
            assert (
                ranked.ranking == episode.ranking
                and ranked.calls == len(episode.steps)
                and ranked.invalid == sum(not step.valid for step in episode.steps)
            )
            assert (ranked.prompt_tokens, ranked.completion_tokens) == (
                sum(step.prompt_tokens for step in episode.steps),
                sum(step.completion_tokens for step in episode.steps),
            )


def test_every_strategy_is_measured_and_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_study = {"think-then-score"}  # ranker study thinking
    assert {arm.how.partition(":")[0] for arm in ARMS} == set(all_strategies()) - own_study
    monkeypatch.setattr(
        "benchmarks.strategies.sets_of", lambda home, n, queries: overlap_sets(queries, pool=5)
    )
    found = {n: {**main(str(folder), tmp_path, n, 3), "n": n} for n in (20, 100)}
    for row in found[20]["rows"]:
        assert (
            row["rr"][1] <= row["rr"][0] <= row["rr"][2]
            and row["queries"] == 3
            and row["answers"] == 3 * row["calls"]
        )
        assert row["invalid"] == 0 or not row["constrained"]
    assert found[20]["alike"] == {"iterative, no-think, prefix cache": 1, "naive loop, no-think": 1}
    rows = [row for one in found.values() for row in goals(one)]
    assert any("malformed" in row.what and row.holds for row in rows)
    write(
        tmp_path,
        {"trained": {"steps": 1, "examples": 1, "seconds": 1.0}},
        found,
        rows,
        "Not run: no reason.",
        "Not run: another.",
    )
    page = (tmp_path / "strategies-measured.md").read_text()
    assert "## vLLM's prefix cache\n" in page and page.endswith("\n\nNot run: another.\n")
    assert (
        all(row["arm"] in page for row in found[20]["rows"])
        and "<svg" in (tmp_path / "strategies-measured.svg").read_text()
    )


def test_what_vllms_prefix_cache_spares_is_told() -> None:
    sets = overlap_sets(4)
    rankings = {given.set_id: list(given.labels) for given in sets}
    off = {
        "n": 4,
        "thinking": False,
        "seconds": 6.0,
        "prompt_tokens": 800,
        "cached_tokens": 0,
        "rankings": rankings,
    }
    on = off | {
        "seconds": 2.0,
        "cached_tokens": 200,
        "rankings": rankings | {sets[0].set_id: list(reversed(sets[0].labels))},
    }
    text, rows = cached({"off": [off], "on": [on]}, sets)
    assert [(row.what, row.measured, row.holds) for row in rows] == [
        (
            "n = 4: vLLM's prefix cache, one by one, no-think",
            (
                "25% of the prompt tokens from the cache, 3.00 times the queries a second; 75% of the"
                " rankings the same"
            ),
            None,
        )
    ]
    assert (
        [line.count("|") for line in text.splitlines()] == [10] * 4
        and "| off |" in text
        and "| 2.0 | 3.00 | 75% |" in text
    )


def test_without_an_environment_for_vllm_the_page_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.in_vllm.PYTHON", PROJECT / ".no-such-environment" / "bin" / "python")
    assert caching("model", overlap_sets(1), tmp_path) == (
        "Not run: no .no-such-environment/bin/python: `make test-vllm` makes the environment with vLLM.",
        [],
    )


def test_the_loops_own_time_is_what_the_engine_did_not_take(folder: Path) -> None:
    engine = Timed(load(folder))
    began = time.perf_counter()
    strategy("iterative")(overlap_sets(4), engine, thinking=False, sampling=Sampling(20))
    assert 0 < engine.seconds < time.perf_counter() - began


def test_the_frontier_is_what_no_cheaper_point_reaches() -> None:
    axis = next(iter(AXES))
    points = [
        {axis: cost, "mrr": mrr} for cost, mrr in ((3, 0.5), (1, 0.2), (2, 0.6), (4, 0.9), (1, 0.1), (5, 0.9))
    ]
    assert [point[axis] for point in frontier(points, axis)] == [1, 2, 4]


def test_the_gpu_page_sets_the_plan_beside_what_was_measured() -> None:
    """With the figures that were seen on one H200 (docs/scale.md)."""
    sizes = {"prompt": 832.0, "answer": 119.0, "longest": 952, "allocated": 56.4e9, "reserved": 59.8e9}
    way = {
        "how": "direct",
        "cache": 1024,
        "per_second": 2.0,
        "calls": 1.0,
        "prompt_tokens": 800.0,
        "cached_tokens": 200.0,
        "completion_tokens": 40.0,
    }
    found = {
        "sft": {"seconds": 4.5, "generating": 0.0, **sizes},
        "grpo": {"seconds": 13.0, "generating": 6.6, **sizes},
        "engine": {"rows": [way], "prefill": 5e4, "token": 0.024, "context": 800.0},
    }
    model, card = read(json.loads(gpu.SIZES.read_text()), "qwen"), hardware()["h200"]
    text = gpu.page(model, parse_params(gpu.GIVEN), card, card.title, found)
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    ratio = {
        (row[1], row[2]): float(row[5]) for row in cells if len(row) == 7 and row[1] in gpu.STEPS and row[5]
    }
    assert (
        0.8 < ratio["sft", "seconds a step"] < 1.2
        and 0.9 < ratio["sft", "peak memory, GiB (allocated)"] < 1.1
    )
    assert ["", "direct", "1 GiB", "2.00", "1.0", "800", "25%", "40", ""] in cells
