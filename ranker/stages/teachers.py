"""Classical teachers: which first-stage ranker (`ranker.retrieval`) teaches which task, and the grades that
its scores become.

They are what a policy is taught to imitate and the row it is compared with, so they may use nothing of a
held-out group, and nothing of a training query's own answer either: item-kNN leaves the query's user out, the
router its question.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ranker.config import Scenario, Task
from ranker.errors import BadConfig

CLASSICAL = "classical"
"""Teacher's name that stands for each scenario's own."""
NAMES = {
    "recommendation": "item-knn",
    "passage": "idf-overlap",
    "routing": "knn-effect",
    "synthetic": "overlap",
}
_TEXTS: tuple[Scenario, ...] = ("passage", "synthetic", "recommendation")
RANKERS: dict[str, tuple[str, tuple[Scenario, ...]]] = {
    "item-knn": ("what users touched together", ("recommendation",)),
    "popularity": ("how many users touched an item", ("recommendation",)),
    "bm25": ("words that query and candidate share", _TEXTS),
    "idf-overlap": ("words that query and candidate share", _TEXTS),
    "dense": ("what an encoder finds alike in query and passage", ("passage",)),
    "overlap": ("words that query and candidate share", ("synthetic",)),
    "knn-effect": ("how language models did on similar questions", ("routing",)),
    "best-llm": ("how language models did on all questions", ("routing",)),
}
"""Ranker → what it reads, and the scenarios that have it."""

UNSEEN = ("item-knn", "popularity", "knn-effect", "best-llm")
"""Rankers by what stands in no prompt: others' choices, other questions. A policy from scratch learns to do
without (its grades are of words); a chat model would be taught reasons that it cannot have.
"""


def ranker_of(teacher: str, task: Task) -> str:
    """The classical ranker that `teacher` means for a task: itself, or the scenario's own for 'classical' and
    for a model.

    Raises:
        BadConfig: it cannot score that task.
    """
    if teacher not in RANKERS:
        return NAMES[task.scenario]
    reads, scenarios = RANKERS[teacher]
    if task.scenario in scenarios:
        return teacher
    fitting = [name for name, (_, others) in RANKERS.items() if task.scenario in others]
    raise BadConfig(
        "a teacher must be able to score a task's candidates",
        seen=f"{teacher} reads {reads}; {task.name} is {task.scenario}",
        remedy=f"set distill.teachers.{task.name} to {' or '.join(fitting)}",
    )


def grade_edges(scores: np.ndarray, grades: int) -> np.ndarray:
    """Thresholds that make a grade mean the same in every pool: quantiles of the teacher's scores over all
    training candidates.

    A mass of equal least scores (no overlap at all) takes grade 0 for itself; few distinct scores get a grade
    each.

    Returns:
        Increasing edges, at most grades − 1; see `grade`.
    """
    distinct = np.unique(scores)
    if len(distinct) <= grades:
        return distinct[:-1]
    if (scores == distinct[0]).mean() < 1 / grades:
        return np.unique(np.quantile(scores, np.arange(1, grades) / grades))
    rest = np.quantile(scores[scores > distinct[0]], np.arange(1, grades - 1) / (grades - 1))
    return np.unique(np.concatenate([distinct[:1], rest]))


def grade(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Grade of each score: how many edges lie below it."""
    return np.searchsorted(edges, scores, side="left")


def separate(grades: Sequence[int], scores: Sequence[float], top: int) -> list[int]:
    """`grades` of one pool, changed by at most 1 so that the strictly lowest score has the strictly lowest
    grade.
    """
    least = min(scores)
    floor = min(g for g, s in zip(grades, scores, strict=True) if s == least)
    if floor == top and min(scores) < max(scores):
        return [top - 1 if s == least else top for s in scores]
    return [g if s == least else max(g, floor + 1) for g, s in zip(grades, scores, strict=True)]
