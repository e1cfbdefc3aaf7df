"""Distillation: traces parse, say what their grades say, are rejected where the truth contradicts them, and know no test query."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import judge
from ranker import candidates, distill, engines
from ranker.acceptance import fault
from ranker.config import CandidateParams, DistillParams, PolicyParams
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig
from ranker.lake import Lake
from ranker.parsing import parse
from ranker.refs import Ref
from tests.ranker.factories import adversary, oracle
from tests.ranker.material import ML_100K, movies, needs_movielens, passes, read_in

COMPACT, CHAT = PolicyParams(style="compact"), PolicyParams(source="models/x", style="chat")
FEW = DistillParams(traces=400)


def _sets(lake: Lake, **params) -> Ref:
    return candidates.run(lake, CandidateParams(**params), source=read_in(lake, "synthetic"), check=passes)


def _traces(lake: Lake, ref: Ref) -> pl.DataFrame:
    return lake.rows("select * from traces where batch_id = $key order by trace_id", {"key": ref.key})


def _relevance(lake: Lake, sets: Ref) -> dict[str, dict[str, float]]:
    rows = lake.rows("select set_id, label, relevance from candidates where batch_id = $key", {"key": sets.key})
    return {set_id[0]: dict(part.select("label", "relevance").iter_rows()) for set_id, part in rows.group_by("set_id")}


@pytest.mark.parametrize("policy", [COMPACT, CHAT], ids=["compact", "chat"])
def test_every_trace_parses_to_its_own_action(lake: Lake, policy: PolicyParams) -> None:
    ref = distill.run(lake, FEW, sets=_sets(lake), policy=policy, check=passes)
    for row in _traces(lake, ref).iter_rows(named=True):
        action = parse(row["completion"], row["pool"], row["mode"], row["thinking"])
        assert action.valid and list(action.labels) == row["action"]
        assert (row["teacher"], row["teacher_kind"]) == ("overlap", "classical")


def test_the_batch_keeps_its_contract_and_a_perfect_teacher_is_never_rejected(lake: Lake) -> None:
    ref = distill.run(lake, FEW, sets=_sets(lake), policy=COMPACT, check=judge)
    assert ref.details["tasks"]["synthetic"] == {"teacher": "overlap", "traces": 400, "accepted": 400, "rejected": {}}
    assert ref.rows == {"teacher_scores": 1600, "traces": 400}


def test_the_lowest_grade_is_what_is_excluded(lake: Lake) -> None:
    traces = _traces(lake, distill.run(lake, FEW, sets=_sets(lake), policy=COMPACT, check=passes))
    for completion, action in traces.filter(pl.col("thinking") & (pl.col("mode") == "exclude")).select("completion", "action").iter_rows():
        words = completion.split("</think>")[0].split()[1:]
        grades = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        assert grades[action[0]] == min(grades.values())
        assert next(label for label, grade in grades.items() if grade == min(grades.values())) == action[0]


def test_pools_vary_in_size_keep_their_order_and_hold_a_best_one(lake: Lake) -> None:
    sets = _sets(lake)
    truth = _relevance(lake, sets)
    traces = _traces(lake, distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes))
    assert set(traces["pool"].list.len()) == {2, 3, 4}
    for set_id, pool in traces.select("set_id", "pool").iter_rows():
        assert pool == sorted(pool)
        assert max(truth[set_id].values()) == max(truth[set_id][label] for label in pool)


def test_shares_of_modes_and_of_reasoning_are_as_asked(lake: Lake) -> None:
    params = DistillParams(traces=2_000, rank_share=0.4, nothink_share=0.2)
    traces = _traces(lake, distill.run(lake, params, sets=_sets(lake), policy=COMPACT, check=passes))
    assert abs((traces["mode"] == "rank").mean() - 0.4) < 0.05
    assert abs((~traces["thinking"]).mean() - 0.2) < 0.05


def test_only_training_sets_get_traces_and_all_sets_get_scores(lake: Lake) -> None:
    sets = _sets(lake)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes)
    splits = lake.rows(
        "select distinct split from traces join candidate_sets s using (set_id) where traces.batch_id = $key", {"key": ref.key}
    )
    assert splits.rows() == [("train",)]
    scored = lake.rows(
        "select count(*) from teacher_scores t join candidates c using (set_id, label) where t.batch_id = $key", {"key": ref.key}
    ).item()
    assert scored == sets.rows["candidates"]


def test_the_same_again_is_skipped_and_forced_gives_the_same(lake: Lake) -> None:
    sets = _sets(lake)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes)
    first = _traces(lake, ref)
    assert distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes).skipped
    again = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes, force=True)
    assert _traces(lake, again).equals(first)


def test_a_wrong_teacher_is_rejected_with_the_reason_unless_told_otherwise(lake: Lake, tmp_path: Path) -> None:
    sets = movies(lake, tmp_path)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=judge)
    truth, rejected = _relevance(lake, sets), 0
    for set_id, mode, action, pool, accepted, reason in (
        _traces(lake, ref).select("set_id", "mode", "action", "pool", "accepted", "reason").iter_rows()
    ):
        assert reason == fault(mode, action, {label: truth[set_id][label] for label in pool}) and accepted == (not reason)
        rejected += not accepted
    assert rejected == sum(ref.details["tasks"]["rec-movie"]["rejected"].values())
    kept = distill.run(lake, FEW.model_copy(update={"reject": False}), sets=sets, policy=COMPACT, check=passes)
    assert _traces(lake, kept)["accepted"].all()


# -- a model as teacher


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedEngine], None]:
    """Put a scripted engine (a real one of the package) where a model folder would be loaded from."""

    def put(engine: ScriptedEngine) -> None:
        monkeypatch.setattr(engines, "load", lambda *_, **__: engine)

    return put


@pytest.mark.parametrize(("answer", "right"), [(oracle, True), (adversary, False)])
def test_a_models_answers_are_judged_by_the_same_rules(lake: Lake, teacher: Callable, answer: Callable, right: bool) -> None:
    teacher(ScriptedEngine(answer, style="chat"))
    sets = _sets(lake)
    traces = _traces(lake, distill.run(lake, DistillParams(teacher="models/big", traces=30), sets=sets, policy=CHAT, check=passes))
    truth = _relevance(lake, sets)
    equals = [len({truth[set_id][label] for label in pool}) == 1 for set_id, pool in traces.select("set_id", "pool").iter_rows()]
    assert traces["accepted"].to_list() == [right or same for same in equals] and sum(equals) < 10
    assert set(traces.select("teacher", "teacher_kind").iter_rows()) == {("big", "model")}


def test_unreadable_answers_are_stored_with_the_parsers_reason(lake: Lake, teacher: Callable) -> None:
    teacher(ScriptedEngine(lambda ask: "I would rather not say.", style="chat"))
    ref = distill.run(lake, DistillParams(teacher="models/big", traces=20), sets=_sets(lake), policy=CHAT, check=judge)
    assert ref.details["tasks"]["synthetic"]["rejected"] == {"no_answer": 20}


def test_a_model_of_another_prompt_style_is_refused(lake: Lake, teacher: Callable) -> None:
    teacher(ScriptedEngine(oracle, style="chat"))
    with pytest.raises(BadConfig, match=r"speaks chat, train\.policy\.style is compact"):
        distill.run(lake, DistillParams(teacher="models/big", traces=5), sets=_sets(lake), policy=COMPACT, check=passes)


# -- real data


@needs_movielens
def test_the_teacher_is_far_above_popularity_on_movielens(lake: Lake) -> None:
    sets = candidates.run(lake, CandidateParams(max_train=1), source=read_in(lake, "rec-movie", ML_100K), check=passes)
    ref = distill.run(lake, DistillParams(traces=1), sets=sets, policy=COMPACT, check=passes)
    rows = lake.rows(
        "select t.set_id, t.score, c.relevance from teacher_scores t join candidates c using (set_id, label) where t.batch_id = $key",
        {"key": ref.key},
    )
    ranked = rows.with_columns(pl.col("score").rank("average", descending=True).over("set_id").alias("rank")).filter(
        pl.col("relevance") > 0
    )
    assert (1 / ranked["rank"]).mean() > 0.6  # random 0.340, popularity 0.36
