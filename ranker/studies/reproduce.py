"""Compute a past evaluation again from the snapshots that it recorded, and say whether it comes out as
stored.

Candidate sets are read at the snapshot that the evaluation read, its model calls at the one that it wrote. No
model runs: an engine plays the stored completions, or a likelihood policy's stored scores, back through
today's strategies, parser, rewards, metrics and bootstrap. So a difference means that rows were changed
since, or that the code now judges the same answers otherwise.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ranker.config import EvaluateParams, former
from ranker.engines import Completion, Prompt, Sampling, Scored
from ranker.errors import RankerError, StageMissing
from ranker.lake import Lake, open_lake
from ranker.lake.candidate_sets import load_sets
from ranker.policy.parsing import Reason
from ranker.policy.prompts import Style
from ranker.stages import evaluate
from ranker.strategies import strategy
from ranker.strategies.episodes import Origin, Tables, judged, together
from ranker.strategies.likelihood import Scores
from ranker.types import CandidateSet, Fields, JsonObject

TOLERANCE = 1e-9
MOST_SHOWN = 5
_ARM = ["arm", "model", "strategy", "thinking", "seed"]
_MEANS = ["task", "arm", "model", "strategy", "thinking", "metric"]
_PAIRS = ["task", "strategy", "thinking", "metric", "arm", "against"]


class NotReproduced(RankerError):
    """A past evaluation does not come out as stored."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Reproduction:
    """An evaluation that came out as stored."""

    key: str
    read_snapshot: int
    written_snapshot: int
    calls: int
    """Model calls played back."""
    rows: int
    """Rows of `evaluations` and `comparisons` that agree."""


class Playback:
    """An engine that gives the stored completion for each set and pool, and refuses any other question."""

    name = "playback"
    style: Style = "chat"  # "compact" would only shorten a limit that playing back does not have

    def __init__(self, calls: pl.DataFrame) -> None:
        self._stored: dict[tuple[object, ...], deque[JsonObject]] = {}
        for row in calls.iter_rows(named=True):
            call = row["call"]
            key = row["set_id"], call["mode"], call.get("scores") is not None, tuple(call["pool"])
            self._stored.setdefault(key, deque()).append(call)

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """The stored completions; those to the same question in the order in which they were given.

        Raises:
            NotReproduced: a pool was never asked about, because an earlier answer is now read in another way.
        """
        return [_completion(self._next(prompt, False)) for prompt in prompts]

    def score(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Scored]:
        """The stored scores. Raises NotReproduced as `complete`."""
        rows = [self._next(prompt, True) for prompt in prompts]
        return [Scored(_completion(row), tuple(row["scores"])) for row in rows]

    def _next(self, prompt: Prompt, scored: bool) -> JsonObject:
        rows = self._stored.get((prompt.set.set_id, prompt.mode, scored, prompt.set.labels))
        if not rows:
            raise NotReproduced(
                "the stored answers must lead through the stored pools",
                seen=f"set {prompt.set.set_id}: nothing stored for the pool {' '.join(prompt.set.labels)}",
                remedy=(
                    "the parser or a strategy has changed since; `ranker query` on `steps` shows the answers"
                    " before it"
                ),
            )
        return rows.popleft()


class ScorePlayback:
    """A likelihood policy by its stored calls: each set has the scores and the temperature that it had."""

    name = "playback"
    style: Style = "likelihood"

    def __init__(self, calls: pl.DataFrame) -> None:
        self._stored: dict[object, list[JsonObject]] = {}
        for row in calls.iter_rows(named=True):
            self._stored.setdefault(row["set_id"], []).append(row["call"])

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """Raises NotReproduced: none was written."""
        raise NotReproduced(
            "a likelihood policy's calls are played back as scores",
            seen=f"{len(prompts)} prompts that want a written answer",
            remedy="a strategy has changed since; `ranker query` on `steps` shows the scores before it",
        )

    def score_pools(self, sets: Sequence[CandidateSet]) -> list[Scores]:
        """The stored scores of whole pools, whichever of a set's calls told them.

        Raises:
            NotReproduced: a candidate's is in none of them.
        """
        return [self._scores(given) for given in sets]

    def _scores(self, given: CandidateSet) -> Scores:
        rows = self._stored.get(given.set_id, [])
        by_label = {
            label: score
            for row in rows
            for label, score in zip(row["pool"], row["log_likelihoods"], strict=True)
        }
        missing = [label for label in given.labels if label not in by_label]
        if missing:
            raise NotReproduced(
                "the stored calls must hold a score of each candidate",
                seen=f"set {given.set_id}: none of {' '.join(missing)}",
                remedy="rows of `steps` are gone, or the pool has changed since",
            )
        first = min(rows, key=lambda row: row["step"])
        return Scores(by_label, first["temperature"], _completion(first))


def playback(calls: pl.DataFrame) -> Playback | ScorePlayback:
    """The engine that plays the calls of one arm back."""
    # a snapshot may be older than the column
    likely = any((call.get("log_likelihoods") or ()) for call in calls["call"])
    return ScorePlayback(calls) if likely else Playback(calls)


def _completion(row: Fields) -> Completion:
    finish = "length" if row["reason"] == Reason.TRUNCATED else "stop"
    return Completion(
        row["completion"],
        row["prompt"],
        row["prompt_tokens"],
        row["completion_tokens"],
        finish,
        row["milliseconds"],
    )


def reproduce(home: Path, uri: str, key: str) -> Reproduction:
    """Compute the evaluation `key` again.

    Raises:
        StageMissing: there is no such evaluation.
        BadQuery: a snapshot that it recorded is gone.
        NotReproduced: a row differs, is missing or is one too many; `seen` names the first few.
    """
    with open_lake(home, uri, read_only=True) as now:
        run = _recorded(now, key)
        stored = {
            "evaluations": now.named("reproduce/evaluations", {"batch_id": key}),
            "comparisons": now.named("reproduce/comparisons", {"batch_id": key}),
        }
    params = EvaluateParams.model_validate(former.recorded("evaluate", json.loads(run["parameters"])[0]))
    with open_lake(home, uri, snapshot=run["read_snapshot"]) as then:
        test = load_sets(then, run["sets"], split="test", limit=params.max_queries)
        teacher = then.named("evaluate/teacher", {"batch_id": run["traces"]})
    with open_lake(home, uri, snapshot=run["written_snapshot"]) as then:
        calls = then.named("reproduce/calls", {"batch_id": key})
        first = then.named("evaluate/first_stages", {"batch_id": key})
    scores = evaluate.score(test, teacher, together(_played(calls, test, params))["episodes"], first)
    wrong = [
        *_differences(
            "evaluations",
            stored["evaluations"],
            evaluate.evaluations(scores, params),
            _MEANS,
            ["value", "lower", "upper", "queries"],
        ),
        *_differences(
            "comparisons",
            stored["comparisons"],
            evaluate.comparisons(scores, params),
            _PAIRS,
            ["difference", "lower", "upper", "queries"],
        ),
    ]
    if wrong:
        raise _not_reproduced(key, run, wrong)
    return Reproduction(
        key,
        run["read_snapshot"],
        run["written_snapshot"],
        calls.height,
        sum(frame.height for frame in stored.values()),
    )


def _recorded(lake: Lake, key: str) -> JsonObject:
    found = lake.named("reproduce/run", {"batch_id": key})
    if found.is_empty():
        raise StageMissing(
            "only an evaluation that the lake holds can be reproduced",
            seen=f"no evaluation {key!r}",
            remedy=(
                "ranker query \"select batch_id, finished_at from stage_runs where stage = 'evaluate'\" lists"
                " them"
            ),
        )
    return found.row(0, named=True)


def _played(calls: pl.DataFrame, test: Sequence[CandidateSet], params: EvaluateParams) -> Iterator[Tables]:
    """Episodes of every arm, from its stored calls."""
    by_id = {given.set_id: given for given in test}
    for (arm, model, name, thinking, seed), part in calls.group_by(_ARM, maintain_order=True):
        chosen = [by_id[set_id] for set_id in part["set_id"].unique(maintain_order=True) if set_id in by_id]
        sampling = Sampling(params.max_completion_length, seed=seed)  # type: ignore[arg-type]
        ranked = strategy(name)(chosen, playback(part), thinking=thinking, sampling=sampling)  # type: ignore[arg-type]
        yield judged(ranked, by_id, Origin("evaluate", str(model), str(arm), int(seed)))  # type: ignore[call-overload]


def _differences(
    table: str, stored: pl.DataFrame, again: pl.DataFrame, identity: list[str], values: list[str]
) -> Iterator[str]:
    """A line for each row that is not the same, or on one side only."""
    both = stored.with_columns(stored=True).join(
        again.with_columns(again=True), on=identity, how="full", suffix="_again", coalesce=True
    )
    for row in both.iter_rows(named=True):
        named = " ".join(str(row[name]) for name in identity)
        if not (row["stored"] and row["again"]):
            yield (
                f"{table} {named}:"
                f" {'stored, but does not come out' if row['stored'] else 'comes out, but is not stored'}"
            )
        elif off := [name for name in values if not _same(row[name], row[name + "_again"])]:
            yield f"{table} {named}: " + ", ".join(
                f"{name} {row[name]} stored, {row[name + '_again']} now" for name in off
            )


def _same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else abs(one - other) <= TOLERANCE


def _not_reproduced(key: str, run: Fields, wrong: Sequence[str]) -> NotReproduced:
    lines = [
        *wrong[:MOST_SHOWN],
        *([f"and {len(wrong) - MOST_SHOWN} more"] if len(wrong) > MOST_SHOWN else []),
    ]
    return NotReproduced(
        f"evaluation {key} must come out as stored",
        seen="\n          ".join(lines),
        remedy=(
            f"rows were changed after snapshot {run['written_snapshot']} (`ranker lake diff"
            f" {run['written_snapshot']} …`), or the code judges otherwise now (stage_runs.code tells);"
            " repeat it with `ranker run evaluate --force evaluate`"
        ),
    )
