"""Rows of episodes and steps."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from ranker.engines import Sampling, load
from ranker.policy.parsing import parse
from ranker.policy.rewards import reward
from ranker.serving import collect, request_log
from ranker.serving.explore import Exploration, order
from ranker.strategies import strategy
from ranker.strategies.episodes import EPISODES, NULLS, STEPS, Origin, Tables, judged, together
from ranker.studies import replay
from ranker.train.worker.recorder import Asked, Recorder, Rollout
from ranker.types import Episode, Step
from tests.ranker.engines.models import bytewise
from tests.ranker.factories import make_set, overlap_sets
from tests.ranker.strategies.policies import SAMPLING, Table, perfect


def test_calls_say_which_round_they_are_of_and_what_they_cost():
    sets = overlap_sets(3, pool=5)
    by_id = {one.set_id: one for one in sets}
    for name, rounds, calls in (
        ("iterative", 4, 4),
        ("consistency:shuffles=3", 1, 3),
        ("gate:margin=1", 8, 8),
        ("first-token", 1, 1),
    ):
        made = judged(
            strategy(name)(sets, perfect(), thinking=True, sampling=SAMPLING),
            by_id,
            Origin("evaluate", "m", "rl", 0),
        )
        episodes, steps = made["episodes"], made["steps"]
        assert (
            set(episodes["rounds"]) == {rounds}
            and set(episodes["calls"]) == {calls}
            and set(episodes["strategy"]) == {name}
        )
        assert episodes["prompt_tokens"].to_list() == [
            sum(part["prompt_tokens"]) for (_,), part in steps.group_by("episode_id", maintain_order=True)
        ]
        assert set(episodes["cached_tokens"]) == {0} and set(episodes["invalid_calls"]) == {0}


def test_calls_whose_texts_were_cut_to_fit_the_model_are_counted(tmp_path: Path):
    long = replace(make_set([1, 0, 0], texts=["word " * 2000, "b", "c"]), set_id="long")
    sets = [long, *overlap_sets(1, pool=3)]
    engine = load(bytewise(tmp_path, context=2048))
    ranked = strategy("iterative")(sets, engine, thinking=False, sampling=Sampling(8))
    made = judged(ranked, {one.set_id: one for one in sets}, Origin("evaluate", "m", "rl", 0))
    texts = made["steps"].join(made["episodes"].select("episode_id", "set_id"), on="episode_id")
    assert texts.filter(set_id="long")["shortened"][0] == 1
    assert set(texts.filter(pl.col("set_id") != "long")["shortened"]) == {0}
    held = sum("A" in pool for pool in texts.filter(set_id="long")["pool"])
    assert made["episodes"]["shortened_calls"].to_list() == [held, 0]


def evaluated() -> Tables:
    """Written and scored answers and those by likelihood, as evaluation and the studies have them stored."""
    sets = overlap_sets(2, pool=4)
    ways = (("iterative", perfect()), ("first-token", perfect()), ("direct", Table({})))
    return together(
        judged(
            strategy(name)(
                sets,
                engine,
                thinking=not isinstance(engine, Table),
                sampling=SAMPLING,
                tolerant=name == "iterative",
            ),
            {one.set_id: one for one in sets},
            Origin("evaluate", "m", "rl", 0),
        )
        for name, engine in ways
    )


def trained(folder: Path) -> Tables:
    """An exclusion and an order, as the trainer's recorder leaves them."""
    recorder = Recorder(folder, Origin("train", "m", "rl", 0))
    recorder.start(0)
    given = overlap_sets(1, pool=3)[0]
    for mode, text in (("exclude", "no idea"), ("rank", "<answer> B A C </answer>")):
        action = parse(text, given.labels, mode, False)
        row = Asked(set_id=given.set_id, task=given.task, mode=mode, thinking=False, pool=list(given.labels))
        recorder.pending.append(Rollout(row, "?", text, action, reward(action, given.relevance, mode)))
    recorder.settle(7, [9, 9], [5, 6], [-0.5, 0.5], 20.0)
    recorder.flush(8)
    return Tables(
        episodes=pl.read_parquet(folder / "episodes-00000008-0.parquet"),
        steps=pl.read_parquet(folder / "steps-00000008-0.parquet"),
    )


def served() -> Tables:
    given = overlap_sets(1, pool=4)[0]
    episode = strategy("iterative")([given], perfect(), thinking=True, sampling=SAMPLING)[0]
    line = request_log.record(
        given,
        episode,
        order(episode.ranking, "", Exploration()),
        at=datetime.now(UTC),
        milliseconds=1.0,
        model="m",
        version="1",
    )
    made = collect.tables([json.loads(json.dumps(line))])
    return Tables(episodes=made["episodes"], steps=made["steps"])


def replayed() -> Tables:
    given = overlap_sets(1, pool=4)[0]
    branch = replay.Branch(model="m", from_step=0, strategy="iterative", thinking=True)
    before = pl.DataFrame(schema=STEPS)
    made = replay._branched({"episode_id": "p"}, given, before, given, branch, perfect())
    return Tables(episodes=made["episodes"], steps=made["steps"])


def test_every_writer_fills_the_same_columns_but_where_a_reason_is_stated(tmp_path: Path):
    written = {
        "evaluate": evaluated(),
        "train": trained(tmp_path),
        "serve": served(),
        "replay": replayed(),
    }
    differ = set()
    for name, schema in (("episodes", EPISODES), ("steps", STEPS)):
        frames = [made[name] for made in written.values()]
        assert all(frame.schema == pl.Schema(schema) and frame.height for frame in frames)
        for column in schema:
            empty = {frame[column].null_count() == frame.height for frame in frames}
            differ |= {column} if len(empty) == 2 else set()
            assert empty != {True}, f"nobody fills {name}.{column}"
    assert differ == set(NULLS)


def test_a_rollout_is_an_episode_of_one_unconstrained_call(tmp_path: Path):
    made = trained(tmp_path)
    episodes, steps = made["episodes"], made["steps"]
    same = {"constrained": False, "rounds": 1, "cached_tokens": 0, "calls": 1, "train_step": 7}
    assert all(set(episodes[name]) == {value} for name, value in same.items())
    assert steps["round"].to_list() == [0, 0] and steps["constrained"].to_list() == [False, False]
    assert episodes["episode_id"].n_unique() == 2
    assert episodes["strategy"].to_list() == ["iterative", "direct"]
    assert episodes["invalid_calls"].to_list() == [1, 0]
    assert episodes["ranking"].to_list() == [["A", "B", "C"], ["B", "A", "C"]]
    assert steps["taken"].to_list() == [["C"], ["B", "A", "C"]]
    assert steps["advantage"].to_list() == [-0.5, 0.5]
    assert steps["milliseconds"].to_list() == [10.0, 10.0]


def test_a_step_that_no_call_made_is_refused():
    given = overlap_sets(1, pool=2)[0]
    step = Step(0, ("A", "B"), "?", "", (), ("B",), False, "no_answer", -1.0, {}, 1, 1, 1.0)
    episode = Episode(given.set_id, "iterative", False, ("A", "B"), (step,))
    with pytest.raises(TypeError, match="calls"):
        judged([episode], {given.set_id: given}, Origin("evaluate", "m", "rl", 0))
