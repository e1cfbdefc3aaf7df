"""Constrained decoding in `transformers`: a grammar's allowed tokens as masks on the logits, one state a
row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import torch
from transformers import LogitsProcessor, StoppingCriteria

from ranker.engines.grammar import END, Grammar, State, Vocabulary
from ranker.policy.prompts import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def vocabulary(tokenizer: PreTrainedTokenizerBase, ends: Iterable[int]) -> Vocabulary:
    """What each token of a tokenizer adds to a text that it continues; special tokens add nothing and are
    never written.
    """
    anchor = tokenizer("A", add_special_tokens=False)["input_ids"][-1]
    before = _decoded(tokenizer, [[anchor]])[0]
    special = {
        *ends,
        *tokenizer.all_special_ids,
        *(token for token, added in tokenizer.added_tokens_decoder.items() if added.special),
    }
    pairs = _decoded(tokenizer, [[anchor, token] for token in range(len(tokenizer))])
    return Vocabulary(
        ["" if token in special else pair.removeprefix(before) for token, pair in enumerate(pairs)], ends
    )


def _decoded(tokenizer: PreTrainedTokenizerBase, rows: list[list[int]]) -> list[str]:
    return tokenizer.batch_decode(rows, skip_special_tokens=False, clean_up_tokenization_spaces=False)


class Masks:
    """Makes a logits processor for each batch; what a tokenizer alone decides is kept between batches.
    `opened` as in `Grammar`.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: Iterable[int], opened: bool = False) -> None:
        self.vocabulary, self.opened = vocabulary(tokenizer, ends), opened
        self._free: dict[tuple[str, int], torch.Tensor] = {}

    def constrained(self, prompts: Sequence[Prompt], limit: int, *, stop: bool = False) -> Constrained:
        """For one batch of prompts, at most `limit` new tokens each; with `stop` only up to the answer's
        first label.

        Raises:
            BadModel, BadConfig: as `Grammar`.
        """
        return Constrained(
            self, [Grammar(prompt, self.vocabulary, limit, self.opened) for prompt in prompts], limit, stop
        )

    def free(self, tail: str, size: int) -> torch.Tensor:
        """Tokens that reasoning may go on with, shape (size,), bool; `size` is that of the logits, which
        may exceed the vocabulary's.
        """
        key = tail, size
        if key not in self._free:
            mask = torch.zeros(size, dtype=torch.bool)
            mask[: len(self.vocabulary.texts)] = True
            mask[list(self.vocabulary.barred(tail))] = False
            self._free[key] = mask
        return self._free[key]


class Constrained(LogitsProcessor):
    """Follows each row through its grammar; what may not come next gets the logit −inf."""

    def __init__(self, masks: Masks, grammars: Sequence[Grammar], limit: int, stop: bool) -> None:
        self._masks, self._grammars, self._room = masks, grammars, limit
        self._states: list[State | None] = []
        """None where a row has ended and is only padded."""
        self.cuts = [limit] * len(grammars)
        """How many new tokens of each row stand before its first label."""
        self.limit = limit
        """New tokens at most."""
        self.stop = stop

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores of shape (rows, vocabulary), masked."""
        self._follow(input_ids[:, -1].tolist())
        keep = torch.zeros(scores.shape, dtype=torch.bool)
        rows: list[int] = []
        columns: list[int] = []
        for row, (grammar, state) in enumerate(zip(self._grammars, self._states, strict=True)):
            allowed = grammar.allowed(state, self._room) if state else None
            if state is None:
                keep[row] = True
            elif allowed is None:
                keep[row] = self._masks.free(state.part, scores.shape[1])
            else:
                rows += [row] * len(allowed)
                columns += allowed
        keep[rows, columns] = True
        self._room -= 1
        masked = scores.masked_fill(~keep.to(scores.device), -torch.inf)
        return cast("torch.FloatTensor", masked)

    def _follow(self, last: Sequence[int]) -> None:
        if not self._states:  # the last token is the prompt's
            self._states = [grammar.start for grammar in self._grammars]
            return
        going = [
            state and state.segment != END and not (self.stop and cut < self.limit)
            for state, cut in zip(self._states, self.cuts, strict=True)
        ]
        self._states = [
            grammar.advance(state, token) if on and state else None
            for grammar, state, token, on in zip(self._grammars, self._states, last, going, strict=True)
        ]
        new = self.limit - self._room
        for row, state in enumerate(self._states):
            if state and (state.segment, state.part, state.named) == (2, "", frozenset()):
                self.cuts[row] = min(self.cuts[row], new)


class AtText(StoppingCriteria):
    """Ends a row that has written a text, `start` tokens into it at the earliest."""

    LOOK = 12
    """Tokens back that a tag may begin at."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: str, start: int) -> None:
        self._tokenizer, self._text, self._start = tokenizer, text, start

    def __call__(self, input_ids: torch.LongTensor, scores: object, **kwargs: object) -> torch.BoolTensor:
        """Shape (rows,)."""
        new = input_ids[:, max(self._start, input_ids.shape[1] - self.LOOK) :].tolist()
        tails = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return torch.tensor([self._text in tail for tail in tails], device=input_ids.device)  # type: ignore[return-value]


class AtAnswer(StoppingCriteria):
    """Ends a row where its answer's first label would stand: in time, as the processor sees each token one
    step later.
    """

    def __init__(self, processor: Constrained) -> None:
        self._processor = processor

    def __call__(self, input_ids: torch.LongTensor, scores: object, **kwargs: object) -> torch.BoolTensor:
        """Shape (rows,)."""
        return torch.tensor(
            [cut < self._processor.limit for cut in self._processor.cuts], device=input_ids.device
        )  # type: ignore[return-value]
