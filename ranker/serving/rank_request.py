"""Rank one query's candidates with a trained policy: the same prompts, parser and strategies as in
training.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ranker.config import StrategyName, task
from ranker.engines import Sampling, load, reasons
from ranker.errors import BadSource
from ranker.strategies import strategy
from ranker.strategies.call import Call
from ranker.types import Candidate, CandidateSet, Episode, Fields, JsonObject, Step, slot_labels


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")
    id: str = Field(min_length=1)
    text: str = ""


class _Met(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1)
    id: str = ""


class Request(BaseModel):
    """What `ranker rank` reads: a task, a query text or a history of items by title, and at least two
    candidates.
    """

    model_config = ConfigDict(extra="forbid")
    task: str
    query: str = ""
    history: list[str | _Met] = Field(default_factory=list[str | _Met])
    candidates: list[_Item] = Field(min_length=2)

    @field_validator("candidates")
    @classmethod
    def _distinct(cls, value: list[_Item]) -> list[_Item]:
        if len({item.id for item in value}) < len(value):
            raise ValueError("candidate ids must be distinct")
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
        likelihood policy's steps have "log_likelihoods" (as pool) and "temperature" besides.

    Raises:
        BadSource: the payload is not as it should be.
        BadConfig: the task does not exist.
        BadModel: the model folder cannot be loaded.
    """
    try:
        request = Request.model_validate(payload)
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
    (episode,) = strategy(how)([given], engine, thinking=reasons(engine, thinking), sampling=sampling)
    return _answer(episode, given)


def _as_set(request: Request) -> CandidateSet:
    task(request.task)
    labels = slot_labels(len(request.candidates))
    pool = tuple(
        Candidate(label, item.id, item.text or item.id, 0.0)
        for label, item in zip(labels, request.candidates, strict=True)
    )
    met = [_Met(text=one, id=one) if isinstance(one, str) else one for one in request.history]
    query = request.query or "; ".join(one.text for one in met)
    items = tuple(one.id or one.text for one in met)
    return CandidateSet("request", request.task, "serve", "request", query, items, pool)


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
