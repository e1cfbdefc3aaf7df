"""Worked examples in the prompts of a model that was never trained here: how training queries are answered.

The answers are the classical teacher's, in chat style: its scores as grades, and the order or the exclusion
that follows from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ranker.engines import Completion, Engine, Sampling, Scored, scorer
from ranker.policy.prompts import Mode, Prompt, Shot, Style, trace
from ranker.stages import teachers
from ranker.types import CandidateSet

GRADES = 5
"""0 to 4, as chat prompts ask for."""


class WithExamples:
    """An engine whose prompts carry examples, `examples(prompt)`: nothing else knows of them."""

    def __init__(self, inner: Engine, examples: Callable[[Prompt], tuple[Shot, ...]]) -> None:
        self.name = inner.name
        self.style: Style = inner.style
        self.inner, self.examples = inner, examples
        self.batch = getattr(inner, "batch", 0)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order."""
        return self.inner.complete(self._shown(prompts), sampling)

    def score(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Scored]:
        """The labels' scores, one per prompt, in order; raises BadConfig where the engine within gives
        none.
        """
        return scorer(self.inner).score(self._shown(prompts), sampling)

    def _shown(self, prompts: Sequence[Prompt]) -> list[Prompt]:
        return [replace(prompt, shots=self.examples(prompt)) for prompt in prompts]


def of_teacher(
    train: Sequence[CandidateSet],
    scores: Mapping[str, Mapping[str, float]],
    asked: Iterable[CandidateSet],
    most: int = 2,
) -> Callable[[Prompt], tuple[Shot, ...]]:
    """Examples for each task: the same for all of its queries, so that a prefix cache pays.

    Those come first whose best candidate by the teacher is a most relevant one and which show several grades.

    Args:
        train: training queries.
        scores: by set_id and label, the teacher's.
        asked: the queries that are shown them; what reads like one of these is no example.
    """
    barred = {(given.task, _plain(given.query)) for given in asked}
    fit = [
        given for given in train if given.set_id in scores and (given.task, _plain(given.query)) not in barred
    ]
    pools = {
        name: _graded([given for given in fit if given.task == name], scores)[:most]
        for name in sorted({given.task for given in fit})
    }

    def examples(prompt: Prompt) -> tuple[Shot, ...]:
        found = pools.get(prompt.set.task, [])
        return tuple(_shot(given, grades, prompt.mode, prompt.thinking) for given, grades in found)

    return examples


def _graded(
    train: Sequence[CandidateSet], scores: Mapping[str, Mapping[str, float]]
) -> list[tuple[CandidateSet, dict[str, int]]]:
    edges = teachers.grade_edges(
        np.array([one for given in train for one in scores[given.set_id].values()]), GRADES
    )
    found: list[tuple[CandidateSet, dict[str, int]]] = []
    for given in train:
        own = [scores[given.set_id][label] for label in given.labels]
        plain = teachers.grade(np.array(own), edges).tolist()
        found.append((given, dict(zip(given.labels, teachers.separate(plain, own, GRADES - 1), strict=True))))
    return sorted(found, key=lambda one: -_telling(*one))  # stable: of equals the first as drawn


def _telling(given: CandidateSet, grades: Mapping[str, int]) -> int:
    """How many grades an example shows; 0 where the teacher does not name a most relevant candidate."""
    best = _order(grades)[0]
    return len(set(grades.values())) * (given.relevance[best] == max(given.relevance.values()))


def _shot(given: CandidateSet, grades: Mapping[str, int], mode: Mode, thinking: bool) -> Shot:
    order = _order(grades)
    action = order if mode == "rank" else order[-1:]
    return Shot(Prompt(mode, thinking, given), trace(mode, thinking, grades, action, "chat"))


def _order(grades: Mapping[str, int]) -> list[str]:
    """Labels by falling grade, equals as shown: what a reader of the grades can derive."""
    return sorted(grades, key=lambda label: -grades[label])


def _plain(query: str) -> str:
    return " ".join(query.lower().split())
