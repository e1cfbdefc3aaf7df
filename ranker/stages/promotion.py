"""The promotion rule: whether a model becomes champion, from what an evaluation measured. Pure.

A gain is a paired test per task and one over all tasks, corrected by Holm, at a level that is shared out over
the times a test query may be used; a loss is excluded on every task by its interval. docs/promotion.md has
the formulas and where they are from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ranker.config import RegisterParams
from ranker.metrics.counterfactual import LEAST_EFFECTIVE
from ranker.metrics.significance import (
    FLIPS,
    Interval,
    detectable,
    deviation_interval,
    difference_bound,
    group_sums,
    holm,
    intervals,
    power,
    sign_flip,
    standard_error,
)

ALL = "all tasks"
"""Name of the test of the mean over tasks, each weighing alike."""
SPREAD = 0.25
"""Standard deviation of a difference in reciprocal rank that is assumed before any was seen."""
_RESAMPLES = 2_000
_SEED = 0
"""Of the draws: the same scores give the same verdict."""
_INTERVAL = 0.025
"""Level of one side of a 95% interval: at which a loss is excluded."""
NOT_MEASURED = "the spread of the champion's recipe over seeds was not measured (`ranker study seeds`)"
_LUCKY = 0.05
"""Share of the verdicts in which another seed may reach the smallest gain that counts."""
LEAST_FREEDOM = 2
"""Of a spread over seeds: what fewer than three trainings say of it is nothing."""


@dataclass(frozen=True, slots=True)
class Result:
    """The policy on one task, ranking as it will be served. Values are means over the test queries that it
    ranked; None where there are none.
    """

    task: str
    planned: int
    """Test queries that were to be ranked."""
    queries: int
    """Those that were, with a finite reciprocal rank."""
    rr: float | None
    malformed: float | None
    """Share of invalid answers, 0 to 1."""
    calls: float | None
    tokens: float | None
    """Prompt and completion tokens per query."""
    floor: Interval | None = None
    """RR of the policy minus that of the row `register.floor`."""
    paired: int = 0
    """Queries that the present champion ranked, too."""
    champion_calls: float | None = None
    champion_tokens: float | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """RR of the policy minus RR of the champion on the same queries: of one task, or the mean over all."""

    task: str
    difference: Interval
    spread: float
    """Standard error × √queries: the standard deviation of a query's difference, were queries independent."""
    p: float
    """One-sided: no gain (`significance.sign_flip`)."""
    p_holm: float
    """Corrected over the tests of one verdict."""

    def __str__(self) -> str:
        return f"{self.task} {self.difference.signed}, p {_p(self.p_holm)}"


@dataclass(frozen=True, slots=True)
class Seeds:
    """How far apart trainings of one recipe lie that differ by their seeds alone: on one task, or the mean
    over all.
    """

    task: str
    seeds: int
    """Trainings that were compared."""
    freedom: int
    """Degrees of freedom of `spread`: the trainings less one for each data that they were trained on."""
    spread: float
    """Standard deviation of the mean RR."""

    @property
    def measured(self) -> bool:
        """Whether there are three seeds."""
        return self.freedom >= LEAST_FREEDOM

    @property
    def interval(self) -> tuple[float, float]:
        """Of the spread, 95%."""
        return deviation_interval(self.spread, self.freedom)

    def floor(self, tests: int) -> float:
        """What the mean RR of one seed lies above that of another, in one of twenty verdicts of so many tests
        at most (Bonferroni).
        """
        return difference_bound(self.spread, self.freedom, _LUCKY / tests)


@dataclass(frozen=True, slots=True)
class Traffic:
    """The latest estimate of the policy on a task's logged requests (`ranker audit traffic`, or its
    evaluation).
    """

    task: str
    gain: Interval
    """Clicks a request beyond those of what was served, doubly robust."""
    effective: float
    """Effective sample size."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether the candidate becomes champion, and every reason for and against."""

    promote: bool
    reasons: tuple[str, ...]

    @property
    def verdict(self) -> str:
        return ("promoted: " if self.promote else "not promoted: ") + "; ".join(self.reasons)


def level(bounds: RegisterParams) -> float:
    """Level at which one verdict tests: alpha shared out evenly over the looks (Bonferroni over time)."""
    return bounds.alpha / bounds.looks


def least_gain(task: str, bounds: RegisterParams, seeds: Sequence[Seeds], tests: int) -> float:
    """From where a gain on `task` counts in a verdict of so many tests: `bounds.min_gain`, or what another
    seed of the champion's recipe may bring, where that was measured and is more.
    """
    floors = (found.floor(tests) for found in seeds if found.task == task and found.measured)
    return max([bounds.min_gain, *floors])


def gains(
    differences: Mapping[str, np.ndarray], groups: Mapping[str, Sequence[str]], *, flips: int = FLIPS
) -> list[list[Gain]]:
    """Tests of several models against a champion on the same queries. A list a model: its tasks in order, and
    then `ALL` where there are several.

    Args:
        differences: task → RR minus the champion's, (queries, models).
        groups: task → the group (user, source) of each query.
        flips: random sign patterns of a test.
    """
    tests = [_task(task, found, groups[task], flips) for task, found in differences.items()]
    if len(tests) > 1:
        tests.append(_overall(tests, flips))
    return [_gains(tests, model) for model in range(len(tests[0].p))]


def _gains(tests: Sequence[_Test], model: int) -> list[Gain]:
    corrected = holm([float(test.p[model]) for test in tests])
    return [test.of(model, p) for test, p in zip(tests, corrected, strict=True)]


@dataclass(frozen=True, slots=True)
class _Test:
    """One task's test of several models; arrays are (models,), sums (groups, models)."""

    task: str
    queries: int
    sums: np.ndarray
    error: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    p: np.ndarray

    def of(self, model: int, p_holm: float) -> Gain:
        mean = float(self.sums[:, model].sum())
        ends = float(self.lower[model]), float(self.upper[model])
        spread = float(self.error[model]) * math.sqrt(self.queries)
        return Gain(self.task, Interval(mean, *ends, self.queries), spread, float(self.p[model]), p_holm)


def _task(task: str, differences: np.ndarray, groups: Sequence[str], flips: int) -> _Test:
    sums = group_sums(differences, groups) / len(differences)
    ends = intervals(differences, groups, resamples=_RESAMPLES, seed=_SEED)
    return _Test(
        task, len(differences), sums, standard_error(sums), *ends, sign_flip(sums, flips=flips, seed=_SEED)
    )


def _overall(tests: Sequence[_Test], flips: int) -> _Test:
    """Of the mean over tasks, stratified by task: signs are drawn within tasks, and their errors add up."""
    sums = np.concatenate([test.sums for test in tests]) / len(tests)
    error = np.sqrt(np.sum([test.error**2 for test in tests], axis=0)) / len(tests)
    mean, queries = sums.sum(axis=0), sum(test.queries for test in tests)
    return _Test(
        ALL,
        queries,
        sums,
        error,
        mean - 1.96 * error,
        mean + 1.96 * error,
        sign_flip(sums, flips=flips, seed=_SEED),
    )


def decide(
    results: Sequence[Result],
    found: Sequence[Gain],
    bounds: RegisterParams,
    champion: str | None,
    look: int = 1,
    seeds: Sequence[Seeds] = (),
    gates_left: int = 0,
    traffic: Sequence[Traffic] = (),
) -> Decision:
    """The promotion rule.

    Without a champion the policy must clear the row `bounds.floor` on every task. With one it must show a
    gain, on a task or over all, and exclude a loss of `bounds.max_regression` on each. In both cases every
    planned query was ranked, and the shares of invalid answers and the cost stay inside their bounds.

    Args:
        results: one a task, all from one evaluation.
        found: against the champion, as `gains` gives them; empty where the two were not compared.
        champion: version of the present champion; None where there is none.
        look: which verdict on these test queries this is, from 1.
        seeds: how far trainings of the champion's recipe lie apart, by task; empty where that was not
            measured.
        gates_left: parts of the test side that no verdict has used (candidates.gates).
        traffic: estimates on logged requests; asked for where `bounds.max_traffic_loss` is set.
    """
    if not results:
        return Decision(False, ("no task was evaluated",))
    if not bounds.promote:
        return Decision(False, ("promotion is switched off (register.promote = false)",))
    lacking = list(_lacking(results, found, champion))
    if lacking:
        return Decision(False, tuple(lacking))
    against = [reason for result in results for reason in _outside(result, bounds, champion)]
    if champion is None:
        against += _not_above_floor(results, bounds)
    else:
        against += [*_worn(bounds, look, gates_left), *_not_better(found, bounds, champion, look, seeds)]
        against += _lost_on_traffic(traffic, bounds)
    if against:
        return Decision(False, tuple(against))
    return Decision(True, tuple(_in_favour(results, found, bounds, champion, look, seeds)))


def _lacking(results: Sequence[Result], found: Sequence[Gain], champion: str | None) -> Iterator[str]:
    """What was not measured: nothing follows from what was."""
    for result in results:
        if result.rr is None or result.queries < result.planned:
            yield f"{result.task}: {result.queries} of {result.planned} planned queries were ranked as served"
    if champion is None:
        return
    tested = {gain.task for gain in found}
    unpaired = [r.task for r in results if r.paired < r.queries or r.task not in tested]
    if unpaired:
        yield (
            f"no paired comparison with champion version {champion} on {', '.join(unpaired)}: evaluate again"
        )


def _outside(result: Result, bounds: RegisterParams, champion: str | None) -> Iterator[str]:
    """Which bounds on invalid answers and cost are not kept; what is unknown keeps none."""
    if not _at_most(result.malformed, bounds.max_malformed):
        share = "an unknown share" if result.malformed is None else f"{result.malformed:.1%}"
        yield (
            f"{result.task}: {share} of the answers are malformed, at most {bounds.max_malformed:.1%} may be"
        )
    if champion is None:
        return
    costs = {
        "tokens": (result.tokens, result.champion_tokens),
        "calls": (result.calls, result.champion_calls),
    }
    for what, (own, other) in costs.items():
        if other is None or not _at_most(own, bounds.max_cost_ratio * other):
            ratio = f"{own / other:.2f}" if own and other else "an unknown number of"
            yield (
                f"{result.task}: {ratio} times the champion's {what} per query, at most"
                f" {bounds.max_cost_ratio:.2f} may be"
            )


def _at_most(value: float | None, bound: float) -> bool:
    """Whether it is known and inside; NaN is not."""
    return value is not None and value <= bound


def _not_above_floor(results: Sequence[Result], bounds: RegisterParams) -> Iterator[str]:
    for result in results:
        if result.floor is None:
            yield f"{result.task}: the evaluation has no row {bounds.floor!r} to be compared with"
        elif not result.floor.lower > 0:
            yield f"{result.task}: MRR is not clear of {bounds.floor}: {result.floor.signed}"


def _worn(bounds: RegisterParams, look: int, gates_left: int) -> Iterator[str]:
    if look > bounds.looks:
        remedy = (
            f"the next retraining takes the next of {gates_left} fresh gates"
            if gates_left
            else "no fresh gate is left; draw other queries (candidates.seed), or bring new data"
        )
        yield (
            f"these test queries were used in {look - 1} verdicts before, at most {bounds.looks} may use"
            f" them: {remedy}"
        )


def _not_better(
    found: Sequence[Gain], bounds: RegisterParams, champion: str, look: int, seeds: Sequence[Seeds]
) -> Iterator[str]:
    shown = [gain for gain in found if gain.p_holm <= level(bounds)]
    if not shown:
        yield (
            f"no gain over champion version {champion} is shown at level {level(bounds):.4g}, look {look} of"
            f" {bounds.looks} ({_listed(found)})"
        )
    elif not any(gain.difference.value >= least_gain(gain.task, bounds, seeds, len(found)) for gain in shown):
        yield f"the gain is too small ({_listed(shown)}): it counts {_counts(found, bounds, seeds)}"
    for gain in found:
        if gain.task != ALL and not gain.difference.lower > -bounds.max_regression:
            yield (
                f"{gain.task}: a loss of {bounds.max_regression:.3f} MRR is not excluded"
                f" ({gain.difference.signed})"
            )


def _lost_on_traffic(traffic: Sequence[Traffic], bounds: RegisterParams) -> Iterator[str]:
    """Why users may click less; nothing where that is not asked."""
    most = bounds.max_traffic_loss
    if most is None:
        return
    if not traffic:
        yield (
            "no estimate on logged traffic (register.max_traffic_loss asks for one): set"
            " evaluate.traffic_requests, or `ranker audit traffic` of this model and then `ranker retrain"
            " --force register`"
        )
    for one in traffic:
        if one.effective < LEAST_EFFECTIVE:
            yield (
                f"{one.task}: an effective sample of {one.effective:.0f} logged requests is too small, at"
                f" least {LEAST_EFFECTIVE:.0f} are needed"
            )
        elif not one.gain.lower > -most:
            yield f"{one.task}: a loss of {most:.3f} clicks a request is not excluded ({one.gain.signed})"


def _in_favour(
    results: Sequence[Result],
    found: Sequence[Gain],
    bounds: RegisterParams,
    champion: str | None,
    look: int,
    seeds: Sequence[Seeds],
) -> Iterator[str]:
    if champion is None:
        beaten = ", ".join(f"{r.task} {r.floor.signed}" for r in results if r.floor)
        yield f"the first champion; clear of {bounds.floor} on every task ({beaten})"
    else:
        yield (
            f"beats champion version {champion} at level {level(bounds):.4g}, look {look} of {bounds.looks}"
            f" ({_listed(found)})"
        )
        yield f"a gain counts {_counts(found, bounds, seeds)}"
        yield f"a loss of {bounds.max_regression:.3f} MRR is excluded on every task"


def _counts(found: Sequence[Gain], bounds: RegisterParams, seeds: Sequence[Seeds]) -> str:
    """From where the gains of a verdict count, and why."""
    tasks = [gain.task for gain in found]
    counted = [one.seeds for one in seeds if one.measured and one.task in tasks]
    if not counted:
        return f"from {bounds.min_gain:.3f}; {NOT_MEASURED}"
    least = ", ".join(f"{task} {least_gain(task, bounds, seeds, len(found)):.3f}" for task in tasks)
    return f"from {least} by {min(counted)} seeds of the champion's recipe"


def _listed(found: Sequence[Gain]) -> str:
    return ", ".join(str(gain) for gain in found)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.01 else f"{value:.2f}"


def plan(
    queries: Mapping[str, int],
    spreads: Mapping[str, float],
    bounds: RegisterParams,
    seeds: Sequence[Seeds] = (),
) -> Iterator[str]:
    """What the test will be able to see, a sentence a task, before it is made.

    Args:
        queries: task → test queries.
        spreads: task → `Gain.spread` of an earlier verdict, where there is one.
        seeds: as `decide` takes them.
    """
    tests = len(queries) + (len(queries) > 1)
    named = "tests" if tests > 1 else "test"
    yield (
        f"promotion: {tests} {named} at level {level(bounds):.4g} together, a verdict's share of"
        f" {bounds.alpha}"
    )
    for task, count in queries.items():
        error = spreads.get(task, SPREAD) / math.sqrt(count)
        asked = error, level(bounds) / tests, least_gain(task, bounds, seeds, tests)
        assumed = "" if task in spreads else f" (a standard deviation of {SPREAD} is assumed)"
        yield (
            f"{task}: with {count} queries a gain of {bounds.max_regression:.3f} is seen"
            f" {power(bounds.max_regression, *asked):.0%} of the time, one of {detectable(*asked):.3f} 80%;"
            f" of a model that is as good a loss of {bounds.max_regression:.3f} is excluded"
            f" {power(bounds.max_regression, error, _INTERVAL):.0%} of the time{assumed}"
        )
