"""The language of valid answers, over any vocabulary: which tokens may come next, so that `parsing.parse` has
nothing to refuse.

What may be written is `<think> … </think> <answer> labels </answer>`, the first block where reasoning was
asked for: anything without a tag stands in it. Labels are of the pool, one (mode exclude) or all of them,
each once (mode rank). A label or a tag may be several tokens: a trie of the vocabulary is walked along the
text that may follow, so that a model keeps its own way of cutting it. No torch: engines turn the answers into
masks.

A completion never is cut: of every state the fewest tokens that end it from there are known, and only tokens
are offered that leave room for them. So reasoning is free until what is left of the limit is needed for its
end and the answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from ranker.errors import BadConfig, BadModel
from ranker.policy.prompts import Prompt, Style

OPEN, SHUT, ASKED, DONE = "<think>", "</think>", "<answer>", "</answer>"
TAGS = (OPEN, SHUT, ASKED, DONE)
END = 3
_PROPER = frozenset(tag[:i] for tag in TAGS for i in range(1, len(tag)))


@dataclass(slots=True)
class _Node:
    """Tokens whose text ends here, and what may follow it."""

    tokens: list[int] = field(default_factory=list)
    children: dict[str, _Node] = field(default_factory=dict)


class Vocabulary:
    """What each token adds to a text, as a trie.

    Args:
        texts: by token id; empty for tokens that may never be written (special ones, padding of the
            embedding).
        ends: tokens that end a completion.
    """

    def __init__(self, texts: Sequence[str], ends: Iterable[int]) -> None:
        self.texts, self.ends = tuple(texts), tuple(sorted(ends))
        self._fewest: dict[str, float] = {"": 0}
        self._barred: dict[str, frozenset[int]] = {}
        self._openings: dict[str, tuple[tuple[int, str], ...]] = {}

    @cached_property
    def root(self) -> _Node:
        """Of the trie."""
        root = _Node()
        for token, text in enumerate(self.texts):
            node = root
            for char in text:
                node = node.children.setdefault(char, _Node())
            if text:
                node.tokens.append(token)
        return root

    @cached_property
    def never(self) -> frozenset[int]:
        """Tokens that reasoning may not hold either: those without a text."""
        return frozenset(token for token, text in enumerate(self.texts) if not text)

    def openings(self, text: str) -> tuple[tuple[int, str], ...]:
        """Tokens that `text` may begin with, each with what is left of it then."""
        if text not in self._openings:
            self._openings[text] = tuple(self._opened(text))
        return self._openings[text]

    def _opened(self, text: str) -> Iterator[tuple[int, str]]:
        node = self.root
        for place, char in enumerate(text, 1):
            child = node.children.get(char)
            if child is None:
                return
            yield from ((token, text[place:]) for token in child.tokens)
            node = child

    def fewest(self, text: str) -> float:
        """The fewest tokens that spell `text`; infinite where none do."""
        if text not in self._fewest:
            self._fewest[text] = min((1 + self.fewest(rest) for _, rest in self.openings(text)), default=inf)
        return self._fewest[text]

    def barred(self, tail: str) -> frozenset[int]:
        """Tokens that reasoning may not go on with after `tail`: they would complete a tag, other than end
        with </think>.
        """
        if tail not in self._barred:
            rests = tuple(tag[len(tail) :] for tag in TAGS if tail and tag.startswith(tail))
            suspects = (
                token
                for token, text in enumerate(self.texts)
                if "<" in text or (rests and text.startswith(rests))
            )
            self._barred[tail] = self.never | frozenset(
                token for token in suspects if reasoned(tail, self.texts[token]) is None
            )
        return self._barred[tail]


def reasoned(tail: str, text: str) -> str | None:
    """What of a reasoning's end matters after `text` more, where `tail` mattered before: the tag begun, or
    </think>; None where another tag stands in it, or anything after </think>.
    """
    seen = tail + text
    counts = [seen.count(tag) for tag in TAGS]
    if any(counts):
        return SHUT if sum(counts) == 1 and seen.endswith(SHUT) else None
    begun = seen[max(seen.rfind("<"), 0) :]
    return begun if begun in _PROPER else ""


@dataclass(frozen=True, slots=True)
class State:
    """Where in its answer a completion stands."""

    thinking: bool
    """Inside the reasoning; `part` is its tail then."""
    part: str
    """What has been written of the present segment: a tag, or a label with the space before it."""
    segment: int
    """0 the opening of <think>, 1 that of <answer> (the reasoning before it included), 2 labels and the
    end, END nothing more.
    """
    named: frozenset[str] = frozenset()


class Grammar:
    """Valid answers to one question in a vocabulary.

    An answer is a row of segments: tags, and labels each with the space before it. A token ends with its
    segment at the latest, as tokenizers cut before a space themselves.

    Args:
        opened: the prompt of a question that asks for reasoning ends inside <think>.

    Raises:
        BadModel: the vocabulary cannot spell a tag or a label.
        BadConfig: the shortest valid answer has more than `limit` tokens.
    """

    def __init__(self, prompt: Prompt, vocabulary: Vocabulary, limit: int, opened: bool = False) -> None:
        self.vocabulary = vocabulary
        self._whole, self._thinking = prompt.mode == "rank", prompt.thinking
        self._cost = {label: self._spelled(" " + label) for label in prompt.set.labels}
        self._done = self._spelled(" " + DONE) + 1
        self._asked = self._spelled(*self._heads(1)) + self._due(frozenset())
        self._shut = self._spelled(SHUT, " " + SHUT) if prompt.thinking else 0.0
        self.start, least = State(False, "", 1), self._asked
        if prompt.thinking:
            self.start = State(True, "", 1) if opened else State(False, "", 0)
            least += self._shut + (0 if opened else self._spelled(*self._heads(0)))
        if least > limit:
            raise BadConfig(
                "a constrained answer must fit into the limit of tokens",
                seen=(
                    f"{least:.0f} tokens at least for {len(prompt.set)} candidates in mode {prompt.mode},"
                    f" {limit} allowed"
                ),
                remedy="raise max_completion_length, or use smaller pools or windows",
            )

    def allowed(self, state: State, room: int) -> frozenset[int] | None:
        """Tokens that may come next where `room` tokens may still be written, the end included; None for
        all but `vocabulary.barred(state.part)`.
        """
        if state.segment == END:
            return frozenset(self.vocabulary.ends)
        if state.thinking and room > self._shut + self._asked:
            return None
        all_strategies = self._shutting(state.part) if state.thinking else self._ways(state)
        fewest, openings = self.vocabulary.fewest, self.vocabulary.openings
        return frozenset(
            token
            for way, after in all_strategies
            for token, rest in openings(way)
            if fewest(rest) + after < room
        )

    def advance(self, state: State, token: int) -> State:
        """The state after an allowed token."""
        text = self.vocabulary.texts[token]
        if state.thinking:
            tail = reasoned(state.part, text)
            assert tail is not None, f"{text!r} was not allowed after {state.part!r}"
            return State(False, "", 1) if tail == SHUT else State(True, tail, 1)
        options = self._options(state)
        if state.part in options and not any(option.startswith(state.part + text) for option in options):
            state = self._completed(state)
            options = self._options(state)
        after = State(False, state.part + text, state.segment, state.named)
        longer = [option for option in options if option.startswith(after.part)]
        assert longer, f"{text!r} was not allowed after {state.part!r}"
        return self._completed(after) if longer == [after.part] else after

    def _spelled(self, *ways: str) -> float:
        fewest = min(self.vocabulary.fewest(way) for way in ways)
        if fewest == inf:
            raise BadModel(
                "constrained decoding needs a vocabulary that can write tags and labels",
                seen=f"no tokens spell {ways[-1]!r}",
                remedy="use a model whose tokenizer knows them, or leave decoding unconstrained",
            )
        return fewest

    def _heads(self, segment: int) -> tuple[str, ...]:
        """How <think> and <answer> may be written: a completion may begin with a space."""
        if segment == 0:
            return OPEN, " " + OPEN
        return (" " + ASKED,) if self._thinking else (ASKED, " " + ASKED)

    def _options(self, state: State) -> list[str]:
        """Whole segments that what is written of this one may become."""
        if state.segment < 2:
            return [head for head in self._heads(state.segment) if head.startswith(state.part)]
        open_still = len(state.named) < (len(self._cost) if self._whole else 1)
        whole = (
            [" " + label for label in self._cost if label not in state.named] if open_still else [" " + DONE]
        )
        return [way for way in whole if way.startswith(state.part)]

    def _ways(self, state: State) -> Iterator[tuple[str, float]]:
        """What may follow to the end of the segment, with the fewest tokens after that."""
        options, due = self._options(state), self._due(state.named)
        if state.part in options:  # a label that is whole and also begins a longer one
            yield from self._ways(self._completed(state))
        for option in options:
            if state.segment < 2:
                after = self._asked + self._shut if state.segment == 0 else due
            elif option == " " + DONE:
                after = 1.0
            else:
                after = due - self._cost[option[1:]] if self._whole else self._done
            yield option[len(state.part) :], after

    def _shutting(self, tail: str) -> Iterator[tuple[str, float]]:
        """Ways to </think>. A tag begun may be left as it is: another `<` begins anew."""
        begun = [SHUT[len(tail) :]] if tail and SHUT.startswith(tail) else []
        return ((way, self._asked) for way in (SHUT, " " + SHUT, *begun))

    def _completed(self, state: State) -> State:
        if state.segment == 0:
            return State(True, "", 1)
        if state.segment == 1:
            return State(False, "", 2)
        if state.part == " " + DONE:
            return State(False, "", END, state.named)
        return State(False, "", 2, state.named | {state.part[1:]})

    def _due(self, named: frozenset[str]) -> float:
        """The fewest tokens of the labels that are still to be named, the closing tag and the end."""
        if self._whole:
            return self._done + sum(cost for label, cost in self._cost.items() if label not in named)
        return self._done + (0 if named else min(self._cost.values()))


def pattern(prompt: Prompt, limit: int, style: Style = "chat", opened: bool = False) -> str:
    """Valid answers as a regular expression, for engines that decode by one (vLLM and its server); `opened`
    as in `Grammar`.

    Of compact vocabularies it sees the bare words: the spaces between them come with decoding. Two things are
    lost against `Grammar`: a whole order may repeat a label (an expression without repeats would be factorial
    in the pool), and reasoning is ASCII without `<`, of at most as many characters as tokens are left for it,
    so that it never is cut.
    """
    label = "(" + "|".join(re.escape(label) for label in prompt.set.labels) + ")"
    gap = " " if style == "chat" else ""
    labels = label if prompt.mode == "exclude" else f"{label}({gap}{label}){{{len(prompt.set) - 1}}}"
    answer = f"{ASKED}{gap}{labels}{gap}{DONE}"
    if not prompt.thinking:
        return answer
    frame = len(f"{OPEN}{SHUT} {ASKED}  {DONE}") + sum(len(label) + 1 for label in prompt.set.labels) + 1
    room = max(limit - frame, 0)
    return rf"{'' if opened else OPEN}[\n -;=-~]{{0,{room}}}{SHUT}{gap}{answer}"
