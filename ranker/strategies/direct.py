"""DRanker: the policy names the whole order in one call."""

from __future__ import annotations

from collections.abc import Sequence

from ranker.engines import Engine, Sampling
from ranker.parsing import Action
from ranker.prompts import Ask
from ranker.rewards import Exclusion
from ranker.sets import CandidateSet, Episode
from ranker.strategies.call import call


def rank(sets: Sequence[CandidateSet], engine: Engine, *, thinking: bool, sampling: Sampling, exclusion: Exclusion = "binary") -> list[Episode]:
    """One call per query.

    Fallback for an invalid answer, stated and counted: what a readable but incomplete order named comes first,
    the rest follow as shown (the shown order is shuffled, hence chance).
    """
    asks = [Ask("rank", thinking, given) for given in sets]
    steps = call(asks, engine, sampling, 0, _named_then_shown, exclusion)
    return [Episode(given.set_id, "direct", thinking, step.taken, (step,)) for given, step in zip(sets, steps, strict=True)]


def _named_then_shown(ask: Ask, action: Action) -> tuple[str, ...]:
    return action.labels + tuple(label for label in ask.set.labels if label not in action.labels)
