"""Small real values for tests: candidate sets with known relevance, and policies that answer from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ranker.policy.prompts import Prompt, trace
from ranker.types import Candidate, CandidateSet, slot_labels


def make_set(
    relevance: Sequence[float],
    *,
    set_id: str = "s0",
    task: str = "synthetic",
    query: str = "a1 a2 a3",
    texts: Sequence[str] = (),
) -> CandidateSet:
    """A set whose candidates have the given grades, labelled A, B, … as shown."""
    texts = texts or [f"a{i} b{i}" for i in range(len(relevance))]
    pool = tuple(
        Candidate(label, f"{set_id}-{i}", texts[i], float(grade))
        for i, (label, grade) in enumerate(zip(slot_labels(len(relevance)), relevance, strict=True))
    )
    return CandidateSet(set_id, task, "test", f"g-{set_id}", query, (), pool)


def overlap_sets(n: int, *, pool: int = 4, seed: int = 0, split: str = "train") -> list[CandidateSet]:
    """Set matching: the relevance is how many of three attributes a candidate shares with the query."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        wanted = set(rng.choice(12, 3, replace=False).tolist())
        has = [sorted(rng.choice(12, 3, replace=False).tolist()) for _ in range(pool)]
        texts = [" ".join(f"a{x}" for x in one) for one in has]
        made.append(
            make_set(
                [len(wanted & set(one)) for one in has],
                set_id=f"s{i}",
                query=" ".join(f"a{x}" for x in sorted(wanted)),
                texts=texts,
            )
        )
    return made


def oracle(prompt: Prompt) -> str:
    """A right answer, from the relevance that no prompt shows."""
    return _by(prompt, prompt.set.relevance)


def adversary(prompt: Prompt) -> str:
    """The worst answer there is."""
    return _by(prompt, {label: -grade for label, grade in prompt.set.relevance.items()})


def _by(prompt: Prompt, score: dict[str, float]) -> str:
    order = sorted(prompt.set.labels, key=lambda label: -score[label])
    grades = {label: int(prompt.set.relevance[label]) for label in prompt.set.labels}
    return trace(
        prompt.mode, prompt.thinking, grades, order[-1:] if prompt.mode == "exclude" else order, "compact"
    )


Answer = Callable[[Prompt], str]
