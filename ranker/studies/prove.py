"""Does reinforcement learning on the ranking raise the ranking? Two proofs: known relevance with a
policy from scratch that generates its answers, and real data with a language model that ranks by likelihood.

The control of each is trained in the same way with `reward = "blind"`: its reward never sees the relevance,
which is the defect of the published code. If it raised the MRR too, the proof would prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ranker.config import StrategyName, merged
from ranker.metrics.significance import Interval, holm
from ranker.stages.evaluate import BASELINES
from ranker.stages.fusion import ROW
from ranker.studies.design import Arm, Claim, Study
from ranker.studies.scores import Pick, Results, baseline

ARM, CONTROL = "ranking", "blind control"
BLIND = {"reward": "blind", "load_best_model_at_end": False}
"""The control ends with its last checkpoint: the best of blind ones would be the start, and show nothing."""
ZERO, GOLD = "RL from zero-shot", "gold"
RL, SFT = Pick(ARM, "rl", thinking=False), Pick(ARM, "sft", thinking=False)
"""Rows of the likelihood policy, which writes no reasoning."""
LEVEL = 0.05
LEVEL_WITH = 0.02
"""MRR that RL may lose on supervision and still count as level with it."""
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
            Arm(CONTROL, {"train": {"grpo": BLIND}, "evaluate": {"models": ["sft", "rl"]}}),
        ),
        claims=synthetic_claims,
        quick={
            "train": {"grpo": {"max_steps": 200, "per_device_train_batch_size": 64}},
            "evaluate": {"thinking": [True], "models": ["sft", "rl"], "max_queries": 400},
        },
    )


def real() -> Study:
    """One likelihood policy for three scenarios, on public data, over three seeds: zero-shot, SFT, RL from
    each, and the controls.
    """
    rl = {"evaluate": {"models": ["rl"]}}
    return Study(
        "prove-real",
        "Real data, one policy for recommendation, passages and routing: what RL adds to SFT and to the model"
        " as it was, beside baselines, teachers and controls.",
        "prove-real",
        arms=(
            Arm(ARM),
            Arm(ZERO, merged({"train": {"start": "untrained", "sft": {"max_steps": 0}}}, rl), aside=True),
            Arm(GOLD, merged({"train": {"likelihood": {"objective": "gold"}}}, rl)),
            # with its last checkpoint: the best by validation would be the start, which shows nothing
            Arm(
                CONTROL,
                merged({"train": {"likelihood": BLIND}}, rl),
            ),
        ),
        claims=real_claims,
        seeds=3,
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
    """By scenario: enough queries, RL above SFT (corrected over scenarios), level with gold, above every
    baseline, blind not above its start; over all: the published gain over the model as it was, teachers
    beaten.
    """
    found: list[Claim] = []
    corrected = _corrected(results)
    for scenario, tasks in results.scenarios.items():
        found += [
            _enough(results, scenario, tasks),
            _rl_above_sft(results, scenario, tasks, corrected.get(scenario)),
            _level_with_gold(results, scenario, tasks),
            _above_baselines(results, scenario, tasks),
            _blind(results, scenario, tasks),
        ]
    return [*found, _published(results), _teachers_beaten(results)]


def _corrected(results: Results) -> dict[str, float]:
    """Scenario → p-value of RL above SFT, corrected over scenarios."""
    own = {name: results.p_above(RL, SFT, tasks) for name, tasks in results.scenarios.items()}
    known = {name: p for name, p in own.items() if p is not None}
    return dict(zip(known, holm(list(known.values())), strict=True))


def _rl_above_sft(results: Results, scenario: str, tasks: Sequence[str], p: float | None) -> Claim:
    text = f"{scenario}: RL raises MRR over SFT (p corrected over scenarios by Holm, below {LEVEL})"
    found = results.difference(RL, SFT, tasks)
    if found is None or p is None:
        return Claim(text, None, "not evaluated")
    figure = f"{with_interval(found)}, p {p:.4f}, {results.seeds(RL)} seeds"
    if found.lower > 0 and p < LEVEL:
        return Claim(text, True, figure)
    return Claim(text, False if found.upper < 0 else None, f"not clear: {figure}")


def _level_with_gold(results: Results, scenario: str, tasks: Sequence[str]) -> Claim:
    text = f"{scenario}: RL is level with supervision on the labels (loses at most {LEVEL_WITH})"
    found = results.difference(RL, Pick(GOLD, "rl", thinking=False), tasks)
    return (
        Claim(text, None, "not evaluated")
        if found is None
        else Claim(text, found.lower >= -LEVEL_WITH, with_interval(found))
    )


def _blind(results: Results, scenario: str, tasks: Sequence[str]) -> Claim:
    text = f"{scenario}: RL that ignores the ranking does not raise MRR over SFT (control)"
    found = results.difference(Pick(CONTROL, "rl", thinking=False), SFT, tasks)
    return (
        Claim(text, None, "not evaluated")
        if found is None
        else Claim(text, found.lower <= 0, with_interval(found))
    )


def _name(how: str) -> str:
    return {"iterative": "IRanker", "direct": "DRanker"}[how]


def with_interval(interval: Interval) -> str:
    """A difference with its interval, as text."""
    return f"{interval.signed}, {interval.queries} queries"


def _gain(results: Results, text: str, how: StrategyName) -> Claim:
    found = results.difference(Pick(ARM, "rl", how), Pick(ARM, "sft", how))
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
    queries = results.of(RL, tasks).height
    return Claim(
        f"{scenario}: at least {LEAST_QUERIES} test queries",
        queries >= LEAST_QUERIES,
        f"{queries} in {', '.join(tasks)}",
    )


def _against(results: Results, names: Sequence[str], tasks: Sequence[str]) -> Iterator[tuple[str, Interval]]:
    for name in names:
        found = results.difference(RL, baseline(ARM, name), tasks)
        if found is not None:
            yield name, found


def _above_baselines(results: Results, scenario: str, tasks: Sequence[str]) -> Claim:
    text = f"{scenario}: RL (IRanker) is above every baseline that is not its teacher"
    names = [name for name in BASELINES if name not in ("teacher", ROW)]
    found = list(_against(results, names, tasks))
    if not found:
        return Claim(text, None, "not evaluated")
    name, closest = min(found, key=lambda pair: pair[1].lower)
    holds = True if closest.lower > 0 else False if closest.upper < 0 else None
    return Claim(text, holds, f"closest is {name}: {with_interval(closest)}")


def _published(results: Results) -> Claim:
    text = (
        "the mean relative gain of RL over the model as it was is at least the published"
        f" {PUBLISHED_GAIN:.1%} (its interval's lower end)"
    )
    found = results.relative(RL, Pick(ARM, "untrained", thinking=False))
    if found is None:
        return Claim(text, None, "not evaluated")
    figure = f"{found.value:+.1%} [{found.lower:+.1%}, {found.upper:+.1%}] over {len(results.tasks)} tasks"
    return Claim(text, found.lower >= PUBLISHED_GAIN, figure)


def _teachers_beaten(results: Results) -> Claim:
    found = {
        name: gap
        for name, tasks in results.scenarios.items()
        for _, gap in _against(results, ["teacher"], tasks)
    }
    figure = "; ".join(f"{name} {with_interval(gap)}" for name, gap in found.items())
    return Claim(
        "RL (IRanker) is above its teacher in at least two scenarios",
        sum(gap.lower > 0 for gap in found.values()) >= 2 if found else None,
        figure or "not evaluated",
    )
