from __future__ import annotations

import numpy as np
import pytest

from ranker.metrics.significance import bootstrap_mean, holm, p_above


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
