"""A past evaluation comes out again from its snapshots, also after the lake has moved on; a changed row is
found.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.retrain import Outcome
from ranker.cli.main import app
from ranker.config import RetrainParams
from ranker.errors import BadQuery
from ranker.lake import maintenance, open_lake
from ranker.studies.reproduce import NotReproduced, reproduce
from tests.ranker.cli.commands import document


@pytest.fixture
def copy(outcome: Outcome, params: RetrainParams, tmp_path: Path) -> Path:
    """The lake of a real retraining, to be changed."""
    shutil.copytree(params.home_path / "lake", tmp_path / "copy" / "lake")
    return tmp_path / "copy"


def again(home: Path, key: str) -> Result:
    return CliRunner().invoke(app, ["lake", "reproduce", key, "--home", str(home)], env={"COLUMNS": "200"})


def test_an_evaluation_comes_out_as_stored(outcome: Outcome, params: RetrainParams) -> None:
    ref = outcome.stages["evaluate"]
    done = reproduce(params.home_path, "", ref.key)
    assert done.written_snapshot == ref.snapshot > done.read_snapshot
    assert done.calls == ref.rows["steps"] and done.rows == ref.rows["evaluations"] + ref.rows["comparisons"]
    shown = again(params.home_path, ref.key)
    assert shown.exit_code == 0 and "comes out as stored" in shown.stdout
    assert document("lake", "reproduce", ref.key, "--home", params.home)["rows"] == done.rows


def test_it_does_so_after_expiry_and_compaction_and_when_its_inputs_have_gone(
    copy: Path, outcome: Outcome
) -> None:
    with open_lake(copy) as lake:
        for table in ("candidate_sets", "candidates", "teacher_scores", "episodes", "steps"):
            lake.execute(f"delete from {table}")
        maintenance.compact(lake, grace_hours=0)
        assert maintenance.expire(lake, days=0, grace_hours=0).gone.height
    assert reproduce(copy, "", outcome.stages["evaluate"].key).rows


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "update evaluations set value = value + 0.001 where metric = 'RR' and arm = 'rl'",
            "evaluations synthetic rl",
        ),
        ("update comparisons set lower = lower - 1 where arm = 'rl'", "comparisons synthetic"),
        ("delete from evaluations where arm = 'random'", "comes out, but is not stored"),
        (
            (
                "insert into evaluations by name select * replace ('oracle' as arm) from evaluations where"
                " arm = 'random'"
            ),
            "does not come out",
        ),
    ],
)
def test_a_changed_row_is_found(copy: Path, outcome: Outcome, change: str, says: str) -> None:
    with open_lake(copy) as lake:
        lake.execute(change)
    with pytest.raises(NotReproduced) as caught:
        reproduce(copy, "", outcome.stages["evaluate"].key)
    assert says in caught.value.seen and "lake diff" in caught.value.remedy
    assert again(copy, outcome.stages["evaluate"].key).exit_code == 1


def test_another_reading_of_the_same_answers_is_found(
    outcome: Outcome, params: RetrainParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the fallback for invalid answers had been changed since."""
    monkeypatch.setattr(
        "ranker.strategies.call.fallback",
        lambda action, pool, mode: tuple(pool[:1] if mode == "exclude" else pool),
    )
    with pytest.raises(NotReproduced, match="nothing stored for the pool"):
        reproduce(params.home_path, "", outcome.stages["evaluate"].key)


def test_what_is_not_there_cannot_be_reproduced(copy: Path, outcome: Outcome) -> None:
    assert again(copy, "ffff").exit_code == 2 and "'ffff'" in again(copy, "ffff").stderr
    with open_lake(copy) as lake:
        lake.rows(
            "from ducklake_expire_snapshots('lake', versions => [$id])",
            {"id": outcome.stages["candidates"].snapshot},
        )
        read = lake.rows("select read_snapshot from stage_runs where stage = 'evaluate'").item()
        lake.rows("from ducklake_expire_snapshots('lake', versions => [$id])", {"id": read})
    with pytest.raises(BadQuery, match="expired"):
        reproduce(copy, "", outcome.stages["evaluate"].key)
