"""Pools that the policy reaches: they follow from its answers, wait across a kill, and end where nothing
can be learned.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ranker.policy.parsing import Action, Reason
from ranker.policy.prompts import Prompt, messages
from ranker.train import job
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from ranker.train.worker.rollouts import Episodes, Reserve, dead
from ranker.types import CandidateSet
from tests.ranker.factories import overlap_sets
from tests.ranker.train.jobs import start_from, tiny, write_job


def by_id(n: int = 12) -> dict[str, CandidateSet]:
    return {made.set_id: made for made in overlap_sets(n)}


def row(made: CandidateSet) -> dict:
    return {
        "set_id": made.set_id,
        "task": made.task,
        "mode": "exclude",
        "thinking": False,
        "pool": list(made.labels[:2]),
        "relevance": [c.relevance for c in made.candidates[:2]],
    }


def render(prompt: Prompt) -> str:
    return messages(prompt, "compact")[-1]["content"]


def names(label: str) -> Action:
    return Action((label,), Reason.VALID)


NONE = Action((), Reason.NO_ANSWER)


def test_an_elimination_starts_from_the_whole_pool_and_goes_on_as_the_policy_chose(tmp_path: Path) -> None:
    sets = by_id()
    made = next(found for found in sets.values() if len(set(found.relevance.values())) > 1)
    episodes = Episodes(sets, 1.0, render, 3, tmp_path)
    pool = list(made.labels)
    worth = made.relevance
    asked = episodes.substitute([row(made)], 0)[0]
    assert asked["pool"] == pool and asked["set_id"] == made.set_id
    while True:
        worst = min(asked["pool"], key=worth.__getitem__)
        episodes.advance(asked, [NONE, names(worst)])
        pool.remove(worst)
        values = [worth[label] for label in pool]
        if max(values) == min(values):
            assert not episodes.waiting
            return
        asked = episodes.substitute([row(made)], 1)[0]
        assert asked["pool"] == pool
        assert asked["relevance"] == values and all(f" {label} " in asked["prompt"] for label in pool)


def test_an_elimination_ends_where_its_best_candidate_falls_or_no_answer_is_valid(tmp_path: Path) -> None:
    sets = by_id()
    for made in sets.values():
        episodes = Episodes(sets, 1.0, render, 3, tmp_path)
        asked = episodes.substitute([row(made)], 0)[0]
        top = [label for label, worth in made.relevance.items() if worth == max(made.relevance.values())]
        if len(top) == 1:
            episodes.advance(asked, [names(top[0])])
        episodes.advance(asked, [NONE, NONE])
        episodes.advance(row(made), [names(made.labels[0])])  # not one of an elimination
        assert not episodes.waiting


def test_orders_and_a_share_of_nothing_stay_as_given(tmp_path: Path) -> None:
    sets = by_id()
    rows = [row(made) for made in sets.values()]
    assert Episodes(sets, 0.0, render, 3, tmp_path).substitute(rows, 0) == rows
    orders = [one | {"mode": "rank"} for one in rows]
    assert Episodes(sets, 1.0, render, 3, tmp_path).substitute(orders, 0) == orders


def test_a_pool_whose_prompt_does_not_fit_gives_way_to_the_prompt_at_hand(tmp_path: Path) -> None:
    sets = by_id()
    rows = [row(made) for made in sets.values()]
    assert Episodes(sets, 1.0, lambda prompt: None, 3, tmp_path).substitute(rows, 0) == rows


def test_waiting_pools_come_back_with_their_checkpoint(tmp_path: Path) -> None:
    sets = by_id()
    before = Episodes(sets, 0.5, render, 3, tmp_path)
    before.waiting.extend([(made.set_id, True, made.labels[1:]) for made in sets.values()])
    before.flush(40)
    after = Episodes(sets, 0.5, render, 3, tmp_path)
    after.start(40)
    assert after.waiting == before.waiting
    rows = [row(made) for made in sets.values()]
    assert after.substitute(rows, 41) == before.substitute(rows, 41)


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=12), st.integers(2, 6))
def test_a_group_is_dead_whatever_the_last_bits_of_its_equal_rewards(rewards: list[float], n: int) -> None:
    alike = [reward + 1e-9 * place for reward in rewards for place in range(n)]
    assert dead(alike, n).all()
    alike[0] += 0.01
    assert dead(alike, n).tolist() == [False] + [True] * (len(rewards) - 1)


def test_the_reserve_draws_the_same_again() -> None:
    rows = [{"n": n} for n in range(50)]
    draws = [Reserve(rows, 5).draw(6, step, turn) for step in range(3) for turn in range(2)]
    assert draws == [Reserve(rows, 5).draw(6, step, turn) for step in range(3) for turn in range(2)]
    assert len({json.dumps(draw) for draw in draws}) == len(draws)


@pytest.mark.parametrize("resample", [0, 2])
def test_a_real_trainer_rolls_eliminations_out_and_replaces_dead_groups(
    tmp_path: Path, undisturbed: tuple[Path, Path, dict[str, int]], resample: int
) -> None:
    params = tiny(
        grpo={
            "max_steps": 12,
            "on_policy": 1.0,
            "resample": resample,
            "curriculum": 0.5,
            "nothink_share": 0.0,
            "rank_share": 0.0,
        },
    )
    folder = write_job(tmp_path, params)
    start_from(undisturbed, tmp_path, folder)
    phases.rl(Job.read(folder / "job.json"), Heartbeat(folder / "heartbeat.json"))
    tables, _ = job.collect(tmp_path, folder, "k")
    episodes = pl.concat([pl.read_parquet(path) for path in tables["episodes"]]).sort("train_step")
    assert len(episodes) == 12 * 16, "every rollout that was learned from is recorded once"
    sizes = episodes["pool"].list.len()
    whole = int(sizes.max())
    started = episodes.filter(pl.col("train_step") == 0)["pool"].list.len() == whole
    assert started.any() if resample else started.all(), (
        "eliminations start from whole pools; only a dead group's place is taken by another prompt"
    )
    assert (sizes < whole).any(), "the policy's own survivors are asked about"
    metrics = tables["training_metrics"].filter(pl.col("name").str.starts_with("groups/"))
    shares = {name: part["value"].mean() for (name,), part in metrics.group_by("name")}
    left, found = shares["groups/zero_spread_left"], shares["groups/zero_spread"]
    assert 0 <= left <= found <= 1 and (resample or left == found)
    assert sorted(path.name for path in (folder / "rollouts").glob("waiting-*.json"))
