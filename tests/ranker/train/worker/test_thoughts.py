"""GRPO over thoughts: what a thought earns is what the scores behind it are worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from ranker.engines import Sampling, load, scorer
from ranker.policy.prompts import Prompt
from ranker.policy.rewards import choice_gains
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import tiny
from tests.ranker.train.worker.phased import trained, weights

LIMIT, WEIGHT = 8, 0.25
GRPO = {
    "objective": "thought",
    "max_steps": 2,
    "save_steps": 2,
    "max_completion_length": LIMIT,
    "length_weight": WEIGHT,
    "learning_rate": 1e-2,
    "load_best_model_at_end": False,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    """A training of two steps, in this process."""
    return trained(tmp_path_factory.mktemp("home"), tiny(sft={"max_steps": 0}, grpo=GRPO), "sft", "rl")


def _steps(folder: Path) -> pl.DataFrame:
    read = {
        name: pl.read_parquet(folder / "rollouts" / f"{name}-*.parquet") for name in ("steps", "episodes")
    }
    return read["steps"].join(read["episodes"].select("episode_id", "set_id", "train_step"), on="episode_id")


def test_a_thought_earns_the_exact_expected_reward_of_the_scores_behind_it(found) -> None:
    steps, by_id = _steps(found.folder), {given.set_id: given for given in overlap_sets(60)}
    assert steps.height == 2 * 16 and steps["valid"].all() and steps["completion_tokens"].max() <= LIMIT
    for row in steps.iter_rows(named=True):
        relevance = by_id[row["set_id"]].relevance
        gains = choice_gains(np.array([relevance[label] for label in row["pool"]]), row["mode"], "binary")
        assert row["reward_task"] == pytest.approx(float(np.exp(row["scores"]) @ gains), abs=1e-5)
        assert row["reward_length"] == pytest.approx(-WEIGHT * row["completion_tokens"] / LIMIT)
        assert row["reward"] == pytest.approx(row["reward_task"] + row["reward_length"])
    spread = steps.group_by("set_id", pl.col("pool").list.join(" "), "mode", "train_step").agg(
        pl.col("reward_task").n_unique()
    )
    assert (spread["reward_task"] > 1).mean() > 0.9, "thoughts of one question earn differently"


def test_evaluation_scores_behind_a_thought_as_training_did(found) -> None:
    engine, by_id = load(found.model("sft")), {given.set_id: given for given in overlap_sets(60)}
    first = _steps(found.folder).filter(train_step=0).head(6)
    for row in first.iter_rows(named=True):
        prompt = Prompt(
            row["mode"], True, by_id[row["set_id"]].keep(row["pool"]), begun="<think>" + row["completion"]
        )
        (scored,) = scorer(engine).score([prompt], Sampling(0))
        assert list(scored.scores) == pytest.approx(row["scores"], abs=1e-3)
        assert scored.completion.prompt == row["prompt"] + row["completion"]


def test_the_policy_moves(found) -> None:
    before, after = weights(found, "sft"), weights(found, "rl")
    assert any(not before[name].equal(after[name]) for name in before)
