"""One model call: what a strategy asks for, and how the answer is read, rewarded and recorded.

Shared by all strategies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp

from ranker.engines import Completion, Engine, Sampling, Scored
from ranker.policy.parsing import Action, Reason, grades, parse, parse_tolerantly
from ranker.policy.prompts import Mode, Prompt, longest_trace
from ranker.policy.rewards import Exclusion, reward
from ranker.types import CandidateSet, Step


@dataclass(frozen=True, slots=True)
class Request:
    """What a strategy wants to know."""

    prompt: Prompt
    scored: bool = False
    """How likely each label is at the answer's place, instead of a written answer."""
    take: int = 0
    """So many labels are acted on, worst first: those most likely excluded, or the end of an order. 0
    takes what the answer says: the one excluded, or the whole order.
    """
    margin: float = 0.0
    """Scored exclusions are acted on only where the last label taken is so much more likely than the first
    one left, in probability.
    """
    graded: bool = False
    """A written exclusion's `take` labels are the one it names and then those of the lowest grades in its
    reasoning; where that does not grade the whole pool, one goes.
    """
    standing: bool = False
    """The shown order is the best known so far: what a tolerant reading finds missing follows in it, and not
    in that of the first stage.
    """
    thought: int | None = None
    """Scored, where the prompt's reasoning has begun: it goes on for so many tokens at most before."""


@dataclass(frozen=True, slots=True)
class Call(Step):
    """A step with how it was made. Not in sets.py, which decides what candidates and training do."""

    mode: Mode = "exclude"
    round: int = 0
    """Calls of one round wait for none of each other."""
    constrained: bool = False
    """Only valid answers could be written."""
    cached_tokens: int = 0
    """Prompt tokens that a prefix cache spared."""
    scores: tuple[float, ...] = ()
    """Log-probabilities of the labels as shown, among themselves; empty for a written answer."""
    log_likelihoods: tuple[float, ...] = ()
    """A likelihood policy's scores of the labels as shown, in nats, of which `scores` is the softmax at
    `temperature`; else empty.
    """
    temperature: float | None = None
    """τ of a likelihood policy."""
    shortened: int = 0
    """Of how many texts the model did not get every word."""
    repairs: tuple[str, ...] | None = None
    """What a tolerant reading mended (`parsing.Repair`); None for an answer read strictly, or not written."""


def shown(given: CandidateSet, labels: Sequence[str]) -> CandidateSet:
    """The candidates of `labels`, in that order."""
    by_label = {candidate.label: candidate for candidate in given.candidates}
    return replace(given, candidates=tuple(by_label[label] for label in labels))


def enough(prompts: Sequence[Prompt], engine: Engine, sampling: Sampling) -> Sampling:
    """Compact answers have a known longest form: decoding beyond it only costs time (a babbling model
    always goes to the limit).
    """
    if engine.style != "compact" or not prompts:
        return sampling
    return replace(
        sampling,
        max_tokens=min(sampling.max_tokens, longest_trace(max(len(prompt.set) for prompt in prompts))),
    )


def written(request: Request, completion: Completion, exclusion: Exclusion, tolerant: bool = False) -> Call:
    """A written answer, parsed strictly unless `tolerant`.

    For an invalid one the fallback is acted on: chance, as the shown order is shuffled; read tolerantly, the
    order of the first stage.
    """
    prompt, text, pool = request.prompt, completion.text, request.prompt.set.labels
    if tolerant:
        pool = pool if request.standing else first_stage_order(prompt.set)
        action = parse_tolerantly(text, pool, prompt.mode)
    else:
        action = parse(text, pool, prompt.mode, prompt.thinking, completion.finish == "length")
    order = acted_on(action, pool, prompt.mode)
    graded = _by_grades(prompt, action, completion.text) if request.graded else ()
    call = _call(request, completion, action, graded or order, exclusion)
    return replace(call, repairs=tuple(map(str, action.repairs))) if tolerant else call


def first_stage_order(given: CandidateSet) -> tuple[str, ...]:
    """Labels by falling first-stage score, equals as shown."""
    return tuple(one.label for one in sorted(given.candidates, key=lambda one: -one.prior))


def scored(request: Request, found: Scored, exclusion: Exclusion) -> Call:
    """An answer by scores: labels by falling likelihood. It cannot be invalid; equal scores stay as shown."""
    likelihood = dict(zip(request.prompt.set.labels, found.scores, strict=True))
    order = tuple(sorted(likelihood, key=lambda label: -likelihood[label]))
    action = Action(order[:1] if request.prompt.mode == "exclude" else order, Reason.VALID)
    return acted(request, found.completion, action, order, likelihood, exclusion)


def acted(
    request: Request,
    completion: Completion,
    action: Action,
    order: tuple[str, ...],
    log_probabilities: Mapping[str, float],
    exclusion: Exclusion,
) -> Call:
    """A call by probabilities over the pool: `order` has those most likely excluded, or named, first.

    Exclusions are acted on only where they are as clear as the request's margin wants.
    """
    call = _call(request, completion, action, order, exclusion)
    values = tuple(log_probabilities[label] for label in request.prompt.set.labels)
    if request.prompt.mode == "rank":
        return replace(call, scores=values)
    likely = [exp(log_probabilities[label]) for label in order]
    sure = not request.margin or likely[request.take - 1] - likely[request.take] >= request.margin
    return replace(call, action=call.taken, taken=call.taken if sure else (), scores=values)


def acted_on(action: Action, pool: Sequence[str], mode: Mode) -> tuple[str, ...]:
    """What an answer says, or for an invalid one the fallback."""
    return action.labels if action.valid else fallback(action, pool, mode)


def fallback(action: Action, pool: Sequence[str], mode: Mode) -> tuple[str, ...]:
    """Exclude: the candidate shown last.

    Rank: what a readable but incomplete order named, then the rest as shown.
    """
    if mode == "exclude":
        return tuple(pool[-1:])
    return action.labels + tuple(label for label in pool if label not in action.labels)


def _by_grades(prompt: Prompt, action: Action, text: str) -> tuple[str, ...]:
    """The pool, worst first: what a valid answer excludes, then by rising grade, of equals the one shown
    last; empty where a candidate has no grade.

    An order taught in traces follows from its grades in the same way (equals as shown). The grades of an
    invalid answer count: they say more than the fallback.
    """
    given = grades(text, prompt.set.labels)
    named = action.labels if action.valid else ()
    return (
        (
            *named,
            *sorted(
                (label for label in reversed(prompt.set.labels) if label not in named),
                key=lambda label: given[label],
            ),
        )
        if given
        else ()
    )


def _call(
    request: Request, completion: Completion, action: Action, order: tuple[str, ...], exclusion: Exclusion
) -> Call:
    prompt = request.prompt
    earned = reward(action, prompt.set.relevance, prompt.mode, exclusion)
    return Call(
        step=0,
        pool=prompt.set.labels,
        prompt=completion.prompt,
        completion=completion.text,
        action=action.labels,
        taken=_taken(request, order),
        valid=action.valid,
        reason=str(action.reason),
        reward=earned.total,
        reward_parts=earned.parts,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        milliseconds=completion.milliseconds,
        mode=prompt.mode,
        constrained=completion.constrained,
        cached_tokens=completion.cached_tokens,
        shortened=completion.shortened,
    )


def _taken(request: Request, order: tuple[str, ...]) -> tuple[str, ...]:
    """Of what the answer says, what is acted on. An exclusion's order has the worst first."""
    if request.prompt.mode == "exclude":
        return order[: request.take or 1]
    return order[: -request.take - 1 : -1] if request.take else order
