"""vLLM itself behind the engine protocol, in process and as a server.

It lives in an environment of its own: `make test-vllm`.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks import in_vllm, vllm_cache
from ranker.engines import Closing, Engine, Sampling, Streaming, load
from ranker.engines.vllm import CPU_BLOCK, VllmEngine
from ranker.errors import BadModel, PromptTooLong
from ranker.lake.candidate_sets import to_frame
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt
from ranker.strategies import strategy
from tests.full_length import length
from tests.ranker.engines.models import tiny
from tests.ranker.factories import make_set, overlap_sets

pytest.importorskip("vllm", reason="vLLM is not in this environment: `make test-vllm` makes one that has it")
log = logging.getLogger(__name__)
ASKS = [
    Prompt("exclude" if i % 2 else "rank", i % 3 > 0, given)
    for i, given in enumerate(overlap_sets(6, pool=4))
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads as wide as those of the default policy: vLLM's CPU kernels know few widths."""
    return tiny(tmp_path_factory.mktemp("model"), head_dim=64, context=512)


@pytest.fixture(scope="module")
def engine(folder: Path) -> VllmEngine:
    loaded = load(f"vllm:{folder}", batch=8)
    assert isinstance(loaded, VllmEngine)
    return loaded


def test_it_answers_as_the_reference_engine_does(engine: Engine, folder: Path) -> None:
    assert engine.style == "compact"
    got, wanted = engine.complete(ASKS, Sampling(16)), load(folder).complete(ASKS, Sampling(16))
    assert [(c.text, c.prompt, c.prompt_tokens, c.completion_tokens, c.finish) for c in got] == [
        (c.text, c.prompt, c.prompt_tokens, c.completion_tokens, c.finish) for c in wanted
    ]


def test_prompts_that_begin_alike_are_read_once(engine: Engine) -> None:
    texts = [" ".join(f"a{(i + j) % 12}" for j in range(12)) for i in range(26)]
    prompt = Prompt("exclude", True, make_set([1] + [0] * 25, texts=texts))
    first, again = (engine.complete([prompt], Sampling(4))[0] for _ in range(2))
    assert first.prompt_tokens > 256 and first.cached_tokens == 0
    assert (
        again.prompt_tokens - CPU_BLOCK <= again.cached_tokens < again.prompt_tokens
        and again.text == first.text
    )


def test_samples_follow_their_seeds(engine: Engine) -> None:
    prompts = [ASKS[0]] * 4
    first, again, other = (
        [c.text for c in engine.complete(prompts, Sampling(12, temperature=1.0, seed=seed))]
        for seed in (1, 1, 9)
    )
    assert first == again != other and len(set(first)) > 1


def test_a_prompt_beyond_the_context_and_no_prompt_at_all(engine: Engine) -> None:
    with pytest.raises(PromptTooLong, match="context"):
        engine.complete([ASKS[0]], Sampling(505))
    assert engine.complete([], Sampling(4)) == []


def test_without_the_prefix_cache_a_program_reads_all_ranks_alike_and_ends(
    engine: VllmEngine, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark's own program; it would not return if vLLM's processes were not ended with it."""
    monkeypatch.setattr(in_vllm, "PYTHON", Path(sys.executable))
    sets, path = overlap_sets(4, pool=8), tmp_path / "sets.parquet"
    to_frame(sets).write_parquet(path)
    off = in_vllm.ran("vllm_cache", "off", str(folder), str(path), result=tmp_path / "off.json")["runs"]
    on = list(vllm_cache.runs(engine, sets))
    assert [run["thinking"] for run in on] == [False, True] and [run["rankings"] for run in on] == [
        run["rankings"] for run in off
    ]
    assert all(
        one["cached_tokens"] > 0 == other["cached_tokens"] and one["prompt_tokens"] == other["prompt_tokens"]
        for one, other in zip(on, off, strict=True)
    )


def test_queries_share_one_continuous_batch_and_are_ranked_as_by_the_reference_engine(
    engine: VllmEngine, folder: Path
) -> None:
    """Each query's next call joins as soon as its last is answered; none waits for a round to end."""
    assert isinstance(engine, Streaming)
    sets, limit = overlap_sets(12, pool=5), Sampling(8)  # below what an answer may have by the pool's size
    for name in ("iterative", "direct"):
        got, wanted = (
            strategy(name)(sets, one, thinking=True, sampling=limit) for one in (engine, load(folder))
        )
        assert [one.ranking for one in got] == [one.ranking for one in wanted]
        assert [[s.completion for s in one.steps] for one in got] == [
            [s.completion for s in one.steps] for one in wanted
        ]
    with pytest.raises(PromptTooLong):
        engine.stream(enumerate(ASKS), Sampling(505), lambda number, completion: [])
    assert engine.complete(ASKS[:1], Sampling(4)), "what was refused is not under way"


RANK = 4


def adapted(folder: Path, base: Path, merged: Path) -> None:
    """Adapters of random weights on the model `base`, and the model `merged` that they make of it. By hand:
    peft is not in this environment.
    """
    shutil.copytree(base, merged)
    weights, random = load_file(base / "model.safetensors"), torch.Generator().manual_seed(7)
    held: dict[str, torch.Tensor] = {}
    for name in [name for name in weights if name.endswith("_proj.weight")]:
        out, width = weights[name].shape
        a, b = torch.randn(RANK, width, generator=random), torch.randn(out, RANK, generator=random)
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        held |= {f"{stem}.lora_A.weight": a * 0.1, f"{stem}.lora_B.weight": b * 0.1}
        weights[name] = weights[name] + 2 * 0.01 * b @ a
    save_file(weights, merged / "model.safetensors", {"format": "pt"})
    folder.mkdir()
    for path in base.iterdir():
        if path.suffix == ".json" or path.suffix == ".jinja":
            shutil.copy(path, folder)
    save_file(held, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": 2 * RANK}
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    config |= {"target_modules": names, "bias": "none", "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def test_adapters_answer_as_the_model_does_that_they_are_merged_into(folder: Path, tmp_path: Path) -> None:
    adapted(tmp_path / "adapters", folder, tmp_path / "merged")
    engine = load(f"vllm:{tmp_path / 'adapters'}", style="compact", batch=8)
    reference = load(tmp_path / "merged", style="compact")
    got, wanted, without = (
        [one.text for one in by.complete(ASKS, Sampling(16))] for by in (engine, reference, load(folder))
    )
    assert got == wanted != without
    assert isinstance(engine, Closing)
    engine.close()


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"config\.json"):
        load(f"vllm:{tmp_path}")


def test_constrained_answers_are_valid(engine: Engine) -> None:
    _only_valid(
        engine,
        [Prompt("exclude", thinking, given) for thinking in (True, False) for given in overlap_sets(3)],
    )


def _only_valid(engine: Engine, prompts: Sequence[Prompt]) -> None:
    for prompt, done in zip(prompts, engine.complete(prompts, Sampling(80, constrained=True)), strict=True):
        assert (
            done.constrained
            and parse(done.text, prompt.set.labels, "exclude", prompt.thinking, done.finish == "length").valid
        ), done.text


# -- a pretrained chat model, in process and served

CHAT = [
    Prompt("exclude", thinking, given)
    for thinking, given in zip((True, False), overlap_sets(2, pool=3), strict=True)
]
"""Few and short: a prompt takes such a model a second or two on one core."""


@pytest.fixture(scope="module")
def both(smollm2: Path, server: Future[str]) -> dict[str, Engine]:
    """They start at once: either is busy with imports, on one core."""
    inside = load(f"vllm:{smollm2}", batch=4)
    return {"in process": inside, "served": load(f"openai:{server.result()}#smollm2", concurrency=4)}


def test_a_pretrained_chat_model_answers_as_its_server_does_and_ranks(both: dict[str, Engine]) -> None:
    got, wanted = (both[how].complete(CHAT, Sampling(24)) for how in ("served", "in process"))
    assert all(c.text and c.prompt_tokens > 100 and 1 < c.completion_tokens <= 24 for c in wanted)
    assert [(c.text, c.prompt_tokens, c.completion_tokens) for c in got] == [
        (c.text, c.prompt_tokens, c.completion_tokens) for c in wanted
    ]
    episodes = strategy("iterative")(
        [prompt.set for prompt in CHAT], both["served"], thinking=False, sampling=Sampling(16)
    )
    for prompt, episode in zip(CHAT, episodes, strict=True):
        assert (
            sorted(episode.ranking) == sorted(prompt.set.labels) and len(episode.steps) == len(prompt.set) - 1
        )


def test_a_server_tells_what_it_had_cached(both: dict[str, Engine]) -> None:
    first, again = (both["served"].complete(CHAT[:1], Sampling(4))[0] for _ in range(2))
    assert 0 < again.cached_tokens < again.prompt_tokens == first.prompt_tokens


@pytest.mark.parametrize("how", ["in process", "served"])
def test_constrained_answers_of_it_are_valid(how: str, both: dict[str, Engine]) -> None:
    _only_valid(both[how], CHAT)


GREEDY = length(40, 200)
"""Queries. All 200 take six minutes on a slow core: `RANKER_FULL_LENGTH=1 make test-vllm`."""


@pytest.mark.timeout(length(600, 3000))
def test_greedy_rankings_agree_with_the_reference_engine(both: dict[str, Engine], smollm2: Path) -> None:
    """On SmolLM2, one call a query. Where they part, the two likeliest tokens are nearly level: kernels sum
    in another order, and the batches that a prompt is in differ.
    """
    sets = [replace(given, set_id=f"q{n}") for n, given in enumerate(overlap_sets(GREEDY, pool=3, seed=5))]
    reference = load(smollm2, batch=32)
    got, wanted = (
        strategy("direct")(sets, one, thinking=False, sampling=Sampling(16), tolerant=True)
        for one in (both["in process"], reference)
    )
    apart = [n for n in range(GREEDY) if got[n].ranking != wanted[n].ranking]
    texts = [n for n in range(GREEDY) if got[n].steps[0].completion != wanted[n].steps[0].completion]
    log.info("%d of %d rankings alike, %d answers", GREEDY - len(apart), GREEDY, GREEDY - len(texts))
    for n in texts:
        log.info("%s: %r / %r", sets[n].set_id, got[n].steps[0].completion, wanted[n].steps[0].completion)
    assert len(apart) <= GREEDY // 20
    # Sixteen greedy tokens part sooner or later (half of the texts did); what they rank by comes first.
    assert len({one.ranking for one in wanted}) > 1, "not because every answer is the same"
