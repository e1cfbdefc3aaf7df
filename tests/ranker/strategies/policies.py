"""What the tests of strategies share: every strategy by name, perfect policies, sets of distinct grades."""

from __future__ import annotations

from collections.abc import Sequence

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedScorer
from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.policy.prompts import Prompt, Style
from tests.ranker.factories import make_set, oracle

SAMPLING = Sampling(400)
ALL = [
    "iterative",
    "iterative:shuffle=true",
    "iterative:drop=3,by=order",
    "iterative:drop=half,by=order",
    "iterative:drop=2,by=scores",
    "iterative:drop=half,by=scores",
    "iterative:drop=half,by=grades",
    "survivors:drop=2,by=grades",
    "iterative:by=scores",
    "direct",
    "window",
    "window:size=4,step=2",
    "window:size=4,step=1,by=scores",
    "survivors",
    "survivors:keep=3,drop=half,by=scores",
    "first-token",
    "first-token:mode=rank",
    "think-then-score",
    "think-then-score:mode=rank,tokens=4,every=2",
    "setwise:top=100",
    "setwise:top=100,children=2",
    "setwise:by=exclude",
    "setwise:by=scores,top=100",
    "consistency",
    "consistency:shuffles=3,by=scores",
    "gate",
    "gate:margin=0.1",
    "gate:drop=half",
]


def weigh(prompt: Prompt) -> dict[str, float]:
    """A perfect scorer: the better, the likelier named first, and the less likely excluded."""
    return {
        label: grade if prompt.mode == "rank" else -grade for label, grade in prompt.set.relevance.items()
    }


def perfect(batch: int = 0) -> ScriptedScorer:
    return ScriptedScorer(oracle, weigh, batch=batch)


def graded(n: int, order, name: str = "s0"):
    """A set of `n` candidates, all of different grades, in the given shown order."""
    return make_set([float(place) for place in order[:n]], set_id=name)


def sifts(n: int, children: int, extractions: int) -> int:
    """Most calls of a heapsort: each sift goes down at most as many levels as are below its root."""

    def depth(root: int, size: int) -> int:
        levels = 0
        while (root := children * root + 1) < size:
            levels += 1
        return levels

    building = sum(depth(root, n) for root in range((n - 2) // children, -1, -1))
    return building + sum(depth(0, size) for size in range(n - 1, max(n - 1 - extractions, 0), -1))


class Table:
    """A likelihood policy: log-probabilities by the first word of a candidate, and how many contexts it
    has read.
    """

    name, context = "table", 1_000

    def __init__(self, by_word: dict[str, float]) -> None:
        self.by_word, self.read = by_word, 0
        self.style: Style = "likelihood"
        self.temperatures = {"synthetic": 0.5}

    def count(self, text: str) -> int:
        return len(text.split())

    def complete(self, prompts: object, sampling: object) -> list:
        raise AssertionError("nothing is written")

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        self.read += len(branches)
        return [[LogLikelihood(self.by_word.get(branch.context.split()[1], -1.0), 1)] for branch in branches]
