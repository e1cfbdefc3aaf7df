"""What each part of the recipe is worth: the base against itself without the part, on the same test queries.

"No RL" is no arm of its own: it is the row `sft` of the base, the same weights. Arms with other pools cannot
be paired with the base; within them, RL still stands beside its own SFT and beside the chance of its pools.
"""

from __future__ import annotations

from collections.abc import Iterator

from ranker.studies.design import IRANKER, Arm, Claim, Study, StudyParams, base_params
from ranker.studies.prove import with_interval
from ranker.studies.scores import Pick, Results
from ranker.types import JsonObject

BASE = "base"
POOLS = (5, 12)
WITHOUT: dict[str, JsonObject] = {
    "no SFT": {"train": {"start": "untrained", "sft": {"max_steps": 0}}},
    "sampled rewards": {"train": {"likelihood": {"objective": "sampled"}}},
    "gold instead of rewards": {"train": {"likelihood": {"objective": "gold"}}},
    "a divergence from SFT": {"train": {"likelihood": {"beta": 0.1}}},
    "half of the layers": {"train": {"policy": {"num_trainable_layers": 10}}},
}
"""Arm → what it changes.

The base begins with SFT, takes the exact expected reward of each step, and trains 20 of 30 layers.
"""
LIGHT: JsonObject = {
    "ingest": {"tasks": ["rec-movie", "passage-pydoc"], "locations": {}},
    "evaluate": IRANKER,
}


def study(asked: StudyParams) -> Study:
    """Base, one arm a part, and one a pool size (of the tasks that are read)."""
    draft = Study(
        "ablation",
        "What is each part worth? The base against itself without it.",
        "prove-real",
        (),
        claims=claims,
        base=LIGHT,
    )
    tasks = base_params(draft, asked).ingest.tasks
    arms = (Arm(BASE), *(Arm(name, over) for name, over in WITHOUT.items()), *_pools(tasks))
    return Study(
        draft.name,
        draft.question,
        draft.preset,
        arms,
        claims=claims,
        base=LIGHT,
        quick={"evaluate": {"max_queries": 300}},
    )


def _pools(tasks: tuple[str, ...]) -> Iterator[Arm]:
    for size in POOLS:
        yield Arm(f"pools of {size}", {"candidates": {"pool_size": dict.fromkeys(tasks, size)}})


def claims(results: Results) -> list[Claim]:
    """Of each part that can be paired: the base is better than without it."""
    found = [_worth("RL", results, Pick(BASE, "sft", thinking=False))]
    for arm in results.arms[1:]:
        other = Pick(arm, "rl", thinking=False)
        found += [_worth(arm, results, other)] if results.of(other).height else []
    return found


def _worth(part: str, results: Results, other: Pick) -> Claim:
    text = (
        f"the base is better than with {part}"
        if part != "RL"
        else "the base is better than without RL (its SFT)"
    )
    gap = results.difference(Pick(BASE, "rl", thinking=False), other)
    return (
        Claim(text, None, "other pools: not the same queries")
        if gap is None
        else Claim(text, gap.lower > 0, with_interval(gap))
    )
