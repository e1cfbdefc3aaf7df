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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ranker.config import Task, Template, task
from ranker.errors import BadConfig, BadModel, PromptTooLong
from ranker.policy import texts
from ranker.policy.prompts import Mode
from ranker.types import CandidateSet

LEAST_WORDS = 1
T = TypeVar("T")
Array = TypeVar("Array", bound=Any)
"""numpy's or torch's."""


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
    tokens: int
    """Of all contexts."""
    shortened: int = 0
    """Of how many texts, the query among them, the model does not get every word."""

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

    The rule: marks that a tokenizer may take for its own become plain text (`texts.plain`); candidates and
    query are cut as the template says; then a text that is too long loses half of its words again and again,
    a history at its beginning: the text that is scored until it takes half of the budget, then the one in the
    context until both fit.

    Raises:
        PromptTooLong: a continuation alone does not fit.
        BadConfig: the task has no template.
    """
    form = template(given.task)
    whole_query = texts.plain(given.query or "; ".join(given.query_items))
    wholes = [texts.plain(_title(c.text, form.title)) for c in given.candidates]
    query = _cut(whole_query, form.query_words, form.query_end)
    shown = [_cut(text, form.candidate_words) for text in wholes]
    ends = {"query": form.query_end, "candidate": False}
    if form.direction == "query":
        name, filled, other, scored = "candidate", (shown, wholes), "query", ([query], [whole_query])
    else:
        name, filled, other, scored = "query", ([query], [whole_query]), "candidate", (shown, wholes)
    half = budget // 2
    parts = [_fitted(form.continuation, other, text, ends[other], count, 0, half) for text in scored[0]]
    continuations = [one.filled for one in parts]
    after = max(one.tokens for one in parts)
    fitted = [_fitted(form.context, name, text, ends[name], count, after, budget) for text in filled[0]]
    branches = tuple(Branches(one.filled, tuple(continuations)) for one in fitted)
    every = tuple(text for branch in branches for text in branch.continuations)
    return Asked(
        branches,
        Branches(form.stub, every) if form.stub else None,
        cut=sum(one.cut for one in (*fitted, *parts)),
        tokens=sum(one.tokens for one in fitted) + (count(form.stub) if form.stub else 0),
        shortened=sum(
            one.cut or len(text) < len(whole)
            for own, pairs in ((fitted, filled), (parts, scored))
            for one, text, whole in zip(own, *pairs, strict=True)
        ),
    )


def branches(questions: Sequence[Asked]) -> list[Branches]:
    """All that a model is asked about several pools. A stub is read once, with the texts of all of them: nine
    names of LLMs are the same nine behind every question.
    """
    own = [branch for question in questions for branch in question.branches]
    return own + [Branches(context, texts) for context, texts in _stubs(questions).items()]


def by_question(questions: Sequence[Asked], answers: Iterable[Sequence[T]]) -> Iterator[list[T]]:
    """Of each question the answers to its continuations as shown, then to the same behind its stub.

    Args:
        answers: to `branches(questions)`, one list a context.
    """
    left = iter(answers)
    own = [[one for _ in question.branches for one in next(left)] for question in questions]
    stubs = {
        context: dict(zip(texts, next(left), strict=True)) for context, texts in _stubs(questions).items()
    }
    for question, found in zip(questions, own, strict=True):
        stub = question.stub
        yield [*found, *(stubs[stub.context][text] for text in stub.continuations)] if stub else found


def scores(given: CandidateSet, found: Sequence[LogLikelihood], model: str) -> tuple[float, ...]:
    """Scores of the candidates as shown, from the answers to their question (`by_question`).

    A continuation without tokens (an empty query) says nothing about its candidate: 0 for all of them.

    Raises:
        BadModel: a log-probability is not a number.
    """
    for place, one in enumerate(found):
        if not math.isfinite(one.logprob):
            candidate = given.candidates[place % len(given)]
            raise BadModel(
                "log-probabilities are finite numbers",
                seen=f"{one.logprob} from {model} for candidate {candidate.item_id} of {given.set_id}",
                remedy="the weights are damaged or overflow in this precision; load another version",
            )
    sums = np.array([one.logprob for one in found])
    counts = np.array([max(one.tokens, 1) for one in found])
    return tuple(combined(template(given.task), len(given), sums, counts).tolist())


def combined(form: Template, n: int, sums: Array, counts: Array) -> Array:
    """Scores (n,) from log-probabilities summed over tokens: the one rule of evaluation, serving and
    training.

    Args:
        sums: of the candidates' continuations as shown and, where the template has a stub, of the same behind
            the stub: numpy's or torch's, (n,) or (2n,).
        counts: their tokens, at least 1.
    """
    values = sums / counts if form.normalize == "mean" else sums
    return values[:n] - values[n:] if form.stub else values


def log_policy(scores: Mapping[str, float], temperature: float, mode: Mode) -> dict[str, float]:
    """log π of each label of a pool, among themselves: of being excluded, or of being named first."""
    sign = -1.0 if mode == "exclude" else 1.0
    scaled = {label: sign * score / temperature for label, score in scores.items()}
    most = max(scaled.values())
    total = most + math.log(sum(math.exp(value - most) for value in scaled.values()))
    return {label: value - total for label, value in scaled.items()}


def _stubs(questions: Sequence[Asked]) -> dict[str, tuple[str, ...]]:
    """By stub all texts that follow it, each once, in an order that does not depend on the pools'."""
    texts: dict[str, set[str]] = {}
    for question in questions:
        if question.stub:
            texts.setdefault(question.stub.context, set()).update(question.stub.continuations)
    return {context: tuple(sorted(own)) for context, own in texts.items()}


class _Fitted(NamedTuple):
    """A context or continuation that fits, its tokens, and whether its text had to be cut for that."""

    filled: str
    tokens: int
    cut: bool


def _fitted(
    form: str, name: str, text: str, end: bool, count: Callable[[str], int], after: int, budget: int
) -> _Fitted:
    """`form` filled so that it fits into `budget` tokens together with what follows, of `after` tokens."""
    words, cut = texts.words(text), False
    while after + (tokens := count(filled := _fill(form, name, text))) > budget:
        if words <= LEAST_WORDS:
            raise PromptTooLong(
                "a context must fit the model together with what is scored after it, which may take half",
                seen=f"{tokens} + {after} tokens with one word of the {name}, {budget} allowed",
                remedy=(
                    "lower candidate_words or query_words of the task, or use a model with a longer context"
                ),
            )
        words, cut = max(LEAST_WORDS, words // 2), True
        text = _cut(text, words, end)
    return _Fitted(filled, tokens, cut)


def _fill(form: str, name: str, text: str) -> str:
    return form.replace(f"{{{name}}}", text)


def _title(text: str, pattern: str) -> str:
    found = re.search(pattern, text) if pattern else None
    return found.group() if found else text


def _cut(text: str, words: int, end: bool = False) -> str:
    return texts.tail(text, words) if end else texts.head(text, words)


@lru_cache(maxsize=64)
def _task(name: str) -> Task:
    return task(name)
