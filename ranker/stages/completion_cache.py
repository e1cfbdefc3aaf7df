"""A model's answers on disk as they come, so that none is asked or paid for twice, and the budget that pays
for them.

A part file holds the answers of one batch and appears whole or not at all; parts are named by the number of
their first call. A run that was killed reads them and goes on behind the last; what was in flight is asked
again.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ranker.engines import Completion, Engine, Sampling
from ranker.errors import BadSource
from ranker.policy.prompts import Prompt
from ranker.progress import Progress
from ranker.refs import digest

FINISHED = "finished"
"""Marks a journal whose answers have been used to the end: a forced repeat asks anew."""
log = logging.getLogger("ranker.stages.distill")


@dataclass(frozen=True, slots=True)
class Call:
    """One of the answers asked for: the `sample`-th to `prompt`."""

    prompt: Prompt
    sample: int

    @property
    def identity(self) -> str:
        """16 hex digits: the same question has the same."""
        return digest(
            self.prompt.set.set_id,
            self.prompt.mode,
            self.prompt.thinking,
            list(self.prompt.set.labels),
            self.sample,
        )


@dataclass(slots=True)
class Budget:
    """What may be spent, and what has been. 0 is no limit.

    An answer is paid for as long as neither limit is reached, so the last one may go beyond `max_tokens`.
    """

    max_calls: int = 0
    max_tokens: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dearest: int = 0
    """Tokens of the dearest call so far."""

    @property
    def spent(self) -> str:
        """Which limit is reached; empty where none is."""
        if self.max_calls and self.calls >= self.max_calls:
            return "max_calls"
        return (
            "max_tokens"
            if self.max_tokens and self.prompt_tokens + self.completion_tokens >= self.max_tokens
            else ""
        )

    def room(self, most: int) -> int:
        """How many calls may be asked at once: `most`, or what the limits leave if none is dearer than the
        dearest so far.
        """
        if self.spent:
            return 0
        calls = self.max_calls - self.calls if self.max_calls else most
        left = self.max_tokens - self.prompt_tokens - self.completion_tokens
        return max(
            1, min(most, calls, (left // self.dearest if self.dearest else 1) if self.max_tokens else most)
        )

    def pay(self, completions: Sequence[Completion]) -> list[Completion]:
        """Those that the limits still allow, in order; they are spent."""
        paid: list[Completion] = []
        for done in completions:
            if self.spent:
                break
            self.calls += 1
            self.prompt_tokens += done.prompt_tokens
            self.completion_tokens += done.completion_tokens
            self.dearest = max(self.dearest, done.prompt_tokens + done.completion_tokens)
            paid.append(done)
        return paid


class CompletionCache:
    """The answers in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answers(
        self,
        calls: Sequence[Call],
        load: Callable[[], Engine],
        sampling: Sampling,
        budget: Budget,
        batch: int,
    ) -> list[Completion]:
        """The answers to `calls`, in order, as far as `budget` goes: those in the journal, then by the engine
        that `load` gives.

        The engine is loaded only if something is left to ask. Call number i is sampled with seed
        `sampling.seed` + i.

        Raises:
            BadSource: the journal does not hold answers to these calls.
            Whatever the engine raises; the batches before it are kept.
        """
        known = [call.identity for call in calls]
        done = self._read(known)
        paid = budget.pay(done)
        if done:
            log.info("%d of %d answers were there already: %s", len(done), len(calls), self.folder)
        engine = None
        with Progress("answers", len(calls), log.info) as progress:
            progress.done(made=False, parts=len(done))
            while len(done) == len(paid) < len(calls) and (size := budget.room(batch)):
                engine = engine or load()
                first, last = len(done), min(len(done) + size, len(calls))
                asked = [call.prompt for call in calls[first:last]]
                got = engine.complete(asked, replace(sampling, seed=sampling.seed + first))
                self._append(first, known[first:last], got)
                done += got
                paid += budget.pay(got)
                progress.done(parts=len(got))
        if engine is not None:
            log.info(
                "%d of %d answers by %s, %d tokens",
                len(done),
                len(calls),
                engine.name,
                budget.prompt_tokens + budget.completion_tokens,
            )
        return paid

    def begin(self, force: bool) -> None:
        """Make the folder. A forced repeat of what is finished sets the old answers aside under a name
        that nothing reads.
        """
        if force and (self.folder / FINISHED).exists():
            self.folder.rename(self.folder.with_name(f"{self.folder.name}.replaced-{time.time_ns()}"))
        self.folder.mkdir(parents=True, exist_ok=True)

    def finish(self) -> None:
        """Say that the answers have been used to the end."""
        (self.folder / FINISHED).touch()

    def _append(self, first: int, identities: Sequence[str], completions: Sequence[Completion]) -> None:
        rows = (
            asdict(done) | {"call": identity} for identity, done in zip(identities, completions, strict=True)
        )
        part = self.folder / f"{first:09d}.jsonl"
        temporary = part.with_suffix(".part")
        with temporary.open("w", encoding="utf-8") as handle:
            handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(part)

    def _read(self, known: Sequence[str]) -> list[Completion]:
        done: list[Completion] = []
        for part in sorted(self.folder.glob("[0-9]*.jsonl")):
            if int(part.stem) != len(done):
                raise self._damaged(
                    part, f"it begins with answer {int(part.stem)}, {len(done)} stand before it"
                )
            for identity, completion in self._lines(part):
                if len(done) == len(known) or identity != known[len(done)]:
                    raise self._damaged(part, f"answer {len(done)} is not to what is asked now")
                done.append(completion)
        return done

    def _lines(self, part: Path) -> Iterator[tuple[str, Completion]]:
        with part.open(encoding="utf-8") as handle:
            for number, line in enumerate(handle, start=1):
                try:
                    row = json.loads(line)
                    yield row.pop("call"), Completion(**row)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise self._damaged(part, f"line {number}: {error}") from error

    def _damaged(self, part: Path, seen: str) -> BadSource:
        return BadSource(
            "a journal holds a model's answers to what is asked, one after another",
            seen=f"{part}: {seen}",
            remedy=f"restore the file, or move {self.folder} away: its answers are then asked for again",
        )
