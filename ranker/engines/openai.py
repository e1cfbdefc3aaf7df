"""Any OpenAI-compatible endpoint: chat completions over HTTP, a bounded number of requests in flight.

Retries are the client library's: connection errors, time-outs, 408, 409, 429 and 5xx are asked again after
exponentially growing, jittered pauses, or when the server's Retry-After says. A try has its time as a whole:
the library's time-outs are between two bytes, and a server that dribbles would never meet one. The key comes
from $OPENAI_API_KEY and goes nowhere but into the request: it is no part of an engine's name, and error
messages of servers that echo it are told without it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx2
import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletion, ChatCompletionMessage, ChatCompletionMessageParam

from ranker.engines import OPENAI, Completion, Sampling, Then
from ranker.engines.grammar import OPEN, SHUT, pattern
from ranker.errors import BadConfig, BadModel, PromptTooLong, RankerError, Unreachable
from ranker.policy.prompts import Fitted, Message, Prompt, Style, fitted, messages, shortened
from ranker.proxies import bypass_for_loopback
from ranker.types import JsonObject

T = TypeVar("T")
KEY = "OPENAI_API_KEY"
RETRIES = 6
"""Pauses of 0.5, 1, 2, 4, 8 and 8 seconds, each up to a quarter shorter."""
LONGEST_REASON = 300
TOO_LONG = re.compile(r"context.?(length|size|window)|too long", re.IGNORECASE)
SWITCHES = "chat_template_kwargs"
"""What vLLM, SGLang and llama.cpp call the arguments of a chat template, which say whether a model thinks."""
REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError)
_LIMITS = ("max_tokens", "max_completion_tokens")
"""What servers call the longest answer: nearly all know the first, OpenAI's newer models want the second."""


class _Bounded(DefaultAsyncHttpxClient):
    """Gives up an answer that is not whole after its time-out, however it comes: the library asks again."""

    def __init__(self, seconds: float) -> None:
        super().__init__(timeout=seconds)
        self._seconds = seconds

    async def send(self, request: httpx2.Request, **how: Any) -> httpx2.Response:
        try:
            async with asyncio.timeout(self._seconds):
                return await super().send(request, **how)
        except TimeoutError as error:
            raise httpx2.ReadTimeout(
                f"no whole answer within {self._seconds:g} s", request=request
            ) from error


class Endpoint:
    """Where `openai:<base url>#<model>` is, how it is asked, and what its errors are called here; an empty
    base URL is OpenAI's own.
    """

    def __init__(self, name: str, concurrency: int, timeout: float, retries: int) -> None:
        bypass_for_loopback()
        self.name = name
        self.url, self.model = _address(name)
        self.concurrency, self.timeout, self.retries = concurrency, timeout, retries
        self.batch = concurrency
        self.key = _key(self.url)

    def asked(self, work: Callable[[AsyncOpenAI], Awaitable[T]], retries: int | None = None) -> T:
        """What `work` makes of a client, in a loop of its own: the caller may stand in one already."""

        async def run() -> T:
            async with AsyncOpenAI(
                base_url=self.url or None,
                api_key=self.key or "none",
                timeout=self.timeout,
                max_retries=self.retries if retries is None else retries,
                http_client=_Bounded(self.timeout),
            ) as client:
                return await work(client)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, run()).result()

    def named(self, error: openai.OpenAIError) -> RankerError:
        where, said = self.url or "OpenAI", self.explained(error)
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return BadConfig(
                "an endpoint must accept the key",
                seen=f"{where}: {said}",
                remedy=f"export {KEY} with a key that it knows",
            )
        if isinstance(error, openai.NotFoundError):
            return BadModel(
                "an endpoint must serve the model",
                seen=f"{self.model} at {where}: {said}",
                remedy="name one that it lists under /models; check the base URL (it often ends in /v1)",
            )
        if (
            isinstance(
                error,
                openai.APIConnectionError
                | openai.RateLimitError
                | openai.InternalServerError
                | openai.ConflictError,
            )
            or getattr(error, "status_code", 0) == 408
        ):
            return Unreachable(
                "an endpoint must answer within the bounded retries",
                seen=f"{where}: {said}, after {self.retries + 1} tries",
                remedy=(
                    "see that it runs and is not overloaded (distill.concurrency),"
                    " then run again: answers that have come are kept"
                ),
            )
        return BadConfig(
            "an endpoint must accept the request",
            seen=f"{self.model} at {where}: {said}",
            remedy=(
                "see what it says; it must speak OpenAI's chat completions, and know vLLM's"
                " structured_outputs where decoding is constrained"
            ),
        )

    def spoken_otherwise(self, answer: object) -> BadModel:
        """The error for what is no answer in the protocol."""
        return BadModel(
            "an endpoint must answer in OpenAI's protocol, with its token counts in `usage`: costs and"
            " budgets are counted from them",
            seen=f"{self.model} at {self.url}: {str(answer)[:LONGEST_REASON]}",
            remedy="check the base URL (it often ends in /v1)",
        )

    def explained(self, error: openai.OpenAIError) -> str:
        """One line of an error, its cause with it, the key left out."""
        words = f"{error} ({error.__cause__})" if error.__cause__ else str(error)
        return " ".join((words.replace(self.key, "…") if self.key else words).split())[:LONGEST_REASON]


class OpenAIEngine(Endpoint):
    """Completes asks at an endpoint."""

    def __init__(
        self,
        name: str,
        *,
        style: Style = "chat",
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = RETRIES,
    ) -> None:
        if style != "chat":
            raise BadConfig(
                "an endpoint answers chat prompts",
                seen=f"style {style} for {name}",
                remedy="set train.policy.style to chat",
            )
        super().__init__(name, concurrency, timeout, retries)
        self.style: Style = style
        self._limit = _LIMITS[0]
        self._switches = bool(self.url)  # OpenAI's own refuses what it does not know

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """One completion per prompt, in order; the i-th is sampled with seed `sampling.seed` + i, where the
        server heeds seeds.

        Raises:
            Unreachable: the endpoint does not answer within the bounded retries.
            BadConfig: it refuses the key or the request.
            BadModel: it does not serve the model, or not in OpenAI's protocol with token counts.
            PromptTooLong: it finds a prompt too long, however much its texts are shortened.
        """
        done: dict[int, Completion] = {}
        began = time.perf_counter()

        def then(number: int, completion: Completion) -> tuple[()]:
            done[number] = completion
            return ()

        self.stream(enumerate(prompts), sampling, then)
        each = (time.perf_counter() - began) * 1000 / max(len(done), 1)
        return [replace(done[number], milliseconds=each) for number in range(len(done))]

    def stream(self, prompts: Iterable[tuple[int, Prompt]], sampling: Sampling, then: Then) -> None:
        """Answer numbered asks, and those that `then` gives as each answer comes; the seed is `sampling.seed`
        + the number.

        A completion's milliseconds are those of its request, shared among the requests in flight with it.
        Raises as `complete`.
        """
        self.asked(lambda client: self._all(client, prompts, sampling, then))

    async def _all(
        self, client: AsyncOpenAI, prompts: Iterable[tuple[int, Prompt]], sampling: Sampling, then: Then
    ) -> None:
        gate, in_flight = asyncio.Semaphore(self.concurrency), set[int]()
        try:
            async with asyncio.TaskGroup() as group:

                async def answer(number: int, prompt: Prompt) -> None:
                    async with gate:
                        in_flight.add(number)
                        began, beside = time.perf_counter(), len(in_flight)
                        completion = await self._one(
                            client, prompt, replace(sampling, seed=sampling.seed + number)
                        )
                        in_flight.remove(number)
                        share = (time.perf_counter() - began) * 1000 / beside
                    start(then(number, replace(completion, milliseconds=share)))

                def start(more: Iterable[tuple[int, Prompt]]) -> None:
                    for number, prompt in more:
                        group.create_task(answer(number, prompt))

                start(prompts)
        except* RankerError as failed:
            first = failed.exceptions[0]
        else:
            return
        raise first

    async def _one(self, client: AsyncOpenAI, prompt: Prompt, sampling: Sampling) -> Completion:
        rendered, words, answer = messages(prompt, self.style), None, None
        regex = pattern(prompt, sampling.max_tokens) if sampling.constrained else ""
        while answer is None:
            limit, switched = self._limit, self._switches
            try:
                answer = await self._ask(client, rendered, sampling, limit, regex, prompt.thinking)
            except REFUSALS as error:
                refused = Fitted(rendered, words)
                rendered, words = self._mended(prompt, refused, limit, switched, error)
            except openai.OpenAIError as error:
                raise self.named(error) from error
            except json.JSONDecodeError as error:
                raise self.spoken_otherwise(error.doc) from error
        completion = self._completion(answer, rendered, prompt.thinking, regex)
        return replace(completion, shortened=shortened(prompt, self.style, words))

    async def _ask(
        self,
        client: AsyncOpenAI,
        prompt: list[Message],
        sampling: Sampling,
        limit: str,
        regex: str,
        thinking: bool,
    ) -> ChatCompletion:
        options: JsonObject = {limit: sampling.max_tokens}
        more: JsonObject = {"structured_outputs": {"regex": regex}} if regex else {}  # vLLM's name since 0.12
        if self._switches:
            more[SWITCHES] = {"enable_thinking": thinking, "thinking": thinking}
        if more:
            options["extra_body"] = more
        return await client.chat.completions.create(
            model=self.model,
            messages=cast("list[ChatCompletionMessageParam]", prompt),
            temperature=sampling.temperature,
            seed=sampling.seed,
            **options,  # type: ignore[arg-type]
        )

    def _mended(
        self, prompt: Prompt, refused: Fitted, limit: str, switched: bool, error: openai.APIStatusError
    ) -> Fitted:
        """What to ask instead of a refused request: without arguments for the template, in the other name of
        the limit, or with shorter texts.
        """
        said = str(error)
        if switched and SWITCHES in said:
            self._switches = False
            return refused
        if limit == _LIMITS[0] and _LIMITS[1] in said:
            self._limit = _LIMITS[1]
            return refused
        if not TOO_LONG.search(said):
            raise self.named(error) from error
        try:
            return fitted(prompt, self.style, _characters, _characters(refused.messages) - 1)
        except PromptTooLong:
            raise PromptTooLong(
                "a prompt must fit the model's context together with its answer",
                seen=(
                    f"candidate set {prompt.set.set_id} ({prompt.set.task}, {len(prompt.set)} candidates) at"
                    f" {self.url}: {self.explained(error)}"
                ),
                remedy="use a smaller pool_size or history, or a model with a longer context",
            ) from error

    def _completion(
        self, answer: ChatCompletion, prompt: list[Message], thinking: bool, regex: str
    ) -> Completion:
        usage = getattr(answer, "usage", None)
        if usage is None or not answer.choices:
            raise self.spoken_otherwise(answer)
        choice, details = answer.choices[0], usage.prompt_tokens_details
        text = _text(choice.message, thinking).strip()
        return Completion(
            text=text,
            prompt=prompt[-1]["content"],
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            finish="length" if choice.finish_reason == "length" else "stop",
            milliseconds=0.0,
            cached_tokens=(details.cached_tokens or 0) if details else 0,
            constrained=bool(
                regex and re.fullmatch(regex, text)
            ),  # a server that does not know the parameter may ignore it
        )


def _address(name: str) -> tuple[str, str]:
    """Base URL and model of `openai:<base url>#<model>`."""
    url, _, model = name.removeprefix(OPENAI).partition("#")
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query:
        raise BadConfig(
            "an endpoint's address holds no secret: it is stored with what the model wrote",
            seen=f"a user, a password or a query in the address of {parts.hostname}",
            remedy=f"put the key into ${KEY}",
        )
    if not model or (url and (parts.scheme not in ("http", "https") or not parts.hostname)):
        raise BadConfig(
            "an endpoint is written openai:<base url>#<model>",
            seen=name,
            remedy="for example openai:http://127.0.0.1:8000/v1#my-model",
        )
    return url, model


def _key(url: str) -> str:
    """The key; empty where there is none: servers of one's own mostly want none."""
    key = os.environ.get(KEY, "")
    if not key and not url:
        raise BadConfig(
            "OpenAI wants a key",
            seen=f"no {KEY} in the environment",
            remedy=f"export {KEY}, or name an endpoint: openai:<base url>#<model>",
        )
    return key


def _characters(prompt: list[Message]) -> int:
    return sum(len(turn["content"]) for turn in prompt)


def _text(message: ChatCompletionMessage, thinking: bool) -> str:
    """The answer; reasoning that a server took out of it (vLLM, DeepSeek) stands before it again, in our
    tags, and also where none was asked for: an answer after hidden thoughts is no answer without them. A
    reasoning that the server's template has opened begins with our tag.
    """
    content = message.content or ""
    apart = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
    if OPEN in content:
        return content
    if apart and apart.strip():
        return f"{OPEN} {apart.strip()} {SHUT} {content}"
    return f"{OPEN} {content}" if thinking and SHUT in content else content
