"""Distillation: traces parse, say what their grades say, are rejected where the truth contradicts them,
and know no test query.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, DistillParams, IngestParams, PolicyParams
from ranker.errors import BadConfig, BadModel
from ranker.lake import Lake
from ranker.policy.parsing import grades, parse
from ranker.refs import Ref
from ranker.stages import candidates, distill, ingest
from ranker.stages.rejection_sampling import fault
from tests.contracts.road import sources
from tests.ranker.engines.models import sentence_encoder
from tests.ranker.material import ML_100K, movies, needs_movielens, passes, read_in

COMPACT, CHAT = PolicyParams(style="compact"), PolicyParams(model_name_or_path="models/x", style="chat")
FEW = DistillParams(traces=400)


@pytest.fixture
def lake(synthetic_lake: Lake) -> Lake:
    """Every test begins behind the candidate sets of `synthetic`."""
    return synthetic_lake


def sets_of(lake: Lake, **params) -> Ref:
    return candidates.run(lake, CandidateParams(**params), source=read_in(lake, "synthetic"), check=passes)


def traces_of(lake: Lake, ref: Ref) -> pl.DataFrame:
    return lake.rows("select * from traces where batch_id = $key order by trace_id", {"key": ref.key})


def relevance_by_set(lake: Lake, sets: Ref) -> dict[str, dict[str, float]]:
    rows = lake.rows(
        "select set_id, label, relevance from candidates where batch_id = $key", {"key": sets.key}
    )
    return {
        set_id[0]: dict(part.select("label", "relevance").iter_rows())
        for set_id, part in rows.group_by("set_id")
    }


@pytest.mark.parametrize("policy", [COMPACT, CHAT], ids=["compact", "chat"])
def test_every_trace_parses_to_its_own_action(lake: Lake, policy: PolicyParams) -> None:
    ref = distill.run(lake, FEW, sets=sets_of(lake), policy=policy, check=passes)
    for row in traces_of(lake, ref).iter_rows(named=True):
        action = parse(row["completion"], row["pool"], row["mode"], row["thinking"])
        assert action.valid and list(action.labels) == row["action"]
        assert (row["teacher"], row["teacher_kind"]) == ("overlap", "classical")


def test_the_batch_keeps_its_contract_and_a_perfect_teacher_is_never_rejected(lake: Lake) -> None:
    ref = distill.run(lake, FEW, sets=sets_of(lake), policy=COMPACT, check=validate_batch)
    assert ref.details["tasks"]["synthetic"] == {
        "teacher": "overlap",
        "traces": 400,
        "accepted": 400,
        "rejected": {},
    }
    assert ref.rows == {"teacher_scores": 1600, "traces": 400}


def test_the_lowest_grade_is_what_is_excluded(lake: Lake) -> None:
    for labels, given, action in _reasoned(lake, "exclude"):
        assert given[labels.index(action[0])] == min(given)


def test_which_of_equals_goes_says_nothing_of_places(lake: Lake) -> None:
    """A policy that has learned a place for equals tries no other, and rewards cannot tell them apart."""
    pairs = []
    for labels, given, action in _reasoned(lake, "exclude"):
        lowest = [label for label, grade in zip(labels, given, strict=True) if grade == min(given)]
        if len(lowest) == 2:
            pairs.append(lowest.index(action[0]))
    assert len(pairs) > 40 and abs(np.mean(pairs) - 0.5) < 2 / np.sqrt(len(pairs)), "four standard errors"


def test_an_order_follows_from_its_grades_and_equals_come_as_they_may(lake: Lake) -> None:
    rising = []
    for labels, given, action in _reasoned(lake, "rank"):
        by_order = [given[labels.index(label)] for label in action]
        assert by_order == sorted(given, reverse=True)
        rising += [
            a < b
            for a, b, one, other in zip(action, action[1:], by_order, by_order[1:], strict=False)
            if one == other
        ]
    assert len(rising) > 40 and 0.2 < np.mean(rising) < 0.8


def _reasoned(lake: Lake, mode: str) -> list[tuple[list[str], list[int], list[str]]]:
    """Labels as shown, their grades and the action of each trace that reasons."""
    traces = traces_of(lake, distill.run(lake, FEW, sets=sets_of(lake), policy=COMPACT, check=passes))
    rows = traces.filter(pl.col("thinking") & (pl.col("mode") == mode)).select("completion", "action").rows()
    words = [(completion.split("</think>")[0].split()[1:], action) for completion, action in rows]
    return [(said[::2], [int(grade) for grade in said[1::2]], action) for said, action in words]


def test_pools_vary_in_size_keep_their_order_and_hold_a_best_one(lake: Lake) -> None:
    sets = sets_of(lake)
    truth = relevance_by_set(lake, sets)
    traces = traces_of(lake, distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes))
    assert set(traces["pool"].list.len()) == {2, 3, 4}
    for set_id, pool in traces.select("set_id", "pool").iter_rows():
        assert pool == sorted(pool)
        assert max(truth[set_id].values()) == max(truth[set_id][label] for label in pool)


def test_shares_of_modes_and_of_reasoning_are_as_asked(lake: Lake) -> None:
    params = DistillParams(traces=2_000, rank_share=0.4, nothink_share=0.2)
    traces = traces_of(lake, distill.run(lake, params, sets=sets_of(lake), policy=COMPACT, check=passes))
    assert abs((traces["mode"] == "rank").mean() - 0.4) < 0.05
    assert abs((~traces["thinking"]).mean() - 0.2) < 0.05


def test_only_training_sets_get_traces_and_all_sets_get_scores(lake: Lake) -> None:
    sets = sets_of(lake)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes)
    splits = lake.rows(
        "select distinct split from traces join candidate_sets s using (set_id) where traces.batch_id = $key",
        {"key": ref.key},
    )
    assert splits.rows() == [("train",)]
    scored = lake.rows(
        "select count(*) from teacher_scores t join candidates c using (set_id, label) where t.batch_id ="
        " $key",
        {"key": ref.key},
    ).item()
    assert scored == sets.rows["candidates"]


def test_the_same_again_is_skipped_and_forced_gives_the_same(lake: Lake) -> None:
    sets = sets_of(lake)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes)
    first = traces_of(lake, ref)
    assert distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes).skipped
    again = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes, force=True)
    assert traces_of(lake, again).equals(first)


def test_a_wrong_teacher_is_rejected_with_the_reason_unless_told_otherwise(
    lake: Lake, tmp_path: Path
) -> None:
    sets = movies(lake, tmp_path)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=validate_batch)
    truth, rejected = relevance_by_set(lake, sets), 0
    for set_id, mode, action, pool, accepted, reason in (
        traces_of(lake, ref).select("set_id", "mode", "action", "pool", "accepted", "reason").iter_rows()
    ):
        assert reason == fault(
            mode, action, {label: truth[set_id][label] for label in pool}
        ) and accepted == (not reason)
        rejected += not accepted
    assert rejected == sum(ref.details["tasks"]["rec-movie"]["rejected"].values())
    kept = distill.run(
        lake, FEW.model_copy(update={"reject": False}), sets=sets, policy=COMPACT, check=passes
    )
    assert traces_of(lake, kept)["accepted"].all()


# -- teachers by name


def road_sets(lake: Lake, folder: Path) -> Ref:
    """Candidate sets of every scenario, from small files."""
    where = {name: path for name, path in sources(folder).items() if name in OWN}
    source = ingest.run(lake, IngestParams(tasks=tuple(OWN), locations=where), check=passes)
    pools = {"rec-movie": 5, "movietweetings": 5, "router-performance": 4}
    return candidates.run(lake, CandidateParams(history=4, pool_size=pools), source=source, check=passes)


def _content(traces: pl.DataFrame) -> list[tuple]:
    """Rows in a stable order, without what holds the stage's key."""
    return (
        traces.select(pl.exclude("batch_id", "trace_id"))
        .with_columns(pl.col("pool", "action").list.join(" "))
        .sort(pl.all())
        .rows()
    )


OWN = {
    "synthetic": "overlap",
    "passage-pydoc": "idf-overlap",
    "router-performance": "knn-effect",
    "movietweetings": "item-knn",
    "rec-movie": "item-knn",
}
OTHER = {
    "synthetic": "bm25",
    "passage-pydoc": "bm25",
    "router-performance": "best-llm",
    "movietweetings": "popularity",
    "rec-movie": "popularity",
}


def test_every_ranker_can_be_named_and_classical_is_each_scenarios_own(lake: Lake, tmp_path: Path) -> None:
    sets = road_sets(lake, tmp_path)
    given = DistillParams(traces=60)
    default = traces_of(lake, distill.run(lake, given, sets=sets, policy=COMPACT, check=validate_batch))
    assert dict(default.select("task", "teacher").unique().iter_rows()) == OWN
    assert set(default["cost"]) == {0.0} and set(default["teacher_kind"]) == {"classical"}
    named = distill.run(
        lake, given.model_copy(update={"teachers": OWN}), sets=sets, policy=COMPACT, check=validate_batch
    )
    assert _content(traces_of(lake, named)) == _content(default)
    other = distill.run(
        lake, given.model_copy(update={"teachers": OTHER}), sets=sets, policy=COMPACT, check=validate_batch
    )
    assert dict(traces_of(lake, other).select("task", "teacher").unique().iter_rows()) == OTHER
    assert lake.rows("select distinct teacher from teacher_scores where batch_id = $key", {"key": other.key})[
        "teacher"
    ].sort().to_list() == sorted(set(OTHER.values()))


@pytest.mark.parametrize(
    ("params", "policy", "says"),
    [
        (
            {"teacher": "item-knn"},
            COMPACT,
            "item-knn reads what users touched together; synthetic is synthetic",
        ),
        (
            {"teachers": {"synthetic": "knn-effect"}},
            COMPACT,
            r"set distill\.teachers\.synthetic to bm25 or idf-overlap or overlap",
        ),
        ({"teachers": {"rec-movie": "bm25"}}, COMPACT, "names tasks of this run"),
        ({"teacher": "item-kn"}, COMPACT, "item-kn for synthetic"),
        ({"teacher": "models/big", "shape": "sparse"}, CHAT, "sparse with models/big"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused_before_anything_is_spent(
    lake: Lake, params: dict, policy: PolicyParams, says: str
) -> None:
    sets = sets_of(lake)
    with pytest.raises(BadConfig, match=says):
        distill.run(lake, DistillParams(**params), sets=sets, policy=policy, check=passes)
    assert (
        not (lake.home / "jobs").exists()
        and not lake.rows("select 1 from stage_runs where stage = 'distill'").height
    )


def test_a_chat_model_is_not_taught_what_no_prompt_says(lake: Lake, tmp_path: Path) -> None:
    """item-kNN knows what others chose; titles' words stand in the prompt. With no traces it still scores."""
    sets = movies(lake, tmp_path)
    params = DistillParams(traces=20)
    for given in (params, DistillParams(traces=20, teachers={"rec-movie": "popularity"})):
        with pytest.raises(BadConfig, match=r"rec-movie: it reads .*\n.*distill\.traces"):
            distill.run(lake, given, sets=sets, policy=CHAT, check=passes)
    worded = DistillParams(traces=20, teacher="bm25")
    assert distill.run(lake, worded, sets=sets, policy=CHAT, check=passes).rows["traces"] == 20
    none = distill.run(lake, DistillParams(traces=0), sets=sets, policy=CHAT, check=validate_batch)
    assert none.rows["teacher_scores"] > 0 and not none.rows.get("traces")


def test_texts_teach_recommendation_as_the_prompt_shows_them(lake: Lake, tmp_path: Path) -> None:
    sets = movies(lake, tmp_path)
    params = FEW.model_copy(update={"teacher": "bm25", "traces": 20})
    found = traces_of(lake, distill.run(lake, params, sets=sets, policy=COMPACT, check=passes))
    assert set(found["teacher"]) == {"bm25"} and "<rec-movie" not in "".join(found["completion"])


def test_dense_teaches_passages_by_an_encoder_that_is_part_of_the_key(lake: Lake, tmp_path: Path) -> None:
    source = read_in(lake, "passage-pydoc", Path(sources(tmp_path)["passage-pydoc"]))
    sets = candidates.run(lake, CandidateParams(), source=source, check=passes)
    params = FEW.model_copy(update={"teacher": "dense", "traces": 20, "dense_model": "models/encoder"})
    with pytest.raises(BadModel, match=r"distill\.dense_model: .*models/encoder(.|\n)*ranker fetch"):
        distill.run(lake, params, sets=sets, policy=COMPACT, check=passes)
    folder = sentence_encoder(lake.home / "models" / "encoder")
    ref = distill.run(lake, params, sets=sets, policy=COMPACT, check=validate_batch)
    taught = lake.rows("select distinct task, teacher from traces where batch_id = $key", {"key": ref.key})
    assert taught.rows() == [("passage-pydoc", "dense")]
    assert distill.run(lake, params, sets=sets, policy=COMPACT, check=passes).skipped
    sentence_encoder(tmp_path / "other", seed=14).joinpath("model.safetensors").replace(
        folder / "model.safetensors"
    )
    again = distill.run(lake, params, sets=sets, policy=COMPACT, check=passes)
    assert again.key != ref.key and not again.skipped


def test_dense_teaches_nothing_but_passages(lake: Lake) -> None:
    with pytest.raises(BadConfig, match="dense reads what an encoder finds alike"):
        distill.run(lake, DistillParams(teacher="dense"), sets=sets_of(lake), policy=COMPACT, check=passes)


# -- shapes


@pytest.mark.parametrize("policy", [COMPACT, CHAT], ids=["compact", "chat"])
def test_a_sparse_trace_acts_as_the_dense_one_and_grades_no_pool(lake: Lake, policy: PolicyParams) -> None:
    sets = sets_of(lake)
    dense, sparse = (
        traces_of(
            lake,
            distill.run(
                lake, FEW.model_copy(update={"shape": shape}), sets=sets, policy=policy, check=validate_batch
            ),
        )
        for shape in ("dense", "sparse")
    )
    same = ["set_id", "mode", "thinking", "pool", "action", "accepted", "reason"]
    asked = [column for column in same if column not in ("pool", "action")]
    by = [*asked, pl.col("pool").list.join(" "), pl.col("action").list.join(" ")]
    assert sparse.select(by).sort(pl.all()).equals(dense.select(by).sort(pl.all()))
    prose = policy.style == "chat"
    for row in sparse.filter("thinking").iter_rows(named=True):
        assert grades(row["completion"], row["pool"]) == {}
        assert parse(row["completion"], row["pool"], row["mode"], True).labels == tuple(row["action"])
        assert row["completion"].startswith(f"<think> {'So the' if prose else row['action'][0]}")
    for row in dense.filter("thinking").iter_rows(named=True):
        graded = grades(row["completion"], row["pool"])
        assert len(graded) == (0 if prose else len(row["pool"])), "a chat model reasons in prose"


# -- real data


@needs_movielens
def test_the_teacher_is_far_above_popularity_on_movielens(lake: Lake) -> None:
    sets = candidates.run(
        lake, CandidateParams(max_train=1), source=read_in(lake, "rec-movie", ML_100K), check=passes
    )
    ref = distill.run(lake, DistillParams(traces=1), sets=sets, policy=COMPACT, check=passes)
    rows = lake.rows(
        "select t.set_id, t.score, c.relevance from teacher_scores t join candidates c using (set_id, label)"
        " where t.batch_id = $key",
        {"key": ref.key},
    )
    ranked = rows.with_columns(
        pl.col("score").rank("average", descending=True).over("set_id").alias("rank")
    ).filter(pl.col("relevance") > 0)
    assert (1 / ranked["rank"]).mean() > 0.6  # random 0.340, popularity 0.36
