"""What more training buys: validation MRR of the default policy against queries seen, within minutes.

`FOLDER MINUTES` trains the default preset's policy in the data folder (with its model and data there:
`ranker fetch`) for about so long: a few steps tell what a step takes, the learning rate is laid out over as
many as then fit, and validation comes eight times. It prints the curve. On a GPU of 80 GB or on two cores.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl
import torch

from benchmarks.shapes import accept
from ranker.config import RetrainParams, merged, parse_params
from ranker.lake import Lake, open_lake
from ranker.refs import Ref
from ranker.reports.markdown import table
from ranker.stages import candidates, distill, ingest
from ranker.train import job
from ranker.types import JsonObject

POINTS = 8
FIRST = 12
"""Steps by which the pace is taken."""
ON_GPU = {"accelerate_config": "gpu-1", "likelihood": {"per_device_train_batch_size": 64}}


def params(home: Path, steps: int) -> RetrainParams:
    """The default preset, its reinforcement `steps` long, without early stopping."""
    train: JsonObject = {"likelihood": {"max_steps": steps, "save_steps": max(1, steps // POINTS)}}
    if torch.cuda.is_available():
        train = merged(train, ON_GPU)
    if steps <= FIRST:
        train = merged(train, {"sft": {"max_steps": 2, "save_steps": 2}, "eval_queries": 0})
    return parse_params({"home": str(home), "train": train})


def trained(lake: Lake, steps: int) -> Ref:
    """A training of the default preset in a lake that has, or gets, what it reads."""
    given = params(lake.home, steps)
    source = ingest.run(lake, given.ingest, check=accept)
    sets = candidates.run(lake, given.candidates, source=source, check=accept)
    traces = distill.run(lake, given.distill, sets=sets, policy=given.train.policy, check=accept)
    return job.run(lake, given.train, sets=sets, traces=traces, check=accept, log=print)


def curve(lake: Lake, ref: Ref, batch: int) -> pl.DataFrame:
    """step, queries seen, and validation MRR of every task at it."""
    rows = lake.rows(
        "select step, name, value from training_metrics where batch_id = $key and phase = 'rl'"
        " and starts_with(name, 'eval_rr')",
        {"key": ref.key},
    )
    wide = rows.pivot("name", index="step", values="value").sort("step")
    return wide.with_columns((pl.col("step") * batch).alias("queries"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.likelihood_curve", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("minutes", type=float)
    given = parser.parse_args()
    with open_lake(given.folder) as lake:
        pace = trained(lake, FIRST).details["rl"]
        each = pace["seconds"] / FIRST
        steps = max(POINTS, int(60 * given.minutes / each))
        print(f"{each:.2f} s a step on {pace['device']}: {steps} steps", flush=True)
        ref = trained(lake, steps)
        found = curve(lake, ref, params(lake.home, steps).train.likelihood.batch(1))
    shown = found.with_columns(pl.col(pl.Float64).round(3))
    print(table(shown.columns, shown.rows()))


if __name__ == "__main__":
    main()
