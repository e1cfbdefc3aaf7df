"""IRanker: call by call the policy excludes the worst candidate; the ranking is the reverse order of exclusion."""

from __future__ import annotations

from collections.abc import Sequence

from ranker.engines import Engine, Sampling
from ranker.parsing import Action
from ranker.prompts import Ask, without
from ranker.rewards import Exclusion
from ranker.sets import CandidateSet, Episode, Step
from ranker.strategies.call import call


def rank(sets: Sequence[CandidateSet], engine: Engine, *, thinking: bool, sampling: Sampling, exclusion: Exclusion = "binary") -> list[Episode]:
    """n − 1 calls per query; all queries advance together, so each round is one batch.

    Fallback for an invalid answer, stated and counted: the candidate shown last goes (the shown order is
    shuffled, hence chance).
    """
    pools = list(sets)
    steps: list[list[Step]] = [[] for _ in sets]
    for number in range(max((len(given) for given in sets), default=1) - 1):
        going = [i for i, pool in enumerate(pools) if len(pool) > 1]
        asks = [Ask("exclude", thinking, pools[i]) for i in going]
        for i, step in zip(going, call(asks, engine, sampling, number, _last_shown, exclusion), strict=True):
            steps[i].append(step)
            pools[i] = without(pools[i], step.taken)
    return [_episode(given, left, taken, thinking) for given, left, taken in zip(sets, pools, steps, strict=True)]


def _last_shown(ask: Ask, action: Action) -> tuple[str, ...]:
    return ask.set.labels[-1:]


def _episode(given: CandidateSet, left: CandidateSet, steps: list[Step], thinking: bool) -> Episode:
    excluded = [step.taken[0] for step in reversed(steps)]
    return Episode(given.set_id, "iterative", thinking, (*left.labels, *excluded), tuple(steps))
