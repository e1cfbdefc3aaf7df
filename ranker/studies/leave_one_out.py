"""Zero-shot ranking: a policy that was never trained on a scenario, beside the one that was, and beside
chance.

What zero-shot means here: no order and no reward of the left-out scenario's queries (`train.weights` 0).
"""

from __future__ import annotations

from ranker.config import task
from ranker.studies.design import IRANKER, Arm, Claim, Study, StudyParams, base_params
from ranker.studies.prove import with_interval
from ranker.studies.scores import Pick, Results, baseline

FULL = "full"
LIGHT = {"evaluate": IRANKER}


def study(asked: StudyParams) -> Study:
    """The full policy, and one without each scenario of the tasks that are read."""
    draft = Study(
        "leave-one-out",
        "Does ranking carry over to a scenario that was never trained on?",
        "prove-real",
        (),
        claims=claims,
        base=LIGHT,
    )
    tasks = base_params(draft, asked).ingest.tasks
    scenarios = dict.fromkeys(task(name).scenario for name in tasks)
    arms = [
        Arm(without(one), {"train": {"weights": {name: 0.0 for name in tasks if task(name).scenario == one}}})
        for one in scenarios
    ]
    return Study(
        draft.name,
        draft.question,
        draft.preset,
        (Arm(FULL), *arms),
        claims=claims,
        base=LIGHT,
        quick={"evaluate": {"max_queries": 400}},
    )


def without(scenario: str) -> str:
    """Name of the arm that leaves a scenario out."""
    return f"without {scenario}"


def claims(results: Results) -> list[Claim]:
    """By scenario: zero-shot is above chance; what it lacks to the full policy stands in the figure."""
    return [_zero_shot(results, scenario, tasks) for scenario, tasks in results.scenarios.items()]


def _zero_shot(results: Results, scenario: str, tasks: list[str]) -> Claim:
    text, arm = f"{scenario}: never trained on it, the policy ranks above chance", without(scenario)
    above = results.difference(Pick(arm, "rl", thinking=False), baseline(arm, "random"), tasks)
    behind = results.difference(Pick(arm, "rl", thinking=False), Pick(FULL, "rl", thinking=False), tasks)
    if above is None or behind is None:
        return Claim(text, None, "no such arm")
    return Claim(text, above.lower > 0, f"{with_interval(above)}; beside the full policy {behind.signed}")
