"""What a job exports: the pools that reinforcement asks about."""

from __future__ import annotations

import json

import polars as pl
import pytest

from ranker.config import GRPOParams
from ranker.errors import BadConfig, BadModel, TrainingFailed
from ranker.lake import Lake
from ranker.refs import Champion, Ref
from ranker.train import job
from ranker.train.job import rl_prompts
from tests.ranker.factories import make_set
from tests.ranker.material import passes
from tests.ranker.train.jobs import tiny, write_job


def sizes(decay: float) -> dict[int, int]:
    """How often each size of pool comes among 4,000 exclusion prompts from one pool of six."""
    given = make_set([0, 0, 1, 0, 0, 0])
    params = GRPOParams(prompts=4_000, rank_share=0.0, survivors=0.5, pool_decay=decay)
    taught = pl.DataFrame(
        {"set_id": [given.set_id] * 6, "label": given.labels, "score": [0.1, 0.5, 0.9, 0.3, 0.2, 0.4]}
    )
    rows = pl.concat(
        [rl_prompts([given], taught, params.model_copy(update={"seed": seed})) for seed in range(1_000)]
    )
    assert all(max(relevance) == 1.0 and min(relevance) == 0.0 for relevance in rows["relevance"])
    return dict(rows["pool"].list.len().value_counts().iter_rows())


def test_every_size_of_pool_is_as_likely_unless_small_ones_are_preferred() -> None:
    alike = sizes(1.0)
    assert set(alike) == {2, 3, 4, 5, 6} and all(650 < count < 950 for count in alike.values())
    halved = sizes(0.5)
    assert set(halved) == {2, 3, 4, 5, 6}
    expected = {size: 4_000 * 0.5 ** (size - 1) / (1 - 0.5**5) for size in range(2, 7)}
    assert all(abs(halved[size] - count) < 5 * count**0.5 + 5 for size, count in expected.items())


def test_a_job_leaves_three_models_metrics_and_every_rollout(undisturbed):
    home, folder, rows = undisturbed
    assert rows["sft"] == 120 and rows["rl"] == 24
    assert rows["episodes"] == rows["steps"] == 24 * 16
    tables, details = job.collect(home, folder, "k")
    assert {(home / details["model"] / phase / "model.safetensors").is_file() for phase in job.PHASES} == {
        True
    }
    assert set(tables["training_metrics"]["phase"]) == {"sft", "rl"}
    steps = pl.concat([pl.read_parquet(p) for p in tables["steps"]])
    assert (steps["valid"] == (steps["reason"] == "")).all()
    episodes = pl.concat([pl.read_parquet(p) for p in tables["episodes"]])
    assert (
        episodes["episode_id"].is_unique().all()
        and (
            (steps["reward"] - steps["reward_format"] - steps["reward_task"] - steps["reward_trace"]).abs()
            < 1e-9
        ).all()
    )


def test_what_validation_fitted_is_in_the_details_of_the_run(tmp_path):
    """So that the lake alone tells what a policy's scores mean."""
    fitted = {"synthetic": {"temperature": 0.4, "calibration": [1.5, 2.0], "queries": 9}}
    for phase in job.PHASES:
        own = {"parameters": 7, "facts": {"seconds": 1.0}} | ({"likelihood": fitted} if phase == "rl" else {})
        folder = tmp_path / "models" / "k" / phase
        folder.mkdir(parents=True)
        (folder / "ranker.json").write_text(json.dumps(own))
    metrics = pl.DataFrame({"phase": ["rl"], "step": [1], "name": ["loss"], "value": [1.0]})
    metrics.write_parquet(tmp_path / "metrics-0.parquet")
    assert job.collect(tmp_path, tmp_path, "k")[1]["likelihood"] == {"rl": fitted}


@pytest.mark.parametrize(
    ("described", "kind", "rule"),
    [
        (None, BadModel, r"holds no config\.json\n.*rollback"),
        ({"style": "likelihood"}, BadConfig, "answers as train.policy.style says, compact\n.*: likelihood"),
        ({"style": "compact", "tasks": ["passages"]}, BadConfig, "has none for synthetic"),
    ],
    ids=["gone", "of another style", "of other tasks"],
)
def test_a_champion_that_training_cannot_go_on_from_is_refused(lake: Lake, described, kind, rule):
    champion = Champion("3", "k", "models/k/rl")
    folder = lake.home / champion.model
    folder.mkdir(parents=True)
    if described is not None:
        (folder / "config.json").write_text("{}")
        (folder / "ranker.json").write_text(json.dumps(described))
    sets = Ref(stage="candidates", key="s", snapshot=1, details={"tasks": {"synthetic": {}}})
    traces = Ref(stage="distill", key="t", snapshot=1)
    assert len({job.key_from(tiny(), sets, traces, one) for one in (None, champion)}) == 2
    with pytest.raises(kind, match=rule):
        job.run(lake, tiny(), sets=sets, traces=traces, check=passes, champion=champion)
    assert not (lake.home / "jobs").exists()


def test_a_broken_job_fails_with_the_end_of_its_log(tmp_path):
    params = tiny()
    folder = write_job(tmp_path, params)
    (folder / "sft.parquet").write_bytes(b"not parquet")
    with pytest.raises(TrainingFailed, match="parquet"):
        job.launch(folder, params, lambda text: None)
    assert not (tmp_path / "models" / "k" / "untrained").exists()
