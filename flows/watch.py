"""A look from outside at what the Prefect server believes, for cron or a systemd timer: `ranker watch`.

The automations of `flows.bootstrap` do the same at once, where they fire: that a dead run keeps its slot and
the schedule stands still is known of them (PrefectHQ/prefect#18653, #22664). So this asks for no event that
has to come: it reads states, signs of life and processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter, EventOrder, EventResourceFilter
from prefect.states import Cancelling, Crashed
from pydantic import Field

from flows.bootstrap import TAG, Bootstrap
from ranker.config import LakeUri, RegisterParams, Section, data_home
from ranker.errors import StageMissing
from ranker.lake import open_lake
from ranker.stages import registry

PAGE = 200
"""Runs that one request asks for; there are never so many at work."""
HOLDING = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
"""States in which a run holds a slot."""
ENDED = (StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
KINDS = ("dead run", "orphan", "slot", "schedule", "data", "champion")
"""What may be found."""
USUAL = Bootstrap()


class WatchParams(Section):
    """What counts as dead, late or old."""

    silent_seconds: float = Field(
        default=2 * USUAL.silent_seconds,
        gt=0,
        description="A running run without a sign of life for so long has crashed; twice what the automation"
        " has, which comes first.",
    )
    pending_seconds: float = Field(
        default=2 * USUAL.pending_seconds, gt=0, description="The same of a run that is Pending."
    )
    one_machine: bool = Field(
        default=False,
        description="All workers are on this machine: a run whose process is not there has crashed, at once.",
    )
    periods: float = Field(
        default=2.0, gt=0, description="Periods of a schedule within which a run must have completed."
    )
    data_days: float = Field(
        default=0.0, ge=0, description="Days within which new data must have come; 0 does not ask."
    )
    champion_days: float = Field(
        default=0.0, ge=0, description="Days that a champion may be old; 0 does not ask."
    )
    home: str = Field(default="", description="Data folder; empty takes $RANKER_HOME or ./data.")
    lake: LakeUri = Field(
        default="",
        validate_default=True,
        description="Lake catalog URI; empty takes $RANKER_LAKE, else a SQLite catalog in the data folder.",
    )
    register_: RegisterParams = Field(default_factory=RegisterParams, alias="register")


@dataclass(frozen=True, slots=True)
class Found:
    """Something that is not as it should be, and what was done about it (empty: nothing can be)."""

    kind: str
    name: str
    seen: str
    done: str = ""


def watch(client: SyncPrefectClient, params: WatchParams, dry_run: bool = False) -> list[Found]:
    """Mark dead runs as crashed, cancel their children, free slots that nobody holds, and say which schedule
    has completed nothing for too long, and what is old. Each finding is an event of the server too.

    `dry_run` only says what would be done.
    """
    found: list[Found] = []
    for look in (_dead, _orphans, _slots, _late):
        found += look(client, params, dry_run)
    found += _old(params)
    if not dry_run:
        for one in found:
            emit_event(
                f"ranker.watch.{one.kind.replace(' ', '-')}",
                resource={"prefect.resource.id": f"ranker.{one.kind.replace(' ', '-')}.{one.name}"},
                payload={"text": f"{one.kind} {one.name}: {one.seen}{'; ' + one.done if one.done else ''}"},
            )
    return found


def _runs(client: SyncPrefectClient, *states: StateType, **filters: object) -> list[FlowRun]:
    return client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
            **{"tags": FlowRunFilterTags(all_=[TAG])} | filters,  # type: ignore[arg-type]
        ),
        sort=FlowRunSort.START_TIME_DESC,
        limit=PAGE,
    )


def _dead(client: SyncPrefectClient, params: WatchParams, dry_run: bool) -> Iterator[Found]:
    for run in _runs(client, StateType.RUNNING, StateType.PENDING):
        why = _why_dead(client, run, params)
        if why and not dry_run:
            client.set_flow_run_state(run.id, Crashed(message=f"`ranker watch`: {why}"))
        if why:
            yield Found("dead run", run.name, f"{_state(run)}, {why}", "marked as crashed")


def _why_dead(client: SyncPrefectClient, run: FlowRun, params: WatchParams) -> str:
    """Empty where the run may be alive."""
    process = run.infrastructure_pid or ""  # a process pool notes the number alone, not the machine
    if params.one_machine and process.isdigit() and not _at_work(int(process)):
        return f"its process {process} has gone"
    pending = run.state_type is StateType.PENDING
    patience = params.pending_seconds if pending else params.silent_seconds
    silent = (datetime.now(UTC) - sign_of_life(client, run)).total_seconds()
    return f"no sign of life for {silent:.0f} s" if silent > patience else ""


def _at_work(process: int) -> bool:
    """A process that has ended and whose parent has not asked how is still listed."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sign_of_life(client: SyncPrefectClient, run: FlowRun) -> datetime:
    """The newest of: its last beat, its last change of state."""
    beats = client.read_events(
        EventFilter(
            event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
            resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]),
            order=EventOrder.DESC,
        ),
        limit=1,
    ).events
    changed = run.state.timestamp if run.state else run.created
    times = [time for time in (changed, *(beat.occurred for beat in beats)) if time is not None]
    return max(times, default=datetime.now(UTC))


def _orphans(client: SyncPrefectClient, params: WatchParams, dry_run: bool) -> Iterator[Found]:
    """Prefect cancels the children of a run that was cancelled, and of no other that has ended."""
    ended = _runs(client, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED)
    if not ended:
        return
    parents = {run.id: run for run in ended}
    children = _runs(
        client,
        StateType.SCHEDULED,
        *HOLDING[:2],
        tags=None,
        parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=list(parents)),
    )
    for run in children:
        if not dry_run:  # its worker ends the process; where none is left, the server ends the run
            client.set_flow_run_state(run.id, Cancelling(message="`ranker watch`: its parent has ended"))
        yield Found("orphan", run.name, f"{_state(run)}, its parent has ended", "cancelled")


def _slots(client: SyncPrefectClient, params: WatchParams, dry_run: bool) -> Iterator[Found]:
    for deployment in deployments(client):
        limit = deployment.global_concurrency_limit
        if limit is None or not limit.active_slots:
            continue
        chosen = FlowRunFilterDeploymentId(any_=[deployment.id])
        holders = len(_runs(client, *HOLDING, tags=None, deployment_id=chosen))
        if limit.active_slots <= holders:
            continue
        if not dry_run:
            client.update_global_concurrency_limit(
                limit.name, GlobalConcurrencyLimitUpdate(active_slots=holders)
            )
        seen = f"{limit.active_slots} slots taken, {holders} runs at work"
        yield Found("slot", deployment.name, seen, f"{limit.active_slots - holders} freed")


def deployments(client: SyncPrefectClient) -> Sequence[DeploymentResponse]:
    """Those of this project."""
    chosen = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    return client.read_deployments(deployment_filter=chosen, limit=PAGE)


def _late(client: SyncPrefectClient, params: WatchParams, dry_run: bool) -> Iterator[Found]:
    """Schedules that have completed no run within so many of their periods, and those that plan none."""
    for deployment in deployments(client):
        active = [one for one in deployment.schedules if one.active]
        if not active or deployment.paused:
            continue
        chosen = FlowRunFilterDeploymentId(any_=[deployment.id])
        planned = sorted(
            run.expected_start_time
            for run in _runs(client, StateType.SCHEDULED, tags=None, deployment_id=chosen)
            if run.expected_start_time
        )
        if len(planned) < 2:
            seen = f"{len(planned)} runs planned: the server's scheduler is not at work"
            yield Found("schedule", deployment.name, seen)
            continue
        allowed = params.periods * (planned[-1] - planned[0]) / (len(planned) - 1)
        since = last_success(client, deployment) or deployment.created
        passed = datetime.now(UTC) - (since or datetime.now(UTC))
        if passed > allowed:
            seen = f"nothing completed for {_said(passed)}; {_said(allowed)} are allowed"
            yield Found("schedule", deployment.name, seen)


def last_success(client: SyncPrefectClient, deployment: DeploymentResponse) -> datetime | None:
    """When a run of it has completed for the last time; None where the server has none."""
    chosen = FlowRunFilterDeploymentId(any_=[deployment.id])
    done = _runs(client, StateType.COMPLETED, tags=None, deployment_id=chosen)
    return max((run.end_time for run in done if run.end_time), default=None)


def _old(params: WatchParams) -> Iterator[Found]:
    """Data and champion by the age of the stage that made them."""
    if not params.data_days and not params.champion_days:
        return
    home = data_home(params.home)
    try:
        opened = open_lake(home, params.lake, read_only=True)
    except StageMissing as missing:
        yield Found("data", "lake", missing.seen)
        return
    with opened as lake:
        if params.data_days:
            newest = lake.rows("select max(finished_at) from stage_runs where stage = 'ingest'").item()
            yield from _aged("data", "newest batch", newest, params.data_days)
        if params.champion_days:
            champion = registry.champion(home, params.register_)
            key = champion.train_key if champion else ""
            made = lake.rows(
                "select max(finished_at) from stage_runs where batch_id = $key", {"key": key}
            ).item()
            name = f"version {champion.version}" if champion else params.register_.name
            yield from _aged("champion", name, made, params.champion_days)


def _aged(kind: str, name: str, since: datetime | None, days: float) -> Iterator[Found]:
    if since is None:
        yield Found(kind, name, "there is none")
        return
    aware = since if since.tzinfo else since.replace(tzinfo=UTC)
    passed, allowed = datetime.now(UTC) - aware, timedelta(days=days)
    if passed > allowed:
        yield Found(kind, name, f"{_said(passed)} old; {_said(allowed)} are allowed")


def _state(run: FlowRun) -> str:
    return run.state_name or "without a state"


def _said(duration: timedelta) -> str:
    hours = duration.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
