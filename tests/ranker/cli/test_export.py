"""`ranker export-run` on a lake: what it writes, and that a way that is not there is one readable block."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.lake import open_lake
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, judged
from tests.ranker.cli.commands import document, ranker
from tests.ranker.evaluated import commit
from tests.ranker.factories import oracle, overlap_sets

SETS = overlap_sets(3, pool=4, split="test")


def _evaluated(home: Path) -> None:
    shared = {"task": "synthetic", "split": "test", "query": "", "query_items": [], "pool_size": 4}
    asked = [{"set_id": one.set_id, "query_id": f"q-{one.set_id}", "group_id": "g", **shared} for one in SETS]
    pools = [
        {
            "set_id": given.set_id,
            "slot": slot,
            "label": one.label,
            "item_id": f"{given.set_id}-{one.label}",
            "text": one.text,
            "relevance": one.relevance,
            "origin": "given",
            "prior": 0.0,
        }
        for given in SETS
        for slot, one in enumerate(given.candidates)
    ]
    ranked = strategy("direct")(SETS, ScriptedEngine(oracle), thinking=True, sampling=Sampling(64))
    by_id = {given.set_id: given for given in SETS}
    kinds = {"query_items": pl.List(pl.String), "pool_size": pl.Int32}
    with open_lake(home) as lake:
        frames = {
            "candidate_sets": pl.DataFrame(asked, schema_overrides=kinds),
            "candidates": pl.DataFrame(pools, schema_overrides={"slot": pl.Int32}),
        }
        sets = commit(lake, "candidates", "sets", frames)
        tables = judged(ranked, by_id, Origin("evaluate", "m/rl", "rl", 1))
        commit(lake, "evaluate", "aa02", tables, inputs=(sets.key,))


def test_the_rankings_of_the_latest_evaluation_are_written(home: Path, tmp_path: Path) -> None:
    _evaluated(home)
    run = tmp_path / "run.txt"
    done = ranker("export-run", str(run))
    assert done.exit_code == 0 and "3 queries of synthetic, rl direct think" in done.stdout
    first = SETS[0]
    best = max(first.candidates, key=lambda one: one.relevance)
    lines = [line for line in run.read_text().splitlines() if line.startswith(f"q-{first.set_id} ")]
    assert lines[0] == f"q-{first.set_id} Q0 {first.set_id}-{best.label} 1 4 rl-direct-think"
    assert document("export-run", str(run))["rows"] == len(run.read_text().splitlines())
    other = ranker("export-run", str(run), "--evaluation", "aa02", "--arm", "champion")
    assert other.exit_code == 2 and "0 of aa02 fit" in other.stderr
