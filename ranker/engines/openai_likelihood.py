"""An OpenAI-compatible endpoint as the engine of a likelihood policy: /v1/completions that echo their prompt
with the log-probabilities of its tokens.

vLLM's server gives them. llama.cpp's gives those of what it wrote alone, whatever `echo` says (its issue
27174), and OpenAI's own refuses to: both are refused here, with the reason. The server tokenizes, so a text
that looks like a special token to it is read as one. A continuation is a request of its own, and context and
continuation are one text: a token that stands in both counts as the continuation's.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from itertools import accumulate

import openai
from openai import AsyncOpenAI
from openai.types import Completion as Answer

from ranker.engines.base import WritesNothing
from ranker.engines.openai import LONGEST_REASON, RETRIES, TOO_LONG, Endpoint
from ranker.errors import BadConfig, PromptTooLong, RankerError
from ranker.policy.likelihood import Branches, LogLikelihood
from ranker.types import JsonObject

BYTES = 3
"""Of text that a token is reckoned to have; 4 is usual in English."""
UNTOLD = 1_000_000
"""Tokens of a context where the server does not tell: it says itself when a text is too long."""
NOTHING = LogLikelihood(0.0, 0)


class OpenAILikelihoodEngine(WritesNothing, Endpoint):
    """Scores continuations at `openai:<base url>#<model>`."""

    def __init__(
        self, name: str, *, concurrency: int = 8, timeout: float = 120.0, retries: int = RETRIES
    ) -> None:
        super().__init__(name, concurrency, timeout, retries)
        self.temperatures: dict[str, float] = {}
        self.calibrations: dict[str, tuple[float, float]] = {}
        self.context = self._longest()

    def count(self, text: str) -> int:
        """Tokens of a text, reckoned from its length: no endpoint has to tell them."""
        return -(-len(text.encode()) // BYTES)

    def loglikelihood(self, branches: Sequence[Branches]) -> list[list[LogLikelihood]]:
        """One list per context, one entry per continuation, in order.

        Raises:
            Unreachable, BadModel: as for chat completions.
            BadConfig: the server gives no log-probabilities of prompts, or refuses the request.
            PromptTooLong: it finds a text too long.
        """
        asked = [(one.context, after) for one in branches for after in one.continuations]
        listed = iter(self.asked(lambda client: self._all(client, asked)))
        return [[next(listed) for _ in one.continuations] for one in branches]

    async def _all(self, client: AsyncOpenAI, asked: Sequence[tuple[str, str]]) -> list[LogLikelihood]:
        """The first that fails ends all."""
        gate = asyncio.Semaphore(self.concurrency)

        async def one(context: str, after: str) -> LogLikelihood:
            async with gate:
                return await self._one(client, context, after)

        try:
            async with asyncio.TaskGroup() as group:
                found = [group.create_task(one(*pair)) for pair in asked]
        except* RankerError as failed:
            first = failed.exceptions[0]
        else:
            return [task.result() for task in found]
        raise first

    async def _one(self, client: AsyncOpenAI, context: str, after: str) -> LogLikelihood:
        if not after:
            return NOTHING
        try:
            # 0 tokens are no limit to some servers; the one written is left out
            answer = await client.completions.create(
                model=self.model, prompt=context + after, echo=True, logprobs=1, max_tokens=1, temperature=0
            )
        except openai.OpenAIError as error:
            raise self._refused(context + after, error) from error
        except json.JSONDecodeError as error:
            raise self.spoken_otherwise(error.doc) from error
        return self._read(answer, context, after)

    def _read(self, answer: Answer, context: str, after: str) -> LogLikelihood:
        if not isinstance(answer, Answer):  # the library hands on a page of HTML as it is
            raise self.spoken_otherwise(answer)
        listed = answer.choices[0].logprobs if answer.choices else None
        tokens, values = (listed.tokens or [], listed.token_logprobs or []) if listed else ([], [])
        prompt = answer.usage.prompt_tokens if answer.usage else len(tokens) - 1
        spans = _spans(tokens[:prompt], listed.text_offset or [] if listed else [], context + after)
        own = [value for value, end in zip(values, spans, strict=False) if end > len(context)]
        if len(values) < prompt or not spans or None in own:
            raise BadConfig(
                "a likelihood policy needs the log-probabilities of its prompts from an endpoint",
                seen=(
                    f"{self.model} at {self.url or 'OpenAI'}: {len(values)} log-probabilities for a prompt of"
                    f" {prompt} tokens, asked with echo and logprobs"
                ),
                remedy=(
                    "serve the model with vLLM (its /v1/completions gives them; llama.cpp's does not), or run"
                    " its folder by `transformers`"
                ),
            )
        return LogLikelihood(float(sum(value for value in own if value is not None)), len(own))

    def _refused(self, text: str, error: openai.OpenAIError) -> RankerError:
        said = self.explained(error)
        if not isinstance(error, openai.BadRequestError | openai.NotFoundError):
            return self.named(error)
        if TOO_LONG.search(said):
            return PromptTooLong(
                "a context must fit the model together with what is scored after it",
                seen=f"{len(text)} characters at {self.url}: {said}",
                remedy=(
                    "lower candidate_words or query_words of the task, or use a model with a longer context"
                ),
            )
        return BadConfig(
            "a likelihood policy needs an endpoint whose /v1/completions gives log-probabilities of prompts",
            seen=f"{self.model} at {self.url or 'OpenAI'}: {said}"[:LONGEST_REASON],
            remedy=(
                "check the model's name and the base URL (it often ends in /v1); serve the model with vLLM,"
                " or run its folder by `transformers`"
            ),
        )

    def _longest(self) -> int:
        """Tokens of the model's context as vLLM's server lists it, less the one that is written."""

        async def models(client: AsyncOpenAI) -> JsonObject:
            return {one.id: one.model_extra or {} async for one in client.models.list()}

        try:
            listed = self.asked(models, retries=0)
        except (openai.OpenAIError, ValueError, AttributeError):
            # whatever it is (the library reads a page of HTML as a list of models), the first question meets
            # it again and names it
            return UNTOLD
        return int(listed.get(self.model, {}).get("max_model_len") or UNTOLD + 1) - 1


def _spans(tokens: Sequence[str], offsets: Sequence[int], text: str) -> list[int]:
    """Where each token of the prompt ends in `text`; one that is not of the text, such as <bos>, ends at 0 or
    before.

    From the tokens' own lengths where they spell the text; else by the server's offsets.
    """
    start = "".join(tokens).find(text)
    if start >= 0:
        return [end - start for end in accumulate(map(len, tokens))]
    return [*offsets[1 : len(tokens)], len(text)] if len(offsets) >= len(tokens) > 0 else []
