"""What `ranker watch --metrics FILE` writes for Prometheus: the runs of the server, what its lake holds, how
old the champion is, how far a training has come. ranker/reports/gauges.py says why it is a file.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType

from flows.bootstrap import TAG
from flows.watch import KINDS, Found, WatchParams, deployments, last_success
from ranker.config import STAGES, data_home
from ranker.errors import StageMissing
from ranker.lake import Lake, open_lake
from ranker.lake.connection import fill
from ranker.reports.gauges import Figure, Sample, write
from ranker.stages import registry
from ranker.train import curves, job

WATCHED = Figure("ranker_watch_timestamp_seconds", "When `ranker watch` last looked.")
FINDINGS = Figure("ranker_watch_findings", "What the last look found, by kind.", ("kind",))
RUNS = Figure("ranker_flow_runs", "Runs that the Prefect server has, by their present state.", ("state",))
SUCCESS = Figure(
    "ranker_deployment_last_success_timestamp_seconds",
    "When a run of a deployment last completed, be it that every stage was skipped.",
    ("deployment",),
)
STAGE = Figure(
    "ranker_stage_last_success_timestamp_seconds", "When a stage was last done and not skipped.", ("stage",)
)
CHAMPION = Figure("ranker_champion_info", "The champion's version.", ("version",))
TRAINED = Figure("ranker_champion_trained_timestamp_seconds", "When the champion's training ended.")
ROWS = Figure("ranker_table_rows", "Rows of a table of the lake.", ("table",))
USED = Figure("ranker_home_used_bytes", "Bytes of the files in the data folder.")
FREE = Figure("ranker_home_free_bytes", "Bytes free on the data folder's disk.")
BEAT = Figure("ranker_training_heartbeat_timestamp_seconds", "The last sign of life of the newest training.")
STEP = Figure("ranker_training_step", "Optimizer step that the newest training has logged.", ("phase",))
FIGURES = (WATCHED, FINDINGS, RUNS, SUCCESS, STAGE, CHAMPION, TRAINED, ROWS, USED, FREE, BEAT, STEP)


def export(client: SyncPrefectClient, params: WatchParams, found: Sequence[Found], path: Path) -> None:
    """Write them to `path`, whole or not at all. Where there is no lake yet, its figures are left out.

    Raises:
        OSError: the file may not be written.
    """
    home = data_home(params.home)
    samples = [*_watched(found), *_runs(client), *_deployments(client), *_disk(home), *_training(home)]
    try:
        opened = open_lake(home, params.lake, read_only=True)
    except StageMissing:
        write(path, samples)
        return
    with opened as lake:
        samples += [*_lake(lake), *_champion(lake, params)]
    write(path, samples)


def _watched(found: Sequence[Found]) -> Iterator[Sample]:
    kinds = Counter(one.kind for one in found)
    yield Sample(WATCHED, time.time())
    yield from (Sample(FINDINGS, kinds[kind], (kind,)) for kind in KINDS)


def _runs(client: SyncPrefectClient) -> Iterator[Sample]:
    for state in StateType:
        chosen = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[state])),
            tags=FlowRunFilterTags(all_=[TAG]),
        )
        asked = {"flow_runs": chosen.model_dump(mode="json", exclude_unset=True)}
        count = client.request("POST", "/flow_runs/count", json=asked).json()
        yield Sample(RUNS, count, (state.value.lower(),))


def _deployments(client: SyncPrefectClient) -> Iterator[Sample]:
    for one in deployments(client):
        done = last_success(client, one)
        if done is not None:
            name = f"{client.read_flow(one.flow_id).name}/{one.name}"
            yield Sample(SUCCESS, done.timestamp(), (name,))


def _disk(home: Path) -> Iterator[Sample]:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    used = 0
    for path in home.rglob("*"):
        try:
            used += path.lstat().st_size if path.is_file() else 0
        except FileNotFoundError:  # a run at work has taken it away meanwhile
            continue
    yield Sample(USED, used)
    yield Sample(FREE, shutil.disk_usage(there).free)


def _training(home: Path) -> Iterator[Sample]:
    """Of the job that gave the latest sign of life; none where none has begun."""
    beats = {path: job.last_beat(path) for path in home.glob("jobs/*/heartbeat.json")}
    said = {path: beat for path, beat in beats.items() if beat and "at" in beat}
    if not said:
        return
    newest = max(said, key=lambda path: said[path]["at"])
    yield Sample(BEAT, said[newest]["at"])
    logged = curves.read(newest.parent)
    for phase, step in logged.group_by("phase").max().select("phase", "step").iter_rows():
        yield Sample(STEP, step, (phase,))


def _lake(lake: Lake) -> Iterator[Sample]:
    done = lake.rows("select stage, epoch(max(finished_at)) from stage_runs group by stage")
    yield from (Sample(STAGE, at, (stage,)) for stage, at in done.iter_rows() if stage in STAGES)
    for table in lake.named("lake/tables")["name"]:
        yield Sample(ROWS, lake.rows(fill("select count(*) from {table}", table=table)).item(), (table,))


def _champion(lake: Lake, params: WatchParams) -> Iterator[Sample]:
    champion = registry.champion(lake.home, params.register_)
    if champion is None:
        return
    yield Sample(CHAMPION, 1, (champion.version,))
    key = {"key": champion.train_key}
    made = lake.rows("select epoch(max(finished_at)) from stage_runs where batch_id = $key", key).item()
    if made is not None:
        yield Sample(TRAINED, made)
