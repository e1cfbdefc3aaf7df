"""Which of a teacher's answers training may use, and why not the others. Pure.

Rejection sampling keeps what the true relevance agrees with; self-consistency (Wang et al. 2022) what most
samples of one prompt agree on. Each may decide alone, or both together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ranker.policy.parsing import Action
from ranker.policy.prompts import Mode

MINORITY, DUPLICATE, SURPLUS = "minority", "duplicate", "surplus"


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
) -> list[str]:
    """Why each answer to one prompt is rejected, empty for those accepted.

    Args:
        answers: the samples in the order in which they came, each with its parsed action.
        relevance: graded relevance by label, for the pool as shown.
        reject: whether a wrong action is rejected, see `fault`.
        majority: whether an action with fewer votes than another is; only valid answers vote, of equals the
            first counts.
        keep: at most so many are accepted, each text once.
    """
    wanted = _most_voted([action for _, action in answers]) if majority else None
    found: list[str] = []
    taken: set[str] = set()
    for text, action in answers:
        reason = _reason(action, mode, relevance, reject, wanted) or _place(text, taken, keep)
        if not reason:
            taken.add(text)
        found.append(reason)
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
