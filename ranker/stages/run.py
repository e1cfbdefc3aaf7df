"""What every stage has in common: its identity, skipping what is done, and the road into the lake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ranker.errors import StageMissing
from ranker.lake import Lake
from ranker.refs import Check, Ref, canonical, code_fingerprint, digest

log = logging.getLogger("ranker.stages.run")
Produced = tuple[Mapping[str, pl.DataFrame | Sequence[Path]], dict[str, Any]]


def run_cached(
    lake: Lake,
    stage: str,
    *,
    parameters: Any,
    inputs: Sequence[Ref],
    code: Sequence[str],
    check: Check,
    force: bool = False,
    only_finished: bool = False,
    produce: Callable[[str], Produced],
) -> Ref:
    """Do a stage unless it is done: `produce(key)` gives its tables and details, `Lake.write` judges and
    commits them.

    The key is the digest of stage, parameters, input keys and the files that match `code`. Two runs of one
    key on this machine take turns, and the second finds the work done.

    Returns:
        The stage's Ref, `skipped` where an earlier run had done the work.

    Raises:
        StageMissing: `only_finished`, and no earlier run has done the work.
        Whatever `produce` raises, and what `Lake.write` raises.
    """
    fingerprint = code_fingerprint(*code)
    key = digest(stage, parameters, [ref.key for ref in inputs], fingerprint)
    with lake.claim(stage, key):
        done = None if force and not only_finished else lake.finished(stage, key)
        if done is not None:
            log.info("%s %s: done before, skipped (%s)", stage, key, _counted(done.rows))
            return done.model_copy(update={"skipped": True})
        if only_finished:
            raise _missing(stage, key)
        started, read_snapshot = time.monotonic(), lake.snapshot()
        log.info("%s %s: starts at snapshot %d", stage, key, read_snapshot)
        tables, details = produce(key)
        ref = lake.write(
            stage,
            key,
            tables,
            inputs=[ref.key for ref in inputs],
            parameters=canonical(parameters),
            code=fingerprint,
            read_snapshot=read_snapshot,
            details=details,
            check=check,
        )
        log.info("%s %s: committed %s in %.1f s", stage, key, _counted(ref.rows), time.monotonic() - started)
        return ref


def _missing(stage: str, key: str) -> StageMissing:
    return StageMissing(
        f"what this stage reads must have been produced: {stage} has not",
        seen=f"no run of {stage} under {key} with these parameters",
        remedy=f"run `ranker run {stage}` with the same options first, or `ranker retrain` for all stages",
    )


def _counted(rows: Mapping[str, int]) -> str:
    return ", ".join(f"{table} {count:,}" for table, count in rows.items()) or "nothing"
