"""Classical teachers: they use what training groups did, and never a query's own answer."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ranker.stages import teachers


def _pools(
    history: list[str], items: list[str], *, split: str = "test", group: str = "u", positive: str = ""
) -> pl.DataFrame:
    n = len(items)
    return pl.DataFrame(
        {
            "split": [split] * n,
            "group_id": [group] * n,
            "item_id": items,
            "relevance": [float(i == positive) for i in items],
            "query_items": [history] * n,
        }
    )


def _visits(*walks: str) -> pl.DataFrame:
    return pl.DataFrame(
        [(f"u{n:02}", item) for n, walk in enumerate(walks) for item in walk],
        schema=["user_id", "item_id"],
        orient="row",
    )


def test_item_knn_prefers_what_others_touched_next() -> None:
    score = teachers.item_knn(_pools(["a", "b"], ["c", "x", "z"]), _visits("abc", "abc", "xyw", "axy"))
    assert score[0] > score[1] > score[2] == 0


def test_item_knn_damps_what_everyone_touched() -> None:
    walks = ["ab", "ab", *["b" + c for c in "cdefghijklmnop"], "aq", "aq"]
    score = teachers.item_knn(_pools(["a"], ["b", "q"]), _visits(*walks))
    assert score[1] > score[0] > 0


def test_item_knn_leaves_the_querys_own_user_out() -> None:
    alone = _visits("abc", "xyz")
    own = teachers.item_knn(_pools(["a", "b"], ["c", "z"], split="train", group="u00", positive="c"), alone)
    assert np.allclose(own, 0)
    held_out = teachers.item_knn(_pools(["a", "b"], ["c", "z"]), alone)
    assert held_out[0] > 0


def test_leaving_out_equals_learning_from_the_others() -> None:
    walks = ["abcde", "bacde", "ecdab", "xaybc"]
    pools = {"history": ["a", "b", "c"], "items": ["d", "x", "y"]}
    without = teachers.item_knn(_pools(pools["history"], pools["items"]), _visits(*walks[1:]))
    left_out = teachers.item_knn(
        _pools(pools["history"], pools["items"], split="train", group="u00", positive="d"), _visits(*walks)
    )
    assert np.allclose(left_out[0], without[0])


def test_overlap_counts_rare_words_more_and_reads_no_further_than_the_prompt() -> None:
    texts = ["common zebra", "common other", "common more", "filler filler2 filler3 zebra"]
    pools = pl.DataFrame({"query": ["common zebra"] * 4, "text": texts})
    full, cut = teachers.idf_overlap(pools, None), teachers.idf_overlap(pools, 3)
    assert np.isclose(full[0], 1) and full[3] > full[1] == full[2] > 0
    assert cut[3] == 0


def test_overlap_of_a_query_without_words_is_zero() -> None:
    assert teachers.idf_overlap(
        pl.DataFrame({"query": ["?!", "?!"], "text": ["one thing", "another"]}), None
    ).tolist() == [0, 0]


def _judgements(*rows: tuple[str, str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(q, text, llm, e) for q, text, *effects in rows for llm, e in zip("mn", effects, strict=True)],
        schema=["query_id", "query", "item_id", "relevance"],
        orient="row",
    )


def test_the_router_follows_the_nearest_questions_and_not_its_own() -> None:
    known = _judgements(
        ("1", "integral of sine", 10, 0),
        ("2", "integral of cosine", 10, 0),
        ("3", "capital of France", 0, 10),
        ("4", "capital of Spain", 0, 10),
    )
    prompt = pl.DataFrame(
        {
            "query_id": ["new", "new", "3", "3"],
            "query": ["integral of tangent"] * 2 + ["capital of France"] * 2,
            "item_id": ["m", "n"] * 2,
        }
    )
    score = teachers.nearest_effect(prompt, known)
    assert score[0] > score[1] and score[3] > score[2]
    alone = _judgements(("1", "integral", 10, 0), ("3", "capital", 0, 10))
    own = teachers.nearest_effect(
        pl.DataFrame({"query_id": ["3", "3"], "query": ["capital"] * 2, "item_id": ["m", "n"]}), alone
    )
    assert own[0] == own[1] == 5


def test_word_overlap() -> None:
    assert teachers.word_overlap(
        pl.DataFrame({"query": ["a1 a2"] * 2, "text": ["a2 a3", "a1 a2"]})
    ).tolist() == [1, 2]


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
