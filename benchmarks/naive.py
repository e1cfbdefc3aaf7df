"""The yardstick: elimination as the published system loops it.

One prompt a query a round, all queries in lock step; every round reads its prompts whole, decodes prompt and
answer together, finds the answer in the text again and only then begins the next. Prompts, parser, fallback,
model and decoding limit are ours, so that what differs is the loop alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ranker.engines import manifest
from ranker.engines.transformers import load_model, load_tokenizer
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, longest_trace, messages, without
from ranker.types import CandidateSet


@dataclass
class Ranked:
    """What came of one query: labels best first, and what it took."""

    left: CandidateSet
    excluded: list[str] = field(default_factory=list)
    calls: int = 0
    invalid: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def ranking(self) -> tuple[str, ...]:
        return (*self.left.labels, *reversed(self.excluded))


class NaiveLoop:
    """A policy of ours, run by plain `generate`."""

    def __init__(self, folder: str | Path, batch: int = 64) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.tokenizer.padding_side = "left"
        self.model = load_model(folder).eval()
        self.style, self.batch = manifest(folder).get("style", "chat"), batch

    def rank(self, sets: Sequence[CandidateSet], thinking: bool) -> list[Ranked]:
        """One `Ranked` a set, in order. All pools are of one size."""
        queries = [Ranked(given) for given in sets]
        while len(queries[0].left) > 1:
            prompts = [Prompt("exclude", thinking, query.left) for query in queries]
            answers = [
                answer
                for start in range(0, len(prompts), self.batch)
                for answer in self._answers(prompts[start : start + self.batch])
            ]
            for query, prompt, answer in zip(queries, prompts, answers, strict=True):
                _exclude(query, prompt, **answer)
        return queries

    @torch.inference_mode()
    def _answers(self, prompts: Sequence[Prompt]) -> list[dict[str, Any]]:
        rendered = [
            self.tokenizer.apply_chat_template(
                messages(prompt, self.style), tokenize=False, add_generation_prompt=True
            )
            for prompt in prompts
        ]
        given = self.tokenizer(rendered, add_special_tokens=False, padding=True, return_tensors="pt")
        limit = longest_trace(len(prompts[0].set))
        out = self.model.generate(
            **given, max_new_tokens=limit, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
        )
        texts = self.tokenizer.batch_decode(out, skip_special_tokens=False)
        read = given["attention_mask"].sum(1).tolist()
        return [
            self._found(text, prompt.strip(), tokens)
            for text, prompt, tokens in zip(texts, rendered, read, strict=True)
        ]

    def _found(self, text: str, prompt: str, read: int) -> dict[str, Any]:
        """The completion, by its place behind the prompt in the whole text."""
        written, end, _ = text.partition(prompt)[2].partition(self.tokenizer.eos_token)
        return {
            "text": written.strip(),
            "cut": not end,
            "read": read,
            "wrote": len(written.split()) + bool(end),
        }


def _exclude(query: Ranked, prompt: Prompt, text: str, cut: bool, read: int, wrote: int) -> None:
    action = parse(text, prompt.set.labels, "exclude", prompt.thinking, cut)
    gone = action.labels[0] if action.valid else prompt.set.labels[-1]
    query.left = without(query.left, [gone])
    query.excluded.append(gone)
    query.calls += 1
    query.invalid += not action.valid
    query.prompt_tokens += read
    query.completion_tokens += wrote
