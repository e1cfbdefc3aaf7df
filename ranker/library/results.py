"""What a `Ranker` gives: the server's answer as values with types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from ranker.serving.schema import By, Kind, Rerank, answer
from ranker.types import CandidateSet, Episode, JsonObject


@dataclass(frozen=True, slots=True)
class Result:
    """One document in its rank."""

    id: str
    """The document's own, else its place in the request."""
    rank: int
    """1 for the best."""
    score: float
    """0 to 1; `Results.kind` says what it is."""
    text: str
    """What was ranked of the document, as it came."""
    index: int
    """Its place in the request, from 0."""
    reasons: tuple[str, ...] = ()
    """What the model wrote in the calls that put this document in its rank; none of a policy that scores."""


@dataclass(frozen=True, slots=True)
class Results(Sequence[Result]):
    """A ranking: a sequence of results, best first, and how it was made."""

    results: tuple[Result, ...]
    kind: Kind
    """What the scores are (docs/serving.md): `calibrated` is a probability of relevance, `softmax` and
    `probability` are shares within the pool, `place` says the order alone.
    """
    model: str
    """NAME:VERSION of a registered model, else the folder's name or the model's."""
    task: str
    strategy: str
    left_out: int
    """Documents below `min_score`."""
    shortened: int
    """Texts, the query among them, of which the model did not get every word in one call."""
    calls: int
    invalid_calls: int
    """Answers that could not be read; the strategy's fallback stands for each."""
    tokens: int
    """Read and written."""

    def __len__(self) -> int:
        return len(self.results)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Result, ...]: ...
    def __getitem__(self, index: int | slice) -> Result | tuple[Result, ...]:
        return self.results[index]

    def __iter__(self) -> Iterator[Result]:
        return iter(self.results)


def results(request: Rerank, given: CandidateSet, episode: Episode, by: By) -> Results:
    """The server's answer (`schema.answer`, with reasons) as values.

    Raises:
        Refusal: as schema.answer.
    """
    answered = answer(request.model_copy(update={"reasons": True}), given, episode, by)
    meta: JsonObject = answered["meta"]
    return Results(
        tuple(
            _result(rank, one, request.texts, given, answered["reasons"])
            for rank, one in enumerate(answered["results"], 1)
        ),
        kind=meta["score"],
        model=answered["model"],
        task=meta["task"],
        strategy=meta["strategy"],
        left_out=meta["left_out"],
        shortened=meta["shortened"],
        calls=meta["calls"],
        invalid_calls=meta["invalid_calls"],
        tokens=answered["usage"]["total_tokens"],
    )


def _result(
    rank: int, one: JsonObject, texts: Sequence[str], given: CandidateSet, calls: Sequence[JsonObject]
) -> Result:
    place: int = one["index"]
    return Result(
        given.candidates[place].item_id,
        rank,
        one["relevance_score"],
        texts[place],
        place,
        tuple(call["completion"] for call in calls if place in call["taken"] and call["completion"]),
    )
