"""Candidate sets as rows, and read from the lake."""

from __future__ import annotations

from ranker.config import CandidateParams
from ranker.lake import Lake
from ranker.lake.candidate_sets import from_frame, load_set, load_sets, to_frame
from ranker.stages import candidates
from ranker.types import slot_labels
from tests.ranker.factories import overlap_sets
from tests.ranker.material import passes, read_in


def test_sets_survive_the_way_to_the_trainer() -> None:
    sets = overlap_sets(9)
    assert from_frame(to_frame(sets)) == sets


def test_one_set_and_parts_of_a_batch_are_read(lake: Lake) -> None:
    drawn = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    every = load_sets(lake, drawn.key)
    assert len(every) == drawn.rows["candidate_sets"]
    tested = load_sets(lake, drawn.key, split="test")
    assert {given.split for given in tested} == {"test"} and set(tested) < set(every)
    assert load_sets(lake, drawn.key, split="test", task="synthetic", limit=3) == tested[:3]
    assert load_sets(lake, drawn.key, task="rec-movie") == []
    assert load_set(lake, drawn.key, tested[0].set_id) == tested[0]
    assert load_set(lake, drawn.key, "nothing") is None
    assert all(given.labels == slot_labels(len(given)) for given in every), "pools in shown order"
