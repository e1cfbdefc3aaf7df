"""A test side that is used up: a verdict a gate, then fresh queries; and the champion's recipe with other
seeds.
"""

from __future__ import annotations

from pathlib import Path

from flows.retrain import Outcome, retrain
from flows.studies import seeds
from ranker.config import parse_params
from ranker.lake import open_lake
from ranker.stages import register, registry
from ranker.studies.design import StudyParams, seeded
from tests.full_length import in_bench_alone

GIVEN = {
    "preset": "tiny",
    "candidates": {"gates": 2},
    "distill": {"traces": 200},
    "train": {"threads": 1, "sft": {"max_steps": 2}, "grpo": {"max_steps": 1, "prompts": 32}},
    "evaluate": {"models": ["rl"], "strategies": ["direct"], "thinking": [False], "max_queries": 12},
    "register": {"looks": 1},
}


def asked(home: Path, number: int) -> Outcome:
    """A retraining with seeds as a study numbers them."""
    return retrain(seeded(parse_params({**GIVEN, "home": str(home)}), number))


@in_bench_alone
def test_a_gate_that_is_used_up_gives_way_to_fresh_queries(tmp_path: Path) -> None:
    """With one look a gate: the first model has no champion to be compared with and uses none, the second
    one does, the third meets queries that no verdict has seen.
    """
    first = asked(tmp_path, 0)
    registered = parse_params(GIVEN).register_
    registry.promote(tmp_path, registered, "1", anyway=True, smoke=lambda chosen: None)
    second, third = asked(tmp_path, 1), asked(tmp_path, 1)
    assert second.stages["candidates"].key == first.stages["candidates"].key
    assert [one.stages["candidates"].details["gate"] for one in (first, second, third)] == [1, 1, 2]
    with open_lake(tmp_path, read_only=True) as lake:
        tests = lake.rows(
            "select version, look, query_ids from promotion_tests where p is not null order by version"
        )
    assert tests.select("version", "look").rows() == [("2", 1), ("3", 1)]
    before, after = map(set, tests["query_ids"])
    assert len(before) == len(after) == 12 and not before & after
    _measures_seeds(tmp_path)


def _measures_seeds(home: Path) -> None:
    """`ranker study seeds` trains the champion's recipe with the seed that no retraining had; the
    promotion rule reads all three.
    """
    (found,) = seeds(StudyParams(home=str(home), seeds=3, base={"preset": "tiny"}))
    assert [row[:1] + row[2:3] for row in found.body] == [("synthetic", "3")]
    with open_lake(home, read_only=True) as lake:
        champion = registry.present_champion(home, parse_params(GIVEN).register_, "the test")
        (spread,) = register.seeds_of(lake, champion.train_key, "direct", False)
        assert (spread.task, spread.seeds) == ("synthetic", 3) and spread.spread >= 0
        assert lake.rows("select count(*) from stage_runs where stage = 'train'").item() == 4
