from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from ranker.metrics.significance import (
    bootstrap_mean,
    detectable,
    deviation_interval,
    difference_bound,
    group_sums,
    holm,
    intervals,
    p_above,
    power,
    sign_flip,
    standard_error,
)


def test_the_interval_holds_the_mean_and_shrinks_with_more_groups():
    rng = np.random.default_rng(0)
    small, large = rng.random(50), rng.random(5_000)
    few = bootstrap_mean(small, [str(i) for i in range(50)], resamples=500, seed=1)
    many = bootstrap_mean(large, [str(i) for i in range(5_000)], resamples=500, seed=1)
    assert few.lower < few.value < few.upper
    assert many.upper - many.lower < (few.upper - few.lower) / 5


def test_queries_of_one_user_are_not_counted_as_independent():
    values = np.repeat(np.random.default_rng(0).random(20), 50)
    by_user = bootstrap_mean(values, [str(i // 50) for i in range(1_000)], resamples=500, seed=1)
    as_if_free = bootstrap_mean(values, [str(i) for i in range(1_000)], resamples=500, seed=1)
    assert by_user.upper - by_user.lower > 4 * (as_if_free.upper - as_if_free.lower)


def test_coverage_of_the_interval_is_near_95_percent():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(200):
        interval = bootstrap_mean(rng.normal(size=80), [str(i) for i in range(80)], resamples=400, seed=seed)
        hits += interval.lower <= 0 <= interval.upper
    assert 178 <= hits <= 199


def test_the_same_seed_gives_the_same_interval():
    one, two = (bootstrap_mean([0.0, 1.0, 0.5], ["a", "b", "c"], resamples=100, seed=5) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(("values", "groups"), [([], []), ([1.0], [])])
def test_nothing_to_resample_is_an_error(values, groups):
    with pytest.raises(ValueError, match="one group per value"):
        bootstrap_mean(values, groups, resamples=100, seed=0)


def test_a_p_value_is_small_for_a_clear_gain_and_even_for_none() -> None:
    rng = np.random.default_rng(3)
    gain = rng.normal(0.1, 0.2, 300)
    groups = [str(i // 3) for i in range(300)]
    assert p_above(gain, groups, resamples=999, seed=1) == pytest.approx(0.001)
    assert p_above(-gain, groups, resamples=999, seed=1) == pytest.approx(1.0)
    under = [p_above(rng.normal(0, 1, 60), groups[:60], resamples=199, seed=1) for _ in range(200)]
    assert 0.3 < float(np.mean(under)) < 0.7
    assert float(np.mean(np.array(under) < 0.05)) < 0.15


def test_holm_corrects_step_by_step() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_several_intervals_at_a_time_are_those_of_each_by_itself() -> None:
    values = np.random.default_rng(1).normal(size=(60, 3))
    groups = [str(i // 3) for i in range(60)]
    lower, upper = intervals(values, groups, resamples=300, seed=4)
    for column in range(3):
        alone = bootstrap_mean(values[:, column], groups, resamples=300, seed=4)
        assert (alone.lower, alone.upper) == pytest.approx((lower[column], upper[column]))


@pytest.mark.parametrize("seed", range(4))
def test_the_randomisation_test_is_the_share_of_all_sign_patterns(seed: int) -> None:
    """Beside all 2^9 patterns, enumerated; ties (whole numbers) count against a gain."""
    sums = np.random.default_rng(seed).integers(-2, 4, 9).astype(float)
    totals = [float(np.dot(signs, sums)) for signs in itertools.product((-1, 1), repeat=9)]
    exact = np.mean([total >= sums.sum() for total in totals])
    assert sign_flip(sums[:, None], flips=20_000, seed=seed)[0] == pytest.approx(exact, abs=0.015)


def test_p_of_a_randomisation_test_is_never_0_and_1_where_nothing_differs() -> None:
    series = np.column_stack([np.full(40, 0.1), np.zeros(40), np.full(40, -0.1)])
    assert sign_flip(series, flips=999, seed=0) == pytest.approx([0.001, 1.0, 1.0])


def test_equal_models_have_small_p_as_often_as_p_says_and_users_are_not_queries() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(size=(50, 2_000)).repeat(4, axis=0)  # four alike queries of each of 50 users
    users = [str(i // 4) for i in range(200)]
    by_user = sign_flip(group_sums(values, users), flips=999, seed=1)
    as_if_free = sign_flip(values[:, :300], flips=999, seed=1)
    for level in (0.01, 0.05, 0.2):
        assert np.mean(by_user <= level) == pytest.approx(level, abs=4 * (level / 2_000) ** 0.5)
    assert np.mean(as_if_free <= 0.05) > 0.15


def test_power_is_the_share_of_tests_that_see_the_effect() -> None:
    rng = np.random.default_rng(2)
    values = rng.normal(0.02, 0.2, (400, 1_000))
    sums = group_sums(values, [str(i) for i in range(400)]) / 400
    assert standard_error(sums) == pytest.approx(np.full(1_000, 0.01), rel=0.2)
    p = sign_flip(sums, flips=1_999, seed=1)
    for level in (0.05, 0.0025):
        assert np.mean(p <= level) == pytest.approx(power(0.02, 0.01, level), abs=0.05)
    seen = (p <= 0.05) & (sums.sum(axis=0) >= 0.03)
    assert np.mean(seen) == pytest.approx(power(0.02, 0.01, 0.05, least=0.03), abs=0.05)


@pytest.mark.parametrize("least", [0.0, 0.05])
def test_what_is_detectable_is_seen_with_that_chance(least: float) -> None:
    effect = detectable(0.01, 0.0025, least)
    assert power(effect, 0.01, 0.0025, least) == pytest.approx(0.8)


def test_one_group_alone_shows_nothing() -> None:
    assert np.isinf(standard_error(np.array([[0.3]])))[0]
    assert power(0.5, float("inf"), 0.05) < 0.06
    assert (power(0.1, 0.0, 0.05), power(0.0, 0.0, 0.05)) == (1.0, 0.0)


def test_the_interval_of_a_deviation_is_chi_square_s_and_covers():
    """χ² of 4 degrees of freedom: 0.4844 and 11.143 are its quantiles at 2.5% and 97.5%."""
    assert deviation_interval(0.02, 4) == pytest.approx(
        (0.02 * math.sqrt(4 / 11.143), 0.02 * math.sqrt(4 / 0.4844)), rel=1e-3
    )
    seen = np.random.default_rng(2).normal(size=(2_000, 5)).std(1, ddof=1)
    inside = [lower <= 1 <= upper for lower, upper in (deviation_interval(one, 4) for one in seen)]
    assert 0.935 <= np.mean(inside) <= 0.965


@pytest.mark.parametrize("seeds", [3, 5, 20])
def test_a_difference_of_two_seeds_exceeds_its_bound_as_often_as_asked(seeds: int):
    """However few seeds the deviation is known from; a normal quantile would be exceeded more often."""
    rng = np.random.default_rng(4)
    spreads = rng.normal(size=(4_000, seeds)).std(1, ddof=1)
    gaps = np.subtract(*rng.normal(size=(2, 4_000)))
    bounds = [difference_bound(spread, seeds - 1) for spread in spreads]
    assert 0.04 <= np.mean(gaps > bounds) <= 0.06
    assert difference_bound(1, 10**6) == pytest.approx(1.6449 * math.sqrt(2), abs=1e-3)
