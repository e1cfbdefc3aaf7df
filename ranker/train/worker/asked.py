"""What GRPO asks: rows of `rl.parquet` by task, their prompts rendered to fit, and the order in which steps
take them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import polars as pl

from ranker.config import GRPOParams
from ranker.train.worker.data import Fitting, across_tasks, batched_by_length, growing, weighted
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job

log = logging.getLogger("ranker.train")


def prompts(job: Job, fitting: Fitting, budget: int, batch: int, heartbeat: Heartbeat) -> pl.DataFrame:
    """The rows that GRPO asks, with `prompt`, the text that the model reads."""
    params = job.params.grpo
    needed = None if params.curriculum else params.max_steps * batch  # a curriculum begins with few of them
    rows = weighted(job.table("rl"), job.params.weights, params.seed, needed)
    made = fitting.rendered(rows.to_dicts(), [budget] * len(rows), beat(heartbeat, "GRPO", len(rows)))
    texts = pl.Series("prompt", [one and one[0] for one in made], dtype=pl.String)
    return rows.with_columns(texts).filter(pl.col("prompt").is_not_null())


def beat(heartbeat: Heartbeat, phase: str, rows: int) -> Callable[[int], None]:
    """Says how far the prompts of a phase are prepared."""
    heartbeat.beat(f"{phase}: preparing {rows:,} prompts")
    return lambda done: heartbeat.beat(f"{phase}: {done:,} of {rows:,} prompts are prepared")


def warn_of_cuts(fitting: Fitting, phase: str) -> None:
    """Log of each task of how many prompts texts were cut, by its own limits or to fit, where any were."""
    for name, counts in fitting.facts["fitted"].items():
        if counts["shortened"] or counts["left_out"]:
            log.warning(
                "%s: of %d prompts of %s, %d have texts that were cut; %d more are left out",
                phase,
                counts["prompts"],
                name,
                counts["shortened"],
                counts["left_out"],
            )


def in_order(rows: pl.DataFrame, batch: int, params: GRPOParams) -> list[int]:
    """Places of the rows that the steps take, `batch` prompts each: across tasks, or of like lengths where
    there is one task.
    """
    allowed = (
        growing(rows["pool"].list.len().to_list(), params.curriculum, params.max_steps)
        if params.curriculum
        else None
    )
    if rows["task"].n_unique() > 1:
        return across_tasks(rows["task"].to_list(), batch, params.max_steps, params.seed, allowed)
    lengths = [len(prompt) for prompt in rows["prompt"]]
    return batched_by_length(lengths, batch, params.max_steps, params.seed, allowed)
