"""Shards on a real Ray cluster of two workers: the same rows as here, and a worker that dies costs time."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import psutil
import pytest
from pydantic import ValidationError

from ranker.config import CandidateParams, DistillParams, EvaluateParams, FanOutParams, PolicyParams
from ranker.engines import Completion, Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig, Unreachable
from ranker.lake import Lake
from ranker.policy.prompts import Prompt
from ranker.progress import Progress
from ranker.stages import candidates, distill, evaluate
from ranker.stages.batches import Batches
from ranker.stages.fan_out import FannedOut, cluster, kept, spread
from tests.ranker.engines.models import bytewise
from tests.ranker.factories import oracle, overlap_sets
from tests.ranker.material import passes, read_in, tiny_lm

RAY = FanOutParams(engine="ray")
PARAMS = EvaluateParams(
    strategies=("iterative",), thinking=(False,), bootstrap=100, queries_per_batch=4, max_queries=10_000
)


@pytest.fixture(scope="module")
def workers() -> Iterator[None]:
    """Two, whatever the machine has, at this process's priority: Ray's own default lets them starve beside
    other tests.
    """
    ray = pytest.importorskip("ray", reason="needs r1-ranker[ray]")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_worker_niceness", "0")
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            _node_ip_address="127.0.0.1",
        )
    yield
    ray.shutdown()


def squared(number: int) -> int:
    return number * number


def refused(number: int) -> int:
    raise BadConfig("a shard is even", seen=str(number), remedy="another")


def dies_once(mark: Path, number: int) -> tuple[int, int]:
    """The first to come kills its worker, as the kernel does where memory ends."""
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return number, os.getpid()
    os.kill(os.getpid(), 9)
    return 0, 0


class Seeded(ScriptedEngine):
    """Says by which seed it was asked."""

    def __init__(self) -> None:
        super().__init__(oracle, style="chat")

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        done = super().complete(prompts, sampling)
        return [
            replace(one, text=f"{one.text} {sampling.seed + number}", milliseconds=0.0)
            for number, one in enumerate(done)
        ]


@pytest.mark.parametrize("params", [FanOutParams(), RAY], ids=["local", "ray"])
def test_every_shard_has_its_result_once(workers: None, params: FanOutParams) -> None:
    shards = [partial(squared, number) for number in range(20)]
    assert dict(spread(shards, params)) == {number: number**2 for number in range(20)}
    assert list(spread([], params)) == []


def test_a_worker_that_dies_costs_time_alone(workers: None, tmp_path: Path) -> None:
    shards = [partial(dies_once, tmp_path / "died", number) for number in range(6)]
    found = dict(spread(shards, RAY))
    assert (tmp_path / "died").exists()
    assert [found[number][0] for number in range(6)] == list(range(6))
    assert os.getpid() not in {pid for _, pid in found.values()}


def test_what_a_shard_raises_comes_here_as_it_is(workers: None) -> None:
    with pytest.raises(BadConfig, match="a shard is even") as raised:
        list(spread([partial(refused, 3)], RAY))
    assert raised.value.seen == "3"


def test_a_worker_that_fits_nowhere_is_refused(workers: None) -> None:
    with pytest.raises(BadConfig, match=r"num_cpus 64 and num_gpus 0 of 2 CPU, 0 GPU"):
        list(spread([partial(squared, 1)], RAY.model_copy(update={"num_cpus": 64.0})))
    with pytest.raises(ValidationError, match="greater than 0"):
        FanOutParams(num_cpus=0)


def test_completions_are_those_of_one_engine_by_the_same_seeds(workers: None) -> None:
    prompts = [Prompt("exclude", False, given) for given in overlap_sets(10)]
    sampling = Sampling(32, 0.7, 5)
    shared = FannedOut("seeded", "chat", Seeded, RAY, size=3)
    assert shared.complete(prompts, sampling) == Seeded().complete(prompts, sampling)


def test_a_worker_keeps_one_engine() -> None:
    made: list[str] = []

    def load(name: str) -> ScriptedEngine:
        made.append(name)
        return ScriptedEngine(oracle)

    first = kept("a", partial(load, "a"))
    assert kept("a", partial(load, "again")) is first
    assert kept("b", partial(load, "b")) is not first
    kept("a", partial(load, "a"))
    assert made == ["a", "b", "a"]


def ranked(folder: Path, arm: evaluate.Arm, share: Callable[..., None]) -> Batches:
    """The rankings of an arm in `folder`, after `share` has had its way with them."""
    sets = overlap_sets(48)
    by_id = {given.set_id: given for given in sets}
    loaded = partial(evaluate._loaded, arm, PARAMS, None)
    planned = list(evaluate.work(arm, sets, by_id, PARAMS, lambda text: None, loaded))
    batches = Batches(folder)
    share(planned, batches)
    for what, make in planned:
        batches.keep(what, make)
    return batches


def test_workers_rank_as_this_process_does_though_one_is_killed(workers: None, tmp_path: Path) -> None:
    model = tiny_lm(tmp_path / "model")
    arm = evaluate.Arm("rl", "k/rl", model, ("iterative",), (False,), 10_000)
    here = ranked(tmp_path / "here", arm, lambda planned, batches: None)
    killed: list[int] = []

    def kill() -> None:
        """The first worker that is at work."""
        end = time.monotonic() + 60
        while not killed and time.monotonic() < end:
            for process in psutil.Process().children(recursive=True):
                try:
                    if process.name().startswith("ray::_called"):
                        process.kill()
                        killed.append(process.pid)
                        return
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.01)

    def share(planned: list, batches: Batches) -> None:
        with Progress("ranking", 48, lambda line: None, unit="queries") as progress:
            killer = threading.Thread(target=kill)
            killer.start()
            evaluate._by_workers(planned, batches, RAY, progress)
            killer.join()
            assert progress.count == 48
        assert all(batches.has(what) for what, _ in planned)

    shared = ranked(tmp_path / "shared", arm, share)
    assert killed and shared.found == 0, "made by this run, and not found"
    for table in ("episodes", "steps"):
        one, other = (
            pl.concat([pl.read_parquet(path) for path in batches.paths(table)]).drop("milliseconds")
            for batches in (here, shared)
        )
        assert one.height and one.equals(other), table
    again = ranked(tmp_path / "shared", arm, lambda planned, batches: None)
    assert again.found == 12


def test_a_model_teaches_the_same_by_workers(workers: None, synthetic_lake: Lake) -> None:
    bytewise(synthetic_lake.home / "models" / "teacher")
    sets = candidates.run(
        synthetic_lake, CandidateParams(), source=read_in(synthetic_lake, "synthetic"), check=passes
    )
    asked = DistillParams(teacher="models/teacher", traces=12, max_completion_length=8)
    policy = PolicyParams(model_name_or_path="models/x", style="chat")
    found = []
    for fan_out in (FanOutParams(), RAY):
        ref = distill.run(
            synthetic_lake, asked, sets=sets, policy=policy, check=passes, force=True, fan_out=fan_out
        )
        rows = synthetic_lake.rows(
            "select * from traces where batch_id = $key order by trace_id", {"key": ref.key}
        )
        found.append(rows.drop("milliseconds"))
    assert found[0].height and found[0].equals(found[1])
    strange = PolicyParams(style="compact")
    with pytest.raises(BadConfig, match=r"speaks chat, train\.policy\.style is compact"):
        distill.run(synthetic_lake, asked, sets=sets, policy=strange, check=passes, fan_out=RAY)


def test_a_cluster_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    ray.shutdown()
    with (
        pytest.raises(Unreachable, match=r"fan_out\.address is that of a Ray cluster"),
        cluster(FanOutParams(engine="ray", address="127.0.0.1:9")),
    ):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadConfig, match=r"pip install 'r1-ranker\[ray\]'"), cluster(RAY):
        pass
