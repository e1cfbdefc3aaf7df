"""Served requests beside the champion's training queries: figures by hand, and what counts as a shift."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ranker.lake import Lake
from ranker.refs import Champion
from ranker.reports import population
from ranker.reports.population import Population
from tests.ranker.evaluated import commit, trained

CHAMPION = Champion(version="1", train_key="t" * 16, model="m", strategy="direct", thinking=None)
LISTS = {"query_items": pl.List(pl.String), "pool_size": pl.Int32}


def sets(queries: dict[str, list[str]], task: str = "a") -> pl.DataFrame:
    """Candidate sets by split."""
    rows = [
        {"set_id": f"{task}{split}{n}", "task": task, "split": split, "query_id": f"{n}", "group_id": f"{n}"}
        | {"query": query, "query_items": [], "pool_size": 2}
        for split, given in queries.items()
        for n, query in enumerate(given)
    ]
    return pl.DataFrame(rows, schema_overrides=LISTS)


def drawn(lake: Lake, queries: dict[str, list[str]], text: str = "known") -> None:
    """A training on candidate sets of these queries."""
    frame = sets(queries)
    candidates = pl.DataFrame(
        [
            {"set_id": one, "slot": 0, "label": "A", "item_id": "i", "text": text, "relevance": 1.0}
            | {"origin": "given", "prior": 0.0}
            for one in frame["set_id"]
        ],
        schema_overrides={"slot": pl.Int32},
    )
    commit(lake, "candidates", "c" * 16, {"candidate_sets": frame, "candidates": candidates})
    trained(lake, CHAMPION.train_key, inputs=("c" * 16,))


def asked(lake: Lake, queries: list[str], texts: list[str], task: str = "a", days_ago: float = 1) -> None:
    """Requests that a server has logged, each with the same documents."""
    at = datetime.now(UTC) - timedelta(days=days_ago)
    requests = [
        {
            "set_id": f"served{task}{days_ago}{n}",
            "served_at": at,
            "task": task,
            "query": query,
            "query_items": [],
        }
        | {"pool_size": len(texts), "model": "m", "version": "1", "milliseconds": 1.0}
        for n, query in enumerate(queries)
    ]
    documents = [
        {"set_id": one["set_id"], "slot": slot, "label": "AB"[slot], "item_id": "i", "text": text, "place": 1}
        for one in requests
        for slot, text in enumerate(texts)
    ]
    frame = pl.DataFrame(requests, schema_overrides=LISTS)
    shown = pl.DataFrame(documents, schema_overrides={"slot": pl.Int32, "place": pl.Int32})
    key = f"served{task}{days_ago}"
    commit(lake, "serve", key, {"served_requests": frame, "served_candidates": shown})


def words(count: int) -> str:
    return " ".join(["Word"] * count)


def test_the_figures_of_one_task_are_those_by_hand(lake: Lake) -> None:
    drawn(lake, {"train": [words(1)] * 5 + [words(3)] * 5, "test": ["word other"]})
    asked(lake, ["word, new!", "WORD word word"], ["known", "unknown"])
    (found,) = population.served(lake, CHAMPION, days=28) or ()
    # the deciles of training are 1 and 3, so bins of up to 1, up to 3 and more; half a query is added to each
    p, q = [5.5 / 11.5, 5.5 / 11.5, 0.5 / 11.5], [0.5 / 3.5, 2.5 / 3.5, 0.5 / 3.5]
    psi = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert (found.trained, found.served, found.bins) == (10, 2, 3)
    assert found.length_psi == pytest.approx(psi)
    assert (found.words, found.unknown_words, found.unknown_words_test) == (5, 0.2, 0.5)
    assert (found.documents, found.unknown_items) == (4, 0.5)


def test_what_is_served_as_it_was_trained_on_has_not_shifted(lake: Lake) -> None:
    usual = [words(1 + n % 12) for n in range(600)]
    drawn(lake, {"train": usual, "test": usual[:50]})
    asked(lake, usual[:200], ["known"])
    asked(lake, [words(90)] * 200, ["unknown"], days_ago=40)  # too long ago to count
    (found,) = population.served(lake, CHAMPION, days=28) or ()
    assert found.shifts == () and found.served == 200 and "as in training" in str(found)
    (found,) = population.served(lake, CHAMPION, days=60) or ()
    assert [one.partition(" ")[0] for one in found.shifts] == ["lengths", "documents"]


def test_a_task_that_was_not_trained_on_is_said(lake: Lake) -> None:
    drawn(lake, {"train": [words(1)], "test": [words(1)]})
    asked(lake, [words(1)], ["known"], task="b")
    (found,) = population.served(lake, CHAMPION, days=28) or ()
    assert found.shifts == ("the champion was not trained on it",) and found.length_psi is None


def test_nothing_served_and_nothing_known_are_two_things(lake: Lake) -> None:
    assert population.served(lake, CHAMPION, days=28) is None
    drawn(lake, {"train": [words(1)], "test": [words(1)]})
    assert population.served(lake, CHAMPION, days=28) == []


def test_few_requests_alone_are_no_shift() -> None:
    """An index of 0.3 is much for thousands of requests, and chance for thirty."""
    few, many = (Population("a", 4000, n, 10, 0.3, 90, 0.0, 0.0, 90, 0.0) for n in (30, 4000))
    assert few.shifts == () and len(many.shifts) == 1
    assert many.psi_bound == population.LEAST_PSI < few.psi_bound


def test_shares_count_beyond_those_of_test_queries_and_by_more_than_chance() -> None:
    def of(share: float, usual: float, n: int) -> tuple[str, ...]:
        return Population("a", 100, 100, 10, 0.0, n, share, usual, None, None).shifts

    assert of(0.5, 0.0, 1000) == ("words (50% unknown, 0% are usual)",)
    assert of(0.5, 0.45, 1000) == () and of(0.5, 0.0, 4) == () and of(0.12, 0.0, 200) == ()


def test_figures_leave_out_what_is_not_known() -> None:
    found = Population("a", 0, 5, None, None, None, None, None, 3, 1.0)
    samples = {one.figure.name: one.value for one in population.samples([found])}
    assert samples == {
        "ranker_served_requests": 5,
        "ranker_served_unknown_documents_ratio": 1.0,
        "ranker_served_shifts": 1,
    }
    whole = Population("a", 9, 5, 3, 0.1, 4, 0.2, 0.1, 3, 0.0)
    assert {one.figure for one in population.samples([whole])} == set(population.FIGURES)
