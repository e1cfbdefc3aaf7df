"""One round of model calls: ask, parse strictly, reward, record. Shared by all strategies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ranker.engines import Completion, Engine, Sampling
from ranker.parsing import Action, parse
from ranker.prompts import Ask, longest_trace
from ranker.rewards import Exclusion, reward
from ranker.sets import Step

Fallback = Callable[[Ask, Action], tuple[str, ...]]


def call(asks: Sequence[Ask], engine: Engine, sampling: Sampling, number: int, fallback: Fallback, exclusion: Exclusion) -> list[Step]:
    """One step per ask. `fallback(ask, action)` says which labels are acted on where the answer is invalid."""
    completions = engine.complete(asks, _enough(asks, engine, sampling))
    return [_step(ask, completion, number, fallback, exclusion) for ask, completion in zip(asks, completions, strict=True)]


def _enough(asks: Sequence[Ask], engine: Engine, sampling: Sampling) -> Sampling:
    """Compact answers have a known longest form: decoding beyond it only costs time (a babbling model always goes to the limit)."""
    if engine.style != "compact" or not asks:
        return sampling
    return replace(sampling, max_tokens=min(sampling.max_tokens, longest_trace(max(len(ask.set) for ask in asks))))


def _step(ask: Ask, completion: Completion, number: int, fallback: Fallback, exclusion: Exclusion) -> Step:
    pool = ask.set.labels
    action = parse(completion.text, pool, ask.mode, ask.thinking, completion.finish == "length")
    earned = reward(action, ask.set.relevance, ask.mode, exclusion)
    return Step(
        step=number, pool=pool, prompt=completion.prompt, completion=completion.text, action=action.labels,
        taken=action.labels if action.valid else fallback(ask, action), valid=action.valid, reason=str(action.reason),
        reward=earned.total, reward_parts=earned.parts, prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens, milliseconds=completion.milliseconds,
    )
