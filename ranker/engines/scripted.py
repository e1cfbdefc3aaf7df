"""Engines whose answers are a function: for tests, and for showing what a perfect or broken policy does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import exp, log

from ranker.engines import Completion, Sampling, Scored
from ranker.policy.prompts import Prompt, Style, messages


class ScriptedEngine:
    """Answers each ask with `answer(ask)`; tokens are whitespace-separated words. `batch` as in
    engines.Engine, 0 for any number at once.
    """

    def __init__(
        self,
        answer: Callable[[Prompt], str],
        name: str = "scripted",
        style: Style = "compact",
        batch: int = 0,
    ) -> None:
        self.answer, self.name, self.batch = answer, name, batch
        self.style: Style = style

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """The scripted answers, cut at `sampling.max_tokens` words as a real engine would."""
        return [self._one(prompt, sampling) for prompt in prompts]

    def _one(self, prompt: Prompt, sampling: Sampling) -> Completion:
        rendered = messages(prompt, self.style)[-1]["content"]
        words = self.answer(prompt).split(" ")
        cut = len(words) > sampling.max_tokens
        return Completion(
            " ".join(words[: sampling.max_tokens]),
            rendered,
            len(rendered.split()),
            min(len(words), sampling.max_tokens),
            "length" if cut else "stop",
            0.0,
        )


class ScriptedScorer(ScriptedEngine):
    """Also scores labels: by `weigh(ask)`, a weight of any size for each label; the softmax of them is how
    likely they are.
    """

    def __init__(
        self,
        answer: Callable[[Prompt], str],
        weigh: Callable[[Prompt], Mapping[str, float]],
        name: str = "scripted",
        style: Style = "compact",
        batch: int = 0,
    ) -> None:
        super().__init__(answer, name, style, batch)
        self.weigh = weigh

    def score(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Scored]:
        """The scripted likelihoods; reasoning is that of the scripted answer."""
        return [self._scored(prompt, sampling) for prompt in prompts]

    def _scored(self, prompt: Prompt, sampling: Sampling) -> Scored:
        more = self._thought(prompt, sampling) if prompt.begun else None
        weights = self.weigh(prompt if more is None else replace(prompt, begun=prompt.begun + more))
        total = log(sum(exp(weight) for weight in weights.values()))
        text = messages(prompt, self.style)[-1]["content"]
        reasoning = self.answer(prompt).partition("<answer>")[0].strip() if prompt.thinking else ""
        reasoning = reasoning if more is None else more
        completion = Completion(reasoning, text, len(text.split()) + 1, len(reasoning.split()), "stop", 0.0)
        return Scored(completion, tuple(weights[label] - total for label in prompt.set.labels))

    def _thought(self, prompt: Prompt, sampling: Sampling) -> str:
        """So many more words of the scripted reasoning, with the spaces before them."""
        left = self.answer(prompt).partition("<answer>")[0].rstrip().removeprefix(prompt.begun)
        return "".join(re.findall(r"\s*\S+", left)[: sampling.max_tokens])
