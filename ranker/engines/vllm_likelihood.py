"""vLLM as the engine of a likelihood policy: log-probabilities of prompts, read in one step each.

The token ids are those of the reference engine (`trees`), so that the same weights give the same scores
within rounding. A continuation is a request of its own, context before it, and such requests cannot make use
of vLLM's prefix cache: it keeps keys and values, and a log-probability needs the output at every place. So a
context is read again for each of its continuations, where the reference engine reads it once: eight film
titles behind one history are some 1,000 tokens instead of 220. Where every candidate has a context of its own
(direction `query`) nothing is lost. The cache therefore stays off here; it would only cost its bookkeeping.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ranker.engines import trees
from ranker.engines.base import WritesNothing
from ranker.engines.loading import VLLM, fitted, require
from ranker.engines.transformers import load_tokenizer
from ranker.engines.vllm import SHUTDOWN_SECONDS, package, started
from ranker.policy.likelihood import Branches, LogLikelihood


class VllmLikelihoodEngine(WritesNothing):
    """Scores continuations with vLLM's `LLM`; `name` is `vllm:<folder or hub name>`.

    Args:
        batch: candidate sets scored at once, and requests that vLLM runs together.
    """

    def __init__(self, name: str, *, batch: int = 64, tensor_parallel: int = 1) -> None:
        self.name, self.batch = name, batch
        model = name.removeprefix(VLLM)
        self._vllm = package()
        if Path(model).is_absolute():
            require(Path(model))
        self.tokenizer = load_tokenizer(model, chat=False)
        self._llm = started(self._vllm, model, batch, False, tensor_parallel)
        # vLLM wants room for one token after a prompt
        self.context: int = self._llm.llm_engine.model_config.max_model_len - 1
        self.temperatures, self.calibrations = fitted(model)

    def close(self) -> None:
        """As VllmEngine's."""
        self._llm.llm_engine.engine_core.shutdown(SHUTDOWN_SECONDS)

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return trees.count(self.tokenizer, text)

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        """One list per context, one entry per continuation, in order."""
        grown = [trees.tree(one, self.tokenizer) for one in branches]
        asked = [ids for one in grown for ids in sequences(one)]
        params = self._vllm.SamplingParams(max_tokens=1, prompt_logprobs=0, detokenize=False)
        prompts = [self._vllm.TokensPrompt(prompt_token_ids=ids) for ids in asked]
        outputs = self._llm.generate(prompts, params, use_tqdm=False) if prompts else []
        listed = iter([output.prompt_logprobs for output in outputs])
        return [
            [summed(one, after, next(listed)) if after else NOTHING for after in one.continuations]
            for one in grown
        ]


NOTHING = LogLikelihood(0.0, 0)
"""Of a continuation without tokens, which is not asked for."""


def sequences(one: trees.Tree) -> list[list[int]]:
    """The token ids of a tree's requests: its context and a continuation, for every one that has tokens."""
    return [[*one.context, *after] for after in one.continuations if after]


def summed(
    one: trees.Tree, after: Sequence[int], listed: Sequence[Mapping[int, Any] | None]
) -> LogLikelihood:
    """What vLLM listed of one request.

    Args:
        listed: by place of the prompt, token id → what has its `logprob`; None at the first.
    """
    places = zip(after, listed[len(one.context) :], strict=True)
    return LogLikelihood(sum(at[token].logprob for token, at in places if at is not None), len(after))
