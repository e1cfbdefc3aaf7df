"""Set matching: what relevance counts, and what synonyms hide."""

from __future__ import annotations

import pytest

from ranker.config import Task
from ranker.errors import BadConfig
from ranker.sources import Bundle, synthetic


def given(**options: int) -> Bundle:
    return synthetic.read(Task(name="made", scenario="synthetic", reader="synthetic", pool_size=8, wording="Rank.", options={"queries": 60, "seed": 3, **options}))


def test_relevance_is_the_number_of_shared_attributes() -> None:
    found = given()
    assert len(found.qrels) == 60 * 8
    for query, item, relevance in found.qrels.join(found.queries, on="query_id").select("text", "item_id", "relevance").iter_rows():
        assert relevance == len(set(query.split()) & set(item.split()))


def test_each_synonym_stands_for_one_attribute_and_in_candidates_only() -> None:
    found = given(synonyms=4)
    asked = {word for text in found.queries["text"] for word in text.split()}
    shown = {word for text in found.items["text"] for word in text.split()}
    hidden = {word for word in shown if word.startswith("b")}
    assert asked == {f"a{number}" for number in range(12)} and hidden == {f"b{number}" for number in range(4)} and len(shown) == 12
    joined = found.qrels.join(found.queries, on="query_id").select("text", "item_id", "relevance").rows()
    for query, item, relevance in joined:
        seen, most = len(set(query.split()) & set(item.split())), len(set(item.split()) & hidden)
        assert seen <= relevance <= seen + most and most == 1, "equally many of both kinds: their number tells nothing"
    # One attribute alone explains each name: wherever the name is and nothing visible says so, the relevance tells.
    for name in hidden:
        told = [(set(query.split()), relevance - len(set(query.split()) & set(item.split()))) for query, item, relevance in joined if name in item.split()]
        assert len([a for a in asked - shown if all((a in query) == bool(extra) for query, extra in told)]) == 1


@pytest.mark.parametrize("options", [{"synonyms": 24}, {"synonyms": 5}, {"attributes": 8, "chosen": 4, "synonyms": 4, "candidates": 19}, {"synonyms": -1}, {"chosen": 7}, {"colour": 1}])
def test_impossible_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(BadConfig, match="options"):
        given(**options)
