"""The proofs' claims, on made-up results for which it is known which of them are true."""

from __future__ import annotations

from ranker.studies.design import Claim
from ranker.studies.prove import ARM, CONTROL, GOLD, real_claims, synthetic_claims
from tests.ranker.studies.made import results


def known(gain: float, blind: float, *, direct: float = 0.1):
    return results(
        {
            (ARM, "sft", "iterative"): 0.5,
            (ARM, "rl", "iterative"): 0.5 + gain,
            (ARM, "sft", "direct"): 0.5,
            (ARM, "rl", "direct"): 0.5 + direct,
            (CONTROL, "sft", "iterative"): 0.5,
            (CONTROL, "rl", "iterative"): 0.5 + blind,
            (CONTROL, "sft", "direct"): 0.5,
            (CONTROL, "rl", "direct"): 0.4,
        }
    )


def verdicts(claims: list[Claim]) -> list[bool | None]:
    return [claim.holds for claim in claims]


def test_a_gain_with_a_control_that_gains_nothing_is_a_proof() -> None:
    assert verdicts(synthetic_claims(known(0.1, -0.1))) == [True, True, True, True]


def test_a_loss_and_a_gain_too_small_for_its_interval_are_none() -> None:
    assert verdicts(synthetic_claims(known(-0.1, -0.1)))[0] is False
    assert verdicts(synthetic_claims(known(0.001, -0.1)))[0] is False


def test_a_control_that_gains_makes_the_proof_fail() -> None:
    claim = synthetic_claims(known(0.1, 0.1))[2]
    assert (claim.holds, claim.verdict) == (False, "does not hold")
    assert "+0." in claim.figure


def test_a_control_that_was_hardly_trained_tells_nothing() -> None:
    same = results({(CONTROL, "sft", "iterative"): 0.5, (CONTROL, "rl", "iterative"): 0.5}, noise=0.0)
    assert synthetic_claims(same)[2].verdict == "not tested"


def on_real(rl: float, *, queries: int = 500, **others: float) -> dict[str, str]:
    """Verdicts of one scenario's claims, by their first words."""
    means = {"untrained": 0.42, "gold": rl, "blind": 0.5, "popularity": 0.4, "teacher": 0.6} | others
    found = results(
        {
            (ARM, "untrained", "iterative"): means["untrained"],
            (ARM, "sft", "iterative"): 0.5,
            (ARM, "rl", "iterative"): rl,
            (GOLD, "rl", "iterative"): means["gold"],
            (CONTROL, "rl", "iterative"): means["blind"],
        },
        tasks=("rec-movie",),
        queries=queries,
        baselines={
            "random": 0.34,
            "first-position": 0.34,
            "popularity": means["popularity"],
            "teacher": means["teacher"],
        },
        thinking=False,
    )
    claims = real_claims(found)
    assert all(claim.figure for claim in claims)
    names = ("enough", "gain", "gold", "baselines", "blind", "published", "teachers")
    return {name: claim.verdict for name, claim in zip(names, claims, strict=True)}


def test_real_claims_hold_and_fail_by_their_figures() -> None:
    names = ("enough", "gain", "gold", "baselines", "blind", "published")
    assert on_real(0.7) == dict.fromkeys(names, "holds") | {"teachers": "does not hold"}
    assert on_real(0.7, queries=100)["enough"] == "does not hold"
    assert on_real(0.7, untrained=0.65)["published"] == "does not hold"
    assert on_real(0.53, popularity=0.6)["baselines"] == "does not hold"
    assert on_real(0.7, gold=0.8)["gold"] == "does not hold"
    assert on_real(0.7, blind=0.6)["blind"] == "does not hold"
    assert on_real(0.45)["gain"] == "does not hold"


def test_a_gain_that_is_not_clear_is_told_as_such() -> None:
    assert on_real(0.501)["gain"] == "not tested"


def test_teachers_are_beaten_in_two_scenarios_or_not_at_all() -> None:
    means = {
        (ARM, model, "iterative"): value for model, value in (("untrained", 0.42), ("sft", 0.5), ("rl", 0.7))
    }
    found = results(means, tasks=("rec-movie", "vaswani"), thinking=False)
    assert real_claims(found)[-1].verdict == "holds"


def test_only_the_teacher_may_be_above_without_failing_the_baselines() -> None:
    assert on_real(0.53, teacher=0.9)["baselines"] == "holds"
