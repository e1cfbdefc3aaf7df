"""Counterfactual replay with policies that know, and the contracts as they are."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams
from ranker.engines import Sampling, load
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig, BadModel, BadQuery, StageMissing
from ranker.lake import Lake
from ranker.lake.candidate_sets import load_sets
from ranker.refs import PROJECT, Ref
from ranker.serving.rank_request import rank
from ranker.stages import candidates
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, Tables, judged, together
from ranker.studies import replay
from ranker.types import CandidateSet
from tests.ranker.factories import adversary, oracle
from tests.ranker.material import passes, read_in, tiny_lm

GOOD = replay.Branch(model="good", from_step=1, strategy="iterative", thinking=True)


@pytest.fixture
def lake(synthetic_lake: Lake) -> Lake:
    """Every test begins behind the candidate sets of `synthetic`."""
    return synthetic_lake


@pytest.fixture
def shown(lake: Lake) -> tuple[Lake, CandidateSet, dict]:
    """A lake in which a bad policy has ranked test queries: one set, and its iterative episode."""
    sets = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    given = load_sets(lake, sets.key, split="test", limit=3)
    tables = together(_ranked(given, name) for name in ("iterative", "direct"))
    lake.write(
        "evaluate",
        "bad",
        tables,
        inputs=[sets.key],
        parameters="[{}]",
        code="c",
        read_snapshot=sets.snapshot,
        details={},
        check=passes,
    )
    return lake, given[0], _episode(lake, given[0], "iterative")


def _ranked(given: list[CandidateSet], name) -> Tables:
    ranked = strategy(name)(given, ScriptedEngine(adversary), thinking=True, sampling=Sampling(64))
    return judged(ranked, {one.set_id: one for one in given}, Origin("evaluate", "bad", "rl", 0))


def _episode(lake: Lake, given: CandidateSet, name: str) -> dict:
    asked = {"set": given.set_id, "name": name}
    return replay.find(
        lake,
        lake.rows("select episode_id from episodes where set_id = $set and strategy = $name", asked).item(),
    )


def go(lake: Lake, parent: dict, branch: replay.Branch, check=passes) -> Ref:
    return replay.run(lake, parent, branch, lambda: ScriptedEngine(oracle), check=check)


def stored(lake: Lake, ref: Ref) -> tuple[dict, pl.DataFrame]:
    row = lake.rows("select * from episodes where batch_id = $key", {"key": ref.key}).row(0, named=True)
    return row, lake.rows("select * from steps where batch_id = $key order by step", {"key": ref.key})


def test_a_branch_keeps_what_was_and_goes_on_anew(shown) -> None:
    lake, given, parent = shown
    lake.execute("update steps set shortened = 2 where batch_id = 'bad' and step = 0")
    ref = go(lake, parent, GOOD, validate_batch)
    row, steps = stored(lake, ref)
    assert row["shortened_calls"] == 1
    before = lake.rows(
        "select * from steps where batch_id = 'bad' and episode_id = $id order by step",
        {"id": parent["episode_id"]},
    )
    assert steps.row(0, named=True) | {"batch_id": "", "episode_id": ""} == before.row(0, named=True) | {
        "batch_id": "",
        "episode_id": "",
    }
    assert steps["model"].to_list() == ["bad", "good", "good"] and steps["step"].to_list() == [0, 1, 2]
    assert (row["stage"], row["arm"], row["model"], row["parent_episode"], row["from_step"]) == (
        "replay",
        "replay",
        "good",
        parent["episode_id"],
        1,
    )
    assert row["ranking"][-1] == before["taken"][0][0] and sorted(row["ranking"]) == sorted(given.labels)
    rest = [label for label in given.labels if label != row["ranking"][-1]]
    assert [given.relevance[label] for label in row["ranking"][:-1]] == sorted(
        (given.relevance[label] for label in rest), reverse=True
    )
    assert row["calls"] == 3 and row["reward"] == pytest.approx(steps["reward"].mean())
    assert parent["ranking"] == replay.find(lake, parent["episode_id"])["ranking"], "the parent stays"


def test_from_the_first_step_the_whole_episode_is_anew(shown) -> None:
    lake, _, parent = shown
    row, steps = stored(lake, go(lake, parent, GOOD.model_copy(update={"from_step": 0}), validate_batch))
    assert row["rr"] == 1.0 > parent["rr"] and set(steps["model"]) == {"good"}


def test_another_strategy_may_take_over(shown) -> None:
    lake, _, parent = shown
    row, steps = stored(
        lake, go(lake, parent, GOOD.model_copy(update={"strategy": "direct", "from_step": 2}), validate_batch)
    )
    assert steps["mode"].to_list() == ["exclude", "exclude", "rank"] and steps["strategy"].to_list() == [
        "iterative",
        "iterative",
        "direct",
    ]
    assert row["strategy"] == "direct" and row["calls"] == 3 and len(steps["pool"][2]) == 2
    old = lake.rows(
        "select taken from steps where batch_id = 'bad' and episode_id = $id order by step",
        {"id": parent["episode_id"]},
    )["taken"].to_list()
    assert row["ranking"][2:] == [old[1][0], old[0][0]]


def test_a_whole_order_can_be_asked_anew_and_a_branch_branched(shown) -> None:
    lake, given, _ = shown
    first = go(lake, _episode(lake, given, "direct"), GOOD.model_copy(update={"from_step": 0}))
    again = go(
        lake,
        replay.find(lake, first.details["episode"]),
        GOOD.model_copy(update={"from_step": 2, "model": "better"}),
        validate_batch,
    )
    row, steps = stored(lake, again)
    assert row["parent_episode"] == first.details["episode"] and steps["model"].to_list() == [
        "good",
        "good",
        "better",
    ]


def test_the_same_branch_is_made_once(shown) -> None:
    lake, _, parent = shown
    first = go(lake, parent, GOOD)
    again = replay.run(lake, parent, GOOD, lambda: pytest.fail("no engine is needed"), check=passes)
    assert again.skipped and again.key == first.key
    assert go(lake, parent, GOOD.model_copy(update={"temperature": 0.7})).key != first.key


def test_parent_and_branch_side_by_side(shown) -> None:
    lake, _, parent = shown
    outcome, steps = replay.beside(lake, go(lake, parent, GOOD))
    assert (
        outcome["branch"].to_list() == ["before", "after"]
        and outcome["episode_id"][0] == parent["episode_id"]
    )
    assert outcome["rr"][1] >= outcome["rr"][0]
    assert (
        steps["step"].to_list() == [0, 1, 2]
        and steps["before"][0] == steps["after"][0]
        and steps["answered_by"].to_list() == ["bad", "good", "good"]
    )
    asked = (PROJECT / "sql" / "adhoc" / "branches.sql").read_text(encoding="utf-8")
    assert lake.query(asked)["parent_episode"].to_list() == [parent["episode_id"]]


def test_replays_stay_out_of_what_was_evaluated(shown) -> None:
    lake, _, parent = shown
    lake.execute("set threads = 1")  # several sum a mean in any order, which shows in its last bit
    before = lake.rows("select * from cost_quality"), lake.rows("select * from step_regret")
    go(lake, parent, GOOD)
    assert before[0].equals(lake.rows("select * from cost_quality")) and before[1].equals(
        lake.rows("select * from step_regret")
    )


@pytest.mark.parametrize("from_step", [3, 4, 99])
def test_where_nothing_is_left_to_decide_there_is_no_branch(shown, from_step: int) -> None:
    lake, given, parent = shown
    with pytest.raises(BadQuery, match="0 to 2"):
        go(lake, parent, GOOD.model_copy(update={"from_step": from_step}))
    with pytest.raises(BadQuery, match="0 to 0"):
        go(lake, _episode(lake, given, "direct"), GOOD)


def test_episodes_go_by_the_beginning_of_their_id(shown) -> None:
    lake, _, parent = shown
    assert replay.find(lake, parent["episode_id"][:10])["episode_id"] == parent["episode_id"]
    for given in ("ffff-not-there", ""):
        with pytest.raises(StageMissing, match="no episode"):
            replay.find(lake, given)


def test_an_ambiguous_beginning_is_refused(shown) -> None:
    lake, _, parent = shown
    lake.execute("insert into episodes select * replace (episode_id || 'x' as episode_id) from episodes")
    with pytest.raises(BadQuery, match="begins 2"):
        replay.find(lake, parent["episode_id"])


def test_a_model_that_is_not_there(home: Path) -> None:
    with pytest.raises(BadModel, match="nowhere"):
        replay.weights(home, "nowhere")


def test_a_likelihood_policy_s_branch_goes_on_as_the_policy_ranks(home: Path, lake: Lake) -> None:
    folder = tiny_lm(home / "models" / "k" / "rl")
    sets = candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)
    test = load_sets(lake, sets.key, split="test", limit=2)
    engine = load(folder)
    ranked = strategy("iterative")(test, engine, thinking=False, sampling=Sampling(64))
    lake.write(
        "evaluate",
        "own",
        judged(ranked, {one.set_id: one for one in test}, Origin("evaluate", "k/rl", "rl", 0)),
        inputs=[sets.key],
        parameters="[{}]",
        code="c",
        read_snapshot=sets.snapshot,
        details={},
        check=passes,
    )
    given, parent = test[0], _episode(lake, test[0], "iterative")
    branch = replay.Branch(model="k/rl", from_step=1, strategy="direct", thinking=False)
    ref = replay.run(lake, parent, branch, lambda: engine, check=validate_batch)
    row, steps = stored(lake, ref)
    assert row["ranking"] == parent["ranking"] and steps["mode"].to_list() == ["exclude", "rank"]
    assert steps["temperature"].to_list() == [0.25, 0.25], "the task's own: nothing was fitted"
    assert [len(scores) for scores in steps["log_likelihoods"]] == [4, 3]
    payload = {
        "task": given.task,
        "query": given.query,
        "candidates": [{"id": c.label, "text": c.text} for c in given.candidates],
    }
    assert [item["id"] for item in rank(payload, folder)["ranking"]] == parent["ranking"]
    for change, says in (({"temperature": 0.7}, "is not sampled"), ({"thinking": True}, "no reasoning")):
        with pytest.raises(BadConfig, match=says):
            replay.run(lake, parent, branch.model_copy(update=change), lambda: engine, check=passes)
