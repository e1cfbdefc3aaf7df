"""What became of an answer, as clients send it to `/v1/feedback`: reading, bounds, and when two events are
the same. Pure, but for the memory of what was answered.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Annotated, Literal, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from ranker.policy.texts import readable
from ranker.refs import digest
from ranker.serving.schema import Refusal
from ranker.types import JsonObject

MOST_BYTES = 8_192
"""Of one event."""
MOST_CHARACTERS = 512
"""Of an id."""
CLOCKS = timedelta(minutes=5)
"""By which a client's clock may differ from the server's."""
REMEMBERED = 100_000
"""Requests that a server knows to have answered; of others it says that it does not."""

Id = Annotated[str, Field(min_length=1, max_length=MOST_CHARACTERS)]


class Feedback(BaseModel):
    """What a client may say of one document of an answer."""

    model_config = ConfigDict(extra="forbid")

    request_id: Id = Field(description="`id` of the answer.")
    document_id: Id | Annotated[int, Field(strict=True, ge=0)] = Field(
        description="The document's own `id`; of one that was sent without, its `index` in the answer."
    )
    event: Literal["click", "rating", "purchase"] = Field(description="What happened.")
    value: float | None = Field(default=None, description="Of a rating, and of nothing else.")
    time: AwareDatetime | None = Field(
        default=None, description="When it happened: ISO 8601 with a zone; absent: now."
    )
    user: str | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_CHARACTERS,
        description="Whose doing it was: what `ranker forget` is given.",
    )


def read(body: bytes, now: datetime) -> Feedback:
    """The event in a body.

    Raises:
        Refusal: 422 where it is no such event, or lies in the future.
    """
    try:
        given = Feedback.model_validate(_present(from_json(body)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        raise _refusal(f"feedback is one JSON object: {where}: {first['msg']}", first.get("input")) from error
    except ValueError as error:
        raise _refusal("feedback is JSON", str(error)) from error
    if (given.event == "rating") != (given.value is not None) or not isfinite(given.value or 0.0):
        raise _refusal("a rating has a finite `value`, and nothing else has one", given.value)
    if given.time is not None and given.time > now + CLOCKS:
        raise _refusal("an event has happened", given.time.isoformat())
    return given


def _present(sent: object) -> object:
    """A null field is an absent one, as in a rerank request."""
    if not isinstance(sent, dict):
        return sent
    return {name: value for name, value in cast("JsonObject", sent).items() if value is not None}


def _refusal(rule: str, seen: object) -> Refusal:
    return Refusal(
        422,
        rule,
        seen=repr(seen)[:200],
        remedy=f"fields are {', '.join(Feedback.model_fields)}; docs/feedback.md",
    )


def record(given: Feedback, now: datetime) -> JsonObject:
    """An event as one line of the log.

    Two events are the same (`event_id`) where all that the client sent but the user is: a client that tries
    again, with its own time or without any, counts once.
    """
    request, document = readable(given.request_id), readable(str(given.document_id))
    at = given.time.astimezone(UTC).isoformat() if given.time else ""
    return {
        "event_id": digest(request, document, given.event, given.value, at),
        "set_id": request,
        "item_id": document,
        "event": given.event,
        "value": given.value,
        "happened_at": at or now.isoformat(),
        "received_at": now.isoformat(),
        "user_id": readable(given.user) if given.user else None,
    }


class Answered:
    """The latest requests that a server has answered, and logged."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._most, self._ids = most, OrderedDict[str, None]()

    def add(self, request_id: str) -> None:
        self._ids[request_id] = None
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._ids
