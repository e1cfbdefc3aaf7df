"""The GPU's own paths, on a GPU: bf16 training through `accelerate launch`, and an engine that answers as
it does on a CPU.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch

from ranker.config import parse_params
from ranker.engines import Sampling, manifest
from ranker.engines.transformers import TransformersEngine
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from ranker.train import job
from tests.ranker.engines.models import bytewise, tiny
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import write_job

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU on this machine; docs/scale.md says what was seen on one"
)
ASKS = [
    Prompt("exclude" if i % 2 else "rank", i % 3 > 0, given)
    for i, given in enumerate(overlap_sets(24, pool=5))
]


@pytest.mark.parametrize("bf16", [True, False, None])
def test_every_phase_trains_on_the_gpu(bf16: bool | None, tmp_path: Path) -> None:
    train = {
        "accelerate_config": "gpu-1",
        "bf16": bf16,
        "sft": {"max_steps": 80, "per_device_train_batch_size": 16, "save_steps": 40},
        "grpo": {
            "max_steps": 4,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "gradient_accumulation_steps": 2,
            "save_steps": 2,
            "on_policy": 0.5,
            "resample": 1,
            "beta": 1e-3,
        },
    }
    params = parse_params({"preset": "tiny", "train": train}).train
    folder = write_job(tmp_path, params)
    job.launch(folder, params, lambda text: None)
    facts = {phase: manifest(tmp_path / "models" / "k" / phase)["facts"] for phase in ("sft", "rl")}
    computed = "bf16" if bf16 else "no"  # a policy from scratch: float32 unless asked
    assert all((one["device"], one["precision"]) == ("cuda", computed) for one in facts.values()), facts
    assert job.collect(tmp_path, folder, "k")[0]["steps"]
    losses = pl.read_parquet(folder / "metrics-sft.parquet").filter(pl.col("name") == "loss")["value"]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("make", [tiny, bytewise])
def test_the_engine_answers_as_on_a_cpu(make, tmp_path: Path) -> None:
    folder = make(tmp_path / "model", context=1024)
    cpu, gpu, caching = (
        TransformersEngine(folder, device=device, batch=8, cache=cache)
        for device, cache in (("cpu", 0), ("cuda", 0), ("cuda", 64))
    )
    for constrained in (False, True):
        wanted = cpu.complete(ASKS, Sampling(40, constrained=constrained))
        for engine in (gpu, caching):
            got = engine.complete(ASKS, Sampling(40, constrained=constrained))
            assert (
                sum(one.text == other.text for one, other in zip(got, wanted, strict=True)) >= len(ASKS) - 1
            )  # a near tie may fall otherwise
            assert not constrained or all(
                parse(one.text, prompt.set.labels, prompt.mode, prompt.thinking, False).valid
                for one, prompt in zip(got, ASKS, strict=True)
            )
    quick = [Prompt(prompt.mode, False, prompt.set) for prompt in ASKS]
    for one, other, third in zip(
        *(engine.score(quick, Sampling(40)) for engine in (cpu, gpu, caching)), strict=True
    ):
        assert other.scores == pytest.approx(one.scores, abs=1e-3) and third.scores == pytest.approx(
            one.scores, abs=1e-3
        )


@pytest.mark.parametrize("how", ["iterative:by=scores", "iterative:drop=half,by=scores", "first-token"])
def test_strategies_rank_alike_with_the_prefix_cache_on_the_gpu(how: str, tmp_path: Path) -> None:
    folder, sets = tiny(tmp_path / "model", context=512), overlap_sets(16, pool=6)
    plain, cached = (
        strategy(how)(
            sets, TransformersEngine(folder, device="cuda", cache=cache), thinking=False, sampling=Sampling(8)
        )
        for cache in (0, 64)
    )
    assert (
        sum(one.ranking == other.ranking for one, other in zip(plain, cached, strict=True)) >= len(sets) - 1
    )
    if how != "first-token":
        assert sum(step.cached_tokens for episode in cached for step in episode.steps) > 0
