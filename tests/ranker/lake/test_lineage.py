"""Where a stage run came from."""

from __future__ import annotations

from ranker.lake import Lake, lineage
from ranker.refs import Ref
from tests.ranker.evaluated import ACCEPT, scored, trained


def written(lake: Lake, stage: str, key: str, inputs: list[str], parameters: str) -> Ref:
    return lake.write(
        stage,
        key,
        {},
        inputs=inputs,
        parameters=parameters,
        code="c0de",
        read_snapshot=lake.snapshot(),
        details={"of": key},
        check=ACCEPT,
    )


def test_a_run_comes_behind_all_that_it_was_made_from_and_nothing_else(lake: Lake) -> None:
    written(lake, "ingest", "i1", [], "{}")
    written(lake, "ingest", "other", [], "{}")
    written(lake, "candidates", "c1", ["i1"], "{}")
    written(lake, "distill", "d1", ["c1"], "{}")
    written(lake, "train", "t1", ["c1", "d1"], "{}")
    assert [run.key for run in lineage.of(lake, "t1")] == ["i1", "c1", "d1", "t1"]
    last = lineage.of(lake, "t1")[-1]
    assert (last.stage, last.inputs, last.code, last.details) == ("train", ("c1", "d1"), "c0de", {"of": "t1"})
    assert lineage.of(lake, "nothing") == ()


def test_a_run_says_what_it_wrote_and_read(lake: Lake) -> None:
    ref = scored(lake, "aa01", trained(lake, "aaaa"))
    run = lineage.of(lake, ref.key)[-1]
    assert run.rows == ref.rows and 0 < run.read_snapshot < ref.snapshot
    assert run.parameters == {"seed": 1}


def test_parameters_go_by_name_however_a_stage_is_keyed(lake: Lake) -> None:
    keyed = '[{"tasks": ["x"]}, {"task": "x", "reader": "trec"}, "digest", null]'
    written(lake, "ingest", "i1", [], keyed)
    (run,) = lineage.of(lake, "i1")
    assert run.parameters == {
        "tasks": ["x"],
        "x": {"task": "x", "reader": "trec"},
        "input 3": "digest",
        "input 4": None,
    }
