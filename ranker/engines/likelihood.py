"""The engine of a likelihood policy: a causal LM from a folder that tells how likely it finds texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ranker.engines import trees
from ranker.engines.base import Completion, Sampling
from ranker.engines.loading import fitted
from ranker.engines.transformers import load_model, load_tokenizer, pick_device
from ranker.errors import BadConfig
from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.policy.prompts import Prompt, Style

TOKENS = 4_096
"""Of one forward pass, padding included: more gain nothing on a CPU, and hold more memory."""


class LikelihoodEngine:
    """Scores continuations with a model folder (weights, config, tokenizer; no chat template is needed).

    A score depends on its context and continuation alone, within 0.02 nat a token: what else is in the batch
    changes the order of sums in bfloat16.

    Args:
        batch: candidate sets scored at once.
        tokens: of one forward pass.
    """

    style: Style = "likelihood"

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        batch: int = 64,
        threads: int = 0,
        tokens: int = TOKENS,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.name, self.batch, self._tokens = str(model), batch, tokens
        self.device = torch.device(pick_device(device))
        self.tokenizer = load_tokenizer(model, chat=False)
        loaded: Any = load_model(model)
        self.model = loaded.to(self.device).eval()
        self.context: int = self.model.config.max_position_embeddings
        self.temperatures, self.calibrations = fitted(model)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        """One list per context, one entry per continuation, in order."""
        grown = [trees.tree(one, self.tokenizer) for one in branches]
        found: dict[int, list[LogLikelihood]] = {}
        for chunk in trees.batches([len(one) for one in grown], self._tokens):
            batch = trees.collate(
                [grown[place] for place in chunk], trees.token(self.tokenizer, "pad_token_id")
            )
            states = self.model.get_decoder()(**trees.forward(batch, self.device))
            values = iter(
                trees.logprobs(states.last_hidden_state, self.model.get_output_embeddings(), batch).tolist()
            )
            for place, counts in zip(chunk, batch.counts, strict=True):
                found[place] = [LogLikelihood(next(values), count) for count in counts]
        return [found[place] for place in range(len(grown))]

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """Never: a likelihood policy writes nothing.

        Raises:
            BadConfig: always.
        """
        raise BadConfig(
            "a likelihood policy gives log-probabilities and writes no answer",
            seen=f"{len(prompts)} prompts to {self.name}",
            remedy="load the model with style chat, or leave the answering to a strategy",
        )
