"""What the soak says of a lake that does not agree with the server; the soak itself is `make bench`'s."""

from __future__ import annotations

from uuid import uuid4

import polars as pl

from benchmarks.soak import Disk, Night, Soak, _disks, disagreeing, rows
from ranker.config import STAGES
from ranker.lake import Lake
from tests.ranker.evaluated import commit


def test_the_disk_may_grow_with_the_models_that_are_kept_and_not_besides() -> None:
    def found(*disks: Disk) -> list[str]:
        return list(_disks(Soak(disks=[Disk(10, 2, {"models": 12, "lake": 6, "files": 9}), *disks])))

    assert found(Disk(50, 6, {"models": 36, "lake": 18, "files": 27})) == []
    assert found(Disk(50, 2, {"models": 12, "lake": 18, "files": 90})) != []
    assert str(Disk(50, 6, {"models": 2**20, "lake": 2**19})) == (
        "50: 1.5 MiB in 0 files, 6 models kept, lake 0.5 MiB"
    )


def test_a_lake_that_does_not_agree_is_seen(lake: Lake) -> None:
    night = Night(1, runs=[uuid4(), uuid4()], completed=True, disturbed=["flow"])
    seen = Soak(nights=[night], hours=0.5)
    qrels = pl.DataFrame({"task": "t", "query_id": ["q1", "q2"], "item_id": "i", "relevance": 1.0})
    for number, stage in enumerate(STAGES):
        lake.flow_run = str(night.runs[number > 2])
        commit(lake, stage, f"{number:016d}", {"qrels": qrels} if stage == "ingest" else {})
    assert not list(disagreeing(lake, seen)) and seen.resumed == 1
    assert [row.holds for row in rows(seen)].count(True) == 2 and "flow 1" in rows(seen)[1].measured

    lake.forget(f"{0:016d}", ("qrels",), again=True)
    assert not list(disagreeing(lake, seen)), "as a collection leaves it"
    commit(lake, "ingest", f"{0:016d}", {"qrels": qrels})
    lake.execute(f"update stage_runs set flow_run = '{night.runs[0]}' where stage = 'ingest'")

    lake.execute("delete from qrels where query_id = 'q2'")
    lake.execute("delete from stage_runs where stage = 'register'")
    lake.execute("create table staging.qrels__x as from qrels")
    lake.execute("insert into qrels by name select * replace ('strange' as batch_id) from qrels")
    assert [fault.split(" has ")[-1] for fault in disagreeing(lake, seen)] == [
        "the stages ingest, candidates, distill, train, evaluate",
        "1 rows in qrels, and wrote 2",
        "rows of 1 batches that no stage wrote",
        "staging table qrels__x is left",
    ]
