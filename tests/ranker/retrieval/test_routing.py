"""Routers: they follow how language models did on other questions, never on the one asked."""

from __future__ import annotations

import polars as pl

from ranker.retrieval import routing


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
    asked = pl.DataFrame(
        {
            "query_id": ["new", "new", "3", "3"],
            "query": ["integral of tangent"] * 2 + ["capital of France"] * 2,
            "item_id": ["m", "n"] * 2,
        }
    )
    score = routing.nearest_effect(asked, known)
    assert score[0] > score[1] and score[3] > score[2]
    alone = _judgements(("1", "integral", 10, 0), ("3", "capital", 0, 10))
    own = routing.nearest_effect(
        pl.DataFrame({"query_id": ["3", "3"], "query": ["capital"] * 2, "item_id": ["m", "n"]}), alone
    )
    assert own[0] == own[1] == 5


def test_the_mean_leaves_out_the_question_that_is_asked() -> None:
    known = _judgements(("1", "integral", 10, 0), ("2", "capital", 4, 2), ("3", "river", 1, 1))
    asked = pl.DataFrame({"query_id": ["new", "new", "1", "1"], "item_id": ["m", "n"] * 2})
    assert routing.mean_effect(asked, known).tolist() == [5, 1, 2.5, 1.5]
    alone = _judgements(("1", "integral", 10, 0))
    assert routing.mean_effect(asked[2:], alone).tolist() == [5, 5], "nothing else is known: the overall mean"
