from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from ranker.studies import ablation
from ranker.studies.design import StudyParams, plan
from ranker.studies.results import rows
from ranker.studies.scores import Results
from tests.ranker.studies.made import results, values


def asked(home: Path, *tasks: str) -> StudyParams:
    return StudyParams(home=str(home), base={"ingest": {"tasks": list(tasks), "locations": {}}})


def test_every_arm_changes_what_its_name_says(home: Path) -> None:
    given = asked(home, "synthetic", "passage-pydoc")
    runs = {run.arm: run.params for run in plan(ablation.study(given), given).runs}
    base = runs["base"].train
    assert (base.start, base.likelihood.objective, base.policy.num_trainable_layers) == (
        "sft",
        "expected",
        20,
    )
    assert runs["no SFT"].train.sft.max_steps == 0 and runs["no SFT"].train.start == "untrained"
    assert runs["sampled rewards"].train.likelihood.objective == "sampled"
    assert runs["gold instead of rewards"].train.likelihood.objective == "gold"
    assert base.likelihood.beta == 0 < runs["a divergence from SFT"].train.likelihood.beta
    assert runs["half of the layers"].train.policy.num_trainable_layers == 10
    assert runs["pools of 12"].candidates.pool_size == {"synthetic": 12, "passage-pydoc": 12}
    assert len({run.model_dump_json() for run in runs.values()}) == len(runs)


def test_parts_that_help_and_parts_that_do_not(home: Path) -> None:
    means = {
        ("base", "sft", "iterative"): 0.5,
        ("base", "rl", "iterative"): 0.6,
        ("no SFT", "rl", "iterative"): 0.4,
        ("half of the layers", "rl", "iterative"): 0.65,
    }
    bigger = values({("pools of 12", "rl", "iterative"): 0.3}, thinking=False).with_columns(
        pl.col("set_id") + "x", pools=pl.lit("q")
    )
    claims = ablation.claims(Results(pl.concat([values(means, thinking=False), bigger]), resamples=300))
    assert [claim.holds for claim in claims] == [True, True, False, None]
    assert "without RL" in claims[0].text and "other pools" in claims[3].figure


def test_the_table_pairs_every_arm_with_the_first() -> None:
    found = results({("base", "rl", "iterative"): 0.5, ("other", "rl", "iterative"): 0.6}, noise=0.0)
    gaps = {(row.arm, row.model): row.against_first for row in rows(found)}
    assert gaps["base", "rl"] is None and gaps["base", "random"] is None
    assert gaps["other", "rl"] == pytest.approx((0.1, 0.1, 0.1))


def test_a_weight_of_nothing_trains_on_nothing_of_a_task() -> None:
    from ranker.train.worker.data import weighted

    frame = pl.DataFrame({"task": ["a"] * 3 + ["b"] * 2, "x": range(5)})
    assert set(weighted(frame, {"a": 0.0}, 1)["task"]) == {"b"}
    assert set(weighted(frame, {"a": 2.0}, 1)["task"]) == {"a", "b"}
