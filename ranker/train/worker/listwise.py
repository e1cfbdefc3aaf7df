"""Losses over the scores of one pool: orders by Plackett and Luce, and step rewards of eliminations.

All take `z`, scores divided by the temperature, (n,), and give scalars to be minimised. Sums of exponentials
go by log-sum-exp: scores of −40 nats are ordinary here, and exp() of them is 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ranker.policy.rewards import Exclusion

TOLERANCE = 1e-6
"""Rewards closer than this are alike: 1/3 is stored with a spread of 1e-8."""


def plackett_luce(z: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Mean negative log-probability of each choice of an order, the last left out (ListMLE: Xia et al. 2008).

    Args:
        order: candidates, the one chosen first before the others, (n,). For an order from the worst give
            `-z`.
    """
    chosen = z[order]
    left = chosen.flip(0).logcumsumexp(0).flip(0)  # over those not chosen before
    return (left - chosen)[:-1].mean()


def gold(z: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
    """−log of the expected relevance of a candidate drawn from softmax(z), as a share of the highest.

    With one relevant candidate the cross-entropy.
    """
    share = relevance / relevance.max().clamp_min(TOLERANCE)
    possible = share > 0
    return -(z.log_softmax(0) + share.clamp_min(1e-30).log()).masked_fill(~possible, -torch.inf).logsumexp(0)


def eliminations(z: torch.Tensor, k: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """`k` whole eliminations drawn from the policy softmax(−z), worst first: (k, n).

    One sort of −z + Gumbel noise draws each: the order of perturbed values has the distribution of Plackett
    and Luce (Yellott 1977).
    """
    uniform = torch.rand((k, len(z)), generator=generator).clamp_min(1e-20).to(z.device)
    return (-z.detach() - (-uniform.log()).log()).argsort(1, descending=True)


@dataclass(frozen=True, slots=True)
class Steps:
    """What eliminations meet: k of them, n − 1 steps each."""

    left: torch.Tensor
    """(k, n − 1, n) bool: who is still in the pool."""
    rewards: torch.Tensor
    """(k, n − 1, n) chance-corrected reward of excluding each candidate there, 0 for who has gone."""
    open: torch.Tensor
    """(k, n − 1) bool: the exclusions there do not all earn alike."""


def steps(orders: torch.Tensor, relevance: torch.Tensor, exclusion: Exclusion) -> Steps:
    """The pools that eliminations pass through and what each exclusion earns there: the same rewards as
    ranker/policy/rewards.py gives.
    """
    k, n = orders.shape
    place = torch.empty_like(orders).scatter_(1, orders, torch.arange(n, device=orders.device).expand(k, n))
    left = place[:, None, :] >= torch.arange(n - 1, device=orders.device)[None, :, None]
    worth = relevance.expand(k, n - 1, n)
    most = worth.masked_fill(~left, -torch.inf).amax(-1, keepdim=True)
    least = worth.masked_fill(~left, torch.inf).amin(-1, keepdim=True)
    open_ = (most - least).squeeze(-1) > TOLERANCE
    quality = (
        (worth < most).float()
        if exclusion == "binary"
        else 1.0 - (worth - least) / (most - least).clamp_min(TOLERANCE)
    )
    quality = quality.masked_fill(~left, 0.0)
    rewards = (quality - quality.sum(-1, keepdim=True) / left.sum(-1, keepdim=True)).masked_fill(~left, 0.0)
    return Steps(left, rewards * open_[..., None], open_)


def log_exclusions(z: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """log π of excluding each candidate of each pool: (k, n − 1, n), −inf for who has gone."""
    return (-z).expand(left.shape).masked_fill(~left, -torch.inf).log_softmax(-1)


def expected_reward(logp: torch.Tensor, met: Steps) -> torch.Tensor:
    """Minus the exact expected reward of an exclusion, mean over the open steps; 0 where none is open."""
    gained = (logp.exp() * met.rewards).sum(-1)
    return -(gained * met.open).sum() / met.open.sum().clamp_min(1)


def sampled_reward(logp: torch.Tensor, met: Steps, orders: torch.Tensor) -> torch.Tensor:
    """REINFORCE on the exclusions drawn: −advantage × log π, mean over the open steps.

    The advantage is the reward minus its mean over the k eliminations at the same step (GRPO's baseline,
    Shao et al. 2024, arXiv 2402.03300; not divided by the deviation: Liu et al. 2025, arXiv 2503.20783).
    """
    taken = orders[:, :-1, None]
    log_taken = logp.gather(-1, taken).squeeze(-1)
    return -(advantages(met, orders) * log_taken * met.open).sum() / met.open.sum().clamp_min(1)


def earned(met: Steps, orders: torch.Tensor) -> torch.Tensor:
    """Reward of each exclusion that was drawn: (k, n − 1)."""
    return met.rewards.gather(-1, orders[:, :-1, None]).squeeze(-1)


def advantages(met: Steps, orders: torch.Tensor) -> torch.Tensor:
    """Of each exclusion that was drawn, within query and step: (k, n − 1)."""
    own = earned(met, orders)
    return own - own.mean(0, keepdim=True)


def kl(logp: torch.Tensor, reference: torch.Tensor, left: torch.Tensor) -> torch.Tensor:
    """KL(π ‖ reference) of exclusions, mean over pools, from both policies' log π."""
    ratio = (logp - reference).masked_fill(~left, 0.0)
    return (logp.exp() * ratio).sum(-1).mean()
