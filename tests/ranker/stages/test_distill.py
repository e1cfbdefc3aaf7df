"""Distillation: traces parse, say what their grades say, are rejected where the truth contradicts them,
and know no test query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker import engines
from ranker.config import CandidateParams, DistillParams, IngestParams, PolicyParams
from ranker.engines import Completion, Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig, BadModel
from ranker.lake import Lake
from ranker.policy.parsing import grades, parse
from ranker.policy.prompts import Prompt
from ranker.refs import Ref
from ranker.stages import candidates, distill, ingest
from ranker.stages.rejection_sampling import fault
from tests.contracts.road import sources
from tests.ranker.engines.models import sentence_encoder
from tests.ranker.factories import adversary, oracle
from tests.ranker.material import ML_100K, movies, needs_movielens, passes, read_in

COMPACT, CHAT = PolicyParams(style="compact"), PolicyParams(model_name_or_path="models/x", style="chat")
FEW = DistillParams(traces=400)


@pytest.fixture
def lake(synthetic_lake: Lake) -> Lake:
    """Every test begins behind the candidate sets of `synthetic`."""
    return synthetic_lake


def _sets(lake: Lake, **params) -> Ref:
    return candidates.run(lake, CandidateParams(**params), source=read_in(lake, "synthetic"), check=passes)


def _traces(lake: Lake, ref: Ref) -> pl.DataFrame:
    return lake.rows("select * from traces where batch_id = $key order by trace_id", {"key": ref.key})


def _relevance(lake: Lake, sets: Ref) -> dict[str, dict[str, float]]:
    rows = lake.rows(
        "select set_id, label, relevance from candidates where batch_id = $key", {"key": sets.key}
    )
    return {
        set_id[0]: dict(part.select("label", "relevance").iter_rows())
        for set_id, part in rows.group_by("set_id")
    }


@pytest.mark.parametrize("policy", [COMPACT, CHAT], ids=["compact", "chat"])
def test_every_trace_parses_to_its_own_action(lake: Lake, policy: PolicyParams) -> None:
    ref = distill.run(lake, FEW, sets=_sets(lake), policy=policy, check=passes)
    for row in _traces(lake, ref).iter_rows(named=True):
        action = parse(row["completion"], row["pool"], row["mode"], row["thinking"])
        assert action.valid and list(action.labels) == row["action"]
        assert (row["teacher"], row["teacher_kind"]) == ("overlap", "classical")


def test_the_batch_keeps_its_contract_and_a_perfect_teacher_is_never_rejected(lake: Lake) -> None:
    ref = distill.run(lake, FEW, sets=_sets(lake), policy=COMPACT, check=validate_batch)
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
    traces = _traces(lake, distill.run(lake, FEW, sets=_sets(lake), policy=COMPACT, check=passes))
    rows = traces.filter(pl.col("thinking") & (pl.col("mode") == mode)).select("completion", "action").rows()
    words = [(completion.split("</think>")[0].split()[1:], action) for completion, action in rows]
    return [(said[::2], [int(grade) for grade in said[1::2]], action) for said, action in words]


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
    sets = _sets(lake)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes)
    first = _traces(lake, ref)
    assert distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes).skipped
    again = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=passes, force=True)
    assert _traces(lake, again).equals(first)


def test_a_wrong_teacher_is_rejected_with_the_reason_unless_told_otherwise(
    lake: Lake, tmp_path: Path
) -> None:
    sets = movies(lake, tmp_path)
    ref = distill.run(lake, FEW, sets=sets, policy=COMPACT, check=validate_batch)
    truth, rejected = _relevance(lake, sets), 0
    for set_id, mode, action, pool, accepted, reason in (
        _traces(lake, ref).select("set_id", "mode", "action", "pool", "accepted", "reason").iter_rows()
    ):
        assert reason == fault(
            mode, action, {label: truth[set_id][label] for label in pool}
        ) and accepted == (not reason)
        rejected += not accepted
    assert rejected == sum(ref.details["tasks"]["rec-movie"]["rejected"].values())
    kept = distill.run(
        lake, FEW.model_copy(update={"reject": False}), sets=sets, policy=COMPACT, check=passes
    )
    assert _traces(lake, kept)["accepted"].all()


# -- a model as teacher


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Callable[[ScriptedEngine], None]:
    """Put a scripted engine (a real one of the package) where a model folder would be loaded from."""

    def put(engine: ScriptedEngine) -> None:
        monkeypatch.setattr(engines, "load", lambda *_, **__: engine)

    return put


@pytest.mark.parametrize(("answer", "right"), [(oracle, True), (adversary, False)])
def test_a_models_answers_are_judged_by_the_same_rules(
    lake: Lake, teacher: Callable, answer: Callable, right: bool
) -> None:
    teacher(ScriptedEngine(answer, style="chat"))
    sets = _sets(lake)
    traces = _traces(
        lake,
        distill.run(
            lake, DistillParams(teacher="models/big", traces=30), sets=sets, policy=CHAT, check=passes
        ),
    )
    truth = _relevance(lake, sets)
    never_wrong = [
        _never_wrong(truth[set_id], mode, pool)
        for set_id, mode, pool in traces.select("set_id", "mode", "pool").iter_rows()
    ]
    assert traces["accepted"].to_list() == [right or sure for sure in never_wrong] and sum(never_wrong) < 10
    assert set(traces.select("teacher", "teacher_kind").iter_rows()) == {("big", "model")}


def test_unreadable_answers_are_stored_with_the_parsers_reason(lake: Lake, teacher: Callable) -> None:
    teacher(ScriptedEngine(lambda prompt: "I would rather not say.", style="chat"))
    ref = distill.run(
        lake,
        DistillParams(teacher="models/big", traces=20),
        sets=_sets(lake),
        policy=CHAT,
        check=validate_batch,
    )
    assert ref.details["tasks"]["synthetic"]["rejected"] == {"no_answer": 20}


def test_a_model_of_another_prompt_style_is_refused(lake: Lake, teacher: Callable) -> None:
    teacher(ScriptedEngine(oracle, style="chat"))
    with pytest.raises(BadConfig, match=r"speaks chat, train\.policy\.style is compact"):
        distill.run(
            lake,
            DistillParams(teacher="models/big", traces=5),
            sets=_sets(lake),
            policy=COMPACT,
            check=passes,
        )


def _never_wrong(truth: dict[str, float], mode: str, pool: list[str]) -> bool:
    """Whether the rules accept any answer: nobody is below the best, or too few to fill an order's upper
    half.
    """
    worse = sum(truth[label] < max(truth[other] for other in pool) for label in pool)
    return worse < (1 if mode == "exclude" else (len(pool) + 1) // 2)


class Varied(ScriptedEngine):
    """Right, wrong, unreadable and right in other words, by turns of the seed; it counts what it is asked."""

    def __init__(self) -> None:
        super().__init__(oracle, style="chat")
        self.asked: list[str] = []

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        done = super().complete(prompts, sampling)
        self.asked += [one.prompt for one in done]
        return [
            replace(one, text=self._said(prompt, one.text, sampling.seed + i))
            for i, (prompt, one) in enumerate(zip(prompts, done, strict=True))
        ]

    def _said(self, prompt: Prompt, right: str, seed: int) -> str:
        return [right, adversary(prompt), right.replace("<answer> ", "<answer>"), right, "well …"][seed % 5]


def _model(**params) -> DistillParams:
    return DistillParams(
        **{"teacher": "models/big", "traces": 30, "samples": 5, "temperature": 1.0, "seed": 10} | params
    )


@pytest.mark.parametrize(
    ("params", "fates"),
    [
        ({"keep": 5}, {"": 2, "duplicate": 1, "wrong": 1, "no_answer": 1}),
        ({"keep": 1}, {"": 1, "duplicate": 1, "surplus": 1, "wrong": 1, "no_answer": 1}),
        (
            {"keep": 5, "majority": True, "reject": False},
            {"": 2, "duplicate": 1, "minority": 1, "no_answer": 1},
        ),
    ],
)
def test_samples_are_rejected_counted_and_kept_as_asked(
    lake: Lake, teacher: Callable, params: dict, fates: dict[str, int]
) -> None:
    teacher(Varied())
    sets = _sets(lake)
    ref = distill.run(lake, _model(**params), sets=sets, policy=CHAT, check=validate_batch)
    truth, by_prompt = _relevance(lake, sets), {}
    for row in _traces(lake, ref).iter_rows(named=True):
        if not _never_wrong(truth[row["set_id"]], row["mode"], row["pool"]):
            by_prompt.setdefault((row["set_id"], row["mode"], row["thinking"], *row["pool"]), Counter())[
                _fate(row["reason"])
            ] += 1
    assert len(by_prompt) > 20 and all(found == fates for found in by_prompt.values())
    shown = ref.details["models"]["models/big"]
    assert (shown["answers"], shown["wanted"], shown["ended"]) == (150, 150, "")


def _fate(reason: str) -> str:
    return "wrong" if reason in ("excludes_best", "ranks_best_low") else reason


def test_what_answers_cost_is_stored_and_told(lake: Lake, teacher: Callable) -> None:
    teacher(Varied())
    ref = distill.run(
        lake, _model(price_in=2.0, price_out=10.0), sets=_sets(lake), policy=CHAT, check=validate_batch
    )
    traces, shown = _traces(lake, ref), ref.details["models"]["models/big"]
    wanted = (traces["prompt_tokens"] * 2.0 + traces["completion_tokens"] * 10.0) / 1e6
    assert traces["cost"].to_list() == pytest.approx(wanted.to_list())
    assert shown["cost"] == pytest.approx(wanted.sum()) and shown["cost"] > 0
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (
        traces["prompt_tokens"].sum(),
        traces["completion_tokens"].sum(),
    )


def test_a_spent_budget_ends_the_stage_with_what_there_is_and_says_so(
    lake: Lake, teacher: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    engine, sets = Varied(), _sets(lake)
    teacher(engine)
    ref = distill.run(lake, _model(max_calls=12), sets=sets, policy=CHAT, check=validate_batch)
    assert (
        ref.rows["traces"] == len(engine.asked) == 12
        and ref.details["models"]["models/big"]["ended"] == "max_calls"
    )
    assert "distill.max_calls is spent after 12 of 150 answers" in caplog.text
    spent = distill.run(lake, _model(max_tokens=500), sets=sets, policy=CHAT, check=validate_batch)
    counted = _traces(lake, spent).select(pl.col("prompt_tokens") + pl.col("completion_tokens")).to_series()
    assert (
        spent.details["models"]["models/big"]["ended"] == "max_tokens" and counted.sum() - counted.max() < 500
    )


def test_an_answer_is_asked_for_once_whatever_is_done_with_it(lake: Lake, teacher: Callable) -> None:
    """A raised budget goes on behind the last answer; prices and rules of acceptance ask nothing; force
    asks anew.
    """
    engine, sets = Varied(), _sets(lake)
    teacher(engine)
    distill.run(lake, _model(max_calls=12), sets=sets, policy=CHAT, check=passes)
    first = distill.run(lake, _model(), sets=sets, policy=CHAT, check=passes)
    assert len(engine.asked) == 150
    for params in ({"price_in": 1.0}, {"keep": 3}, {"majority": True}, {"max_calls": 20}):
        assert not distill.run(lake, _model(**params), sets=sets, policy=CHAT, check=passes).skipped
    assert len(engine.asked) == 150
    again = distill.run(lake, _model(), sets=sets, policy=CHAT, check=passes, force=True)
    assert len(engine.asked) == 300 and _traces(lake, again).equals(_traces(lake, first))
    distill.run(lake, _model(temperature=0.5), sets=sets, policy=CHAT, check=passes)
    assert len(engine.asked) == 450


def test_the_same_prompt_is_asked_once(lake: Lake, teacher: Callable) -> None:
    engine, sets = Varied(), _sets(lake)
    teacher(engine)
    ref = distill.run(
        lake, _model(traces=3_000, samples=1, temperature=0.0), sets=sets, policy=CHAT, check=passes
    )
    shown = ref.details["models"]["models/big"]
    assert (
        len(set(engine.asked))
        == len(engine.asked)
        == shown["answers"]
        == 3_000 - shown["same_prompt_left_out"]
        < 3_000
    )


def test_a_budget_leaves_every_task_its_share_and_tasks_may_have_teachers_of_their_own(
    lake: Lake, teacher: Callable, tmp_path: Path
) -> None:
    teacher(Varied())
    sets = road_sets(lake, tmp_path)
    params = _model(max_calls=40, teachers={"passage-pydoc": "bm25"})
    traces = _traces(lake, distill.run(lake, params, sets=sets, policy=CHAT, check=validate_batch))
    assert dict(traces.filter(teacher_kind="model")["task"].value_counts().iter_rows()) == {
        "synthetic": 10,
        "movietweetings": 10,
        "rec-movie": 10,
        "router-performance": 10,
    }
    classical = traces.filter(teacher_kind="classical").group_by("task", "teacher").len().sort("task").rows()
    assert classical == [("passage-pydoc", "bm25", 30)]


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
    default = _traces(lake, distill.run(lake, given, sets=sets, policy=COMPACT, check=validate_batch))
    assert dict(default.select("task", "teacher").unique().iter_rows()) == OWN
    assert set(default["cost"]) == {0.0} and set(default["teacher_kind"]) == {"classical"}
    named = distill.run(
        lake, given.model_copy(update={"teachers": OWN}), sets=sets, policy=COMPACT, check=validate_batch
    )
    assert _content(_traces(lake, named)) == _content(default)
    other = distill.run(
        lake, given.model_copy(update={"teachers": OTHER}), sets=sets, policy=COMPACT, check=validate_batch
    )
    assert dict(_traces(lake, other).select("task", "teacher").unique().iter_rows()) == OTHER
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
    sets = _sets(lake)
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
    found = _traces(lake, distill.run(lake, params, sets=sets, policy=COMPACT, check=passes))
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
        distill.run(lake, DistillParams(teacher="dense"), sets=_sets(lake), policy=COMPACT, check=passes)


# -- shapes


@pytest.mark.parametrize("policy", [COMPACT, CHAT], ids=["compact", "chat"])
def test_a_sparse_trace_acts_as_the_dense_one_and_grades_no_pool(lake: Lake, policy: PolicyParams) -> None:
    sets = _sets(lake)
    dense, sparse = (
        _traces(
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
