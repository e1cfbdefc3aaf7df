"""The weekly evaluation of the champion: on today's queries, alone, beside its own one before."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun

from flows.evaluate_champion import evaluate
from flows.retrain import Outcome
from ranker.config import RetrainParams, parse_params
from ranker.errors import BadModel, StageMissing
from ranker.lake import open_lake
from ranker.reports import report
from ranker.stages import register, registry
from ranker.studies.reproduce import reproduce
from tests.flows.test_retrain import counts


def latest_run() -> FlowRun:
    with get_client(sync_client=True) as client:
        return max(client.read_flow_runs(), key=lambda run: run.created)


def message() -> str:
    run = latest_run()
    assert run.state is not None
    return run.state.message or ""


def promoted(params: RetrainParams) -> register.Champion:
    """The tiny policy as champion, whatever the rule has said of it."""
    _, present = registry.promote(
        params.home_path, params.register_, "1", anyway=True, smoke=lambda chosen: None
    )
    return present


def test_the_champion_alone_on_today_s_queries(outcome: Outcome, copied: RetrainParams) -> None:
    champion = promoted(copied)
    home, before = copied.home_path, counts(copied)
    redrawn = copied.candidates.model_copy(update={"seed": 99})
    today = copied.model_copy(update={"candidates": redrawn})
    done = evaluate(today)
    after = counts(copied)
    changed = {table for table in after if after[table] != before[table]}
    assert not changed & {"traces", "training_metrics", "model_versions", "queries"}
    assert after["stage_runs"] == before["stage_runs"] + 2, "drawn and evaluated"
    with open_lake(home, read_only=True) as lake:
        rows = lake.rows(
            "select * from evaluations where batch_id = $key and metric = 'RR'", {"key": done.key}
        )
        warned = lake.rows(
            "select * from contract_checks where batch_id = $key and not success", {"key": done.key}
        )
        assert warned.is_empty(), "fewer rows than beside a trained policy are no drift"
        report.write(lake, report.latest(lake))
    assert set(rows["arm"]) == {"champion", "random", "first-position"}
    own = rows.filter(arm="champion").row(0, named=True)
    assert (own["model"], own["strategy"], own["thinking"]) == (
        f"{outcome.stages['train'].key}/rl",
        champion.strategy,
        champion.thinking,
    )
    said = message()
    assert said.startswith(f"champion version 1: synthetic MRR {own['value']:.3f} [{own['lower']:.3f}, ")
    assert "clear of random (" in said and " on " in said
    with get_client(sync_client=True) as client:
        published = {artifact.key: str(artifact.data) for artifact in client.read_latest_artifacts()}
    assert said in published["champion"] and "| champion |" in published["evaluate"]
    assert reproduce(home, copied.lake, done.key).calls > 0
    again = evaluate(today)
    assert again.skipped and (again.key, message()) == (done.key, said)
    assert counts(copied) == after


def test_without_a_champion_there_is_a_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(StageMissing, match="ranker retrain"):
        evaluate(parse_params({"preset": "tiny", "home": str(tmp_path)}))
    run = latest_run()
    assert run.state_name == "Failed" and "evaluating the champion needs a champion" in message()
    assert "Traceback" not in message() + caplog.text
    assert not (tmp_path / "lake").exists()


def test_a_champion_whose_folder_is_gone_is_a_sentence(outcome: Outcome, copied: RetrainParams) -> None:
    champion = promoted(copied)
    (copied.home_path / champion.model / "config.json").unlink()
    with pytest.raises(BadModel, match="ranker rollback"):
        evaluate(copied)
    assert "ranker rollback" in message()
