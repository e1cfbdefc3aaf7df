"""The engine of a likelihood policy: a causal LM from a folder that tells how likely it finds texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ranker.engines import trees
from ranker.engines.base import WritesNothing
from ranker.engines.loading import fitted
from ranker.engines.prefixes import Prefixes, whole_context
from ranker.engines.transformers import load_model, load_tokenizer, pick_device
from ranker.policy.likelihood import Branches, LogLikelihood


class LikelihoodEngine(WritesNothing):
    """Scores continuations with a model folder (weights, config, tokenizer; no chat template is needed).

    A score depends on its context and continuation alone, within 0.02 nat a token: what else is in the batch
    changes the order of sums in bfloat16.

    Args:
        batch: candidate sets scored at once.
        tokens: of one forward pass, padding included; None for as many as the device is fastest with.
        contexts: MiB of keys and values kept of contexts that one continuation follows (a document, where the
            query is what is scored): where such a context comes again, its continuation alone is read. For
            models whose layers all attend to the whole context; others keep nothing.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str = "auto",
        batch: int = 64,
        threads: int = 0,
        tokens: int | None = None,
        contexts: int = 0,
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.name, self.batch = str(model), batch
        self.device = torch.device(pick_device(device))
        self._tokens = tokens or trees.forward_tokens(self.device)
        self.tokenizer = load_tokenizer(model, chat=False)
        loaded: Any = load_model(model)
        self.model = loaded.to(self.device).eval()
        self.context: int = self.model.config.max_position_embeddings
        self.temperatures, self.calibrations = fitted(model)
        self._pad = trees.token(self.tokenizer, "pad_token_id")
        self._kept = Prefixes(self.model, contexts) if contexts and whole_context(self.model) else None

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return trees.count(self.tokenizer, text)

    @torch.inference_mode()
    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        """One list per context, one entry per continuation, in order."""
        grown = [trees.tree(one, self.tokenizer) for one in branches]
        found = trees.read(grown, self._tokens, self._logprobs)
        return [
            [LogLikelihood(*pair) for pair in zip(values.tolist(), map(len, one.continuations), strict=True)]
            for one, values in zip(grown, found, strict=True)
        ]

    def _logprobs(self, part: list[trees.Tree]) -> torch.Tensor:
        if self._kept and all(len(one.continuations) == 1 and len(one.context) > 1 for one in part):
            contexts = [one.context for one in part]
            cache, _ = self._kept.filled(contexts, [tuple(ids) for ids in contexts])
            batch = trees.after_contexts(part, self._pad)
        else:
            cache, batch = None, trees.collate(part, self._pad)
        decoder, given = self.model.get_decoder(), trees.forward(batch, self.device)
        states = decoder(**given, past_key_values=cache).last_hidden_state
        return trees.logprobs(states, self.model.get_output_embeddings(), batch)
