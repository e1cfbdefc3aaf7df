"""The loop from served requests back to training, on users whose relevance and position bias are known.

`HOME QUERIES` gives the figures as JSON. Everything but the policy and HTTP is the real thing:
`ranker/serving` draws the orders and writes the logs, `ranker collect` brings them into a lake, the contracts
judge them, the views make labels of them. The policy is no language model: it is linear in the features of a
document, so that three rounds of two arms take a minute. Users look at place k with the chance 1 / k, and
click what they look at the more often the more relevant it is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from contracts.gate import validate_batch
from ranker.engines import Sampling
from ranker.engines.base import WritesNothing
from ranker.lake import Lake, open_lake
from ranker.metrics.counterfactual import Estimate
from ranker.metrics.ranking import per_query
from ranker.metrics.significance import Interval, bootstrap_mean
from ranker.serving import collect, feedback
from ranker.serving.explore import Exploration, Order, order
from ranker.serving.request_log import RequestLog, record
from ranker.stages import traffic
from ranker.strategies import likelihood, strategy
from ranker.types import Candidate, CandidateSet, slot_labels

TASK = "synthetic"
POOL, FEATURES = 10, 8
POPULARITY = 0
"""A feature that says nothing of relevance, and by which the first policy ranks all the same."""
EXPLORE = Exploration(0.1, POOL)
QUERIES, TESTED, EACH, ROUNDS = 200, 300, 15, 3
CLICKED = (0.08, 0.2, 0.45, 0.9)
"""Chance that a document of each grade is clicked by who looks at it."""
_RIDGE = 1.0


@dataclass(frozen=True, slots=True)
class Population:
    """Queries with their pools. Arrays are (queries, POOL[, FEATURES])."""

    name: str
    features: np.ndarray
    grades: np.ndarray

    def sets(self) -> list[CandidateSet]:
        return [self.asked(query, f"{self.name}{query}") for query in range(len(self.grades))]

    def asked(self, query: int, request: str) -> CandidateSet:
        """A query as a request; documents are named after it and their place in the pool."""
        pool = tuple(
            Candidate(label, f"{self.name}{query}-{place}", f"document {place} of {query}", 0.0)
            for place, label in enumerate(slot_labels(POOL))
        )
        return CandidateSet(request, TASK, "serve", request, f"{self.name}{query}", (), pool)

    def rows(self, items: Sequence[str]) -> np.ndarray:
        """Features of documents, by name."""
        where = [name.removeprefix(self.name).split("-") for name in items]
        return np.array([self.features[int(query), int(place)] for query, place in where])


def population(name: str, queries: int, seed: int) -> Population:
    """Grades 0 to 3 by a latent score that is linear in all features but the popularity, and noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(queries, POOL, FEATURES))
    latent = features @ truth() + 0.4 * rng.normal(size=(queries, POOL))
    return Population(name, features, np.digitize(latent, [0.0, 0.9, 1.6]))


def truth() -> np.ndarray:
    """The weights that relevance follows: of norm 1, 0 for the popularity."""
    weights = np.random.default_rng(0).normal(size=FEATURES)
    weights[POPULARITY] = 0
    return weights / np.linalg.norm(weights)


def first() -> np.ndarray:
    """The policy that serves before anybody has clicked: mostly by popularity."""
    weights = 0.5 * truth()
    weights[POPULARITY] = 1.0
    return weights


class Linear(WritesNothing):
    """A likelihood policy whose scores are weights times features."""

    def __init__(self, weights: np.ndarray, people: Population, name: str = "linear") -> None:
        self.weights, self.people, self.name = weights, people, name

    def score_pools(self, sets: Sequence[CandidateSet]) -> list[likelihood.Scores]:
        return [likelihood.Scores(dict(zip(one.labels, self._scores(one), strict=True)), 1.0) for one in sets]

    def _scores(self, one: CandidateSet) -> list[float]:
        return (self.people.rows([c.item_id for c in one.candidates]) @ self.weights).tolist()


@dataclass(frozen=True, slots=True)
class Poison:
    """Bots that click in a share of the requests, whatever they look at: the most popular document."""

    share: float
    users: int


def serve_day(
    home: Path,
    people: Population,
    weights: np.ndarray,
    day: datetime,
    seed: int,
    *,
    each: int = EACH,
    explore: Exploration = EXPLORE,
    poison: Poison | None = None,
    version: str = "1",
) -> None:
    """A day's requests and clicks into the logs: every query `each` times."""
    rng = np.random.default_rng(seed)
    names = [
        (query, f"{version}-{seed}-{query}-{turn}")
        for query in range(len(people.grades))
        for turn in range(each)
    ]
    sets = [people.asked(query, name) for query, name in names]
    episodes = strategy("direct")(sets, Linear(weights, people), thinking=False, sampling=Sampling(8))
    requests = RequestLog(collect.folder(home))
    events = RequestLog(collect.feedback_folder(home))
    for (query, _), given, episode in zip(names, sets, episodes, strict=True):
        shown = order(episode.ranking, given.set_id, explore)
        requests.add(
            record(given, episode, shown, at=day, milliseconds=1.0, model=f"{version}/rl", version=version)
        )
        for label, user in _clicks(people, query, given, shown, rng, poison):
            sent = {
                "request_id": given.set_id,
                "document_id": next(c.item_id for c in given.candidates if c.label == label),
                "event": "click",
                "time": day.isoformat(),
                "user": user,
            }
            read = feedback.read(json.dumps(sent).encode(), day)
            events.add(feedback.record(read, day))
    requests.close()
    events.close()


def _clicks(
    people: Population,
    query: int,
    given: CandidateSet,
    shown: Order,
    rng: np.random.Generator,
    poison: Poison | None,
) -> Iterator[tuple[str, str]]:
    """Labels that are clicked, and by whom."""
    places = {label: place for place, label in enumerate(given.labels)}
    if poison and rng.random() < poison.share:
        popular = int(people.features[query, :, POPULARITY].argmax())
        yield given.labels[popular], f"bot{rng.integers(poison.users)}"
        return
    user = f"user{rng.integers(500)}"
    for position, label in enumerate(shown.labels, start=1):
        if rng.random() < 1 / position and rng.random() < CLICKED[people.grades[query, places[label]]]:
            yield label, user


def trained(lake: Lake, people: Population, column: str) -> np.ndarray:
    """Ridge regression of a column of `relevance_of_clicks` on the features, each document weighing as often
    as it was shown.
    """
    rows = lake.rows("select item_id, shown, click_rate, relevance from relevance_of_clicks")
    features, wanted = people.rows(rows["item_id"].to_list()), rows[column].to_numpy()
    weight = rows["shown"].to_numpy()[:, None]
    centred = features - np.average(features, axis=0, weights=weight[:, 0])
    gram = centred.T @ (weight * centred) + _RIDGE * np.eye(FEATURES)
    return np.linalg.solve(
        gram, centred.T @ (weight[:, 0] * (wanted - np.average(wanted, weights=weight[:, 0])))
    )


def values(people: Population, weights: np.ndarray, metric: str = "ndcg_10") -> np.ndarray:
    """Each query's metric by the known grades."""
    sets = people.sets()
    rankings = {
        one.set_id: [one.labels[place] for place in np.argsort(-scores, kind="stable")]
        for one, scores in zip(sets, people.features @ weights, strict=True)
    }
    known = {
        one.set_id: dict(zip(one.labels, map(float, grades), strict=True))
        for one, grades in zip(sets, people.grades, strict=True)
    }
    found = per_query(rankings, known)
    return np.array([found[one.set_id][metric] for one in sets])


def clicks_of(people: Population, weights: np.ndarray) -> float:
    """Clicks a request that a policy gets without shuffling, exactly."""
    chance = np.take(CLICKED, people.grades)
    best_first = np.argsort(-(people.features @ weights), axis=1, kind="stable")
    return float((np.take_along_axis(chance, best_first, axis=1) / np.arange(1, POOL + 1)).sum(axis=1).mean())


def day(number: int) -> datetime:
    """The days of the rounds: all of them over."""
    start = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=20)
    return start + timedelta(days=number)


def loop(
    home: Path, column: str, rounds: int = ROUNDS, queries: int = QUERIES, each: int = EACH
) -> list[np.ndarray]:
    """Weights at the start and after each round of serve, feedback, retrain, learning from `column`."""
    people, weights = population("q", queries, 1), [first()]
    for number in range(rounds):
        serve_day(home, people, weights[-1], day(number), 10 + number, each=each, version=str(number + 1))
        with open_lake(home) as lake:
            collect.both(lake, check=validate_batch)
            weights.append(trained(lake, people, column))
    return weights


def challenged(home: Path, people: Population, weights: np.ndarray) -> tuple[list[Estimate], float]:
    """What the first day's traffic says of a challenger's gain, and what it is."""
    with open_lake(home, read_only=True) as lake:
        asked = traffic.logged(lake, TASK)
    first_day = {one.set_id for one in asked.sets if one.set_id.startswith("1-")}
    asked = asked.only([one.set_id in first_day for one in asked.sets])
    rankings = traffic.ranked(asked, strategy("direct"), False, Linear(weights, people), Sampling(8))
    found = traffic.estimated(asked, traffic.policy(asked, rankings), 1_000, 1)
    return found, clicks_of(people, weights) - clicks_of(people, first())


def main(home: Path, queries: int = QUERIES, each: int = EACH) -> dict[str, object]:
    people, tested = population("q", queries, 1), population("t", TESTED, 2)
    groups = [str(query) for query in range(TESTED)]

    def mean(found: np.ndarray) -> list[float]:
        one: Interval = bootstrap_mean(found, groups, resamples=2_000, seed=1)
        return [one.value, one.lower, one.upper]

    start = values(tested, first())
    arms = {
        name: loop(home / name, column, queries=queries, each=each)
        for name, column in (("naive", "click_rate"), ("corrected", "relevance"))
    }
    scores = {name: [values(tested, one) for one in found] for name, found in arms.items()}
    ends = {name: found[-1] for name, found in scores.items()}
    with open_lake(home / "corrected", read_only=True) as lake:
        examined = lake.rows("select position, shown, propensity from position_propensities").to_dicts()
    estimates, true = challenged(home / "corrected", people, arms["corrected"][1])
    return {
        "start": mean(start),
        "best": mean(values(tested, truth())),
        "rounds": {name: [mean(one) for one in found[1:]] for name, found in scores.items()},
        "gains": {name: mean(end - start) for name, end in ends.items()},
        "corrected over naive": mean(ends["corrected"] - ends["naive"]),
        "propensities": examined,
        "challenger": {
            one.estimator: [one.gain.value, one.gain.lower, one.gain.upper, one.effective]
            for one in estimates
        },
        "challenger's true gain": true,
        "requests": queries * each,
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
