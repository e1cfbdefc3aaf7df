"""Rank one query's candidates with a trained policy: the same prompts, parser and strategies as in
training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from ranker.config import StrategyName, task
from ranker.datasets.values import as_text
from ranker.engines import Sampling, load
from ranker.errors import BadSource
from ranker.policy.texts import readable
from ranker.serving.episodes import episodes
from ranker.serving.schema import MOST_LABELS, finite, noticed
from ranker.serving.settings import How
from ranker.strategies import strategy
from ranker.strategies.call import Call
from ranker.types import Candidate, CandidateSet, Episode, Fields, JsonObject, Step, slot_labels


def _given(value: object) -> object:
    """A text as it may come: missing, a number, a list of texts; anything else is left to be refused."""
    found = as_text(value)
    return value if found is None else found


Text = Annotated[str, BeforeValidator(_given)]


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: Annotated[Text, Field(min_length=1)]
    text: Text = ""


class _Met(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: Annotated[Text, Field(min_length=1)]
    id: Text = ""


class Request(BaseModel):
    """What `ranker rank` reads: a task, a query text or a history of items by title, and candidates."""

    model_config = ConfigDict(extra="forbid")
    task: str
    query: Text = ""
    history: list[str | _Met] = Field(default_factory=list[str | _Met])
    candidates: list[_Item] = Field(min_length=1, max_length=MOST_LABELS)

    @field_validator("candidates")
    @classmethod
    def _distinct(cls, value: list[_Item]) -> list[_Item]:
        seen = set[str]()
        for item in value:
            if item.id in seen:
                raise ValueError(f"candidate ids must be distinct; {item.id!r} stands there twice")
            seen.add(item.id)
        return value


def rank(
    payload: Fields,
    model: Path,
    *,
    how: StrategyName = "iterative",
    thinking: bool | None = None,
    max_tokens: int = 256,
    constrained: bool = False,
) -> JsonObject:
    """Rank the candidates of one request.

    Args:
        thinking: None where the model can reason.

    Returns:
        {"ranking": [{"id", "text"} best first], "valid": bool, "strategy", "thinking", "calls",
        "steps": [{"pool", "reason", "action", "valid", "completion"}]}; ids in the caller's own terms. A
        likelihood policy's steps have "log_likelihoods" (as pool) and "temperature" besides. "empty",
        "mended" and "shortened" count texts (`schema.noticed`).

    Raises:
        BadSource: the payload is not as it should be.
        BadConfig: the task does not exist.
        BadModel: the model folder cannot be loaded.
    """
    try:
        request = Request.model_validate(finite(dict(payload)))
    except ValidationError as error:
        first = error.errors()[0]
        raise BadSource(
            "a rank request is {task, query or history, candidates: [{id, text}, …]}:"
            f" {'.'.join(map(str, first['loc']))}: {first['msg']}",
            seen=repr(first.get("input"))[:200],
            remedy="see `ranker rank --help` for an example",
        ) from error
    given, engine = _as_set(request), load(model)
    sampling = Sampling(max_tokens, constrained=constrained)
    (episode,) = episodes([given], engine, How(strategy(how), thinking, sampling))
    return _answer(episode, given) | noticed(given, _texts(request), episode)


def _as_set(request: Request) -> CandidateSet:
    task(request.task)
    labels = slot_labels(len(request.candidates))
    pool = tuple(
        Candidate(label, readable(item.id), readable(item.text or item.id), 0.0)
        for label, item in zip(labels, request.candidates, strict=True)
    )
    met = [(one, one) if isinstance(one, str) else (one.text, one.id or one.text) for one in request.history]
    query = readable(request.query or "; ".join(text for text, _ in met))
    items = tuple(readable(item) for _, item in met)
    return CandidateSet("request", request.task, "serve", "request", query, items, pool)


def _texts(request: Request) -> list[str]:
    """Every text of a request that a model is shown, as it came."""
    met = [one if isinstance(one, str) else one.text for one in request.history]
    return [*([request.query] if request.query else met), *(item.text for item in request.candidates)]


def _answer(episode: Episode, given: CandidateSet) -> JsonObject:
    item = {c.label: c for c in given.candidates}
    steps = [
        {
            "pool": [item[label].item_id for label in step.pool],
            "action": [item[label].item_id for label in step.action],
            "valid": step.valid,
            "reason": step.reason,
            "completion": step.completion,
            **_scores(step),
        }
        for step in episode.steps
    ]
    return {
        "ranking": [{"id": item[label].item_id, "text": item[label].text} for label in episode.ranking],
        "valid": episode.valid,
        "strategy": episode.strategy,
        "thinking": episode.thinking,
        "calls": len(steps),
        "labels": {c.label: c.item_id for c in given.candidates},
        "steps": steps,
    }


def _scores(step: Step) -> JsonObject:
    if not isinstance(step, Call) or not step.log_likelihoods:
        return {}
    return {"log_likelihoods": list(step.log_likelihoods), "temperature": step.temperature}
