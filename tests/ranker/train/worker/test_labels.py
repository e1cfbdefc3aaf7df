"""Training by the labels' scores: the same as evaluation's, in every style, and a policy that learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from ranker.engines import Sampling, load, scorer
from ranker.engines.rendering import Renderer
from ranker.engines.transformers import load_model, load_tokenizer
from ranker.lake.candidate_sets import to_frame
from ranker.policy.prompts import Prompt
from ranker.train import job
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.labels import LabelScores
from tests.ranker.engines.models import bytewise
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import NOTHING_TAUGHT, tiny, write_job


def test_a_chat_model_in_training_scores_labels_as_in_evaluation(tmp_path: Path) -> None:
    """Byte-level tokens: labels and tags are several."""
    folder = bytewise(tmp_path)
    prompts = [
        Prompt(mode, False, given) for given in overlap_sets(3, pool=5) for mode in ("exclude", "rank")
    ]
    scores = LabelScores(Renderer(load_tokenizer(folder), "chat"))
    contexts = scores.opened(scores.renderer.prompts(prompts, 1_000).texts)
    found = scores(load_model(folder).float(), contexts, [prompt.set.labels for prompt in prompts])
    expected = scorer(load(folder)).score(prompts, Sampling(8))
    for one, other in zip(found, expected, strict=True):
        assert one.tolist() == pytest.approx(other.scores, abs=1e-3)


@pytest.mark.parametrize(
    ("objective", "style"), [("expected", "compact"), ("gold", "compact"), ("expected", "chat")]
)
def test_the_expected_reward_rises_and_every_step_is_recorded(
    tmp_path: Path, objective: str, style: str
) -> None:
    """A is the best of every pool: easy to learn, and nothing but the scores can learn it."""
    policy = {"style": style, "max_length": 1024}
    if style == "chat":
        policy |= {"model_name_or_path": str(bytewise(tmp_path / "chat"))}
    steps = 30
    params = tiny(
        policy=policy,
        sft={"max_steps": 0},
        grpo={
            "objective": objective,
            "max_steps": steps,
            "save_steps": steps,
            "per_device_train_batch_size": 8,
            "learning_rate": 3e-3,
            "rank_share": 0.5,
        },
    )
    folder = write_job(tmp_path, params)
    easy = [
        replace(
            given, candidates=tuple(replace(c, relevance=float(c.label == "A")) for c in given.candidates)
        )
        for given in overlap_sets(60)
    ]
    job.rl_prompts(easy, NOTHING_TAUGHT, params.grpo).write_parquet(folder / "rl.parquet")
    to_frame(easy).write_parquet(folder / "sets.parquet")
    found = Job.read(folder / "job.json")
    for phase in (phases.untrained, phases.sft, phases.rl):
        phase(found, Heartbeat(folder / "heartbeat.json"))
    rewards = pl.read_parquet(folder / "metrics-rl.parquet").filter(name="reward").sort("step")["value"]
    assert rewards.tail(2).mean() > rewards[0] + 0.1, rewards.to_list()
    written = pl.read_parquet(folder / "rollouts" / "steps-*.parquet")
    assert written.height == steps * 8 and written["valid"].all()
    assert written["completion_tokens"].sum() == 0 and written["scores"].null_count() == 0
