"""The position-bias audit tells a policy that looks at places from one that looks at candidates, however well
or badly that one ranks.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from ranker.engines import Sampling, load
from ranker.engines.scripted import ScriptedEngine, ScriptedScorer
from ranker.errors import StageMissing
from ranker.policy.prompts import Prompt, trace
from ranker.strategies import strategy
from ranker.studies import position_bias
from ranker.types import CandidateSet
from tests.ranker.factories import make_set, oracle, overlap_sets
from tests.ranker.material import tiny_lm

SAMPLING = Sampling(400)
SETS = overlap_sets(24, pool=6, seed=3)


def first_slot(prompt: Prompt) -> str:
    """Names whoever is shown first: the worst in mode exclude, the best in mode rank."""
    return _named(prompt, list(prompt.set.labels))


def noise(prompt: Prompt) -> str:
    """An order drawn anew for each prompt: as bad as can be, and no slot is better than another."""
    text = " ".join(f"{c.label} {c.item_id}" for c in prompt.set.candidates)
    return _named(
        prompt, Random(f"{prompt.mode} {prompt.set.set_id} {text}").sample(prompt.set.labels, len(prompt.set))
    )


def _named(prompt: Prompt, order: list[str]) -> str:
    return trace(
        prompt.mode,
        prompt.thinking,
        dict.fromkeys(prompt.set.labels, 1),
        order[:1] if prompt.mode == "exclude" else order,
        "compact",
    )


def audited(
    answer, how: str = "iterative", sets: list[CandidateSet] = SETS, thinking: bool = False
) -> position_bias.Arm:
    asked, _ = position_bias.pools(sets, 2, 1)
    engine = ScriptedScorer(
        answer, lambda prompt: {label: -grade for label, grade in prompt.set.relevance.items()}
    )
    return position_bias.measured(
        how, asked, position_bias.ranked_pools(asked, strategy(how), thinking, engine, SAMPLING), 500, 1
    )


def row(arm: position_bias.Arm, shown: str) -> position_bias.Row:
    return next(row for row in arm.rows if row.shown == shown)


@pytest.mark.parametrize(
    ("how", "best"), [("iterative", 6), ("direct", 1), ("iterative:drop=half,by=order", 1)]
)
@pytest.mark.parametrize("thinking", [True, False])
def test_a_policy_that_always_names_the_first_slot_is_found_out(how: str, best: int, thinking: bool) -> None:
    arm = audited(first_slot, how, thinking=thinking)
    worst = 7 - best
    assert (
        (arm.spread.best, arm.spread.worst) == (best, worst)
        and arm.spread.value > 0.7
        and arm.spread.p < 0.01
    )
    assert row(arm, f"slot {best}").rr.value == 1 and row(arm, f"slot {worst}").rr.value < 0.3
    assert arm.spared is not None and arm.spared.value == 1
    assert row(arm, "reverse").tau.value == pytest.approx(-1)
    assert not next(iter(arm.claims())).holds


@pytest.mark.parametrize(
    "how", ["iterative", "direct", "first-token", "survivors:keep=2", "consistency", "gate"]
)
def test_a_policy_that_looks_at_candidates_alone_is_not(how: str) -> None:
    distinct = [make_set(Random(i).sample(range(6), 6), set_id=f"d{i}") for i in range(10)]
    arm = audited(oracle, how, distinct)
    assert arm.spread.value == 0 and arm.spread.p == 1 and all(claim.holds for claim in arm.claims())
    assert all(one.rr.value == 1 and one.tau.value == pytest.approx(1) for one in arm.rows)


def test_a_likelihood_policy_has_none_by_construction_and_the_study_says_so(tmp_path: Path) -> None:
    engine = load(tiny_lm(tmp_path / "lm"))
    # of candidates that read alike the one shown first stays first
    unlike = [one for one in SETS if len({c.text for c in one.candidates}) == len(one)]
    asked, left_out = position_bias.pools(unlike, 2, 1)
    arms = [
        position_bias.measured(
            how, asked, position_bias.ranked_pools(asked, strategy(how), False, engine, SAMPLING), 200, 1
        )
        for how in ("iterative", "direct")
    ]
    for arm in arms:
        assert arm.spread.value == 0 and arm.spread.p == 1 and all(claim.holds for claim in arm.claims())
        assert all(one.against_given.value == 0 and one.tau.value == pytest.approx(1) for one in arm.rows)
        assert arm.scores_differ is not None and 0 <= arm.scores_differ < 1e-3
        assert 0 < row(arm, "given").rr.value < 1, "it ranks, and not by luck always right"
    results = position_bias.tell(tmp_path / "told", "bias", arms, left_out)
    assert sum("scores each candidate by itself" in note for note in results.notes) == len(arms)
    assert "by itself" in (tmp_path / "told" / "table.md").read_text(encoding="utf-8")


def test_a_policy_that_is_shown_the_pool_has_no_scores_to_compare() -> None:
    assert audited(oracle).scores_differ is None


def test_noise_has_a_spread_and_no_bias() -> None:
    """The largest of six means is above the smallest whatever the policy does: that alone is no finding."""
    found = [
        audited(noise, how, overlap_sets(24, pool=6, seed=seed))
        for how in ("iterative", "direct")
        for seed in range(10)
    ]
    assert all(0 < arm.spread.value < 2 * arm.spread.chance for arm in found)
    assert (
        sum(arm.spread.p < 0.05 for arm in found) <= 4
    )  # one of twenty is to be expected; five and more have probability 0.003


def test_the_golds_equals_count_neither_for_nor_against_it() -> None:
    arm = audited(oracle, "direct", [make_set([1, 3, 3, 0], set_id=f"t{i}") for i in range(4)])
    assert arm.spread.value == 0 and {one.rr.value for one in arm.rows} == {1}


def test_only_the_order_changes_and_labels_stay_with_slots() -> None:
    (pool,), left_out = position_bias.pools([make_set([0, 2, 1, 0])], 3, 1)
    assert (
        left_out == 0
        and pool.gold == 1
        and set(pool.orders) == {"slot 1", "slot 2", "slot 3", "slot 4", "given", "reverse", "shuffled"}
    )
    assert (
        pool.orders["slot 3"] == ((0, 2, 1, 3),)
        and pool.orders["slot 2"] == pool.orders["given"]
        and len(pool.orders["shuffled"]) == 3
    )
    shown = position_bias.ordered(pool.given, (3, 2, 1, 0))
    assert shown.labels == pool.given.labels and [c.item_id for c in shown.candidates] == [
        c.item_id for c in reversed(pool.given.candidates)
    ]
    assert shown.set_id != pool.given.set_id and shown.query == pool.given.query


def test_pools_of_other_sizes_and_without_a_gold_are_left_out_and_told(tmp_path: Path) -> None:
    sets = [
        make_set([1, 0, 0], set_id="a"),
        make_set([1, 0, 0], set_id="b"),
        make_set([1, 0], set_id="c"),
        make_set([0, 0, 0], set_id="d"),
    ]
    asked, left_out = position_bias.pools(sets, 0, 1)
    assert [pool.given.set_id for pool in asked] == ["a", "b"] and left_out == 2
    arm = position_bias.measured(
        "direct",
        asked,
        position_bias.ranked_pools(asked, strategy("direct"), False, ScriptedEngine(oracle), SAMPLING),
        200,
        1,
    )
    assert "2 pools are left out" in position_bias.tell(tmp_path, "x", [arm], left_out).notes[0]
    with pytest.raises(StageMissing, match="relevant"):
        position_bias.pools(sets[3:], 0, 1)


def test_invalid_answers_are_counted() -> None:
    assert audited(lambda prompt: "nothing").invalid == 1 and audited(oracle).invalid == 0


def test_the_test_of_the_spread_is_right_under_chance_and_finds_an_effect() -> None:
    rng = np.random.default_rng(5)
    groups = [str(i // 2) for i in range(60)]
    p = np.array([position_bias.spread(rng.random((60, 5)), groups, 200, i).p for i in range(200)])
    assert 0.01 <= (p < 0.05).mean() <= 0.1 and 0.4 < p.mean() < 0.6
    assert position_bias.spread(rng.random((60, 5)) + np.array([0.4, 0, 0, 0, 0]), groups, 200, 1).p < 0.01
