"""The engine of a likelihood policy: a causal LM from a folder that tells how likely it finds texts."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from ranker.engines import trees
from ranker.engines.base import WritesNothing
from ranker.engines.loading import fitted
from ranker.engines.prefixes import Prefixes, whole_context
from ranker.engines.transformers import context_length, load_model, load_tokenizer, pick_device
from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.types import JsonObject

PROBE = trees.Tree([1, 2, 3], [[4, 5, 6, 7], [8, 9, 10, 11]])
"""A small tree of whatever tokens, by which a model shows what it can."""
SAME = {torch.float32: 1e-3, torch.bfloat16: 0.15}
"""Nats between two ways of computing what is the same, at most; what is not differs by more."""


class LikelihoodEngine(WritesNothing):
    """Scores continuations with a model folder (weights, config, tokenizer; no chat template is needed).

    A score depends on its context and continuation alone, within 0.02 nat a token: what else is in the batch
    changes the order of sums in bfloat16. Any causal LM will do: what one cannot be asked at once (positions
    by ALiBi and recurrent layers know no branches, a window sees less than the context) is asked as several
    texts.

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
        self.context: int = context_length(self.model)
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
        parts = [[one] if self._sees(one) else trees.apart(one) for one in grown]
        read = iter(trees.read([part for own in parts for part in own], self._tokens, self._logprobs))
        found = [torch.cat([next(read) for _ in own]) for own in parts]
        return [
            [LogLikelihood(*pair) for pair in zip(values.tolist(), map(len, one.continuations), strict=True)]
            for one, values in zip(grown, found, strict=True)
        ]

    def _logprobs(self, part: list[trees.Tree]) -> torch.Tensor:
        cache: DynamicCache | None = None
        if self._kept and all(len(one.continuations) == 1 and len(one.context) > 1 for one in part):
            contexts = [one.context for one in part]
            cache, _ = self._kept.filled(contexts, [tuple(ids) for ids in contexts])
            batch = trees.after_contexts(part, self._pad)
        else:
            batch = trees.collate(part, self._pad)
        if self._plain_head:
            return trees.logprobs(self._states(batch, cache), self.model.get_output_embeddings(), batch)
        return trees.logprobs(self._logits(batch, cache), torch.nn.Identity(), batch)

    def _states(self, batch: trees.Batch, cache: DynamicCache | None = None) -> torch.Tensor:
        return self._run(self.model.get_decoder(), batch, cache).last_hidden_state

    def _logits(self, batch: trees.Batch, cache: DynamicCache | None = None) -> torch.Tensor:
        return self._run(self.model, batch, cache).logits

    def _run(self, module: torch.nn.Module, batch: trees.Batch, cache: DynamicCache | None) -> Any:
        given = trees.forward(batch, self.device) | ({} if cache is None else {"past_key_values": cache})
        return module(**_taken(module, given))

    def _sees(self, tree: trees.Tree) -> bool:
        """Whether the model can read a tree in one row. A mask of its own overrides that of a window."""
        window = getattr(self.model.config.get_text_config(decoder=True), "sliding_window", None)
        return len(tree.continuations) < 2 or ((not window or len(tree) <= window) and self._sees_branches)

    @cached_property
    def _sees_branches(self) -> bool:
        """Whether the model keeps branches apart, as it shows with a small tree: one that does not may raise,
        or say nothing and let each branch see those before it.
        """
        try:
            together = self._logprobs([PROBE])
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False
        return self._same(together, torch.cat([self._logprobs([one]) for one in trees.apart(PROBE)]))

    @cached_property
    def _plain_head(self) -> bool:
        """Whether logits are the output embeddings' alone: some models scale or bound them after that."""
        batch = trees.collate(trees.apart(PROBE)[:1], self._pad)
        head = self.model.get_output_embeddings()
        return head is not None and self._same(head(self._states(batch)), self._logits(batch))

    def _same(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        within = SAME.get(self.model.dtype, SAME[torch.bfloat16])
        return torch.allclose(one.float(), other.float(), rtol=0, atol=within)


def _taken(module: torch.nn.Module, given: JsonObject) -> JsonObject:
    """The arguments that a module's forward pass knows: positions are none where the module has none."""
    known = inspect.signature(module.forward).parameters
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
        return given
    return {name: value for name, value in given.items() if name in known}
