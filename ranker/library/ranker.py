"""`Ranker`: a model, how it ranks, and for what task."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Self
from uuid import uuid4

from ranker.config import EvaluateParams, parse_params, task
from ranker.engines import OPENAI, VLLM, Engine, calibration, load, manifest, require
from ranker.errors import BadConfig
from ranker.library.registry import registered
from ranker.library.results import Results, results
from ranker.policy.prompts import Style
from ranker.serving.episodes import episodes
from ranker.serving.schema import (
    MOST_LABELS,
    By,
    Rerank,
    candidate_set,
    require_probabilities,
    validated,
)
from ranker.serving.settings import Bounds, How
from ranker.strategies import strategy as named
from ranker.strategies.direct import Direct
from ranker.types import Fields, JsonObject

Document = str | Fields
"""A text, or an object with `text` and perhaps `id`."""
CHAMPION = "champion"
LIKELIHOOD: Style = "likelihood"
ANY = "passage-7"
"""The task of a model that was trained for none: passages by how well they answer a question."""
TOP = 10
BOUNDS = Bounds(documents=MOST_LABELS, characters=sys.maxsize)


class Ranker:
    """Ranks documents for a query, or items for a history, as `ranker serve` does with the same model.

    One call at a time runs: others, from whatever thread, wait for it. The first loads nothing more than the
    model that the constructor has loaded.

    Args:
        engine: the model (`ranker.engines.load`).
        how: strategy, reasoning and decoding.
        name: of the model, in results.
        task: of requests that name none, which says how the question is worded (docs/tasks.md).
        tasks: those the model was trained for, which are taken where there is no other: with a history the
            first recommendation, else the first other one.
    """

    def __init__(
        self, engine: Engine, how: How, *, name: str = "", task: str = "", tasks: Sequence[str] = ()
    ) -> None:
        self.engine, self.how, self.name, self.task = engine, how, name or engine.name, task
        self.tasks = tuple(tasks)
        self._alone = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ranking")

    @classmethod
    def from_registry(
        cls,
        version: str | int = CHAMPION,
        *,
        name: str = "",
        home: str | Path = "",
        tracking_uri: str = "",
        strategy: str = "",
        task: str = "",
        device: str = "auto",
    ) -> Self:
        """A registered version, ranking as it was evaluated.

        Args:
            version: an alias (`champion`, `challenger`) or a number.
            name: of the registered model; empty for `register.name`'s default.
            home: the data folder; empty for $RANKER_HOME, else ./data.
            tracking_uri: of another registry than the data folder's; that one is asked through MLflow, whose
                import takes seconds.
            strategy: another than the version was evaluated with.
            task: of requests that name none; empty for one that the model was trained for.
            device: auto, cpu or cuda.

        Raises:
            StageMissing: there is no such version.
            BadRegistry, Unreachable: the registry cannot be read, or does not answer.
            BadModel: the version's folder is gone or not whole.
            BadConfig: there is no such strategy or task.
        """
        chosen = {key: value for key, value in (("name", name), ("tracking_uri", tracking_uri)) if value}
        params = parse_params({"home": str(home), "register": chosen})
        found = registered(params.home_path, params.register_, version)
        folder = params.home_path / found.model
        require(folder)
        how = How(named(strategy or found.strategy), None if strategy else found.thinking)
        return cls._loaded(str(folder), how, f"{params.register_.name}:{found.version}", task, device)

    @classmethod
    def from_pretrained(
        cls, model: str | Path, *, strategy: str = LIKELIHOOD, task: str = "", device: str = "auto"
    ) -> Self:
        """A model that is not registered.

        Args:
            model: a folder, a name on the hub, `vllm:` before either, or `openai:URL#NAME`.
            strategy: `likelihood` asks any causal LM how likely it finds texts and orders by that, in one
                pass; any other (docs/strategies.md) asks the model as it was trained to be asked.
            task: of requests that name none; empty for one that the model was trained for, else passages by
                how well they answer a question.
            device: auto, cpu or cuda.

        Raises:
            BadModel: the model cannot be loaded.
            BadConfig: there is no such strategy or task, or a policy that was trained to write its answers is
                to be scored.
        """
        name, scored = str(model), strategy == LIKELIHOOD
        own = manifest(name.removeprefix(VLLM)).get("style", LIKELIHOOD)
        if scored and own != LIKELIHOOD:
            raise BadConfig(
                "a policy that was trained to write its answers is not asked for likelihoods",
                seen=f"{name}: trained as {own}",
                remedy='name a strategy of written answers, for example strategy="iterative"',
            )
        short = name if name.startswith((OPENAI, VLLM)) else Path(name).name
        how = How(Direct() if scored else named(strategy))
        return cls._loaded(name, how, short, task, device, LIKELIHOOD if scored else None)

    @classmethod
    def _loaded(
        cls, model: str, how: How, name: str, asked: str, device: str, style: Style | None = None
    ) -> Self:
        if asked:
            task(asked)  # refused now and not by the first request
        batch = EvaluateParams().per_device_eval_batch_size
        engine = load(model, style=style, device=device, batch=batch)
        tasks = manifest(model.removeprefix(VLLM)).get("tasks", ())
        return cls(engine, how, name=name, task=asked, tasks=tasks)

    def rank(
        self,
        query: str = "",
        documents: Sequence[Document] = (),
        *,
        history: Sequence[Document] = (),
        top_k: int | None = TOP,
        min_score: float = 0.0,
        task: str = "",
    ) -> Results:
        """The best `top_k` documents, best first.

        Args:
            query: what to rank for.
            documents: texts, or objects with `text` and perhaps `id`; 1 to 702.
            history: recommendation: what the user met, oldest first, as documents are; instead of a query.
            top_k: None for all.
            min_score: documents below it are left out; for scores that are `calibrated`.
            task: how the question is worded.

        Raises:
            Refusal: it is no such request.
            PromptTooLong: the model cannot be shown it, even shortened.
            BadConfig: the task or the strategy does not suit the model.
        """
        (found,) = self._ranked([self._request(query, documents, history, top_k, min_score, task)])
        return found

    def rank_many(
        self,
        requests: Iterable[tuple[str, Sequence[Document]]],
        *,
        top_k: int | None = TOP,
        min_score: float = 0.0,
        task: str = "",
    ) -> list[Results]:
        """One ranking a (query, documents), in order; the model reads them together.

        Raises:
            As rank, for any of them.
        """
        return self._ranked(
            [self._request(query, given, (), top_k, min_score, task) for query, given in requests]
        )

    async def arank(
        self,
        query: str = "",
        documents: Sequence[Document] = (),
        *,
        history: Sequence[Document] = (),
        top_k: int | None = TOP,
        min_score: float = 0.0,
        task: str = "",
    ) -> Results:
        """As rank, in a thread of the ranker's own."""
        work = partial(self.rank, history=history, top_k=top_k, min_score=min_score, task=task)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, query, documents)

    async def arank_many(
        self,
        requests: Iterable[tuple[str, Sequence[Document]]],
        *,
        top_k: int | None = TOP,
        min_score: float = 0.0,
        task: str = "",
    ) -> list[Results]:
        """As rank_many, in a thread of the ranker's own."""
        work = partial(self.rank_many, top_k=top_k, min_score=min_score, task=task)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, requests)

    def _request(
        self,
        query: str,
        documents: Sequence[Document],
        history: Sequence[Document],
        top_k: int | None,
        min_score: float,
        asked: str,
    ) -> Rerank:
        sent = {
            "query": query,
            "documents": [_plain(one) for one in documents],
            "history": [_plain(one) for one in history],
            "top_n": top_k,
            "min_score": min_score,
            "task": asked or self.task or self._own_task(bool(history)),
        }
        request = validated(sent, BOUNDS, "")
        by = self._by(request)
        require_probabilities(request, by, by.calibration is not None)
        return request

    def _ranked(self, requests: Sequence[Rerank]) -> list[Results]:
        sets = [candidate_set(one, uuid4().hex) for one in requests]
        with self._alone:
            ranked = episodes(sets, self.engine, self.how)
        return [
            results(request, given, episode, self._by(request))
            for request, given, episode in zip(requests, sets, ranked, strict=True)
        ]

    def _by(self, request: Rerank) -> By:
        return By(self.name, calibration=calibration(self.engine, request.task))

    def _own_task(self, recommends: bool) -> str:
        own = (one for one in self.tasks if (task(one).scenario == "recommendation") == recommends)
        found = next(own, "" if recommends else ANY)
        if not found:
            raise BadConfig(
                "items for a history are ranked by a task of recommendation",
                seen=f"none that {self.name} was trained for, and no other is named",
                remedy='name one, for example task="rec-movie" (docs/tasks.md)',
            )
        return found


def _plain(document: Document) -> str | JsonObject:
    return document if isinstance(document, str) else dict(document)
