"""Requests answered by a likelihood policy: one pass over a query's whole pool, and every later request
about a part of it follows from the same scores.

So each strategy works as it is: elimination takes n − 1 steps for the price of one call, and a greedy whole
order is the same ranking.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

from ranker.engines import Completion, Likely
from ranker.policy.likelihood import (
    Asked,
    LogLikelihood,
    asked,
    branches,
    by_question,
    log_policy,
    scores,
    template,
)
from ranker.policy.parsing import Action, Reason
from ranker.policy.prompts import Mode, Prompt, without
from ranker.policy.rewards import Exclusion
from ranker.strategies.call import Call, Request, acted
from ranker.types import CandidateSet, Episode, Step

log = logging.getLogger("ranker.strategies.likelihood")
NOTHING_READ = Completion("", "", 0, 0, "stop", 0.0)


@dataclass(frozen=True, slots=True)
class Scores:
    """One query's scores. `by_label` covers its whole pool; `completion` is what the pass took."""

    by_label: Mapping[str, float]
    temperature: float
    completion: Completion = NOTHING_READ
    cut: int = 0
    """Texts that were shortened to fit the model."""


@runtime_checkable
class Reading(Protocol):
    """An engine that already has the scores of whole pools: recorded ones that are played back."""

    def score_pools(self, sets: Sequence[CandidateSet]) -> list[Scores]:
        """The scores of each pool, in order."""
        ...


Reader = Callable[[Sequence[CandidateSet]], list[Scores]]


def reader(engine: object) -> Reader | None:
    """How pools are scored where the engine is a likelihood policy; None where it writes its answers."""
    if isinstance(engine, Reading):
        return engine.score_pools
    return partial(score_pools, engine=engine) if isinstance(engine, Likely) else None


def score_pools(sets: Sequence[CandidateSet], engine: Likely) -> list[Scores]:
    """The scores of whole pools, in order.

    Raises:
        BadConfig: a task has no template.
        BadModel: a score is not a finite number.
        PromptTooLong: what is to be scored does not fit the model.
    """
    began = time.perf_counter()
    questions = [asked(given, engine.count, engine.context - 1) for given in sets]
    answers = engine.loglikelihood(branches(questions))
    each = (time.perf_counter() - began) * 1000 / max(len(sets), 1)
    if cut := sum(question.cut for question in questions):
        log.warning("%d texts of %d queries were cut to fit %s", cut, len(sets), engine.name)
    return [
        Scores(
            dict(zip(given.labels, scores(given, own, engine.name), strict=True)),
            temperature(given.task, engine),
            _completion(question, own, each),
            question.cut,
        )
        for given, question, own in zip(sets, questions, by_question(questions, answers), strict=True)
    ]


def temperature(task: str, engine: Likely) -> float:
    """τ as fitted on validation after training, else the one that the task's template begins with."""
    return engine.temperatures.get(task, template(task).temperature)


def answered(request: Request, own: Scores, first: bool, exclusion: Exclusion) -> Call:
    """The call that a request becomes. What the pass took is told once, by the query's first call; equal
    scores keep the shown order.
    """
    pool, mode = request.prompt.set.labels, request.prompt.mode
    values = {label: own.by_label[label] for label in pool}
    order = ranked(values, mode)
    completion = own.completion if first else replace(own.completion, prompt_tokens=0, milliseconds=0.0)
    return _call(request, own, values, order, completion, exclusion)


def _call(
    request: Request,
    own: Scores,
    values: Mapping[str, float],
    order: tuple[str, ...],
    completion: Completion,
    exclusion: Exclusion,
) -> Call:
    mode = request.prompt.mode
    action = Action(order[:1] if mode == "exclude" else order, Reason.VALID)
    call = acted(request, completion, action, order, log_policy(values, own.temperature, mode), exclusion)
    return replace(
        call,
        log_likelihoods=tuple(values[label] for label in request.prompt.set.labels),
        temperature=own.temperature,
    )


def elimination(given: CandidateSet, own: Scores, order: Sequence[str], exclusion: Exclusion) -> Episode:
    """The episode of an elimination that was drawn elsewhere.

    Args:
        order: labels, the one excluded first before the others.
    """
    left, calls = given, list[Call]()
    for step, label in enumerate(order[:-1]):
        request = Request(Prompt("exclude", False, left))
        values = {one: own.by_label[one] for one in left.labels}
        call = _call(request, own, values, (label,), own.completion, exclusion)
        calls.append(replace(call, step=step, round=step))
        left = without(left, (label,))
    return Episode(given.set_id, "iterative", False, tuple(reversed(order)), tuple(calls))


def ranked(values: Mapping[str, float], mode: Mode) -> tuple[str, ...]:
    """Labels by score: the worst first where one is excluded, else the best first. Of equals the one shown
    later is the worse.
    """
    best_first = tuple(sorted(values, key=lambda label: -values[label]))
    return best_first[::-1] if mode == "exclude" else best_first


def log_likelihoods(steps: Iterable[Step]) -> dict[str, float]:
    """A likelihood policy's scores by label, from whichever calls of an episode tell them; empty for any
    other policy.
    """
    return {
        label: score
        for step in steps
        if isinstance(step, Call)
        for label, score in zip(step.pool, step.log_likelihoods, strict=False)
    }


def _completion(question: Asked, own: Sequence[LogLikelihood], milliseconds: float) -> Completion:
    read = question.tokens + sum(one.tokens for one in own)
    return Completion("", question.text, read, 0, "stop", milliseconds, shortened=question.shortened)
