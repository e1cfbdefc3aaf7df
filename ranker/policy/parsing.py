"""Strict reading of a completion.

Whatever is not exactly one well-formed answer is typed and counted, never repaired. The one exception,
`parse_tolerantly`, is for rows that show a model that was never trained here (evaluate.parsing), and says
what it mended.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ranker.policy.prompts import Mode


class Reason(StrEnum):
    """Why an answer is invalid; the empty string means that it is valid."""

    VALID = ""
    TRUNCATED = "truncated"
    """The engine cut the completion at its token limit."""
    NO_ANSWER = "no_answer"
    """No complete <answer> block, or an empty one."""
    NO_THINK = "no_think"
    """Reasoning was asked for and there is no complete <think> block before the answer."""
    REPEATED_TAG = "repeated_tag"
    EXTRA_TEXT = "extra_text"
    """Something stands outside the blocks, or a <think> block that was not asked for."""
    NOT_IN_POOL = "not_in_pool"
    REPEATED = "repeated"
    """A label is named twice."""
    TOO_MANY = "too_many"
    """More than one label where one exclusion was asked for."""
    INCOMPLETE = "incomplete"
    """A whole order was asked for and labels are missing."""


FORMAT_FAULTS = frozenset(
    {Reason.TRUNCATED, Reason.NO_ANSWER, Reason.NO_THINK, Reason.REPEATED_TAG, Reason.EXTRA_TEXT}
)


class Repair(StrEnum):
    """What a tolerant reading mended in an answer; of each kind one an answer, however many labels."""

    NO_TAGS = "no_tags"
    """There is no complete <answer> block."""
    EXTRA_WORDS = "extra_words"
    """Words stand among the labels, or around the block."""
    REPEATED = "repeated"
    """A label is named again; its first mention counts."""
    MISSING = "missing"
    """Labels are not named: they follow in first-stage order, as rank_llm has it."""


@dataclass(frozen=True, slots=True)
class Action:
    """A parsed answer. `labels` holds what a readable answer named (kept for incomplete orders too), best
    first in mode rank.
    """

    labels: tuple[str, ...]
    reason: Reason
    repairs: tuple[Repair, ...] = ()
    """Of a tolerant reading."""

    @property
    def valid(self) -> bool:
        return self.reason is Reason.VALID


_TAGS = ("<think>", "</think>", "<answer>", "</answer>")
_SHAPE = {
    True: re.compile(r"\s*<think>.*</think>\s*<answer>(?P<answer>.*)</answer>\s*", re.DOTALL),
    False: re.compile(r"\s*<answer>(?P<answer>.*)</answer>\s*", re.DOTALL),
}


def parse(
    completion: str, pool: Sequence[str], mode: Mode, thinking: bool, truncated: bool = False
) -> Action:
    """Read a completion (the response only, never the prompt).

    Args:
        completion: what the model wrote, end token removed.
        pool: labels as shown.
        mode: 'exclude' wants one label, 'rank' wants a permutation of the pool.
        thinking: whether a <think> block was asked for.
        truncated: whether the engine stopped at its token limit.

    Returns:
        An action; never raises, whatever the text.
    """
    fault = _format_fault(completion, thinking, truncated)
    if fault:
        return Action((), fault)
    match = _SHAPE[thinking].fullmatch(completion)
    if match is None:
        return Action((), Reason.EXTRA_TEXT)
    named = tuple(match["answer"].split())
    return Action(*_judge(named, pool, mode))


def parse_tolerantly(completion: str, pool: Sequence[str], mode: Mode) -> Action:
    """Read a completion of a model that was never taught the form: what a reader would take for its answer.

    That is the last <answer> block, closed or not; without one, what stands behind the reasoning: labels in
    brackets, or else labels alone. Separators and other words are passed over, of a repeated label the first
    mention counts, and labels that an order leaves out follow as `pool` has them. What is ambiguous (several
    labels to exclude) or names nobody stays invalid, as `parse` has it.

    Args:
        completion, mode: as `parse` takes them.
        pool: labels in the order in which those not named follow: that of the first stage.

    Returns:
        An action with what was mended; of an invalid one nothing was.
    """
    before, asked, after = completion.rpartition("<answer>")
    answer, shut, rest = after.partition("</answer>")
    text = answer if asked else completion.rpartition("</think>")[2]
    words = (not asked and _BRACKETED.findall(text)) or _WORDS.findall(text)
    mentions = [word for word in words if word in pool]
    named = tuple(dict.fromkeys(mentions))
    if not asked and len(named) < len(set(words)):
        return Action((), Reason.NO_ANSWER)
    if words and not named:
        return Action((), Reason.NOT_IN_POOL)
    labels, reason = _judge(named, pool, mode)
    missing = reason is Reason.INCOMPLETE
    if reason and not missing:
        return Action(labels, reason)
    outside = asked and (before.rpartition("</think>")[2] + rest).strip()
    mended = {
        Repair.NO_TAGS: not (asked and shut),
        Repair.EXTRA_WORDS: outside or len(mentions) < len(words),
        Repair.REPEATED: len(named) < len(mentions),
        Repair.MISSING: missing,
    }
    left = [label for label in pool if missing and label not in labels]
    return Action((*labels, *left), Reason.VALID, tuple(kind for kind, seen in mended.items() if seen))


_BRACKETED = re.compile(r"\[(\w+)\]")
_WORDS = re.compile(r"\w+")
_GRADED = re.compile(r"\b([A-Z]{1,2}):? (\d)\b")


def grades(completion: str, pool: Sequence[str]) -> dict[str, int]:
    """The grades that a reasoning gives, by label; empty unless it grades every candidate of the pool
    exactly once and nothing else.
    """
    reasoning = completion.partition("<think>")[2].partition("</think>")[0]
    found = _GRADED.findall(reasoning)
    return (
        {label: int(grade) for label, grade in found}
        if sorted(label for label, _ in found) == sorted(pool)
        else {}
    )


def _format_fault(completion: str, thinking: bool, truncated: bool) -> Reason:
    if truncated:
        return Reason.TRUNCATED
    counts = {tag: completion.count(tag) for tag in _TAGS}
    if not counts["<answer>"] or not counts["</answer>"]:
        return Reason.NO_ANSWER
    if max(counts.values()) > 1:
        return Reason.REPEATED_TAG
    if thinking and not (counts["<think>"] and counts["</think>"]):
        return Reason.NO_THINK
    return Reason.VALID


def _judge(named: tuple[str, ...], pool: Sequence[str], mode: Mode) -> tuple[tuple[str, ...], Reason]:
    if not named:
        return (), Reason.NO_ANSWER
    if not set(named) <= set(pool):
        return (), Reason.NOT_IN_POOL
    if len(set(named)) < len(named):
        return (), Reason.REPEATED
    if mode == "exclude":
        return (named, Reason.VALID) if len(named) == 1 else ((), Reason.TOO_MANY)
    return named, (Reason.VALID if len(named) == len(pool) else Reason.INCOMPLETE)
