"""GRPO over thoughts: the reasoning is sampled, the labels are scored behind it, and its reward is the exact
expected one of a choice drawn from these scores. No answer can be invalid, and two thoughts that lead to the
same choice with other confidence earn differently.

Gradients go through the thought's tokens alone; the scores are the reward. What makes scores themselves
better is objective `expected`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import polars as pl
import torch

from ranker.config import GRPOParams
from ranker.engines.grammar import OPEN, SHUT
from ranker.engines.rendering import Renderer, begun, closed
from ranker.policy.rewards import Reward, expected_reward, length_penalty
from ranker.train.worker import scale
from ranker.train.worker.labels import LabelScores, chosen, relevance_of
from ranker.train.worker.recorder import Asked, Recorder, Rollout
from ranker.train.worker.rollouts import Row


class Thoughts:
    """Rewards of thoughts, by the model in training (`model`, set once the trainer has it)."""

    def __init__(self, renderer: Renderer, params: GRPOParams) -> None:
        self.scores, self.params = LabelScores(renderer), params
        self.model: torch.nn.Module | None = None

    def begun(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of `rl.parquet` with the reasoning of each rendered prompt begun: what is completed is a
        thought.
        """
        opened = self.scores.renderer.opens
        texts = [prompt if opened else begun(prompt, OPEN) for prompt in rows["prompt"].to_list()]
        return rows.with_columns(pl.Series("prompt", texts))

    def score(self, row: Row, ids: Sequence[int]) -> Rollout:
        """What one thought earned."""
        (found,) = self._scored([row], [row["prompt"]], [ids])
        return found

    def rewards(self, recorder: Recorder) -> Any:
        """TRL's reward function: all completions of a batch at once, each kept by the recorder."""

        def thought_reward(
            prompts: list[str], completions: list[str], completion_ids: list[list[int]], **columns: list[Any]
        ) -> list[float]:
            names = ("task", "set_id", "mode", "thinking", "pool", "relevance")
            rows = [{name: columns[name][place] for name in names} for place in range(len(completions))]
            found = self._scored(rows, prompts, completion_ids)
            recorder.pending += found
            return [rollout.reward.total for rollout in found]

        return thought_reward

    @torch.no_grad()
    def _scored(
        self, rows: Sequence[Row], prompts: Sequence[str], ids: Sequence[Sequence[int]]
    ) -> list[Rollout]:
        assert self.model is not None, "the trainer gives its model before the first step"
        renderer = self.scores.renderer
        opened = renderer.ids([OPEN])[0]
        thoughts = [renderer.continued(opened, own).partition(SHUT)[0] for own in ids]
        contexts = renderer.ids(
            [closed(prompt + thought) for prompt, thought in zip(prompts, thoughts, strict=True)]
        )
        training = self.model.training
        self.model.eval()
        found = self.scores(scale.bare(self.model), contexts, [row["pool"] for row in rows])
        self.model.train(training)
        parts = zip(rows, prompts, thoughts, ids, found, strict=True)
        return [
            self._rollout(row, prompt, text, len(own), values) for row, prompt, text, own, values in parts
        ]

    def _rollout(self, row: Row, prompt: str, thought: str, tokens: int, values: torch.Tensor) -> Rollout:
        params = self.params
        earned = expected_reward(
            values.exp().tolist(), relevance_of(row, params), row["mode"], params.exclusion
        )
        length = length_penalty(tokens, params.max_completion_length, params.length_weight)
        return Rollout(
            cast("Asked", row),
            prompt,
            thought,
            chosen(row, values),
            Reward(0.0, earned, length=length),
            tuple(values.tolist()),
        )
