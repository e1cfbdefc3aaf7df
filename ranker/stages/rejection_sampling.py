"""Which of a teacher's answers training may use, and why not the others. Pure.

Rejection sampling keeps what the true relevance agrees with, or what the policy's own reward is highest for;
self-consistency (Wang et al. 2022) what most
samples of one prompt agree on. Each may decide alone, or both together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ranker.policy.parsing import Action
from ranker.policy.prompts import Mode
from ranker.policy.rewards import reward

MINORITY, DUPLICATE, SURPLUS, LOW = "minority", "duplicate", "surplus", "low_reward"


def fault(mode: Mode, action: Sequence[str], relevance: Mapping[str, float]) -> str:
    """Why an action is wrong by the true relevance; empty where it is not.

    An exclusion is wrong if it drops a most relevant candidate while a less relevant one stands; an order, if
    no most relevant candidate is in its upper half. A pool of equals cannot be answered wrongly.
    """
    best = max(relevance.values())
    if best == min(relevance.values()):
        return ""
    if mode == "exclude":
        return "excludes_best" if relevance[action[0]] == best else ""
    upper = action[: (len(action) + 1) // 2]
    return "" if any(relevance[label] == best for label in upper) else "ranks_best_low"


def reasons(
    answers: Sequence[tuple[str, Action]],
    mode: Mode,
    relevance: Mapping[str, float],
    *,
    reject: bool,
    majority: bool,
    keep: int,
    above: float | None = None,
) -> list[str]:
    """Why each answer to one prompt is rejected, empty for those accepted.

    Args:
        answers: the samples in the order in which they came, each with its parsed action.
        relevance: graded relevance by label, for the pool as shown.
        reject: whether a wrong action is rejected, see `fault`.
        majority: whether an action with fewer votes than another is; only valid answers vote, of equals the
            first counts.
        keep: at most so many are accepted, each text once.
        above: what earns no more is rejected, and the best of the others are kept; None keeps the first.
    """
    wanted = _most_voted([action for _, action in answers]) if majority else None
    earned = [reward(action, relevance, mode).total for _, action in answers]
    found = [
        _reason(action, mode, relevance, reject, wanted)
        or (LOW if above is not None and got <= above else "")
        for (_, action), got in zip(answers, earned, strict=True)
    ]
    taken: set[str] = set()
    places = range(len(answers)) if above is None else sorted(range(len(answers)), key=lambda i: -earned[i])
    for place in places:
        if not found[place]:
            found[place] = _place(answers[place][0], taken, keep)
            taken |= set() if found[place] else {answers[place][0]}
    return found


def _most_voted(actions: Sequence[Action]) -> tuple[str, ...] | None:
    votes = Counter(action.labels for action in actions if action.valid)
    return votes.most_common(1)[0][0] if votes else None


def _reason(
    action: Action, mode: Mode, relevance: Mapping[str, float], reject: bool, wanted: tuple[str, ...] | None
) -> str:
    if not action.valid:
        return str(action.reason.value)
    if wanted is not None and action.labels != wanted:
        return MINORITY
    return fault(mode, action.labels, relevance) if reject else ""


def _place(text: str, taken: set[str], keep: int) -> str:
    return DUPLICATE if text in taken else SURPLUS if len(taken) == keep else ""
