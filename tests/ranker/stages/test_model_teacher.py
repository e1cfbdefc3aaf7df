"""A model as teacher: what it is asked, what becomes of its answers, what they cost, and that none is asked
for twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker import engines
from ranker.config import DistillParams
from ranker.engines import Completion, Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import BadConfig
from ranker.lake import Lake
from ranker.policy.prompts import Prompt
from ranker.stages import distill
from tests.ranker.factories import adversary, oracle
from tests.ranker.material import passes
from tests.ranker.stages.test_distill import CHAT, COMPACT, relevance_by_set, road_sets, sets_of, traces_of


@pytest.fixture
def lake(synthetic_lake: Lake) -> Lake:
    """Every test begins behind the candidate sets of `synthetic`."""
    return synthetic_lake


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
    sets = sets_of(lake)
    traces = traces_of(
        lake,
        distill.run(
            lake, DistillParams(teacher="models/big", traces=30), sets=sets, policy=CHAT, check=passes
        ),
    )
    truth = relevance_by_set(lake, sets)
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
        sets=sets_of(lake),
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
            sets=sets_of(lake),
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
    sets = sets_of(lake)
    ref = distill.run(lake, _model(**params), sets=sets, policy=CHAT, check=validate_batch)
    truth, by_prompt = relevance_by_set(lake, sets), {}
    for row in traces_of(lake, ref).iter_rows(named=True):
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
        lake, _model(price_in=2.0, price_out=10.0), sets=sets_of(lake), policy=CHAT, check=validate_batch
    )
    traces, shown = traces_of(lake, ref), ref.details["models"]["models/big"]
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
    engine, sets = Varied(), sets_of(lake)
    teacher(engine)
    ref = distill.run(lake, _model(max_calls=12), sets=sets, policy=CHAT, check=validate_batch)
    assert (
        ref.rows["traces"] == len(engine.asked) == 12
        and ref.details["models"]["models/big"]["ended"] == "max_calls"
    )
    assert "distill.max_calls is spent after 12 of 150 answers" in caplog.text
    spent = distill.run(lake, _model(max_tokens=500), sets=sets, policy=CHAT, check=validate_batch)
    counted = traces_of(lake, spent).select(pl.col("prompt_tokens") + pl.col("completion_tokens")).to_series()
    assert (
        spent.details["models"]["models/big"]["ended"] == "max_tokens" and counted.sum() - counted.max() < 500
    )


def test_an_answer_is_asked_for_once_whatever_is_done_with_it(lake: Lake, teacher: Callable) -> None:
    """A raised budget goes on behind the last answer; prices and rules of acceptance ask nothing; force
    asks anew.
    """
    engine, sets = Varied(), sets_of(lake)
    teacher(engine)
    distill.run(lake, _model(max_calls=12), sets=sets, policy=CHAT, check=passes)
    first = distill.run(lake, _model(), sets=sets, policy=CHAT, check=passes)
    assert len(engine.asked) == 150
    for params in ({"price_in": 1.0}, {"keep": 3}, {"majority": True}, {"max_calls": 20}):
        assert not distill.run(lake, _model(**params), sets=sets, policy=CHAT, check=passes).skipped
    assert len(engine.asked) == 150
    again = distill.run(lake, _model(), sets=sets, policy=CHAT, check=passes, force=True)
    assert len(engine.asked) == 300 and traces_of(lake, again).equals(traces_of(lake, first))
    distill.run(lake, _model(temperature=0.5), sets=sets, policy=CHAT, check=passes)
    assert len(engine.asked) == 450


def test_the_same_prompt_is_asked_once(lake: Lake, teacher: Callable) -> None:
    engine, sets = Varied(), sets_of(lake)
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
    traces = traces_of(lake, distill.run(lake, params, sets=sets, policy=CHAT, check=validate_batch))
    assert dict(traces.filter(teacher_kind="model")["task"].value_counts().iter_rows()) == {
        "synthetic": 10,
        "movietweetings": 10,
        "rec-movie": 10,
        "router-performance": 10,
    }
    classical = traces.filter(teacher_kind="classical").group_by("task", "teacher").len().sort("task").rows()
    assert classical == [("passage-pydoc", "bm25", 30)]
