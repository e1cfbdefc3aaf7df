"""A policy that answers by likelihood: what the model is asked, what its log-probabilities make of a pool.

A candidate's score s is the log-probability of a text: of the query given the candidate (query likelihood:
Ponte & Croft 1998; with a language model UPR, Sachan et al. 2022, arXiv 2204.07496), or of the candidate
given the query, as the task's template says. Over a pool the scores and a temperature τ are the policy: the
best is named with softmax(s / τ), the worst excluded with softmax(−s / τ), a whole order has the probability
that Plackett and Luce give it. Nothing can be answered that is not in the pool, and one pass of the model
tells all probabilities of all sub-pools, as a score does not depend on who else is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ranker.config import Task, Template, task
from ranker.errors import BadConfig, BadModel, PromptTooLong
from ranker.policy.prompts import Mode
from ranker.types import CandidateSet

LEAST_WORDS = 1


@dataclass(frozen=True, slots=True)
class Branches:
    """A context and texts that may follow it; the context is read once for all of them."""

    context: str
    continuations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LogLikelihood:
    """log p(continuation | context) in nats, summed over so many tokens."""

    logprob: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about one pool. `branches` hold the candidates in shown order, one each in direction
    query, all in one in direction candidate; `stub`, where the template has one, all of them in one.
    """

    branches: tuple[Branches, ...]
    stub: Branches | None
    cut: int
    """How many texts were shortened beyond the template's own limits, to fit the model."""

    @property
    def all(self) -> tuple[Branches, ...]:
        return (*self.branches, self.stub) if self.stub else self.branches

    @property
    def text(self) -> str:
        """The question as `steps.prompt` tells it."""
        return "\n\n".join(f"{branch.context}│" + "│".join(branch.continuations) for branch in self.branches)


def template(name: str) -> Template:
    """How a likelihood policy is asked about the task `name`.

    Raises:
        BadConfig: the task's file does not say.
    """
    found = _task(name).likelihood
    if found is None:
        raise BadConfig(
            "a likelihood policy needs a task's [likelihood] section",
            seen=f"none in the file of task {name}",
            remedy="add direction, context, continuation, normalize and temperature (docs/tasks.md)",
        )
    return found


def asked(given: CandidateSet, count: Callable[[str], int], budget: int) -> Asked:
    """The questions about a pool, each of at most `budget` tokens with its longest continuation.

    The rule: first candidates and query are cut as the template says; then the text in the context that is
    too long loses half of its words again and again, the query's beginning where it is a history.

    Raises:
        PromptTooLong: a continuation alone does not fit.
        BadConfig: the task has no template.
    """
    form = template(given.task)
    query = _cut(given.query or "; ".join(given.query_items), form.query_words, form.query_end)
    shown = [_cut(_title(c.text, form.title), form.candidate_words) for c in given.candidates]
    if form.direction == "query":
        fitted = [
            _fitted(
                form.context,
                "candidate",
                text,
                [_fill(form.continuation, "query", query)],
                False,
                count,
                budget,
            )
            for text in shown
        ]
    else:
        after = [_fill(form.continuation, "candidate", text) for text in shown]
        fitted = [_fitted(form.context, "query", query, after, form.query_end, count, budget)]
    every = tuple(text for branch, _ in fitted for text in branch.continuations)
    stub = Branches(form.stub, every) if form.stub else None
    return Asked(tuple(branch for branch, _ in fitted), stub, sum(cut for _, cut in fitted))


def scores(given: CandidateSet, found: Sequence[Sequence[LogLikelihood]], model: str) -> tuple[float, ...]:
    """Scores of the candidates as shown, from the answers to `Asked.all`.

    A continuation without tokens (an empty query) says nothing about its candidate: 0 for all of them.

    Raises:
        BadModel: a log-probability is not a number.
    """
    form = template(given.task)
    flat = [one for branch in found for one in branch]
    own, stub = flat[: len(given)], flat[len(given) :]
    for candidate, one in zip(given.candidates, own, strict=True):
        if not math.isfinite(one.logprob):
            raise BadModel(
                "log-probabilities are finite numbers",
                seen=f"{one.logprob} from {model} for candidate {candidate.item_id} of {given.set_id}",
                remedy="the weights are damaged or overflow in this precision; load another version",
            )
    values = [_score(one, form) for one in own]
    return (
        tuple(value - _score(prior, form) for value, prior in zip(values, stub, strict=True))
        if stub
        else tuple(values)
    )


def log_policy(scores: Mapping[str, float], temperature: float, mode: Mode) -> dict[str, float]:
    """log π of each label of a pool, among themselves: of being excluded, or of being named first."""
    sign = -1.0 if mode == "exclude" else 1.0
    scaled = {label: sign * score / temperature for label, score in scores.items()}
    most = max(scaled.values())
    total = most + math.log(sum(math.exp(value - most) for value in scaled.values()))
    return {label: value - total for label, value in scaled.items()}


def _score(one: LogLikelihood, form: Template) -> float:
    return one.logprob / max(one.tokens, 1) if form.normalize == "mean" else one.logprob


def _fitted(
    context: str,
    name: str,
    text: str,
    continuations: Sequence[str],
    end: bool,
    count: Callable[[str], int],
    budget: int,
) -> tuple[Branches, int]:
    """The context filled so that it fits with the longest continuation, and whether it had to be cut."""
    after = max(count(continuation) for continuation in continuations)
    words, cut = len(text.split()), 0
    while after + (length := count(_fill(context, name, text))) > budget:
        if words <= LEAST_WORDS:
            raise PromptTooLong(
                "a context must fit the model together with what is scored after it",
                seen=f"{length} + {after} tokens with one word of the {name}, {budget} allowed",
                remedy=(
                    "lower candidate_words or query_words of the task, or use a model with a longer context"
                ),
            )
        words, cut = max(LEAST_WORDS, words // 2), 1
        text = _cut(text, words, end)
    return Branches(_fill(context, name, text), tuple(continuations)), cut


def _fill(form: str, name: str, text: str) -> str:
    return form.replace(f"{{{name}}}", text)


def _title(text: str, pattern: str) -> str:
    found = re.search(pattern, text) if pattern else None
    return found.group() if found else text


def _cut(text: str, words: int, end: bool = False) -> str:
    parts = text.split()
    if len(parts) <= words:
        return text
    return " ".join(parts[-words:] if end else parts[:words])


@lru_cache(maxsize=64)
def _task(name: str) -> Task:
    return task(name)
