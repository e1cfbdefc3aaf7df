from __future__ import annotations

import math
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.metrics.ranking import COLUMNS, per_query, random_expectation


def test_values_of_a_known_ranking():
    values = per_query({"q": ["B", "A", "C"]}, {"q": {"A": 1, "B": 0, "C": 0}})["q"]
    assert values["rr"] == 0.5 and values["hit_1"] == 0 and values["hit_3"] == 1
    assert math.isclose(values["ndcg_10"], 1 / math.log2(3))


def test_a_missing_query_scores_zero_and_stays():
    values = per_query({}, {"q": {"A": 1, "B": 0}})
    assert values == {"q": dict.fromkeys(COLUMNS, 0.0)}


def test_rr_counts_the_best_grade_and_ndcg_all_grades():
    values = per_query({"q": ["B", "A"]}, {"q": {"A": 3, "B": 2}})["q"]
    assert values["rr"] == 0.5 and values["ndcg_10"] > 0.8


def test_half_grades_are_refused():
    with pytest.raises(ValueError, match="whole number"):
        per_query({"q": ["A"]}, {"q": {"A": 0.5}})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=2, max_size=5))
def test_the_random_row_is_the_mean_over_all_orders(grades):
    labels = [f"L{i}" for i in range(len(grades))]
    pool = dict(zip(labels, grades, strict=True))
    orders = list(permutations(labels))
    values = per_query(
        {f"q{i}": order for i, order in enumerate(orders)}, {f"q{i}": pool for i in range(len(orders))}
    )
    expected = random_expectation(grades)
    for column in COLUMNS:
        assert math.isclose(
            sum(v[column] for v in values.values()) / len(orders), expected[column], abs_tol=1e-6
        )


POOL = st.lists(st.integers(0, 3), min_size=2, max_size=6)


@settings(max_examples=40, deadline=None)
@given(POOL, st.data())
def test_putting_the_better_of_two_neighbours_first_never_lowers_a_metric(grades, data):
    pool = {f"L{i}": grade for i, grade in enumerate(grades)}
    order = data.draw(st.permutations(list(pool)))
    i = data.draw(st.integers(0, len(order) - 2))
    first, second = sorted(order[i : i + 2], key=lambda label: -pool[label])
    mended = [*order[:i], first, second, *order[i + 2 :]]
    values = per_query({"as it was": order, "mended": mended}, {"as it was": pool, "mended": pool})
    assert all(values["mended"][column] >= values["as it was"][column] - 1e-9 for column in COLUMNS)


@settings(max_examples=40, deadline=None)
@given(POOL, st.data())
def test_relabelling_and_reordering_the_pool_change_no_metric(grades, data):
    pool = {f"L{i}": grade for i, grade in enumerate(grades)}
    order = data.draw(st.permutations(list(pool)))
    renamed = dict(zip(pool, data.draw(st.permutations(list(pool))), strict=True))
    shuffled = {renamed[label]: pool[label] for label in data.draw(st.permutations(list(pool)))}
    values = per_query(
        {"one": order, "other": [renamed[label] for label in order]}, {"one": pool, "other": shuffled}
    )
    assert values["one"] == values["other"]
