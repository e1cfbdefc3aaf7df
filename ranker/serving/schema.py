"""The rerank request and answer, as Cohere, Jina and vLLM have them: reading, bounds, and what a score
means. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, isfinite
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from ranker.config import task_names
from ranker.datasets.values import as_text
from ranker.errors import RankerError
from ranker.metrics.calibration import probability
from ranker.policy.likelihood import log_policy
from ranker.policy.texts import readable
from ranker.serving.settings import Bounds
from ranker.strategies.call import Call
from ranker.strategies.likelihood import log_likelihoods
from ranker.types import Candidate, CandidateSet, Episode, JsonObject, Step, slot_labels

Calibration = tuple[float, float]
"""Slope and offset (ranker/metrics/calibration.py)."""
Kind = Literal["calibrated", "softmax", "probability", "place"]
"""What a score is: see `scores`."""
MOST_LABELS = 702
"""A to ZZ: no pool can be larger."""
_IGNORED = frozenset(
    {
        "model",
        "max_chunks_per_doc",
        "max_tokens_per_doc",
        "truncate_prompt_tokens",
        "truncation",
        "return_embeddings",
        "priority",
        "additional_data",
        "use_activation",
        "encoding_format",
    }
)
"""Fields that clients send and that mean nothing here: the server has one model, and shortens candidates by
its own rule (prompts.fit). A null field is an absent one.
"""


def failure(said: str) -> dict[str, str]:
    """The JSON of a failure: clients of Cohere read `message`, of Jina `detail`."""
    return {"message": said, "detail": said}


class Refusal(RankerError):
    """A request is not ranked; `status` is the answer's HTTP status, `headers` go with it."""

    def __init__(
        self, status: int, rule: str, *, seen: str, remedy: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(rule, seen=seen, remedy=remedy)
        self.status, self.headers = status, dict(headers or {})

    @property
    def body(self) -> dict[str, str]:
        """The answer's JSON."""
        return failure(f"{self.rule}; seen: {self.seen}; remedy: {self.remedy}")


class Rerank(BaseModel):
    """What a client may ask."""

    model_config = ConfigDict(extra="forbid")

    query: str = Field(default="", description="What to rank for.")
    documents: list[str | JsonObject] = Field(
        min_length=1, description="Texts, or objects with `text` and perhaps `id`."
    )
    top_n: int | None = Field(
        default=None, ge=0, description="Only the best so many; absent, null or 0: all."
    )
    min_score: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description=(
            "Leave out documents whose calibrated probability of relevance is below it, all of them where"
            " none reaches it; for policies that have such probabilities."
        ),
    )
    return_documents: bool = Field(default=False, description="Give each document back beside its place.")
    rank_fields: list[str] | None = Field(
        default=None, min_length=1, description="Fields of document objects to rank by, instead of `text`."
    )
    task: str = Field(
        default="", description="How the question is worded (docs/tasks.md); absent: the server's own."
    )
    history: list[str | JsonObject] = Field(
        default_factory=list[str | JsonObject],
        description=(
            "Recommendation: what the user met, oldest first: titles, or objects with `text` and perhaps"
            " `id`; beside a query that says it in words, ids will do."
        ),
    )
    user: str | int | None = Field(
        default=None, description="Whose request it is: what `ranker forget` is given. It changes no ranking."
    )
    reasons: bool = Field(default=False, description="Give what the model wrote in each of its calls.")

    @property
    def texts(self) -> list[str]:
        """What is ranked of each document."""
        return [
            document if isinstance(document, str) else _text(document, self.rank_fields)
            for document in self.documents
        ]

    @property
    def sent(self) -> tuple[str, ...]:
        """Every text that is shown to a model, as it came."""
        return (*([self.query] if self.query else self.met), *self.texts)

    @property
    def met(self) -> list[str]:
        """The history in words."""
        return [one if isinstance(one, str) else as_text(one.get("text")) or "" for one in self.history]

    @property
    def items(self) -> tuple[str, ...]:
        """The history by the client's ids, where it gave any."""
        return tuple(
            one if isinstance(one, str) else words if one.get("id") is None else str(one["id"])
            for one, words in zip(self.history, self.met, strict=True)
        )


def read(body: bytes, bounds: Bounds, default_task: str) -> Rerank:
    """The request in a body, `task` filled in.

    NaN and infinite numbers, which JSON does not have and Python's writes, are null.

    Raises:
        Refusal: 422 where it is no such request, or holds more than the bounds allow.
    """
    try:
        sent = finite(from_json(body))
    except ValueError as error:
        raise Refusal(
            422,
            "a rerank request is JSON",
            seen=str(error)[:200],
            remedy="send application/json as docs/serving.md shows",
        ) from error
    if not isinstance(sent, dict):
        raise Refusal(
            422,
            "a rerank request is one JSON object",
            seen=repr(sent)[:200],
            remedy="send query and documents as docs/serving.md shows",
        )
    return validated(cast("JsonObject", sent), bounds, default_task)


def validated(sent: JsonObject, bounds: Bounds, default_task: str) -> Rerank:
    """The request that a JSON object is, `task` filled in.

    Raises:
        Refusal: as `read`.
    """
    try:
        given = Rerank.model_validate(
            {name: value for name, value in sent.items() if name not in _IGNORED and value is not None}
        )
    except ValidationError as error:
        raise _unlike(error) from error
    request = given.model_copy(update={"task": given.task or default_task})
    _require(request, bounds)
    return request


def candidate_set(request: Rerank, request_id: str) -> CandidateSet:
    """The request as strategies take it; its documents are labelled as sent. `item_id` is the document's own
    id, else its place; a history without a query is the query, in words. What is no character is U+FFFD.
    """
    rows = zip(slot_labels(len(request.documents)), request.documents, request.texts, strict=True)
    pool = tuple(
        Candidate(label, readable(_identity(document, place)), readable(text), 0.0)
        for place, (label, document, text) in enumerate(rows)
    )
    query = readable(request.query or "; ".join(request.met))
    items = tuple(map(readable, request.items))
    return CandidateSet(request_id, request.task, "serve", request_id, query, items, pool)


def noticed(given: CandidateSet, sent: Iterable[str], episode: Episode) -> dict[str, int]:
    """What an answer says of the texts of its request, so that nothing happens to them in silence: how many
    candidates have none (`empty`), in how many texts U+FFFD stands for what is no character (`mended`), and
    of how many a model did not get every word in one call (`shortened`).

    Args:
        sent: the texts as the client sent them.
    """
    return {
        "empty": sum(not candidate.text.strip() for candidate in given.candidates),
        "mended": sum(text != readable(text) for text in sent),
        "shortened": max((step.shortened for step in episode.steps if isinstance(step, Call)), default=0),
    }


@dataclass(frozen=True, slots=True)
class Scores:
    """One score a candidate, by label; `kind` says what it is."""

    kind: Kind
    by_label: dict[str, float]


def scores(episode: Episode, calibration: Calibration | None = None) -> Scores:
    """How relevant each candidate was found, 1 to 0.

    A likelihood policy: `calibrated`, P(relevant) of each candidate by itself, where the model has a
    calibration for the task; else `softmax`, P(named best) among those shown, at the policy's temperature.

    Any other policy: `probability`, where one call scored the whole pool (first-token): that of being named
    best, or 1 − that of being excluded. `place` for any other strategy: (n − place) / (n − 1), with places
    from 1 to n. It says the order and nothing more.
    """
    likely = _likelihoods(episode)
    if likely and calibration:
        return Scores(
            "calibrated", {label: probability(score, calibration) for label, score in likely.items()}
        )
    if likely:
        shares = log_policy(likely, _temperature(episode), "rank")
        return Scores("softmax", {label: exp(share) for label, share in shares.items()})
    only = episode.steps[0] if len(episode.steps) == 1 else None
    if isinstance(only, Call) and only.scores and len(only.taken) == len(episode.ranking):
        named = {label: exp(score) for label, score in zip(only.pool, only.scores, strict=True)}
        return Scores(
            "probability",
            named if only.mode == "rank" else {label: 1 - share for label, share in named.items()},
        )
    last = max(len(episode.ranking) - 1, 1)
    return Scores("place", {label: 1 - place / last for place, label in enumerate(episode.ranking)})


def _likelihoods(episode: Episode) -> dict[str, float]:
    """A likelihood policy's scores, from whichever calls tell them; empty for any other, and where nothing
    was asked about some candidate.
    """
    found = log_likelihoods(episode.steps)
    return found if len(found) == len(episode.ranking) else {}


def _temperature(episode: Episode) -> float:
    (found,) = {step.temperature for step in episode.steps if isinstance(step, Call)}
    assert found is not None, "a call with log-likelihoods has their temperature"
    return found


@dataclass(frozen=True, slots=True)
class By:
    """Who ranked: as `model` and `meta` of an answer tell it, and what makes its scores probabilities."""

    model: str
    version: str = ""
    calibration: Calibration | None = None
    """Of the request's task; None for a policy that has none."""


def require_probabilities(request: Rerank, by: By, there: bool) -> None:
    """A threshold is for scores that mean the same in every request.

    Args:
        there: whether the scores are (or will be) such.

    Raises:
        Refusal: 422 where they are not, and there is a threshold.
    """
    if request.min_score and not there:
        raise Refusal(
            422,
            "min_score needs probabilities of relevance: a likelihood policy, calibrated for the task",
            seen=f"min_score {request.min_score:g}, and none for {request.task} by {by.model}",
            remedy="leave it away, or serve a likelihood policy whose validation had this task",
        )


def best(request: Rerank, episode: Episode, by: By) -> list[str]:
    """Labels of the documents that the request asks for, best first.

    Raises:
        Refusal: as require_probabilities.
    """
    score = scores(episode, by.calibration)
    require_probabilities(request, by, score.kind == "calibrated")
    kept = [label for label in episode.ranking if score.by_label[label] >= request.min_score]
    return kept[: request.top_n or len(kept)]


def answer(
    request: Rerank, given: CandidateSet, episode: Episode, by: By, order: Sequence[str] | None = None
) -> JsonObject:
    """The answer: results best first, the tokens that it cost, and how it was made.

    Args:
        order: of `best`, to show them in another one.

    Raises:
        Refusal: as require_probabilities.
    """
    place = {label: number for number, label in enumerate(given.labels)}
    score = scores(episode, by.calibration)
    shown = best(request, episode, by) if order is None else order
    left_out = sum(value < request.min_score for value in score.by_label.values())
    results = [_result(request, place[label], score.by_label[label]) for label in shown]
    read, wrote = (
        sum(step.prompt_tokens for step in episode.steps),
        sum(step.completion_tokens for step in episode.steps),
    )
    return {
        "id": given.set_id,
        "model": by.model,
        "results": results,
        "usage": {"prompt_tokens": read, "completion_tokens": wrote, "total_tokens": read + wrote},
        "meta": {
            "api_version": {"version": "1"},
            "tokens": {"input_tokens": read, "output_tokens": wrote},
            "model_version": by.version,
            "task": request.task,
            "strategy": episode.strategy,
            "score": score.kind,
            "left_out": left_out,
            **noticed(given, request.sent, episode),
            "calls": len(episode.steps),
            "invalid_calls": sum(not step.valid for step in episode.steps),
        },
        **({"reasons": [_reason(step, place) for step in episode.steps]} if request.reasons else {}),
    }


def alone(given: CandidateSet, strategy: str) -> Episode:
    """The ranking of a single document: nothing to ask."""
    return Episode(given.set_id, strategy, False, given.labels, ())


def _result(request: Rerank, place: int, score: float) -> JsonObject:
    document = request.documents[place]
    shown = (
        {"document": {"text": document} if isinstance(document, str) else document}
        if request.return_documents
        else {}
    )
    return {"index": place, "relevance_score": score, **shown}


def _reason(step: Step, place: Mapping[str, int]) -> JsonObject:
    """A call in the request's own terms: documents by index. `labels` tells those that the completion
    names.
    """
    return {
        "documents": [place[label] for label in step.pool],
        "labels": list(step.pool),
        "action": [place[label] for label in step.action],
        "taken": [place[label] for label in step.taken],
        "valid": step.valid,
        "reason": step.reason,
        "completion": step.completion,
    }


def _require(request: Rerank, bounds: Bounds) -> None:
    if not request.task:
        raise Refusal(
            422,
            "a request needs a task, or the server a default",
            seen="no field `task`",
            remedy="send `task`, or start `ranker serve` with --task",
        )
    if request.task not in _tasks():
        raise Refusal(
            422,
            "the task must exist",
            seen=repr(request.task)[:80],
            remedy=f"choose one of {', '.join(sorted(_tasks()))}",
        )
    if not request.query.strip() and not request.history:
        raise Refusal(
            422,
            "a request needs something to rank for",
            seen="an empty query and no history",
            remedy="send `query`, or for recommendations `history`",
        )
    if not all(
        isinstance(one, str) or words for one, words in zip(request.history, request.met, strict=True)
    ):
        raise Refusal(
            422,
            "an item of a history is a title, or an object with `text`",
            seen="an object without one",
            remedy="send `text`, and `id` beside it where there is one",
        )
    own = [str(one["id"]) for one in request.documents if isinstance(one, dict) and one.get("id") is not None]
    if len(set(own)) < len(own):
        twice = next(name for name in own if own.count(name) > 1)
        raise Refusal(
            422,
            "documents have ids of their own",
            seen=f"{twice!r} {own.count(twice)} times"[:200],
            remedy="send each document once, or leave the ids away; equal texts may have different ids",
        )
    if len(request.documents) > bounds.documents:
        raise Refusal(
            422,
            f"a request holds at most {bounds.documents} documents",
            seen=f"{len(request.documents)}",
            remedy="send fewer; a first stage (BM25, embeddings) finds them",
        )
    characters = sum(map(len, (request.query, *request.met, *request.items, *request.texts)))
    if characters > bounds.characters:
        raise Refusal(
            422,
            f"a request holds at most {bounds.characters} characters",
            seen=f"{characters}",
            remedy="send fewer documents or shorter ones",
        )


@lru_cache(maxsize=1)
def _tasks() -> frozenset[str]:
    return frozenset(task_names())


def _identity(document: str | JsonObject, place: int) -> str:
    own = document.get("id") if isinstance(document, dict) else None
    return str(own) if own is not None else str(place)


def _text(document: JsonObject, fields: list[str] | None) -> str:
    wanted = fields or ["text"]
    missing = [name for name in wanted if document.get(name) is None]
    if missing and not (fields is None and document.get("id") is not None):
        raise Refusal(
            422,
            "a document is a text, or an object with `text`",
            seen=f"an object with {', '.join(map(str, document)) or 'nothing'}"[:200],
            remedy="send `text`, or name the fields that are there in `rank_fields`",
        )
    found = {name: as_text(document.get(name)) for name in wanted}
    if other := [name for name, words in found.items() if words is None]:
        raise Refusal(
            422,
            "what a document is ranked by is text, a number, or a list of them",
            seen=f"{other[0]}: {document[other[0]]!r}"[:200],
            remedy="send the text, or name other fields in `rank_fields`",
        )
    if len(wanted) == 1:
        return found[wanted[0]] or as_text(document.get("id")) or ""
    return "\n".join(f"{name}: {words}" for name, words in found.items())


def finite(value: object) -> object:
    """A JSON value with null for NaN and infinite numbers."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list):
        return [finite(part) for part in cast("list[object]", value)]
    if isinstance(value, dict):
        return {name: finite(part) for name, part in cast("JsonObject", value).items()}
    return value


def _unlike(error: ValidationError) -> Refusal:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("str", "dict[str,any]")) or "the body"
    return Refusal(
        422,
        f"a rerank request is JSON with query and documents: {where}: {first['msg']}",
        seen=repr(first.get("input"))[:200],
        remedy=f"fields are {', '.join(Rerank.model_fields)}; docs/serving.md",
    )
