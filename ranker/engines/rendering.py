"""Asks as token ids: what every engine does that runs a model itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ranker.policy.prompts import Message, Prompt, Style, fit, messages


@dataclass(frozen=True, slots=True)
class Renderer:
    """A tokenizer with a chat template, and the prompt style that its model was trained with."""

    tokenizer: Any
    style: Style

    def prompts(self, asks: Sequence[Prompt], budget: int) -> tuple[list[str], list[list[int]]]:
        """Each ask as the model is to read it, and its token ids; texts are shortened where it has more than
        `budget` tokens.

        Raises:
            PromptTooLong: a prompt does not fit even so.
        """
        prompts = [self._render(messages(ask, self.style)) for ask in asks]
        ids = self._ids(prompts)
        for i, ask in enumerate(asks):
            if len(ids[i]) > budget:
                prompts[i] = self._render(
                    fit(ask, self.style, lambda prompt: len(self._ids([self._render(prompt)])[0]), budget)
                )
                ids[i] = self._ids([prompts[i]])[0]
        return prompts, ids

    def text(self, tokens: Sequence[int]) -> str:
        """What was generated, without special tokens."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=True)).strip()

    def _render(self, prompt: list[Message]) -> str:
        return str(self.tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True))

    def _ids(self, prompts: list[str]) -> list[list[int]]:
        return self.tokenizer(prompts, add_special_tokens=False)["input_ids"] if prompts else []
