"""Asks as token ids: what every engine does that runs a model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ranker.policy.prompts import Message, Prompt, Style, fit, messages

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Renderer:
    """A tokenizer with a chat template, and the prompt style that its model was trained with."""

    tokenizer: PreTrainedTokenizerBase
    style: Style

    def prompts(self, prompts: Sequence[Prompt], budget: int) -> tuple[list[str], list[list[int]]]:
        """Each ask as the model is to read it, and its token ids; texts are shortened where it has more than
        `budget` tokens.

        Raises:
            PromptTooLong: a prompt does not fit even so.
        """
        texts = [self._render(messages(prompt, self.style)) for prompt in prompts]
        ids = self._ids(texts)
        for i, prompt in enumerate(prompts):
            if len(ids[i]) > budget:
                texts[i] = self._render(
                    fit(prompt, self.style, lambda text: len(self._ids([self._render(text)])[0]), budget)
                )
                ids[i] = self._ids([texts[i]])[0]
        return texts, ids

    def text(self, tokens: Sequence[int]) -> str:
        """What was generated, without special tokens."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True)).strip()

    def _render(self, prompt: list[Message]) -> str:
        return str(self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))

    def _ids(self, prompts: list[str]) -> list[list[int]]:
        return self.tokenizer(prompts, add_special_tokens=False)["input_ids"] if prompts else []
