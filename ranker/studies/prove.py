"""Does reinforcement learning on the ranking raise the ranking? Two proofs: known relevance with a control,
and real data.

The control is trained in the same way with `train.grpo.reward = "blind"`: its reward never sees the
relevance, which is the defect of the published code. If it raised the MRR too, the proof would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ranker.config import StrategyName
from ranker.metrics.significance import Interval
from ranker.stages.evaluate import BASELINES, PRIOR_ARM
from ranker.stages.first_stages import ROWS
from ranker.studies.design import IRANKER, Arm, Claim, Study
from ranker.studies.scores import Pick, Results, baseline

ARM, CONTROL = "ranking", "blind control"
PUBLISHED_GAIN = 0.157
"""Mean relative gain of RL that the paper reports (arXiv 2506.21638)."""
LEAST_QUERIES = 400
"""Test queries that a scenario needs for its interval to say anything."""
HOWS: tuple[StrategyName, ...] = ("iterative", "direct")


def synthetic() -> Study:
    """Set matching with graded relevance: untrained, SFT and SFT + RL, IRanker and DRanker, and the
    control.
    """
    return Study(
        "prove-synthetic",
        "Known relevance: RL after SFT raises held-out MRR, and RL whose reward ignores the ranking does"
        " not.",
        "prove-synthetic",
        arms=(
            Arm(ARM),
            Arm(CONTROL, {"train": {"grpo": {"reward": "blind"}}, "evaluate": {"models": ["sft", "rl"]}}),
        ),
        claims=synthetic_claims,
        quick={
            "train": {"grpo": {"max_steps": 40}},
            "evaluate": {"thinking": [True], "models": ["sft", "rl"], "max_queries": 400},
        },
    )


def real() -> Study:
    """One policy for three scenarios, on public data, over three seeds."""
    return Study(
        "prove-real",
        "Real data, one policy for recommendation, passages and routing: what RL adds to SFT, beside"
        " baselines and teachers.",
        "prove-real",
        arms=(Arm(ARM),),
        claims=real_claims,
        seeds=3,
        quick={
            "ingest": {"tasks": ["rec-movie", "passage-pydoc", "router-performance"]},
            "train": {"sft": {"max_steps": 80}, "grpo": {"max_steps": 20}},
            "evaluate": IRANKER,
        },
    )


def synthetic_claims(results: Results) -> list[Claim]:
    """RL − SFT above 0 for both rankers, and not for the control."""
    gained = [_gain(results, f"{_name(how)}: RL raises MRR over SFT", how) for how in HOWS]
    blind = [
        _no_gain(results, f"{_name(how)}: RL that ignores the ranking does not raise MRR (control)", how)
        for how in HOWS
    ]
    return [*gained, *blind]


def real_claims(results: Results) -> list[Claim]:
    """By scenario: enough queries, RL above SFT, above every baseline; over all: the published gain, a
    teacher beaten.
    """
    found: list[Claim] = []
    for scenario, tasks in results.scenarios.items():
        found += [
            _enough(results, scenario, tasks),
            _gain(results, f"{scenario}: RL raises MRR over SFT (IRanker)", "iterative", tasks),
        ]
        found.append(_above_baselines(results, scenario, tasks))
    return [*found, _published(results), _teacher_beaten(results)]


def _name(how: str) -> str:
    return {"iterative": "IRanker", "direct": "DRanker"}[how]


def with_interval(interval: Interval) -> str:
    """A difference with its interval, as text."""
    return f"{interval.signed}, {interval.queries} queries"


def _gain(results: Results, text: str, how: StrategyName, tasks: Sequence[str] | None = None) -> Claim:
    found = results.difference(Pick(ARM, "rl", how), Pick(ARM, "sft", how), tasks)
    if found is None:
        return Claim(text, None, "not evaluated")
    return Claim(
        text, found.lower > 0, f"{with_interval(found)}, {results.seeds(Pick(ARM, 'rl', how))} seeds"
    )


def _no_gain(results: Results, text: str, how: StrategyName) -> Claim:
    found = results.difference(Pick(CONTROL, "rl", how), Pick(CONTROL, "sft", how))
    if found is None or found.lower == found.upper == 0:
        return Claim(
            text,
            None,
            "not evaluated" if found is None else "it changed no ranking at all: too little training to tell",
        )
    return Claim(text, found.lower <= 0, with_interval(found))


def _enough(results: Results, scenario: str, tasks: Sequence[str]) -> Claim:
    queries = results.of(Pick(ARM, "rl"), tasks).height
    return Claim(
        f"{scenario}: at least {LEAST_QUERIES} test queries",
        queries >= LEAST_QUERIES,
        f"{queries} in {', '.join(tasks)}",
    )


def _against(results: Results, names: Sequence[str], tasks: Sequence[str]) -> Iterator[tuple[str, Interval]]:
    for name in names:
        found = results.difference(Pick(ARM, "rl"), baseline(ARM, name), tasks)
        if found is not None:
            yield name, found


def _above_baselines(results: Results, scenario: str, tasks: Sequence[str]) -> Claim:
    names = [
        name
        for name in BASELINES
        if name != "teacher" and name in {"random", "first-position", PRIOR_ARM.get(scenario), *ROWS}
    ]
    name, closest = min(_against(results, names, tasks), key=lambda pair: pair[1].lower)
    return Claim(
        f"{scenario}: RL (IRanker) is above every baseline that is not its teacher",
        closest.lower > 0,
        f"closest is {name}: {with_interval(closest)}",
    )


def _published(results: Results) -> Claim:
    text = (
        "the mean relative gain of RL over SFT is at least the published"
        f" {PUBLISHED_GAIN:.1%} (its interval's lower end)"
    )
    found = results.relative(Pick(ARM, "rl"), Pick(ARM, "sft"))
    if found is None:
        return Claim(text, None, "not evaluated")
    figure = f"{found.value:+.1%} [{found.lower:+.1%}, {found.upper:+.1%}] over {len(results.tasks)} tasks"
    return Claim(text, found.lower >= PUBLISHED_GAIN, figure)


def _teacher_beaten(results: Results) -> Claim:
    found = {
        name: gap
        for name, tasks in results.scenarios.items()
        for _, gap in _against(results, ["teacher"], tasks)
    }
    figure = "; ".join(f"{name} {with_interval(gap)}" for name, gap in found.items())
    return Claim(
        "RL (IRanker) is above its teacher in at least one scenario",
        any(gap.lower > 0 for gap in found.values()),
        figure,
    )
