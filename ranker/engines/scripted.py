"""An engine whose answers are a function: for tests, and for showing what a perfect or broken policy does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ranker.engines import Completion, Sampling
from ranker.prompts import Ask, Style, messages


class ScriptedEngine:
    """Answers each ask with `answer(ask)`; tokens are whitespace-separated words."""

    def __init__(self, answer: Callable[[Ask], str], name: str = "scripted", style: Style = "compact") -> None:
        self.answer, self.name, self.style = answer, name, style

    def complete(self, asks: Sequence[Ask], sampling: Sampling) -> list[Completion]:
        """The scripted answers, cut at `sampling.max_tokens` words as a real engine would."""
        return [self._one(ask, sampling) for ask in asks]

    def _one(self, ask: Ask, sampling: Sampling) -> Completion:
        prompt = messages(ask, self.style)[-1]["content"]
        words = self.answer(ask).split(" ")
        cut = len(words) > sampling.max_tokens
        text = " ".join(words[: sampling.max_tokens])
        return Completion(text, prompt, len(prompt.split()), min(len(words), sampling.max_tokens), "length" if cut else "stop", 0.0)
