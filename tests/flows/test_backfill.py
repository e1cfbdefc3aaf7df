"""A backfill draws each cut time as if it were then, skips what is done, and says what it could not do."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from pydantic import ValidationError

from flows.backfill import BackfillParams, backfill
from ranker.lake import open_lake
from tests.ranker.material import Row, recbole

DAY = 86_400
RETRAIN = {"preset": "tiny", "ingest": {"tasks": ["rec-movie"]}, "candidates": {"history": 3}}


def _days(folder: Path) -> Path:
    """Twelve users who each meet one film a day for forty days, from 1970-01-01 on."""
    rows: list[Row] = [(u, (7 * u + k) % 60, 3, k * DAY + u) for u in range(12) for k in range(40)]
    return recbole(folder, rows, items=60)


def test_each_cut_time_is_a_child_run_and_what_is_done_is_skipped(tmp_path: Path) -> None:
    ingest = {"tasks": ["rec-movie"], "locations": {"rec-movie": str(_days(tmp_path / "ml"))}}
    retrain = RETRAIN | {"home": str(tmp_path / "home"), "ingest": ingest}
    given = {"retrain": retrain, "until": "candidates", "valid_days": 2, "test_days": 5}
    state = backfill(
        BackfillParams.model_validate({**given, "times": ["1970-01-11", "1970-02-20"]}), return_state=True
    )
    said = state.message or ""
    assert state.is_failed() and "1 of 2 cut times failed. 1970-02-20: " in said
    assert "both sides need queries" in said
    with open_lake(tmp_path / "home", read_only=True) as lake:
        (drawn,) = lake.rows(
            "select s.batch_id, s.split, day(max(n.happened_at)) as last from candidate_sets s"
            " join interactions n on s.query_id = n.user_id || ':' || n.item_id group by all order by last"
        ).partition_by("batch_id")
    assert drawn.select("split", "last").rows() == [("train", 10), ("valid", 12), ("test", 17)]
    points = backfill(BackfillParams.model_validate({**given, "times": ["1970-01-11"]}))
    assert [point.cut for point in points] == [datetime(1970, 1, 11, tzinfo=UTC)]
    assert all(point.ref is not None and point.ref.skipped for point in points)
    with get_client(sync_client=True) as client:
        names = {run.name for run in client.read_flow_runs()}
    assert {"1970-01-11 00:00", "1970-02-20 00:00"} <= names


def test_a_cut_time_is_trained_and_evaluated_as_if_it_were_then(tmp_path: Path) -> None:
    ingest = {"tasks": ["rec-movie"], "locations": {"rec-movie": str(_days(tmp_path / "ml"))}}
    short = {
        "distill": {"traces": 200},
        "train": {"threads": 1, "sft": {"max_steps": 2}, "grpo": {"max_steps": 1, "prompts": 32}},
        "evaluate": {"models": ["rl"], "strategies": ["direct"], "thinking": [False], "max_queries": 8},
    }
    retrain = {**RETRAIN, **short, "home": str(tmp_path / "home"), "ingest": ingest}
    given = {"retrain": retrain, "valid_days": 2, "test_days": 5, "times": ["1970-01-20"]}
    (point,) = backfill(BackfillParams.model_validate(given))
    assert point.ref is not None and point.ref.stage == "evaluate"
    with open_lake(tmp_path / "home", read_only=True) as lake:
        ranked = lake.rows(
            "select e.arm, count(distinct c.query_id) as queries, min(n.happened_at)::date as earliest"
            " from episodes e join candidate_sets c using (set_id)"
            " join interactions n on c.query_id = n.user_id || ':' || n.item_id"
            " where e.batch_id = $key group by all",
            {"key": point.ref.key},
        )
    assert ranked.rows() == [("rl", 8, date(1970, 1, 23))]  # four targets a user, of five days
    with get_client(sync_client=True) as client:
        (table,) = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["backfill"])),
            sort="CREATED_DESC",
            limit=1,
        )
    assert "| 1970-01-20 | rec-movie | rl |" in str(table.data)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, r"a list \(times\) or a range"),
        ({"times": ["soon"]}, "ISO date, such as 2026-01-01 .*; seen 'soon'"),
        ({"first": "2020-01-01", "last": "2026-01-01", "step_days": 0.001}, "mind step_days"),
        (
            {"times": ["2020-01-01"], "retrain": {"train": {"policy": {"init_from": "champion"}}}},
            "came later",
        ),
    ],
    ids=["none", "no time", "too many", "from the champion"],
)
def test_cut_times_that_say_nothing_are_refused(given: dict, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        BackfillParams.model_validate(given)


def test_a_range_has_a_cut_time_a_step() -> None:
    span = {"first": "2026-01-01", "last": "2026-01-31T00:00+00:00", "step_days": 15}
    cuts = BackfillParams.model_validate(span).cuts()
    assert [f"{cut:%m-%d}" for cut in cuts] == ["01-01", "01-16", "01-31"]


def test_nothing_of_a_backfill_is_promoted() -> None:
    params = BackfillParams.model_validate({"times": ["2020-03-01"], "retrain": RETRAIN})
    (cut,) = params.cuts()
    at = params.at(cut)
    assert not at.register_.promote and at.candidates.train_before == "2020-03-01T00:00:00+00:00"
    assert at.candidates.test_from < at.candidates.test_before and at.ingest == params.retrain.ingest
