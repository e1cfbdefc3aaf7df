"""Listwise losses against plain enumeration, and far from where exp() is 0."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ranker.policy.rewards import exclusion_gains
from ranker.train.worker import listwise
from ranker.train.worker.listwise import Exclusion

SCORES = st.lists(st.floats(-8, 0), min_size=2, max_size=5)


def probability(z: torch.Tensor, order: tuple[int, ...]) -> float:
    """Of an order, the first chosen first."""
    p, left = 1.0, list(range(len(z)))
    for place in order:
        p *= float(z[place].exp() / z[left].exp().sum())
        left.remove(place)
    return p


@given(SCORES)
def test_orders_have_the_probabilities_of_plackett_and_luce(values: list[float]) -> None:
    z = torch.tensor(values)
    found = [
        torch.exp(-listwise.plackett_luce(z, torch.tensor(order)) * (len(z) - 1))
        for order in permutations(range(len(z)))
    ]
    assert float(torch.stack(found).sum()) == pytest.approx(1, abs=1e-4)
    order = (*range(1, len(z)), 0)
    loss = float(listwise.plackett_luce(z, torch.tensor(order)))
    assert loss == pytest.approx(-np.log(probability(z, order)) / (len(z) - 1), abs=1e-4)


@pytest.mark.parametrize("far", [-40.0, -400.0, -20_000.0])
def test_low_scores_have_the_losses_and_gradients_of_high_ones(far: float) -> None:
    order = torch.tensor([2, 0, 1])
    near = torch.tensor([-1.0, -2.0, -1.5], requires_grad=True)
    away = (near.detach() + far).requires_grad_()
    for loss in (
        lambda z: listwise.plackett_luce(z, order),
        lambda z: listwise.gold(z, torch.tensor([0.0, 1, 0])),
    ):
        (one,) = torch.autograd.grad(loss(near), near)
        (other,) = torch.autograd.grad(loss(away), away)
        assert torch.allclose(one, other, atol=2e-3)
        assert float(other.abs().max()) > 0.1


@given(SCORES)
def test_gold_with_one_relevant_candidate_is_cross_entropy(values: list[float]) -> None:
    z = torch.tensor(values)
    relevance = torch.zeros(len(z))
    relevance[-1] = 3.0
    assert float(listwise.gold(z, relevance)) == pytest.approx(float(-z.log_softmax(0)[-1]), abs=1e-5)


def test_eliminations_are_drawn_from_the_policy() -> None:
    z = torch.tensor([0.0, -1.0, -0.5])
    drawn = listwise.eliminations(z, 40_000, torch.Generator().manual_seed(1)).tolist()
    counts = {order: 0 for order in permutations(range(3))}
    for order in drawn:
        counts[tuple(order)] += 1
    for order, count in counts.items():
        assert count / len(drawn) == pytest.approx(probability(-z, order), abs=0.012)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=2, max_size=6), st.sampled_from(["binary", "regret"])
)
def test_steps_earn_what_the_policy_s_rewards_say(worths: list[float], exclusion: Exclusion) -> None:
    orders = torch.stack([torch.randperm(len(worths)) for _ in range(4)])
    met = listwise.steps(orders, torch.tensor(worths), exclusion)
    for row, order in enumerate(orders.tolist()):
        for step in range(len(worths) - 1):
            left = sorted(order[step:])
            assert np.flatnonzero(met.left[row, step]).tolist() == left
            own = np.array([worths[place] for place in left])
            assert met.rewards[row, step][left].numpy() == pytest.approx(
                exclusion_gains(own, exclusion), abs=1e-5
            )
            assert bool(met.open[row, step]) == (own.max() > own.min())
            assert not met.rewards[row, step][order[:step]].any()


def test_both_estimators_have_the_same_gradient_on_average() -> None:
    z = torch.tensor([-1.0, -0.2, -1.7, -0.4], requires_grad=True)
    relevance = torch.tensor([0.0, 1.0, 0.0, 0.0])
    exact, sampled = torch.zeros(4), torch.zeros(4)
    torch.manual_seed(0)
    for _ in range(60):
        orders = listwise.eliminations(z, 512)
        met = listwise.steps(orders, relevance, "binary")
        logp = listwise.log_exclusions(z, met.left)
        exact += torch.autograd.grad(listwise.expected_reward(logp, met), z, retain_graph=True)[0] / 60
        sampled += torch.autograd.grad(listwise.sampled_reward(logp, met, orders), z)[0] / 60
    # the baseline of a group is over all its pools, of which those with nothing to lose count no gradient
    assert torch.nn.functional.cosine_similarity(exact, sampled, dim=0) > 0.99
    assert exact[1] < 0  # the gold's score rises


def test_rewards_that_are_all_alike_have_no_gradient() -> None:
    z = torch.tensor([-1.0, -0.2], requires_grad=True)
    orders = listwise.eliminations(z, 8)
    met = listwise.steps(orders, torch.tensor([1.0, 1.0]), "regret")
    logp = listwise.log_exclusions(z, met.left)
    (gradient,) = torch.autograd.grad(listwise.expected_reward(logp, met), z)
    assert not gradient.any()


def test_a_divergence_from_itself_is_nothing_and_from_another_is_not() -> None:
    z, other = torch.tensor([-1.0, -0.2, -3.0]), torch.tensor([-0.1, -0.2, -3.0])
    orders = listwise.eliminations(z, 8)
    left = listwise.steps(orders, torch.tensor([1.0, 0.0, 0.0]), "regret").left
    own = listwise.log_exclusions(z, left)
    assert float(listwise.kl(own, own, left)) == 0
    assert float(listwise.kl(own, listwise.log_exclusions(other, left), left)) > 0.01
