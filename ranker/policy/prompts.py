"""What a policy is shown and what it is taught to write: the one prompt builder and trace writer.

Distillation, training, evaluation and serving all come through here. Two styles share one answer
format, `<think> … </think> <answer> … </answer>`: `compact` for vocabularies built from the data
(words, no boilerplate to learn; a reasoning is a grade for each candidate), `chat` for pretrained chat
models, which think in prose. The query stands first and survivors keep their order and labels, so that an
engine's prefix cache pays.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Literal, NamedTuple

import Stemmer

from ranker.config import Task, task
from ranker.errors import PromptTooLong
from ranker.policy import texts
from ranker.policy.texts import MARKS
from ranker.types import CandidateSet

Mode = Literal["exclude", "rank"]
Style = Literal["compact", "chat", "likelihood"]
"""How a model is asked: in compact or in chat prompts that it answers, or for log-probabilities
(ranker/policy/likelihood.py); traces for the latter are written as for compact ones."""
Shape = Literal["dense", "sparse"]
Message = dict[str, str]
MODES: tuple[Mode, ...] = ("exclude", "rank")

_THINK = {True: "+think", False: "-think"}
MIN_WORDS = 4
QUERY_WORDS = 4
"""Words that a query in a chat prompt may have for each word of a candidate, once texts are cut."""
_STEMMER = Stemmer.Stemmer("english")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question to a policy: exclude the worst of a pool (IRanker) or name its whole order (DRanker)."""

    mode: Mode
    thinking: bool
    set: CandidateSet
    shots: tuple[Shot, ...] = ()
    """Worked examples, shown as earlier turns; the most similar last, next to the question."""
    begun: str = ""
    """What of the answer stands already: an engine that runs its model itself goes on from there."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A worked example: a question of the same kind and an answer to it."""

    prompt: Prompt
    completion: str


class Fitted(NamedTuple):
    """A prompt that fits: its messages, and how many words a candidate's text may have in them (None: as many
    as it has, or as its task says).
    """

    messages: list[Message]
    words: int | None


def messages(
    prompt: Prompt, style: Style, words: int | None = None, marks: re.Pattern[str] = MARKS
) -> list[Message]:
    """The prompt as chat messages: each example as a turn of its own, then the question.

    Candidate texts are cut to `words` words (default: the task's own, for compact). Of query and candidates
    only the words are shown: what `marks` matches in them is plain text (`texts.plain`).
    """
    turns = [
        turn
        for shot in prompt.shots
        for turn in (
            _question(shot.prompt, style, words, marks),
            {"role": "assistant", "content": shot.completion},
        )
    ]
    return [*turns, _question(prompt, style, words, marks)]


def _question(prompt: Prompt, style: Style, words: int | None, marks: re.Pattern[str]) -> Message:
    definition = _task(prompt.set.task)
    return {
        "role": "user",
        "content": (
            _chat(prompt, definition, words, marks)
            if style == "chat"
            else _compact(prompt, definition, words)
        ),
    }


def fit(prompt: Prompt, style: Style, count: Callable[[list[Message]], int], budget: int) -> list[Message]:
    """The messages of `fitted`."""
    return fitted(prompt, style, count, budget).messages


def fitted(
    prompt: Prompt,
    style: Style,
    count: Callable[[list[Message]], int],
    budget: int,
    marks: re.Pattern[str] = MARKS,
) -> Fitted:
    """The prompt, without examples and with every candidate text cut to the same number of words until
    `count(prompt) <= budget` tokens.

    The rule: examples go first, the least similar one before the others; then the longest text's words are
    halved again and again, at least 4 words each, and a query keeps four times as many. Labels and order are
    never touched.

    Raises:
        PromptTooLong: even 4 words a candidate do not fit.
    """
    rendered = messages(prompt, style, None, marks)
    while prompt.shots and count(rendered) > budget:
        prompt = replace(prompt, shots=prompt.shots[1:])
        rendered = messages(prompt, style, None, marks)
    longest = [texts.words(texts.plain(c.text, marks)) for c in prompt.set.candidates]
    query = texts.words(texts.plain(prompt.set.query, marks))
    words = max([*longest, -(-query // QUERY_WORDS), MIN_WORDS])
    limit: int | None = None
    while (tokens := count(rendered)) > budget:
        if words <= MIN_WORDS:
            raise PromptTooLong(
                "a prompt must fit the model's context together with its answer",
                seen=(
                    f"{tokens} tokens for candidate set {prompt.set.set_id} ({prompt.set.task},"
                    f" {len(prompt.set)} candidates), {budget} allowed"
                ),
                remedy="use a smaller pool_size or history, or a model with a longer context",
            )
        words = limit = max(MIN_WORDS, words // 2)
        rendered = messages(prompt, style, words, marks)
    return Fitted(rendered, limit)


def shortened(prompt: Prompt, style: Style, words: int | None = None) -> int:
    """Of how many texts, the query among them, the model does not get every word: it reads `words` of a
    candidate, and in compact prompts never more than its task says.
    """
    given = prompt.set
    if style != "chat":
        most = _task(given.task).max_words
        limit = min(words or most, most)
        return sum(
            len(compact_words(text)) > allowed
            for text, allowed in [(given.query, 2 * most), *((c.text, limit) for c in given.candidates)]
        )
    if words is None:
        return 0
    return sum(
        texts.words(text) > allowed
        for text, allowed in [
            (given.query, QUERY_WORDS * words),
            *((c.text, words) for c in given.candidates),
        ]
    )


def trace(
    mode: Mode,
    thinking: bool,
    grades: Mapping[str, int],
    action: Sequence[str],
    style: Style,
    shape: Shape = "dense",
) -> str:
    """A completion as a teacher writes it: what it makes of the grades (by label, in shown order), then the
    action.

    Compact traces list the grades: a dense one of every candidate, a sparse one only what justifies the
    action, the excluded or the best of an order (`parsing.grades` finds no grading in it). Chat traces say in
    a sentence what follows from them.
    """
    answer = f"<answer> {' '.join(action)} </answer>"
    if not thinking:
        return answer
    written = grades if shape == "dense" else {action[0]: grades[action[0]]}
    if style == "chat":
        reasoning = _prose(mode, written, action[0])
    else:
        reasoning = " ".join(f"{label} {grade}" for label, grade in written.items())
    return f"<think> {reasoning} </think> {answer}"


def _prose(mode: Mode, grades: Mapping[str, int], named: str) -> str:
    levels = [
        " and ".join(label for label in grades if grades[label] == grade)
        for grade in sorted(set(grades.values()), reverse=True)
    ]
    fit = f"By fit, best first: {', then '.join(levels)}. " if len(levels) > 1 else ""
    return f"{fit}So the {'worst' if mode == 'exclude' else 'best'} is {named}."


def longest_trace(n: int) -> int:
    """Tokens of the longest compact trace over `n` candidates, end token included: two a grade, one a
    named label, six of frame.
    """
    return 3 * n + 6


def longest_chat_trace(n: int) -> int:
    """Tokens that a chat model is given for reasoning and answer over `n` candidates, end token included.

    A trace's sentence takes three for a label (comma, `then`, label), its answer one more, the frame two
    dozen; the rest is for a model that words it otherwise.
    """
    return 8 * n + 24


def frame_tokens(task_name: str) -> list[str]:
    """The structural tokens of compact prompts, labels and grades apart.

    Each has a mark that no word can have.
    """
    return [f"[{task_name}]", *_THINK.values(), *(f"{mode}:" for mode in MODES), "query:", ";"]


@cache
def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS  # it brings scipy, which other prompts spare

    return frozenset(STOPWORDS_EN_PLUS)


def compact_words(text: str, limit: int | None = None) -> list[str]:
    """Content words of a text in order: lower case, English stop words and single letters left out, stemmed
    as English, each once, the first `limit`. Words of any script are words (`texts.terms`).
    """
    return list(_content_words(text)[:limit])


@lru_cache(maxsize=100_000)  # the same passages stand in many pools
def _content_words(text: str) -> tuple[str, ...]:
    words = (word for word in texts.terms(text) if word not in _stop_words())
    return tuple(dict.fromkeys(_STEMMER.stemWords(list(words))))


@lru_cache(maxsize=64)
def _task(name: str) -> Task:
    return task(name)


def _compact(prompt: Prompt, definition: Task, words: int | None) -> str:
    limit = min(words or definition.max_words, definition.max_words)

    given = prompt.set
    query = compact_words(given.query, 2 * definition.max_words)
    head = [f"[{definition.name}]", _THINK[prompt.thinking], f"{prompt.mode}:"]
    # A label stands behind its candidate, so that it has read it: a small policy learns that much sooner.
    pool = [token for c in given.candidates for token in (*compact_words(c.text, limit), c.label, ";")]
    return " ".join([*head, "query:", *query, ";", *pool])


_INSTRUCTION = {
    "exclude": "the label of the ONE worst candidate, and nothing else, between <answer> and </answer>.",
    "rank": (
        "the labels of all candidates from best to worst, separated by spaces, between <answer> and"
        " </answer>."
    ),
}
_THINK_FIRST = (
    "First think, freely and in your own words, between <think> and </think>: what the query asks for and how"
    " well each candidate meets it. Then answer in one line: "
)
_ANSWER_AT_ONCE = "Do not think aloud and do not explain. Answer in one line: "
_FORM = {"exclude": "<answer> B </answer>", "rank": "<answer> C A B </answer>"}


def _chat(prompt: Prompt, definition: Task, words: int | None, marks: re.Pattern[str]) -> str:
    # a label looks as it must be answered: behind brackets untrained models answer with brackets
    pool = "\n".join(f"{c.label}: {_cut(c.text, words, marks)}" for c in prompt.set.candidates)
    query = _cut(prompt.set.query, words and QUERY_WORDS * words, marks)
    asked = _THINK_FIRST if prompt.thinking else _ANSWER_AT_ONCE
    form = f"{'<think> … </think> ' if prompt.thinking else ''}{_FORM[prompt.mode]}"
    return (
        f"{definition.wording}\n\nQuery: {query}\n\n"
        f"Candidates:\n{pool}\n\n{asked}{_INSTRUCTION[prompt.mode]} The form: {form}"
    )


def _cut(text: str, words: int | None, marks: re.Pattern[str]) -> str:
    whole = " ".join(texts.plain(text, marks).split())
    first = whole if words is None else texts.head(whole, words)
    return first if len(first) == len(whole) else f"{first} …"


def without(given: CandidateSet, labels: Sequence[str]) -> CandidateSet:
    """The set with `labels` gone; the others keep order and label."""
    gone = set(labels)
    return replace(given, candidates=tuple(c for c in given.candidates if c.label not in gone))
