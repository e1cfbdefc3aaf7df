"""What the stage leaves in a real MLflow over SQLite: one version per stage run, what the promotion rule
read and said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl
import pytest

from ranker.config import CandidateParams, EvaluateParams, RegisterParams, TrainParams
from ranker.errors import ContractViolated, StageMissing
from ranker.lake import Lake
from ranker.refs import Ref, canonical
from ranker.stages import register, registry
from tests.ranker.evaluated import ACCEPT, commit, registered, scored, trained
from tests.ranker.stages.test_registry import version_of

BOUNDS = RegisterParams()


@pytest.fixture
def lake(lake: Lake, with_registry: None) -> Lake:
    return lake


def test_killed_before_the_commit_a_repeat_makes_no_second_version(lake: Lake) -> None:
    model = trained(lake, "aaaa")
    scores = scored(lake, "aa01", model)

    def killed(staged: object) -> list:
        raise ContractViolated("stands for a kill between MLflow and the lake", seen="", remedy="")

    with pytest.raises(ContractViolated):
        register.run(lake, BOUNDS, trained=model, scores=scores, check=killed)
    assert lake.rows("select * from model_versions").is_empty()
    again = register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    assert (again.details["version"], again.details["alias"]) == (
        "1",
        "champion",
    ), "and it is judged as it was the first time"
    client = registry.client_of(lake.home, BOUNDS)
    assert len(client.search_model_versions(f"name = '{BOUNDS.name}'")) == 1
    assert len(client.search_runs([client.get_experiment_by_name(BOUNDS.name).experiment_id])) == 1
    assert register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT).skipped


def test_a_champion_that_was_not_compared_keeps_its_place(crowned: Lake) -> None:
    second = trained(crowned, "bbbb")
    unpaired = scored(crowned, "bb01", second)
    ref = register.run(crowned, BOUNDS, trained=second, scores=unpaired, check=ACCEPT)
    assert ref.details["alias"] == "challenger"
    assert "no paired comparison" in ref.details["verdict"]


def test_scores_against_yesterday_s_champion_promote_nothing(crowned: Lake) -> None:
    """A champion that came in between was never met: the model is evaluated again, beside it."""
    second, third = (trained(crowned, key) for key in ("bbbb", "cccc"))
    scores = scored(crowned, "bb01", second, against_champion=(0.1, 0.08, 0.12))
    assert register.run(crowned, BOUNDS, trained=second, scores=scores, check=ACCEPT).details["promoted"]
    late = scored(crowned, "cc01", third, against_champion=(0.2, 0.18, 0.22), champion="aaaa")
    ref = register.run(crowned, BOUNDS, trained=third, scores=late, check=ACCEPT)
    assert "no paired comparison with champion version 2" in ref.details["verdict"]
    assert ref.details["outdated"]
    again = scored(crowned, "cc02", third, against_champion=(0.2, 0.18, 0.22), champion="bbbb")
    ref = register.run(crowned, BOUNDS, trained=third, scores=again, check=ACCEPT)
    assert (ref.details["promoted"], ref.details["against"]) == (True, "2")


def test_a_verdict_against_another_champion_does_not_count_as_done(crowned: Lake) -> None:
    """Where the champion is again the one that was compared with, the same scores are decided on."""
    lake = crowned
    second, third = (trained(lake, key) for key in ("bbbb", "cccc"))
    scores = scored(lake, "bb01", second, against_champion=(0.1, 0.08, 0.12))
    assert not register.run(lake, BOUNDS, trained=second, scores=scores, check=ACCEPT).details["outdated"]
    scores = scored(lake, "cc01", third, against_champion=(0.2, 0.18, 0.22), champion="aaaa")
    early = register.run(lake, BOUNDS, trained=third, scores=scores, check=ACCEPT)
    registry.rollback(lake.home, BOUNDS)
    late = register.run(lake, BOUNDS, trained=third, scores=scores, check=ACCEPT)
    assert (late.details["promoted"], late.details["against"], late.skipped) == (True, "1", False)
    assert (late.key, late.details["version"]) == (early.key, early.details["version"]), (
        "one version, one row"
    )
    assert register.run(lake, BOUNDS, trained=third, scores=scores, check=ACCEPT).skipped


def test_a_champion_that_changes_during_the_verdict_stays(
    crowned: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a roll-back beside it does: the alias is read again before it moves."""
    lake = crowned
    second, third = (trained(lake, key) for key in ("bbbb", "cccc"))
    better = scored(lake, "bb01", second, against_champion=(0.1, 0.08, 0.12))
    register.run(lake, BOUNDS, trained=second, scores=better, check=ACCEPT)
    decide = register.promotion.decide

    def beside(*given: object, **named: object) -> object:
        registry.rollback(lake.home, BOUNDS)
        return decide(*given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(register.promotion, "decide", beside)
    best = scored(lake, "cc01", third, against_champion=(0.1, 0.08, 0.12), champion="bbbb")
    ref = register.run(lake, BOUNDS, trained=third, scores=best, check=ACCEPT)
    assert ref.details["alias"] == "challenger" and "changed while" in ref.details["verdict"]
    assert ref.details["outdated"]
    assert version_of(registry.champion(lake.home, BOUNDS)) == "1"


def test_every_verdict_uses_the_test_queries_up_and_fresh_ones_begin_anew(lake: Lake) -> None:
    """Half of the queries fresh count as half a use; the same evaluation looked at again counts once."""
    registered(lake, "r1", "aa01", range(100))
    registered(lake, "r2", "bb01", range(100))
    registered(lake, "r3", "bb01", range(100))
    registered(lake, "r4", "cc01", range(100), name="another")
    registered(lake, "r5", "dd01", range(100), p=None)
    asked = {evaluation: look(lake, evaluation, range(100)) for evaluation in ("ee01", "bb01")}
    assert asked == {"ee01": 3, "bb01": 2}
    assert look(lake, "ee01", range(50, 150)) == 2
    assert look(lake, "ee01", range(90, 190)) == 2, "rounded up"
    assert look(lake, "ee01", range(100, 200)) == 1
    assert look(lake, "ee01", []) == 1


def look(lake: Lake, evaluation: str, queries: Iterable[int]) -> int:
    return register._look(lake, BOUNDS, evaluation, {"synthetic": [f"q{number}" for number in queries]})


def test_a_verdict_leaves_its_tests(lake: Lake) -> None:
    first, second = trained(lake, "aaaa"), trained(lake, "bbbb")
    ref = register.run(lake, BOUNDS, trained=first, scores=scored(lake, "aa01", first), check=ACCEPT)
    row = _tests(lake, ref.key).row(0, named=True)
    assert (row["against"], row["queries"], row["planned"], row["p"]) == ("random", 100, 100, None)
    assert (row["difference"], row["lower"]) == pytest.approx((0.2, 0.15))
    scores = scored(lake, "bb01", second, against_champion=(0.04, 0.02, 0.06))
    ref = register.run(lake, BOUNDS, trained=second, scores=scores, check=ACCEPT)
    row = _tests(lake, ref.key).row(0, named=True)
    assert (row["against"], row["look"], row["level"], len(row["query_ids"])) == ("1", 1, 0.0025, 100)
    assert (row["difference"], row["lower"], row["upper"]) == pytest.approx((0.04, 0.02, 0.06), abs=0.003)
    assert row["spread"] == pytest.approx(0.102, abs=0.001) and row["p"] == row["p_holm"] < 0.001
    assert f"p {'< 0.0001' if row['p'] < 1e-4 else format(row['p'], '.4f')}" in ref.details["verdict"]
    first, rec = register.plan(lake, BOUNDS, EvaluateParams(), "sets0")
    assert "1 test at" in first and "assumed" not in rec, "what was seen is what the next plan reckons with"


@pytest.mark.parametrize("ranked", [99, 0])
def test_fewer_queries_than_planned_promote_nothing(lake: Lake, ranked: int) -> None:
    model = trained(lake, "aaaa")
    ref = register.run(
        lake, BOUNDS, trained=model, scores=scored(lake, "aa01", model, ranked=ranked), check=ACCEPT
    )
    assert f"{ranked} of 100 planned" in ref.details["verdict"] and not ref.details["promoted"]


@pytest.mark.parametrize("arm", ["rl", "champion"])
def test_a_score_that_is_no_number_promotes_nothing_and_is_no_look(crowned: Lake, arm: str) -> None:
    second = trained(crowned, "bbbb")
    scores = scored(crowned, "bb01", second, against_champion=(0.1, 0.08, 0.12))
    crowned.execute("update episodes set rr = 'nan' where set_id = 's7' and arm = $arm", {"arm": arm})
    ref = register.run(crowned, BOUNDS, trained=second, scores=scores, check=ACCEPT)
    assert not ref.details["promoted"]
    assert _tests(crowned, ref.key)["p"].item() is None


def test_what_is_judged_is_the_first_strategy_and_thinking_that_was_evaluated(lake: Lake) -> None:
    """And the version says so: what serves it without another wish ranks like that."""
    model = trained(lake, "aaaa")
    scores = scored(lake, "aa01", model, rr=0.6)
    direct = '{"strategies": ["direct", "iterative"], "thinking": [false]}'
    lake.execute("update stage_runs set parameters = $p where batch_id = 'aa01'", {"p": direct})
    ref = register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    assert "0 of 100 planned" in ref.details["verdict"], "the iterative ranking is not what would be served"
    found = registry.latest(lake.home, BOUNDS)
    assert found is not None and (found.strategy, found.thinking) == ("direct", False)


def test_two_versions_are_compared_on_the_queries_that_both_have_ranked(crowned: Lake) -> None:
    lake = crowned
    for key, rr in (("bb01", 0.55), ("cc01", 0.5)):
        model = trained(lake, key[:2] * 2)
        scores = scored(lake, key, model, rr=rr, first=50 if key == "bb01" else 200)
        register.run(lake, BOUNDS, trained=model, scores=scores, check=ACCEPT)
    before = lake.snapshot()
    (gain,) = register.compare(lake, BOUNDS, "1", "2")
    assert (gain.task, gain.difference.queries) == ("synthetic", 50)
    assert gain.difference.value == pytest.approx(0.05)
    assert lake.snapshot() == before
    with pytest.raises(StageMissing, match="no such query"):
        register.compare(lake, BOUNDS, "1", "3")
    with pytest.raises(StageMissing, match="no version 7"):
        register.compare(lake, BOUNDS, "1", "7")


def test_a_gate_whose_looks_are_used_up_gives_way_to_the_next(lake: Lake) -> None:
    drawn = CandidateParams(gates=3)
    bounds = RegisterParams(looks=2)

    def verdict(number: int, gate: int, seed: str = "7", p: float | None = 0.5) -> None:
        details = {"seed": seed, "test_share": 0.25, "gates": 3, "gate": gate}
        commit(lake, "candidates", f"c{number}", {}, details=details)
        commit(lake, "evaluate", f"e{number}", {}, inputs=(f"c{number}",))
        registered(lake, f"r{number}", f"e{number}", range(5), p=p)

    assert register.gate(lake, bounds, drawn) == 1
    verdict(1, 1)
    verdict(2, 1, p=None)
    verdict(3, 1, seed="8")
    assert register.gate(lake, bounds, drawn) == 1, "one look: the others tested nothing, or other queries"
    verdict(4, 1)
    assert register.gate(lake, bounds, drawn) == 2
    assert register.gate(lake, bounds, CandidateParams(gates=3, gate=3)) == 3
    verdict(5, 2)
    verdict(6, 2)
    assert register.gate(lake, bounds, drawn) == 3, "the last, however often it was used"


def recipe(seed: int, steps: int = 400) -> str:
    """The parameters of a training as they are recorded."""
    params = TrainParams.model_validate({"sft": {"seed": seed, "max_steps": steps}, "grpo": {"seed": seed}})
    return canonical(params)


def seeded(lake: Lake, rr: Sequence[float], data: str = "t1", first: int = 0, steps: int = 400) -> list[str]:
    """Trainings of one recipe that got so much, by seed; their keys."""
    keys = [f"{data}-{steps}-{seed}" for seed in range(len(rr))]
    for seed, (key, value) in enumerate(zip(keys, rr, strict=True)):
        model = trained(lake, key, recipe(seed, steps), inputs=(data,))
        scored(lake, f"e-{key}", model, rr=value, first=first)
    return keys


def test_the_spread_of_a_recipe_over_seeds_is_that_of_its_trainings_alone(lake: Lake) -> None:
    key, *_ = seeded(lake, [0.60, 0.62, 0.64])
    seeded(lake, [0.1, 0.9], steps=500)
    (found,) = register.seeds_of(lake, key, "iterative", True)
    assert (found.task, found.seeds, found.freedom) == ("synthetic", 3, 2)
    assert found.spread == pytest.approx(0.02)
    assert register.seeds_of(lake, key, "direct", True) == register.seeds_of(lake, "none", "iterative", True)
    # Trained on other data, or asked other queries: only what is left of the differences within counts.
    seeded(lake, [0.30, 0.34], data="t2")
    seeded(lake, [0.80], data="t3")
    (pooled,) = register.seeds_of(lake, key, "iterative", True)
    assert (pooled.seeds, pooled.freedom) == (5, 3)
    assert pooled.spread == pytest.approx(((2 * 0.02**2 + 0.04**2 / 2) / 3) ** 0.5)
    # The same training evaluated once more is no other seed.
    scored(lake, "again", done_training(lake, key), rr=0.60)
    assert register.seeds_of(lake, key, "iterative", True) == (pooled,)


def done_training(lake: Lake, key: str) -> Ref:
    found = lake.finished("train", key)
    assert found is not None
    return found


def test_several_tasks_have_the_spread_of_their_mean_too(lake: Lake) -> None:
    key, *_ = seeded(lake, [0.60, 0.62, 0.64])
    lake.execute(
        "insert into evaluations by name select * replace ('other' as task, 1.2 - value as value) from"
        " evaluations"
    )
    spreads = {found.task: found.spread for found in register.seeds_of(lake, key, "iterative", True)}
    assert spreads == {
        "other": pytest.approx(0.02),
        "synthetic": pytest.approx(0.02),
        "all tasks": pytest.approx(0, abs=1e-9),
    }


def test_a_champion_whose_recipe_scatters_is_not_replaced_by_another_seed(lake: Lake) -> None:
    """Against one that was not measured over seeds the same gain counts."""
    key, *others = seeded(lake, [0.60, 0.62, 0.64])
    champion, second = done_training(lake, key), done_training(lake, others[1])
    register.run(lake, BOUNDS, trained=champion, scores=done_evaluation(lake, key), check=ACCEPT)
    scores = scored(lake, "bb01", second, rr=0.64, against_champion=(0.04, 0.02, 0.06), champion=key)
    ref = register.run(lake, BOUNDS, trained=second, scores=scores, check=ACCEPT)
    row = _tests(lake, ref.key).row(0, named=True)
    least = 2.92 * 2**0.5 * 0.02
    assert (row["seeds"], row["seed_spread"], row["least"]) == (
        3,
        pytest.approx(0.02),
        pytest.approx(least, abs=1e-4),
    )
    assert "too small" in ref.details["verdict"] and "synthetic 0.083 by 3 seeds" in ref.details["verdict"]
    _, sentence = register.plan(lake, BOUNDS, EvaluateParams(), "sets0", registry.champion(lake.home, BOUNDS))
    assert f"one of {row['detectable']:.3f} 80%" in sentence and row["detectable"] > row["least"]


def done_evaluation(lake: Lake, key: str) -> Ref:
    found = lake.finished("evaluate", f"e-{key}")
    assert found is not None
    return found


def _tests(lake: Lake, key: str) -> pl.DataFrame:
    return lake.rows("select * from promotion_tests where batch_id = $key", {"key": key})
