"""Every error a user can meet: the rule that was broken, the value that was seen, the remedy.

All derive from `RankerError`, so the CLI can print one readable block and exit non-zero, and a flow
can tell what is worth retrying (`Transient`) from what is not. None shows a secret: what was seen is often
a connection string, or a server's answer that repeats it.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping, Sequence

from ranker.refs import Verdict

HIDDEN = "***"
_PASSWORD = re.compile(r"""(?ix) \b ((?:ssl)?password \s* = \s*)
    (?: ''(?:(?!'').)*'' | '(?:[^'\\]|\\.)*' | "[^"]*" | (?:(?!\?data_path=)[^\s&'",;)])+ )""")
"""In a connection string of PostgreSQL, bare or as an SQL literal (whose quotes are doubled), and in an
address.
"""
_USER = re.compile(r"(?i)([a-z][a-z0-9+.-]*://[^/\s:@'\"]*:)[^/\s'\"]+(?=@)")
"""In an address: scheme://user:password@host."""
_SECRET = re.compile(r"(?i)\b((?:secret|session_token)\s+)'(?:[^']|'')*'")
"""In DuckDB's CREATE SECRET."""
_HOLDS_ONE = re.compile(r"(?:PASSWORD|SECRET_ACCESS_KEY|SESSION_TOKEN|API_KEY|_TOKEN)$")
SHORTEST = 6
"""Characters of a secret in the environment that is looked for: a shorter one stands in ordinary words."""


def masked(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` without passwords in addresses and connection strings, and without the secrets that are set in
    the environment.
    """
    text = _SECRET.sub(rf"\1'{HIDDEN}'", _USER.sub(rf"\1{HIDDEN}", _PASSWORD.sub(rf"\1{HIDDEN}", text)))
    given = os.environ if environment is None else environment
    for name, value in given.items():
        if len(value) >= SHORTEST and _HOLDS_ONE.search(name):
            text = text.replace(value, HIDDEN)
    return text


REFUSED, FAULTY, LATER = 2, 70, 75
"""Exit codes of a command (docs/cli.md): something has to be mended, this program has to be, or it may go
well if it is tried later; the last two are EX_SOFTWARE and EX_TEMPFAIL of sysexits.h.
"""


class RankerError(Exception):
    """A rule was broken. `str(error)` is one readable block: rule, seen, remedy."""

    exit_code = REFUSED

    def __init__(self, rule: str, *, seen: str, remedy: str) -> None:
        rule, seen, remedy = (_printable(part) for part in (rule, seen, remedy))
        self.rule, self.seen, self.remedy = rule, masked(seen), remedy
        super().__init__(f"{rule}\n  seen:   {self.seen}\n  remedy: {remedy}")

    def __reduce__(
        self,
    ) -> tuple[object, ...]:  # keyword-only arguments: pickle (Prefect, multiprocessing) needs help
        return _rebuild, (type(self), self.rule, self.seen, self.remedy)


def _rebuild(kind: type[RankerError], rule: str, seen: str, remedy: str) -> RankerError:
    return kind(rule, seen=seen, remedy=remedy)


def _printable(said: str) -> str:
    """What a file's name or a text holds of bytes that are no UTF-8, as \\udc..: no terminal takes it raw."""
    return str(said).encode("utf-8", "backslashreplace").decode("utf-8")


class BadSource(RankerError):
    """An input file is missing, empty, malformed or out of range."""


class BadConfig(RankerError):
    """A preset, a task or a parameter does not exist or contradicts another."""


class BadPool(RankerError):
    """Candidate sets cannot be built as promised (no positive, too few negatives, pool below two)."""


class BadModel(RankerError):
    """A model folder lacks what is needed (tokenizer, weights, chat template)."""


class BadLake(RankerError):
    """A file of the lake, or its catalog, is missing or is not what was written."""


class BadRegistry(RankerError):
    """The registry of model versions cannot be read, or is not as it was left."""


class PromptTooLong(RankerError):
    """A prompt does not fit the model's context even with shortened candidates."""


class BatchRejected(RankerError):
    """A staged batch was not accepted; `verdicts` is what every expectation said, as far as they were
    asked.
    """

    def __init__(self, rule: str, *, seen: str, remedy: str, verdicts: Sequence[Verdict] = ()) -> None:
        super().__init__(rule, seen=seen, remedy=remedy)
        self.verdicts = tuple(verdicts)

    def __reduce__(self) -> tuple[object, ...]:
        return (*super().__reduce__(), {"verdicts": self.verdicts})


class ContractViolated(BatchRejected):
    """The data was judged and found wrong. Never retried: the same data gives the same verdict."""


class ContractNotEvaluated(BatchRejected):
    """An expectation raised instead of judging: a fault of the contract or the engine, not of the data."""


class Leaked(RankerError):
    """Something of the held-out queries stands where only training material may."""


class StageTimedOut(RankerError):
    """A stage took longer than `timeouts` gives it; what it had completed stays."""


class TrainingFailed(RankerError):
    """The training process died or stopped giving signs of life; its log's tail is in `seen`."""


class BadQuery(RankerError):
    """What somebody asks of the lake cannot be answered, or may not be."""


class StageMissing(RankerError):
    """A stage was asked for whose inputs have not been produced yet."""


class Transient(RankerError):
    """A fault that may pass by itself; the only kind that tasks retry."""

    exit_code = LATER


class Unreachable(Transient):
    """A server does not answer or breaks off; what has come is kept, and the next try goes on from there."""


class LakeBusy(Transient):
    """The catalog stayed locked for longer than the bounded retries."""


class Unforeseen(RankerError):
    """An error that nothing here expects: a fault of this program."""

    exit_code = FAULTY


class NoAccess(RankerError):
    """A file may not be read or written by this user, or lies where nobody may write."""


class DiskFull(RankerError):
    """There is no room left for what has to be written. Nothing half-written counts; what was done stays."""


_NO_ROOM = re.compile(
    r"(?i)no space left on device|disk quota exceeded|database or disk is full|disk I/O error"
)
"""The last is SQLite's, where the file that its readers share cannot grow."""
_NOT_ALLOWED = re.compile(
    r"(?i)read-only file system|readonly database|(cannot open file.*)?permission denied(?(1)| \(os error)"
)


def by_disk(error: BaseException) -> RankerError | None:
    """What the disk refused, as the system or a library tells it (DuckDB, torch and safetensors have errors
    of their own, and only their text says why); None for any other error.
    """
    number, text = error.errno if isinstance(error, OSError) else None, str(error)
    if number in (errno.ENOSPC, errno.EDQUOT) or _NO_ROOM.search(text):
        return DiskFull(
            "there must be room on the disk for what a run writes",
            seen=text,
            remedy=(
                "free some (`ranker doctor` says how much there is; `ranker lake expire` and `ranker lake"
                " compact` give back what the lake no longer needs), or take another data folder with --home;"
                " then start again: what is done is skipped. Where there is room, see whether the disk works"
            ),
        )
    named = isinstance(error, OSError) and error.filename is not None
    if (named and number in (errno.EROFS, errno.EACCES, errno.EPERM)) or _NOT_ALLOWED.search(text):
        return NoAccess(
            "a file's permissions must allow what is done with it",
            seen=text,
            remedy="change them, or take another data folder with --home or $RANKER_HOME",
        )
    return None
