"""What every stage has in common: its identity, skipping what is done, and the road into the lake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from uuid import uuid4

import polars as pl

from ranker.errors import StageMissing
from ranker.lake import Lake
from ranker.progress import Progress
from ranker.refs import Check, Ref, canonical, digest
from ranker.stages import identity, rerun
from ranker.types import JsonObject

log = logging.getLogger("ranker.stages.run")
Produced = tuple[Mapping[str, pl.DataFrame | Sequence[Path]], JsonObject]


def run_cached(
    lake: Lake,
    stage: str,
    *,
    parameters: object,
    inputs: Sequence[Ref],
    roots: Sequence[str],
    check: Check,
    force: bool = False,
    only_finished: bool = False,
    produce: Callable[[str], Produced],
) -> Ref:
    """Do a stage unless it is done: `produce(key)` gives its tables and details, `Lake.write` judges and
    commits them.

    The key is the digest of stage, parameters, input keys, and the code and libraries that the modules
    `roots` reach (`ranker.stages.identity`): the stage's own, and that of each process which it starts. Two
    runs of one key on this machine take turns, and the second finds the work done. What is not done is logged
    with the reason: what differs from the run before.

    Returns:
        The stage's Ref, `skipped` where an earlier run had done the work.

    Raises:
        StageMissing: `only_finished`, and no earlier run has done the work.
        Whatever `produce` raises, and what `Lake.write` raises.
    """
    code, keys = identity.code(*roots), [ref.key for ref in inputs]
    key = key_of(stage, parameters, inputs, roots)
    with lake.claim(stage, key):
        done = lake.finished(stage, key)
        if done is not None and (only_finished or not force):
            log.info("%s %s: done before, skipped (%s)", stage, key, _counted(done.rows))
            return done.model_copy(update={"skipped": True})
        if only_finished:
            raise _missing(stage, key)
        why = ["it is forced"] if done is not None else rerun.reasons(lake, stage, parameters, inputs, code)
        log.info("%s %s: must run: %s", stage, key, "; ".join(why))
        started, read_snapshot = time.monotonic(), lake.snapshot()
        log.info("%s %s: starts at snapshot %d", stage, key, read_snapshot)
        with Progress(stage, log=log.info):
            tables, details = produce(key)
        with Progress(f"{stage}: checking and committing", log=log.info):
            ref = lake.write(
                stage,
                key,
                tables,
                inputs=keys,
                parameters=canonical(parameters),
                code=code.digest,
                identity=asdict(code),
                read_snapshot=read_snapshot,
                details=details,
                check=check,
            )
        log.info("%s %s: committed %s in %.1f s", stage, key, _counted(ref.rows), time.monotonic() - started)
        return ref


def keep_measured(
    lake: Lake,
    stage: str,
    tables: Mapping[str, pl.DataFrame],
    *,
    parameters: object,
    inputs: Sequence[str],
    roots: Sequence[str],
    details: JsonObject,
    check: Check,
) -> str:
    """Commit what was measured once, under a key of its own: to measure again is one more. Its key.

    Args:
        inputs: keys of the stage runs that it was measured on.
        roots: as in `run_cached`.
    """
    key = digest(stage, parameters, uuid4().hex)
    lake.write(
        stage,
        key,
        tables,
        inputs=inputs,
        parameters=canonical(parameters),
        code=identity.code(*roots).digest,
        read_snapshot=lake.snapshot(),
        details=details,
        check=check,
    )
    return key


def key_of(stage: str, parameters: object, inputs: Sequence[Ref], roots: Sequence[str]) -> str:
    """The identity of a stage's run, without running it."""
    return digest(stage, parameters, [ref.key for ref in inputs], identity.code(*roots).digest)


def _missing(stage: str, key: str) -> StageMissing:
    return StageMissing(
        f"what this stage reads must have been produced: {stage} has not",
        seen=f"no run of {stage} under {key} with these parameters",
        remedy=f"run `ranker run {stage}` with the same options first, or `ranker retrain` for all stages",
    )


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{table} {count:,}" for table, count in rows.items()) or "nothing"
