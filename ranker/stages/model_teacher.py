"""A model as teacher: it answers the prompts of a policy for training queries, as often as asked, and what it
wrote are the traces, judged by the rules of `rejection_sampling`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from ranker import engines
from ranker.config import DistillParams, FanOutParams, Task
from ranker.engines import Completion, Engine, Sampling
from ranker.errors import BadConfig
from ranker.policy.parsing import parse
from ranker.policy.prompts import Prompt, Style, messages
from ranker.refs import digest
from ranker.stages import identity, rejection_sampling
from ranker.stages.asked_traces import TRACES, draws, shape, trace_id
from ranker.stages.completion_cache import Budget, Call, CompletionCache
from ranker.stages.fan_out import FannedOut, cluster
from ranker.types import CandidateSet, JsonObject

BATCH = 256
"""Prompts that a model here is given at once."""
SHARDS = 8
"""Times that, where workers share them: what is written down at once."""
log = logging.getLogger("ranker.stages.distill")


class ModelTeacher:
    """Who teaches some tasks of a run. `answers` are kept on disk as they come.

    Args:
        model: a folder of the data folder, or a name that `engines.load` takes.
        sets: key of the candidates stage whose training queries it is asked.
        style: the policy's prompt style, which the model has to speak.
    """

    def __init__(
        self, home: Path, model: str, tasks: Sequence[Task], params: DistillParams, *, sets: str, style: Style
    ) -> None:
        self.home, self.model, self.tasks, self.params = home, model, tasks, params
        self.style: Style = style
        self.answers = CompletionCache(home / "jobs" / self._key(sets))

    def _key(self, sets: str) -> str:
        """Identity of its answers.

        What only decides their use (budgets, prices, what is kept) is no part of it. Of the code it is the
        engines, the prompts and the types of both: what else they import gives them values that are named
        here.
        """
        wanted = (
            "traces",
            "rank_share",
            "nothink_share",
            "samples",
            "temperature",
            "max_completion_length",
            "seed",
        )
        asked = {name: getattr(self.params, name) for name in wanted}
        tasks = [shape(task) for task in self.tasks]
        made = engines.manifest(engines.located(self.model, self.home).removeprefix(engines.VLLM))
        code = identity.code(
            "ranker.engines",
            "ranker.policy.prompts",
            within=("ranker.engines", "ranker.policy", "ranker.types"),
        )
        # An endpoint's answers were paid for, and owe nothing to the libraries of this machine.
        libraries = {} if self._paid else code.libraries
        return digest("answers", self.model, made, asked, sets, self.style, tasks, code.modules, libraries)

    @property
    def _paid(self) -> bool:
        return self.model.startswith(engines.OPENAI)

    def traces(
        self, key: str, sets: Mapping[str, Sequence[CandidateSet]], budget: Budget, fan_out: FanOutParams
    ) -> tuple[pl.DataFrame, JsonObject]:
        """Traces for the batch `key`, and what they took; an unreadable answer is rejected with the parser's
        reason.

        Args:
            sets: by task, those of training queries.
            budget: what of it is spent counts for whoever teaches next.
            fan_out: who answers, where it is a model in a folder.
        """
        prompts = _in_turn([_asks(sets[task.name], self.params, task.name) for task in self.tasks])
        distinct = _distinct(prompts, self.style)
        samples = self.params.samples
        calls = [Call(prompt, sample) for prompt in distinct for sample in range(samples)]
        answers = self._answers(calls, budget, fan_out)
        rows = chain.from_iterable(
            self._rows(key, prompt, number, answers[number * samples : (number + 1) * samples])
            for number, prompt in enumerate(distinct)
        )
        traces = pl.DataFrame(list(rows), schema=TRACES, orient="row")
        ended = budget.spent if traces.height < len(calls) else ""
        if ended:
            log.warning(
                "%s: distill.%s is spent after %d of %d answers; the stage goes on with them",
                self.model,
                ended,
                traces.height,
                len(calls),
            )
        return traces, {
            "answers": traces.height,
            "wanted": len(calls),
            "same_prompt_left_out": len(prompts) - len(distinct),
            "prompt_tokens": int(traces["prompt_tokens"].sum()),
            "completion_tokens": int(traces["completion_tokens"].sum()),
            "cost": float(traces["cost"].sum()),
            "ended": ended,
        }

    def _answers(self, calls: Sequence[Call], budget: Budget, fan_out: FanOutParams) -> list[Completion]:
        params = self.params
        load: Callable[[], Engine] = partial(_engine, self.home, self.model, params, self.style)
        sampling = Sampling(params.max_completion_length, params.temperature, params.seed)
        if fan_out.engine == "local" or self._paid:
            batch = 4 * params.concurrency if self._paid else BATCH
            return self.answers.answers(calls, load, sampling, budget, batch)
        shared = partial(FannedOut, self.model, self.style, load, fan_out, BATCH)
        with cluster(fan_out):
            return self.answers.answers(calls, shared, sampling, budget, SHARDS * BATCH)

    def _rows(
        self, key: str, prompt: Prompt, number: int, answers: Sequence[Completion]
    ) -> Iterator[tuple[object, ...]]:
        """Rows of the samples of one prompt."""
        params = self.params
        actions = [
            parse(
                done.text, prompt.set.labels, prompt.mode, prompt.thinking, truncated=done.finish == "length"
            )
            for done in answers
        ]
        reasons = rejection_sampling.reasons(
            [(done.text, action) for done, action in zip(answers, actions, strict=True)],
            prompt.mode,
            prompt.set.relevance,
            reject=params.reject,
            majority=params.majority,
            keep=params.keep,
            above=params.reward_above,
        )
        for sample, (done, action, reason) in enumerate(zip(answers, actions, reasons, strict=True)):
            yield (
                trace_id(key, f"{prompt.set.task}|{self.model}", number * params.samples + sample),
                prompt.set.set_id,
                prompt.set.task,
                prompt.mode,
                prompt.thinking,
                list(prompt.set.labels),
                _short(self.model),
                "model",
                done.text,
                list(action.labels),
                not reason,
                reason,
                done.prompt_tokens,
                done.completion_tokens,
                done.milliseconds,
                (done.prompt_tokens * params.price_in + done.completion_tokens * params.price_out) / 1e6,
            )


def _engine(home: Path, model: str, params: DistillParams, style: Style) -> Engine:
    engine = engines.load(
        engines.located(model, home),
        batch=BATCH,
        concurrency=params.concurrency,
    )
    if engine.style != style:
        raise BadConfig(
            "a model as teacher must speak the policy's prompt style",
            seen=f"{model} speaks {engine.style}, train.policy.style is {style}",
            remedy=f"set train.policy.style to {engine.style}, or distill.teacher to classical",
        )
    return engine


def _asks(train: Sequence[CandidateSet], params: DistillParams, task: str) -> list[Prompt]:
    relevance = np.array([[c.relevance for c in given.candidates] for given in train])
    drawn = draws(params, task, relevance)
    sets: list[CandidateSet] = [train[row] for row in drawn.row]
    return [
        Prompt(
            "rank" if rank else "exclude",
            bool(think),
            given.keep([label for label, keep in zip(given.labels, mask, strict=True) if keep]),
        )
        for given, mask, rank, think in zip(sets, drawn.shown, drawn.whole, drawn.thinking, strict=True)
    ]


def _in_turn(tasks: Sequence[Sequence[Prompt]]) -> list[Prompt]:
    """One ask of each task, then the next of each: a budget that ends the stage leaves every task its
    share.
    """
    return [
        prompts[number]
        for number in range(max(map(len, tasks)))
        for prompts in tasks
        if number < len(prompts)
    ]


def _distinct(prompts: Sequence[Prompt], style: Style) -> list[Prompt]:
    """The first ask of every prompt: the same words asked again would be further samples under another
    name.
    """
    first: dict[str, Prompt] = {}
    for prompt in prompts:
        first.setdefault(messages(prompt, style)[-1]["content"], prompt)
    return list(first.values())


def _short(model: str) -> str:
    """A model's name as a teacher: the folder's, or what an endpoint calls it."""
    return model.partition("#")[2] if model.startswith(engines.OPENAI) else Path(model).name
