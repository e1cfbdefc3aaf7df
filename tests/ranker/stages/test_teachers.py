"""Grades that a classical teacher's scores become."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ranker.stages import teachers


@given(st.lists(st.floats(0, 1), min_size=2, max_size=200), st.integers(2, 10))
def test_grades_follow_the_scores(scores: list[float], grades: int) -> None:
    values = np.array(scores)
    given_grades = teachers.grade(values, teachers.grade_edges(values, grades))
    assert given_grades.min() == 0 and given_grades.max() <= grades - 1
    order = np.argsort(values)
    assert (np.diff(given_grades[order]) >= 0).all()
    assert all(given_grades[i] == given_grades[j] for i, j in pairwise(order) if values[i] == values[j])


def test_grades_are_even_and_a_mass_of_least_scores_takes_one_for_itself() -> None:
    even = teachers.grade(values := np.arange(1_000.0), teachers.grade_edges(values, 5))
    assert np.bincount(even).tolist() == [200] * 5
    massed = np.concatenate([np.zeros(600), np.linspace(1, 2, 400)])
    assert np.bincount(teachers.grade(massed, teachers.grade_edges(massed, 5))).tolist() == [
        600,
        100,
        100,
        100,
        100,
    ]


def test_few_distinct_scores_get_a_grade_each() -> None:
    values = np.array([0, 1, 2, 3, 3, 0.0])
    assert teachers.grade(values, teachers.grade_edges(values, 5)).tolist() == [0, 1, 2, 3, 3, 0]


@given(st.lists(st.integers(0, 50), min_size=2, max_size=9))
def test_the_strictly_worst_gets_the_strictly_lowest_grade(scores: list[int]) -> None:
    grades = [min(4, s // 11) for s in scores]
    changed = teachers.separate(grades, scores, 4)
    worst = [g for g, s in zip(changed, scores, strict=True) if s == min(scores)]
    others = [g for g, s in zip(changed, scores, strict=True) if s > min(scores)]
    assert len(set(worst)) == 1 and all(g > worst[0] for g in others)
    assert all(0 <= g <= 4 and abs(g - old) <= 1 for g, old in zip(changed, grades, strict=True))
