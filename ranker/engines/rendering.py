"""Asks as token ids: what every engine does that runs a model itself."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from ranker.errors import BadModel
from ranker.policy.prompts import Message, Prompt, Style, compact_words, fitted, messages, shortened
from ranker.policy.texts import MARKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SAMPLE = 3
"""Words of a text that an error names."""


class Rendered(NamedTuple):
    """Prompts as the model reads them, one entry each."""

    texts: list[str]
    ids: list[list[int]]
    shortened: list[int]
    """Of how many texts of the prompt not every word is there."""


@dataclass(frozen=True)
class Renderer:
    """A tokenizer with a chat template, and the prompt style that its model was trained with."""

    tokenizer: PreTrainedTokenizerBase
    style: Style

    def prompts(self, prompts: Sequence[Prompt], budget: int) -> Rendered:
        """Each ask as the model is to read it, and its token ids; texts are shortened where it has more than
        `budget` tokens. What stands in a text for one of the tokenizer's special tokens is plain text.

        Raises:
            PromptTooLong: a prompt does not fit even so.
            BadModel: compact, and the vocabulary knows no word of the query, or none of any candidate.
        """
        texts = [self._render(messages(prompt, self.style, None, self._marks)) for prompt in prompts]
        ids, words = self._ids(texts), list[int | None]([None] * len(texts))
        for i, prompt in enumerate(prompts):
            if len(ids[i]) > budget:
                fitting = fitted(prompt, self.style, self._count, budget, self._marks)
                texts[i], words[i] = self._render(fitting.messages), fitting.words
                ids[i] = self._ids([texts[i]])[0]
            self._require_words(prompt, ids[i])
        return Rendered(
            texts, ids, [shortened(one, self.style, n) for one, n in zip(prompts, words, strict=True)]
        )

    def text(self, tokens: Sequence[int]) -> str:
        """What was generated, without special tokens."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    @cached_property
    def _marks(self) -> re.Pattern[str]:
        """MARKS, and the tokenizer's own special tokens, whatever they look like."""
        added = self.tokenizer.added_tokens_decoder.values()
        own = {token.content for token in added if token.special and len(token.content.strip()) > 1}
        longest_first = sorted(own, key=lambda token: (-len(token), token))
        return re.compile("|".join([*map(re.escape, longest_first), MARKS.pattern]))

    def _require_words(self, prompt: Prompt, ids: Sequence[int]) -> None:
        """A vocabulary made from training texts knows the letters that these had. Of a question in other ones
        it would read nothing, and answer as if it had been asked.
        """
        unknown: Any = self.tokenizer.unk_token_id  # wider in transformers' types
        if self.style != "compact" or unknown is None or unknown not in ids:
            return
        for name, texts in (
            ("the query", [prompt.set.query]),
            ("the candidates", [candidate.text for candidate in prompt.set.candidates]),
        ):
            words = list(dict.fromkeys(word for text in texts for word in compact_words(text)))
            if words and set(self._ids([" ".join(words)])[0]) == {unknown}:
                raise BadModel(
                    "a compact policy reads the words of its own vocabulary, that of its training texts",
                    seen=(
                        f"none of the {len(words)} words of {name} of {prompt.set.set_id}"
                        f" ({', '.join(words[:SAMPLE])}; {_script(words)})"
                    ),
                    remedy=(
                        "train a policy on texts in this language, or rank with a pretrained model (style"
                        " likelihood or chat)"
                    ),
                )

    def _count(self, prompt: list[Message]) -> int:
        return len(self._ids([self._render(prompt)])[0])

    def _render(self, prompt: list[Message]) -> str:
        return str(self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))

    def _ids(self, prompts: list[str]) -> list[list[int]]:
        return self.tokenizer(prompts, add_special_tokens=False)["input_ids"] if prompts else []


def _script(words: Sequence[str]) -> str:
    """The scripts that words are written in, by their characters' names: Cyrillic, Hiragana, CJK, …"""
    letters = (char for word in words for char in word if char.isalpha())
    names = dict.fromkeys(unicodedata.name(char, "UNKNOWN").split()[0] for char in letters)
    return ", ".join(name if name == "CJK" else name.capitalize() for name in names) or "digits"
