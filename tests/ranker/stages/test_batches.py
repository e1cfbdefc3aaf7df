"""Rankings kept as they are made: a killed run loses one batch at most, and memory holds one at a time."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from ranker.config import EvaluateParams
from ranker.engines.scripted import ScriptedEngine
from ranker.policy.prompts import Prompt
from ranker.refs import PROJECT
from ranker.stages import evaluate
from ranker.stages.batches import Batches, in_batches
from ranker.stages.batches import made as all_made
from ranker.strategies.episodes import EPISODES, together
from tests.ranker.factories import oracle, overlap_sets

BATCH, QUERIES = 4, 40
PARAMS = EvaluateParams(bootstrap=100, queries_per_batch=BATCH, max_queries=10_000)
ARM = evaluate.Arm("rl", "k/rl", Path("none"), ("iterative", "direct"), (True,), 10_000)


def work(engine: ScriptedEngine, queries: int = QUERIES, params: EvaluateParams = PARAMS) -> Iterator:
    """The batches of one arm, by the engine of a test."""
    sets = overlap_sets(queries)
    by_id = {given.set_id: given for given in sets}
    return evaluate.work(ARM, sets, by_id, params, lambda text: None, lambda: engine)


SLOW = """
import sys, time, pathlib
from tests.ranker.stages.test_batches import work
from tests.ranker.factories import oracle
from ranker.engines.scripted import ScriptedEngine
from ranker.stages.batches import Batches

def slowly(prompt):
    time.sleep(0.01)
    return oracle(prompt)

batches = Batches(pathlib.Path(sys.argv[1]))
for what, make in work(ScriptedEngine(slowly)):
    batches.keep(what, make)
"""


def test_killed_it_goes_on_behind_its_last_whole_batch(tmp_path: Path) -> None:
    """A real process, killed outright while it ranks."""
    folder = tmp_path / "batches"
    running = subprocess.Popen([sys.executable, "-c", SLOW, str(folder)], cwd=PROJECT)
    deadline = time.monotonic() + 60
    while len(list(folder.glob("episodes-*.parquet"))) < 3:
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    whole = len(list(folder.glob("episodes-*.parquet")))
    asked: list[str] = []

    def answer(prompt: Prompt) -> str:
        asked.append(prompt.set.set_id)
        return oracle(prompt)

    batches = Batches(folder)
    for what, make in work(ScriptedEngine(answer)):
        batches.keep(what, make)
    total = 2 * QUERIES // BATCH
    assert 3 <= whole < total and batches.found == whole and len(batches.paths("steps")) == total
    # three calls a query by elimination, then one by its whole order
    first = min(whole, total // 2)
    assert len(asked) == QUERIES * 4 - BATCH * (3 * first + (whole - first))
    undisturbed = together(all_made(work(ScriptedEngine(oracle))))
    for table in ("episodes", "steps"):
        kept = pl.concat([pl.read_parquet(path) for path in batches.paths(table)])
        assert kept.drop("milliseconds").equals(undisturbed[table].drop("milliseconds")), table
    assert batches.episodes(evaluate.SCORED).equals(undisturbed["episodes"].select(evaluate.SCORED))
    batches.clear()
    assert not folder.exists()


def peak(folder: Path, queries: int, batch: int = BATCH) -> int:
    """Bytes of Python objects at once while so many queries are ranked, each answer 60 kB long."""
    engine = ScriptedEngine(lambda prompt: f"{prompt.set.set_id} {'sososososo ' * 60}" * 90, style="chat")
    params = PARAMS.model_copy(update={"queries_per_batch": batch, "max_completion_length": 10_000})
    batches, made = Batches(folder / f"{queries}-{batch}"), work(engine, queries, params)
    tracemalloc.start()
    for what, make in made:
        batches.keep(what, make)
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_memory_does_not_grow_with_the_queries(tmp_path: Path) -> None:
    few, many = peak(tmp_path, 12), peak(tmp_path, 96)
    assert many < 1.5 * few
    assert peak(tmp_path, 96, batch=96) > 4 * few, "the probe sees it"


def test_without_a_batch_the_tables_are_empty(tmp_path: Path) -> None:
    batches = Batches(tmp_path / "none")
    assert batches.paths("steps") == [] and batches.episodes(["set_id", "rr"]).height == 0
    assert set(evaluate.SCORED) <= set(EPISODES)


@pytest.mark.parametrize(("size", "found"), [(2, [[1, 2], [3]]), (9, [[1, 2, 3]])])
def test_batches_hold_so_many_and_the_last_the_rest(size: int, found: list[list[int]]) -> None:
    assert list(in_batches([1, 2, 3], size)) == found
