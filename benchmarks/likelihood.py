"""How near the likelihood engine comes to what the machine's arithmetic allows, with and without its tree
mask and its batches of like length.

`FOLDER` is the data folder with the default preset's model and data (`ranker fetch`). The bound is the rate
of a large matrix product in the engine's precision, measured here, over the multiplications that a token
takes: 2 for each weight of the decoder's linear layers. Attention, norms, the head and Python are what is
missing. Where `make test-vllm` has made its environment, vLLM scores the same queries too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks import in_vllm, vllm_likelihood
from benchmarks.shapes import accept
from ranker.config import parse_params
from ranker.engines import trees
from ranker.engines.likelihood import LikelihoodEngine
from ranker.lake import open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.policy.likelihood import asked, branches
from ranker.stages import candidates, ingest
from ranker.types import CandidateSet

QUERIES = 48
SIDE, REPEATS = 2_048, 5
"""Of the square matrices whose product gives the bound."""


def sets_of(home: Path) -> dict[str, list[CandidateSet]]:
    """Test queries of the default preset's tasks, read in a lake that is thrown away."""
    asked_for = parse_params({"home": str(home)})
    with TemporaryDirectory() as room, open_lake(Path(room)) as lake:
        given = asked_for.ingest.model_copy(
            update={"locations": {"rec-movie": str(home / "downloads" / "ml-100k")}}
        )
        source = ingest.run(lake, given, check=accept)
        made = candidates.run(lake, asked_for.candidates, source=source, check=accept)
        return {
            name: load_sets(lake, made.key, split="test", task=name, limit=QUERIES) for name in given.tasks
        }


def bound(engine: LikelihoodEngine) -> float:
    """Tokens a second if all arithmetic were as fast as one large matrix product."""
    weights = sum(
        part.weight.numel()
        for part in engine.model.get_decoder().modules()
        if isinstance(part, torch.nn.Linear)
    )
    one = torch.randn(SIDE, SIDE, dtype=engine.model.dtype, device=engine.device)
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        one @ one
        rates.append(2 * SIDE**3 / (time.perf_counter() - began))
    return max(rates) / (2 * weights)


def rate(engine: LikelihoodEngine, batches: Sequence[Sequence[trees.Tree]]) -> dict[str, float]:
    """Tokens a second, padding not counted, and the share of padding."""
    padded = sum(len(batch) * max(map(len, batch)) for batch in batches)
    tokens = sum(len(one) for batch in batches for one in batch)
    began = time.perf_counter()
    with torch.inference_mode():
        for batch in batches:
            made = trees.collate(batch, 0)
            states = engine.model.get_decoder()(**trees.forward(made, engine.device)).last_hidden_state
            trees.logprobs(states, engine.model.get_output_embeddings(), made)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "tokens": tokens, "padding": 1 - tokens / padded}


def by_length(grown: Sequence[trees.Tree]) -> list[list[trees.Tree]]:
    return [
        [grown[place] for place in part]
        for part in trees.batches([len(one) for one in grown], trees.CPU_TOKENS)
    ]


def as_they_come(grown: Sequence[trees.Tree]) -> list[list[trees.Tree]]:
    """Batches of as many as the longest leaves room for."""
    size = max(1, trees.CPU_TOKENS // max(map(len, grown)))
    return [list(grown[start : start + size]) for start in range(0, len(grown), size)]


def measure(home: Path) -> dict[str, object]:
    """Figures of each way, by task."""
    model = home / "models" / "smollm2"
    engine = LikelihoodEngine(model)
    found: dict[str, dict[str, float]] = {}
    by_task = sets_of(home)
    for name, sets in by_task.items():
        questions = branches([asked(given, engine.count, engine.context) for given in sets])
        grown = [trees.tree(one, engine.tokenizer) for one in questions]
        alone = [part for one in grown for part in trees.apart(one)]
        ways = {"as the engine does": by_length(grown), "in the order given": as_they_come(grown)}
        if len(alone) > len(grown):
            ways["without the tree mask"] = by_length(alone)
        rate(engine, by_length(grown[:8]))  # warm
        for way, batched in ways.items():
            found[f"{name}, {way}"] = rate(engine, batched) | {"queries": len(sets)}
    reached = bound(engine)
    return {
        "ways": found | _in_vllm(model, by_task),
        "bound": reached,
        "threads": torch.get_num_threads(),
    }


def _in_vllm(model: Path, by_task: Mapping[str, Sequence[CandidateSet]]) -> dict[str, dict[str, float]]:
    """The same queries in vLLM, which reads a shared context once for each of its continuations; nothing
    where there is no environment with vLLM.
    """
    if not in_vllm.PYTHON.exists():
        return {}
    with TemporaryDirectory() as room:
        ran = vllm_likelihood.ran(model, by_task, Path(room))
    return {f"{name}, in vLLM": own | {"padding": 0.0} for name, own in ran.items()}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]).resolve())))
