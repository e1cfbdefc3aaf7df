"""What a real MLflow over SQLite shows of a training beside its version."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.config import RegisterParams
from ranker.lake import Lake
from ranker.stages import register, registry, registry_runs
from tests.ranker.evaluated import ACCEPT, scored, trained

BOUNDS = RegisterParams()


@pytest.fixture
def lake(lake: Lake, with_registry: None) -> Lake:
    return lake


def test_a_version_says_what_it_was_made_from(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    scores = scored(lake, "aa01", model)
    ref = register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    client = registry.client_of(lake.home, BOUNDS)
    version = client.get_model_version(BOUNDS.name, ref.details["version"])
    assert version.tags["train.key"] == "aaaa"
    assert version.tags["evaluate.snapshot"].isdigit()
    assert Path(version.source) == lake.home / "models" / "aaaa" / "rl"
    data = client.get_run(version.run_id).data
    assert data.params["train.seed"] == "1"
    logged = data.metrics["synthetic/rl/iterative-think/nDCG_at_10"]
    assert logged == lake.rows("select value from evaluations where arm = 'rl' and metric = 'nDCG@10'").item()
    assert data.metrics["synthetic/rl-minus-sft/iterative-think/RR"] == 0.1


def test_the_curves_of_a_training_are_in_the_run_of_its_version(lake: Lake) -> None:
    """Logged while it went on, point by point; another version of the same training has a run of its own."""
    model = trained(lake, "aaaa")
    for step in (5, 10):
        points = pl.DataFrame({"phase": "rl", "step": step, "name": "eval_rr", "value": step / 10})
        registry_runs.follow(lake.home, BOUNDS, model.key, points)
    first = register.run(lake, BOUNDS, trained=model, scores=scored(lake, "aa01", model), check=ACCEPT)
    second = register.run(lake, BOUNDS, trained=model, scores=scored(lake, "aa02", model), check=ACCEPT)
    client = registry.client_of(lake.home, BOUNDS)
    history = client.get_metric_history(first.details["run_id"], "train/rl/eval_rr")
    assert [(one.step, one.value) for one in history] == [(5, 0.5), (10, 1.0)]
    assert second.details["run_id"] != first.details["run_id"]
