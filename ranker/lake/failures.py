"""What DuckDB says where a lake cannot do what it is asked, as errors of this project: the catalog is locked,
another writer has won, a server or store does not answer, files are damaged, the disk is full.

What may pass is tried again, a bounded number of times.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import NoReturn, TypeVar

import duckdb
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from ranker.errors import (
    BadConfig,
    BadLake,
    BadQuery,
    LakeBusy,
    NoAccess,
    RankerError,
    StageMissing,
    Unreachable,
    by_disk,
    masked,
)

log = logging.getLogger("ranker.lake")
T = TypeVar("T")

ATTEMPTS = 10
FIRST_PAUSE = 0.1
"""Seconds; a pause is drawn between 0 and this, doubled each time: two writers must not meet again."""
LONGEST_PAUSE = 6.0
LONGEST_REASON, LONGEST_SEEN = 300, 600
_PASSING = re.compile(
    r"database is locked|conflict|database is busy|could not serialize|deadlock detected|lock timeout",
    re.IGNORECASE,
)
_AWAY = re.compile(
    r"connection refused|server closed the connection|terminating connection|(is|are) (starting up|shutting"
    r" down)|not (yet |currently )?accepting connections|timeout expired|timed out|no route to host|network"
    r" is unreachable|connection (reset|not open)|no connection to the server|too many clients|remaining"
    r" connection slots|could not (establish connection|connect to server)|HTTP 50\d",
    re.IGNORECASE,
)
"""What DuckDB says of a catalog's server, or of a store in S3, that may answer later."""
_DAMAGED = re.compile(
    r"ducklake-[\w-]+\.parquet|likely corrupted|varint-decoding|TProtocolException"
    r"|file is not a database|disk image is malformed",  # SQLite's, of the catalog
    re.IGNORECASE,
)
"""What it says of files: missing, cut off, overwritten."""


def repeated(work: Callable[[], T], what: str, holding: Callable[[], str]) -> T:
    """`work()`, repeated while the catalog is locked, another writer wins, or a server does not answer.

    `holding` is asked at the last failure, while whoever is in the way still is.

    Raises:
        LakeBusy, Unreachable: that did not pass within the bounded retries.
        BadLake: a file of the lake is missing or damaged.
        NoAccess, DiskFull: the disk refused.
    """

    def tell(state: RetryCallState) -> None:
        log.info("%s: %s; attempt %d of %d", what, masked(_reason(state)), state.attempt_number, ATTEMPTS)

    def give_up(state: RetryCallState) -> NoReturn:
        if _is_away(state.outcome.exception() if state.outcome else None):
            raise _away(f"{what}: {_reason(state)}, {ATTEMPTS} times")
        raise _busy(f"{what}: {_reason(state)}\n          {holding()}")

    retrying = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, duckdb.Error) and may_pass(error)),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(FIRST_PAUSE, LONGEST_PAUSE),
        before_sleep=tell,
        retry_error_callback=give_up,
    )
    try:
        return retrying(work)
    except duckdb.Error as error:
        if known := damage(error):
            raise known from error
        raise


def _away(seen: str) -> Unreachable:
    return Unreachable(
        "the lake's database and its store must answer",
        seen=seen,
        remedy="see that they run and can be reached from here, then run again: what is done stays",
    )


def _busy(seen: str) -> LakeBusy:
    return LakeBusy(
        "the lake's catalog must be free within the bounded retries",
        seen=seen,
        remedy=(
            "run again when the processes named are done, or end them; many writers want a PostgreSQL"
            " catalog (`lake: ducklake:postgres:…`)"
        ),
    )


def may_pass(error: BaseException) -> bool:
    """Whether the same statement may succeed when it is run again."""
    return _PASSING.search(str(error)) is not None or _is_away(error)


def _is_away(error: BaseException | None) -> bool:
    return isinstance(error, duckdb.Error) and _AWAY.search(str(error)) is not None


def _reason(state: RetryCallState) -> str:
    """The part of a failed attempt's error that says what was in the way."""
    assert state.outcome is not None, "asked after an attempt"
    said = masked(
        str(state.outcome.exception())
    ).splitlines()  # before it is cut: half a password is not seen
    found = next(found for line in said for pattern in (_PASSING, _AWAY) if (found := pattern.search(line)))
    begin = max(0, found.end() - LONGEST_REASON)
    return found.string[begin:][:LONGEST_REASON]


def unattached(error: duckdb.Error, where: str, read_only: bool, snapshot: int | None) -> RankerError:
    """The error for a catalog that DuckDB does not attach, `where` it is said to be."""
    if snapshot is not None and "No snapshot found" in str(error):
        return no_snapshot(snapshot)
    if read_only and "does not exist" in str(error):
        return no_lake(where)
    if "unable to open database file" in str(error):
        return NoAccess(
            "the folder of a lake's SQLite catalog must be writable, even to read it: SQLite notes its"
            " readers there",
            seen=f"{where}: {error}",
            remedy=(
                "change its permissions, copy the data folder to where you may write, or keep the catalog in"
                " PostgreSQL (docs/lake.md)"
            ),
        )
    if known := damage(error):
        return known
    return BadConfig(
        "the lake's catalog must be reachable",
        seen=f"{where}: {error}",
        remedy=(
            "check the URI and that its database runs; an empty `lake` parameter takes a SQLite catalog in"
            " the data folder"
        ),
    )


def damage(error: duckdb.Error) -> RankerError | None:
    """What is wrong with the lake's files; None where it is something else."""
    known = by_disk(error)
    if known or not _DAMAGED.search(str(error)):
        return known
    return BadLake(
        "the lake's files must be there as they were written",
        seen=str(error).splitlines()[0][:LONGEST_SEEN],
        remedy=(
            "put them back from a copy of the data folder. Without one: tables without that file still answer"
            " (`ranker lake export --table NAME`); move the folder `lake` away and retrain to make all anew"
        ),
    )


def refused(said: str) -> RankerError | None:
    """What the catalog, its server or the disk refused, by what DuckDB has said to somebody who hands on no
    more than the text; None for anything else.
    """
    error = duckdb.Error(said)
    if known := damage(error):
        return known
    if _is_away(error):
        return _away(said[:LONGEST_SEEN])
    return _busy(said[:LONGEST_SEEN]) if may_pass(error) else None


def no_snapshot(snapshot: int) -> BadQuery:
    """The error for a snapshot that is not there."""
    return BadQuery(
        "a snapshot must exist to be read",
        seen=f"no snapshot {snapshot}; it has never been, or has expired",
        remedy="`ranker lake snapshots` lists those there are",
    )


def no_lake(where: str) -> StageMissing:
    """The error for a lake that nothing has written yet."""
    return StageMissing(
        "a lake must exist before it is read",
        seen=f"no lake at {where}",
        remedy=(
            "run `ranker retrain` (or `make run`) first, or name the data folder with --home / $RANKER_HOME"
        ),
    )
