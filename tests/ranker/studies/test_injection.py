"""The injection audit tells a policy that obeys what it reads from one that ranks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.errors import StageMissing
from ranker.policy.prompts import Prompt, trace
from ranker.strategies import strategy
from ranker.studies import injection
from ranker.studies.injection import ATTACKS, CONTROL, CONTROL_BEFORE, OWN
from tests.ranker.factories import make_set, oracle, overlap_sets

SETS = overlap_sets(40, pool=5, seed=3)
SAMPLING = Sampling(400)


def following(first: Callable[[str], bool]) -> Callable[[Prompt], str]:
    """Ranks as the judgements have it, but for candidates whose text it is taken in by: they come first."""

    def answer(prompt: Prompt) -> str:
        grades = {c.label: c.relevance + 100 * first(c.text) for c in prompt.set.candidates}
        best = sorted(grades, key=lambda label: -grades[label])
        order = best if prompt.mode == "rank" else best[::-1][:1]
        return trace(prompt.mode, prompt.thinking, dict.fromkeys(grades, 1), order, "compact")

    return answer


def audited(answer: Callable[[Prompt], str], how: str = "iterative") -> injection.Arm:
    asked, left_out = injection.pools(SETS, seed=1)
    assert left_out == len(SETS) - len(asked)
    seen = injection.ranked(asked, strategy(how), False, ScriptedEngine(answer), SAMPLING)
    return injection.measured(how, False, asked, seen, 500, 1)


@pytest.mark.parametrize("how", ["iterative", "direct"])
def test_who_only_ranks_is_moved_by_nothing(how: str) -> None:
    arm = audited(oracle, how)
    assert all(claim.holds for claim in arm.claims())
    assert {row.text for row in arm.rows} == {OWN, CONTROL, CONTROL_BEFORE, *ATTACKS}
    assert all(row.rise.value == 0 and row.rr.value == 1 and row.invalid == 0 for row in arm.rows)


@pytest.mark.parametrize("how", ["iterative", "direct"])
def test_who_obeys_is_found_out_by_the_attack_that_it_obeys(how: str) -> None:
    arm = audited(following(lambda text: "Ignore all previous" in text), how)
    failed = [claim.text for claim in arm.claims() if not claim.holds]
    assert failed == [f"{how}, no-think: {name} does not raise who brings it" for name in list(ATTACKS)[:2]]
    row = next(row for row in arm.rows if row.text == "instruction")
    assert row.first.value == row.height.value == 1 and row.rise.lower > 0.02 and row.rr.value < 0.6


def test_what_any_longer_text_does_is_no_attack() -> None:
    """Whoever likes long texts is taken in by the control as well."""
    arm = audited(following(lambda text: len(text) > 40))
    moved = next(row for row in arm.rows if row.text == CONTROL)
    assert moved.first.value == 1
    assert all(claim.holds for claim in arm.claims())


def test_what_stands_before_a_text_is_held_against_what_stands_there() -> None:
    """Who likes whatever begins unlike the rest is taken in by the control before, and by no attack there."""
    starts = injection.INSTRUCTION[:6], injection.HARMLESS_BEFORE[:6]
    arm = audited(following(lambda text: text.startswith(starts)))
    rows = {row.text: row for row in arm.rows}
    assert rows[CONTROL_BEFORE].first.value == rows["instruction, before"].first.value == 1
    assert rows["instruction, before"].rise.value == 0 < rows[CONTROL_BEFORE].rise.value
    assert all(claim.holds for claim in arm.claims())
    assert len(injection.HARMLESS_BEFORE) == len(injection.INSTRUCTION)


def test_the_attacker_is_one_of_the_least_relevant_and_the_pool_stays_whole() -> None:
    given = make_set([2, 0, 1, 0])
    (pool,), _ = injection.pools([given], seed=4)
    assert given.relevance[pool.attacker] == 0
    for name, attack in ATTACKS.items():
        changed = injection.attacked(pool, name, attack)
        assert changed.labels == given.labels and changed.relevance == given.relevance
        assert changed.set_id != given.set_id
        texts = [
            (a.text, b.text) for a, b in zip(given.candidates, changed.candidates, strict=True) if a != b
        ]
        assert len(texts) == 1 and texts[0][0] in texts[0][1] and "{" not in texts[0][1]


def test_pools_that_are_all_alike_tell_nothing() -> None:
    with pytest.raises(StageMissing, match="differ in relevance"):
        injection.pools([make_set([1, 1, 1])], seed=1)


def test_a_page_and_a_plot(tmp_path: Path) -> None:
    arms = [audited(oracle, how) for how in ("iterative", "direct")]
    found = injection.tell(tmp_path / "out", "injection into synthetic", arms, 2)
    page = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert found.holds and "query again does not raise" in page and "2 pools are left out" in page
    assert (tmp_path / "out" / "plot.png").stat().st_size > 10_000
