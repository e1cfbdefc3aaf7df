"""Collect: what servers have spooled becomes rows of the lake, judged by the contracts like every other
batch.

A served ranking is an episode like any other (stage `serve`) with its steps; `served_requests` and
`served_candidates` hold what was asked and in which place each candidate came. Nobody has judged the
candidates: metrics are null, and a reward holds no more than what an unreadable answer costs. Whoever learns
what became of an answer joins it by its id.

What a shadow made of a request has a line of its own, behind that of the request and perhaps in a later file:
an episode of the arm `shadow` with the request's set_id, and a row of `served_shadows`.

Feedback (`/v1/feedback`) lies in files and batches of its own: a batch of either that is refused keeps none
of the other out. An event of a request that the lake does not know stays in the table `feedback` and counts
from when the request is there; until then the view `feedback_held` has it.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TextIO

import polars as pl

from ranker.errors import BatchRejected
from ranker.lake import Lake
from ranker.refs import Check, Ref, digest
from ranker.serving.request_log import SHADOW
from ranker.stages.run import Produced, run_cached
from ranker.strategies import episodes
from ranker.strategies.call import Call
from ranker.strategies.episodes import Entry, Origin
from ranker.types import Episode, JsonObject

ARM = "served"
REQUESTS = {
    "set_id": pl.String,
    "served_at": pl.Datetime("us", "UTC"),
    "task": pl.String,
    "query": pl.String,
    "query_items": pl.List(pl.String),
    "pool_size": pl.Int32,
    "model": pl.String,
    "version": pl.String,
    "milliseconds": pl.Float64,
    "user_id": pl.String,
}
ORDERS = {
    "set_id": pl.String,
    "shown": pl.List(pl.String),
    "share": pl.Float64,
    "depth": pl.Int32,
    "drawn": pl.Boolean,
    "propensity": pl.Float64,
    "teams": pl.List(pl.String),
}
SHADOWS = {"set_id": pl.String, "model": pl.String, "version": pl.String, "milliseconds": pl.Float64}
FEEDBACK = {
    "event_id": pl.String,
    "set_id": pl.String,
    "item_id": pl.String,
    "event": pl.String,
    "value": pl.Float64,
    "happened_at": pl.Datetime("us", "UTC"),
    "received_at": pl.Datetime("us", "UTC"),
    "user_id": pl.String,
}
CANDIDATES = {
    "set_id": pl.String,
    "slot": pl.Int32,
    "label": pl.String,
    "item_id": pl.String,
    "text": pl.String,
    "place": pl.Int32,
}


def folder(home: Path) -> Path:
    """Where servers log."""
    return home / "served"


def feedback_folder(home: Path) -> Path:
    """Where servers log feedback."""
    return home / "feedback"


def run(lake: Lake, *, check: Check) -> Ref | None:
    """Bring the requests that no server is writing any more into the lake, as one batch, and delete their
    files; None where there is nothing.

    Killed before the commit it has changed nothing; killed after it, the next run finds the batch done and
    deletes the files.

    Raises:
        BatchRejected: the contracts did not accept it. The rows lie in quarantine and the files stay as
        `*.refused`, so that later ones go on.
    """
    return _collected(lake, "serve", folder(lake.home), _produced, check)


def feedback(lake: Lake, *, check: Check) -> Ref | None:
    """As `run`, of feedback. An event that an earlier batch has is left out.

    Raises:
        BatchRejected: as `run`.
    """
    return _collected(
        lake, "feedback", feedback_folder(lake.home), lambda texts: _fed_back(lake, texts), check
    )


def both(lake: Lake, *, check: Check) -> list[Ref]:
    """Requests, then feedback, which is collected also where the requests are refused.

    Raises:
        BatchRejected: as `run`, of the first that was refused.
    """
    found, refused = [], []
    for collected in (run, feedback):
        try:
            found.append(collected(lake, check=check))
        except BatchRejected as error:
            refused.append(error)
    if refused:
        raise refused[0]
    return [ref for ref in found if ref is not None]


def _collected(
    lake: Lake, stage: str, where: Path, produced: Callable[[Sequence[str]], Produced], check: Check
) -> Ref | None:
    with ExitStack() as held:
        files = [
            file
            for path in sorted(where.glob("*.jsonl"))
            if (file := held.enter_context(_taken(path))) is not None
        ]
        texts = [file.read() for file in files]
        paths = [Path(file.name) for file in files]
        if not any(texts):
            _each(paths, "")
            return None
        try:
            ref = run_cached(
                lake,
                stage,
                parameters={"files": [path.name for path in paths], "content": digest(texts)},
                inputs=[],
                roots=[__name__],
                check=check,
                produce=lambda key: produced(texts),
            )
        except BatchRejected:
            _each(paths, ".refused")
            raise
        _each(paths, "")
    return ref


def tables(records: Sequence[JsonObject]) -> dict[str, pl.DataFrame]:
    """Rows of `served_requests`, `served_candidates`, `served_orders`, `served_shadows`, `episodes` and
    `steps` (without batch_id), of records as request_log.record and shadow_record give them.
    """
    requests, shadows = _apart(records)
    return {
        "served_requests": pl.DataFrame([_request(one) for one in requests], schema=REQUESTS),
        "served_candidates": pl.DataFrame(
            [row for one in requests for row in _candidates(one)], schema=CANDIDATES
        ),
        "served_orders": pl.DataFrame([_order(one) for one in requests], schema=ORDERS),
        "served_shadows": pl.DataFrame(
            [{name: one[name] for name in SHADOWS} for one in shadows], schema=SHADOWS
        ),
        **episodes.tables([_entry(one) for one in records]),
    }


def _fed_back(lake: Lake, texts: Sequence[str]) -> Produced:
    events = {one["event_id"]: one for text in texts for one in map(json.loads, _lines(text))}
    known = lake.named("feedback/known", {"ids": list(events)})["event_id"].to_list()
    new = [_event(one) for name, one in events.items() if name not in set(known)]
    sent = sum(len(_lines(text)) for text in texts)
    return {"feedback": pl.DataFrame(new, schema=FEEDBACK)}, {"sent": sent, "repeated": sent - len(new)}


def _event(one: JsonObject) -> JsonObject:
    times = {name: datetime.fromisoformat(one[name]) for name in ("happened_at", "received_at")}
    return {name: one[name] for name in FEEDBACK} | times


def _produced(texts: Sequence[str]) -> Produced:
    records = [json.loads(line) for text in texts for line in _lines(text)]
    requests, shadows = _apart(records)
    return tables(records), {"requests": len(requests), "shadows": len(shadows)}


def _apart(records: Sequence[JsonObject]) -> tuple[list[JsonObject], list[JsonObject]]:
    """What was answered, and what a shadow made of it."""
    shadows = [one for one in records if one.get("arm") == SHADOW]
    return [one for one in records if one.get("arm") != SHADOW], shadows


def _lines(text: str) -> list[str]:
    """Whole lines: a server that was killed may have left the last one unfinished."""
    return text.split("\n")[:-1]


def _request(one: JsonObject) -> JsonObject:
    same = ("set_id", "task", "query", "query_items", "model", "version", "milliseconds")
    return {
        **{name: one[name] for name in same},
        "served_at": datetime.fromisoformat(one["served_at"]),
        "user_id": one.get("user_id"),
        "pool_size": len(one["candidates"]),
    }


def _order(one: JsonObject) -> JsonObject:
    """Of a line that an older server wrote: as ranked."""
    as_ranked = {
        "shown": one["ranking"],
        "share": 0.0,
        "depth": 0,
        "drawn": False,
        "propensity": 1.0,
        "teams": None,
    }
    return {"set_id": one["set_id"], **one.get("order", as_ranked)}


def _candidates(one: JsonObject) -> Iterator[JsonObject]:
    place = {label: number for number, label in enumerate(one["ranking"], start=1)}
    for slot, candidate in enumerate(one["candidates"]):
        yield {"set_id": one["set_id"], "slot": slot, **candidate, "place": place[candidate["label"]]}


def _entry(one: JsonObject) -> Entry:
    """The episode of a record. Nobody has judged its candidates."""
    episode = Episode(
        one["set_id"],
        one["strategy"],
        one["thinking"],
        tuple(one["ranking"]),
        tuple(_call(step) for step in one["steps"]),
    )
    pool = one.get("pool") or [candidate["label"] for candidate in one["candidates"]]
    return Entry(episode, Origin("serve", one["model"], one.get("arm", ARM), 0), one["task"], pool)


def _call(step: JsonObject) -> Call:
    values: JsonObject = {
        name: tuple(value) if isinstance(value, list) else value for name, value in step.items()
    }
    return Call(**values)


@contextmanager
def _taken(path: Path) -> Iterator[TextIO | None]:
    """The file, held; None where a server writes it or another `collect` has it."""
    with path.open(encoding="utf-8") as file:
        # flock and not filelock: the file is its own lock, which no lock file outlives, and to lock a file
        # that another `collect` has just deleted must not make it anew.
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def _each(paths: Sequence[Path], ending: str) -> None:
    """Delete the files, or with an ending rename them."""
    for path in paths:
        if ending:
            path.rename(path.with_name(path.name + ending))
        else:
            path.unlink()
