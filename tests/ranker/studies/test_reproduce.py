"""Every strategy's episodes in the lake: the contracts take them, the views read them, and playing them
back gives the same rankings.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp

import polars as pl
import pytest

from contracts.gate import validate_batch
from ranker.config import CandidateParams, EvaluateParams
from ranker.engines import Engine, load
from ranker.errors import ContractViolated
from ranker.lake import Lake, open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.refs import PROJECT, Ref, canonical
from ranker.stages import candidates, evaluate
from ranker.strategies import strategy
from ranker.strategies.call import _by_grades
from ranker.strategies.episodes import together
from ranker.studies.reproduce import NotReproduced, Playback, ScorePlayback, playback, reproduce
from ranker.types import CandidateSet
from tests.ranker.engines.models import tiny
from tests.ranker.material import passes, read_in, tiny_lm
from tests.ranker.strategies.policies import ALL, perfect

TRACES = pl.DataFrame(schema={"set_id": pl.String, "label": pl.String, "score": pl.Float64})


@pytest.fixture
def lake(synthetic_lake: Lake) -> Lake:
    """Every test begins behind the candidate sets of `synthetic`."""
    return synthetic_lake


@pytest.fixture
def sets(lake: Lake) -> Ref:
    return drawn(lake)


def drawn(lake: Lake) -> Ref:
    return candidates.run(lake, CandidateParams(), source=read_in(lake, "synthetic"), check=passes)


def stored(
    lake: Lake,
    sets: Ref,
    engine: Engine,
    constrained: bool,
    check=validate_batch,
    thinking: tuple[bool, ...] = EvaluateParams().thinking,
) -> tuple[Ref, list[CandidateSet]]:
    """An evaluation of six queries by all strategies, written as the stage writes it."""
    params = EvaluateParams(
        strategies=tuple(ALL), max_queries=6, bootstrap=100, constrained=constrained, thinking=thinking
    )
    traces = lake.write(
        "distill",
        "t",
        {},
        inputs=[sets.key],
        parameters="[]",
        code="c",
        read_snapshot=sets.snapshot,
        details={},
        check=passes,
    )
    test = load_sets(lake, sets.key, split="test", limit=params.max_queries)
    arm = evaluate.Arm("rl", "k/rl", Path("k"), params.strategies, params.thinking, params.max_queries)
    written = list(
        evaluate.rankings(
            arm, test, {given.set_id: given for given in test}, params, lambda text: None, engine=engine
        )
    )
    ranked = together(written)
    scores = evaluate.score(test, TRACES, ranked["episodes"])
    tables = {
        **ranked,
        "evaluations": evaluate.evaluations(scores, params),
        "comparisons": evaluate.comparisons(scores, params),
    }
    ref = lake.write(
        "evaluate",
        "e",
        tables,
        inputs=[sets.key, traces.key],
        parameters=canonical([params, None, []]),
        code="c",
        read_snapshot=lake.snapshot(),
        details={},
        check=check,
    )
    return ref, test


def test_the_contracts_take_every_strategy_and_it_comes_out_again(lake: Lake, sets: Ref) -> None:
    ref, _ = stored(lake, sets, perfect(), False)
    assert reproduce(lake.home, "", ref.key).calls == ref.rows["steps"]
    table = lake.rows(
        "select strategy, avg(mrr) as mrr, avg(rounds) as rounds, avg(calls) as calls from cost_quality group"
        " by strategy"
    )
    assert set(table["strategy"]) == {str(strategy(name)) for name in ALL}
    assert table.filter(~pl.col("strategy").str.starts_with("window"))["mrr"].unique().to_list() == [1.0]
    rounds = {row["strategy"]: (row["rounds"], row["calls"]) for row in table.iter_rows(named=True)}
    assert (
        rounds["consistency"] == (1.0, 5.0)
        and rounds["first-token"] == (1.0, 1.0)
        and rounds["iterative"][0] == rounds["iterative"][1]
    )
    assert lake.rows("from step_regret where regret > 0.01 and not task = ''").is_empty(), (
        "a perfect policy excludes none but the worst"
    )
    doubts = lake.rows(
        "select count(*) filter (where len(taken) = 0) as left_open, count(*) filter (where scores is null)"
        " as written from steps where strategy = 'gate'"
    )
    assert min(doubts.row(0)) > 0, "a gate left some to reasoning, and those were written"


def test_acting_on_others_than_the_lowest_grades_is_caught(
    lake: Lake, sets: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    def but_the_best(prompt, action, text):
        rising = _by_grades(prompt, action, text)
        return (*rising[:1], *reversed(rising[1:])) if rising else ()

    monkeypatch.setattr("ranker.strategies.call._by_grades", but_the_best)
    with pytest.raises(ContractViolated, match="steps/answer_is_action"):
        stored(lake, sets, perfect(), False)


def test_a_real_model_s_strategies_are_taken_and_come_out_again(lake: Lake, sets: Ref) -> None:
    """Untrained and unconstrained: what it writes is invalid, is counted, and stays what it was."""
    model = load(tiny(Path(mkdtemp()), context=512), batch=8, cache=32)
    ref, test = stored(lake, sets, model, False)
    assert reproduce(lake.home, "", ref.key).rows
    shown = lake.rows("select sum(invalid_calls) as invalid, sum(cached_tokens) as cached from episodes").row(
        0, named=True
    )
    assert shown["invalid"] > 100 and shown["cached"] > 1000
    calls = lake.named("reproduce/calls", {"batch_id": ref.key}).filter(
        pl.col("strategy") == "gate", pl.col("thinking")
    )
    again = strategy("gate")(test, Playback(calls), thinking=True, sampling=evaluate.Sampling(64, seed=23))
    kept = dict(
        lake.rows("select set_id, ranking from episodes where strategy = 'gate' and thinking").iter_rows()
    )
    assert {e.set_id: list(e.ranking) for e in again} == kept


Likely = tuple[Lake, Ref, list[CandidateSet]]


@pytest.fixture(scope="module")
def likely(synthetic_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Likely]:
    """What a likelihood policy made of six queries by all strategies, and its lake. Not to be changed."""
    home = tmp_path_factory.mktemp("likely")
    shutil.copytree(synthetic_home / "lake", home / "lake")
    fitted = {"synthetic": {"temperature": 0.3, "calibration": [1.0, 6.0], "queries": 9}}
    engine = load(tiny_lm(home / "lm", likelihood=fitted), batch=8)
    with open_lake(home) as lake:
        yield lake, *stored(lake, drawn(lake), engine, False, thinking=(False,))


def test_a_likelihood_policy_s_scores_are_taken_and_come_out_again(likely: Likely) -> None:
    lake, ref, test = likely
    assert reproduce(lake.home, "", ref.key).calls == ref.rows["steps"]
    calls = lake.named("reproduce/calls", {"batch_id": ref.key})
    for name in map(str, map(strategy, ALL)):
        part = calls.filter(strategy=name)
        again = strategy(name)(test, playback(part), thinking=False, sampling=evaluate.Sampling(64, seed=23))
        kept = dict(
            lake.rows(
                "select set_id, ranking from episodes where strategy = $name", {"name": name}
            ).iter_rows()
        )
        assert {e.set_id: list(e.ranking) for e in again} == kept, name
    cost = lake.rows("select strategy, calls, malformed, tokens, mrr from cost_quality where arm = 'rl'")
    by_name = {row["strategy"]: row for row in cost.to_dicts()}
    assert set(by_name) == {str(strategy(name)) for name in ALL}
    assert by_name["iterative"]["calls"] == 3 and by_name["direct"]["calls"] == 1
    assert {row["malformed"] for row in by_name.values()} == {0.0}
    assert by_name["iterative"]["tokens"] == by_name["direct"]["tokens"] > 0, "one pass serves every strategy"
    assert by_name["iterative"]["mrr"] == by_name["direct"]["mrr"]


def test_scores_that_are_gone_are_named(likely: Likely) -> None:
    lake, ref, test = likely
    calls = lake.named("reproduce/calls", {"batch_id": ref.key}).filter(strategy="iterative")
    late = ScorePlayback(calls.filter(pl.col("call").struct.field("step") > 0))
    with pytest.raises(NotReproduced, match=r"none of \w"):
        late.score_pools(test)
    with pytest.raises(NotReproduced, match="as scores"):
        late.complete([], evaluate.Sampling(8))


def test_a_worked_question_shows_score_temperature_and_reward_of_a_step(likely: Likely) -> None:
    lake, _, _ = likely
    shown = lake.query((PROJECT / "sql" / "adhoc" / "scores_of_steps.sql").read_text(encoding="utf-8"))
    assert shown["episode_id"].n_unique() == 3 and set(shown["temperature"]) == {0.3}
    for (_, _), step in shown.group_by(["episode_id", "step"]):
        sign = -1 if step["mode"][0] == "exclude" else 1
        weights = (sign * step["score"] / 0.3).exp()
        assert step["probability"].to_list() == pytest.approx((weights / weights.sum()).to_list(), abs=0.01)
        assert step["score"].is_sorted(descending=True) and step["step_reward"].n_unique() == 1
