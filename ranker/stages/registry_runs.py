"""What MLflow shows of a training beside its model version: parameters, metrics, curves while it goes on, and
the keys that it was made from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import polars as pl

from ranker.config import RegisterParams
from ranker.lake.lineage import Run
from ranker.refs import flat
from ranker.stages.registry import client_of, explained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

T = TypeVar("T")

_BATCH = 100
"""MLflow takes at most so many parameters, metrics or tags in one call."""


@explained
def follow(home: Path, params: RegisterParams, train_key: str, points: pl.DataFrame) -> None:
    """Log points of a training's curves (phase, step, name, value) while it goes on, in the run that its
    version will be of.
    """
    from mlflow.entities import Metric

    client, now = client_of(home, params), int(datetime.now(UTC).timestamp() * 1000)
    experiment = experiment_of(client, home, params.name)
    found = going_on(client, experiment, train_key)
    if not found:
        tags = {"train_key": train_key}
        found = [client.create_run(experiment, run_name=f"train {train_key}", tags=tags)]
    logged = [
        Metric(_metric_name("train", phase, name), value, now, step)
        for phase, step, name, value in points.select("phase", "step", "name", "value").iter_rows()
    ]
    for part in _parts(logged):
        client.log_batch(found[0].info.run_id, metrics=part)


def going_on(client: MlflowClient, experiment: str, train_key: str) -> list[MlflowRun]:
    """The run of a training that no version was made of yet."""
    asked = f"tags.train_key = '{train_key}' and attributes.status = 'RUNNING'"
    return list(client.search_runs([experiment], asked, max_results=1))


def log_stages(
    client: MlflowClient, run_id: str, runs: Sequence[Run], means: pl.DataFrame, differences: pl.DataFrame
) -> None:
    """Log parameters and keys of stage runs, and the rows of their evaluation, in the run of a version."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(datetime.now(UTC).timestamp() * 1000)
    logged = [Param(name, str(value)[:6000]) for name, value in _parameters(runs)]
    metrics = [Metric(name, value, now, 0) for name, value in (*_metrics(means), *_paired(differences))]
    tags = [RunTag(name, value) for name, value in provenance(runs).items()]
    for part in _parts(logged):
        client.log_batch(run_id, params=part)
    for part in _parts(metrics):
        client.log_batch(run_id, metrics=part)
    client.log_batch(run_id, tags=tags)


def _parts(values: list[T]) -> Iterator[list[T]]:
    yield from (values[i : i + _BATCH] for i in range(0, len(values), _BATCH))


def _parameters(runs: Sequence[Run]) -> Iterator[tuple[str, object]]:
    for run in runs:
        yield from flat(run.stage, run.parameters)


def _metrics(means: pl.DataFrame) -> Iterator[tuple[str, float]]:
    for row in means.iter_rows(named=True):
        how = (
            "baseline"
            if row["strategy"] == "baseline"
            else f"{row['strategy']}-{'think' if row['thinking'] else 'no-think'}"
        )
        yield _metric_name(row["task"], row["arm"], how, row["metric"]), row["value"]


def _paired(differences: pl.DataFrame) -> Iterator[tuple[str, float]]:
    for row in differences.iter_rows(named=True):
        how = f"{row['strategy']}-{'think' if row['thinking'] else 'no-think'}"
        yield (
            _metric_name(row["task"], f"{row['arm']}-minus-{row['against']}", how, row["metric"]),
            row["difference"],
        )


def _metric_name(*parts: str) -> str:
    return "/".join(parts).replace("@", "_at_")


def provenance(runs: Sequence[Run]) -> dict[str, str]:
    """Keys, snapshots and code of every stage, as tags."""
    return {
        f"{run.stage}.{name}": str(value)
        for run in runs
        for name, value in (("key", run.key), ("snapshot", run.read_snapshot), ("code", run.code))
    }


def experiment_of(client: MlflowClient, home: Path, name: str) -> str:
    """Id of the experiment `name`, which is made where there is none."""
    found = client.get_experiment_by_name(name)
    return (
        found.experiment_id
        if found
        else client.create_experiment(name, artifact_location=(home / "mlartifacts").resolve().as_uri())
    )
