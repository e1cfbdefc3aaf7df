"""What a Prefect server needs for the deployments of `prefect.yaml`: pool, queues, deployments, and
automations that notice a run which has died and tell of failures. `ranker bootstrap` makes what is missing or
differs.

Sources: Prefect's guide "Detect zombie flow runs" for the first automation; a run that dies while it is
Pending gives no sign of life at all, so it has one of its own (PrefectHQ/prefect#22664).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import yaml
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from pydantic import BaseModel, SecretStr

from ranker.errors import BadConfig, RankerError
from ranker.refs import PROJECT
from ranker.types import JsonObject

T = TypeVar("T")

TAG = "r1-ranker"
"""Every deployment has it: automations and `ranker watch` look at no other run of the server."""
POOLS = {"local-process": {"manual": 1, "nightly": 2, "maintenance": 3}, "gpu": {"training": 1}}
"""Pools, their queues and the priority of these: somebody waits for what was started by hand."""
TYPES = ("process", "kubernetes")
"""A pool that is missing is made of the first; one of the second is made beforehand, from a template of its
jobs (deploy/kubernetes). The deployments are the same: their folder is the image's.
"""
BEATS, BEAT_SECONDS = 5, 30.0
"""Signs of life that must be missing before a run counts as dead: three are the least that Prefect advises,
and a server that restarts loses some. `prefect.yaml` has them every 30 s."""
FAILURES = {"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"}
EVENTS = "ranker.*"
"""What `ranker watch` and the contract gate find, as events of the server."""
WEBHOOK = "ranker-notify"

RUNS = ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"})
OURS = ResourceSpecification({"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{TAG}"})


class Bootstrap(BaseModel):
    """How soon a run counts as dead, and who is told."""

    silent_seconds: float = BEATS * BEAT_SECONDS
    """A running run without a sign of life for so long has crashed."""
    pending_seconds: float = 600.0
    """So long may a run be Pending, which is from a worker taking it until its process runs."""
    webhook: str = ""
    """Address to which failures and findings are posted; empty keeps the one that is there, if any."""


@dataclass(frozen=True)
class Part:
    """One thing that the server should have: what is wrong with it (empty: nothing), and what mends it."""

    kind: str
    name: str
    wrong: str
    mend: Callable[[], object]


class DeployFailed(RankerError):
    """`prefect deploy --all` ended with a fault."""


def examine(client: SyncPrefectClient, asked: Bootstrap) -> list[Part]:
    """Everything that should be there, with what is missing or differs."""
    return [part for step in _steps(asked) for part in step(client)]


def bootstrap(client: SyncPrefectClient, asked: Bootstrap) -> list[Part]:
    """Make what is missing, mend what differs; gives what was wrong. A second time there is nothing to do.

    Raises:
        BadConfig: there is no prefect.yaml here, or the pool is of another type.
        DeployFailed: `prefect deploy --all` ended with a fault.
    """
    done: list[Part] = []
    mended: set[Callable[[], object]] = set()
    for step in _steps(asked):
        for part in list(step(client)):
            if part.wrong:
                done.append(part)
                if part.mend not in mended:
                    mended.add(part.mend)
                    part.mend()
    return done


def _steps(asked: Bootstrap) -> tuple[Callable[[SyncPrefectClient], Iterator[Part]], ...]:
    """Each needs what those before it have made."""
    return (
        _pools,
        _deployments,
        lambda client: _webhook(client, asked.webhook),
        lambda client: _automations(client, asked),
    )


def vacuumed(client: SyncPrefectClient) -> set[str]:
    """What the server takes away of its own database when it is old; `events` alone unless it is told."""
    return set(_settings(client)["services"]["db_vacuum"]["enabled"] or ())


def leases_last(client: SyncPrefectClient) -> bool:
    """Whether the server still knows after a restart which run holds a slot. Unless it is told where to keep
    that, it does not, and a run of a deployment with a limit is ended within minutes: its slot is no longer
    its own (Prefect's `maintain_concurrency_lease`).
    """
    return not _settings(client)["concurrency"]["lease_storage"].endswith(".memory")


def _settings(client: SyncPrefectClient) -> JsonObject:
    return client.request("GET", "/admin/settings").json()["server"]


def _found(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except ObjectNotFound:
        return None


def _pools(client: SyncPrefectClient) -> Iterator[Part]:
    for pool, queues in POOLS.items():
        yield _pool(client, pool)
        for name, priority in queues.items():
            yield _queue(client, pool, name, priority)


def _pool(client: SyncPrefectClient, name: str) -> Part:
    there = _found(lambda: client.read_work_pool(name))
    if there is not None and there.type not in TYPES:
        raise BadConfig(
            f"the work pool {name} is of type {' or '.join(TYPES)}",
            seen=there.type,
            remedy=f"`prefect work-pool delete {name}`, or another pool's name in prefect.yaml",
        )
    make = WorkPoolCreate(name=name, type=TYPES[0])
    return Part("work pool", name, "" if there else "missing", lambda: client.create_work_pool(make))


def _queue(client: SyncPrefectClient, pool: str, name: str, priority: int) -> Part:
    there = _found(lambda: client.read_work_queue_by_name(name, pool))
    if there is None:
        wrong = "missing"
    else:
        wrong = "" if there.priority == priority else f"priority {there.priority}, not {priority}"

    def mend() -> None:
        found = there or _found(lambda: client.read_work_queue_by_name(name, pool))
        found = found or client.create_work_queue(name=name, work_pool_name=pool)
        client.update_work_queue(found.id, priority=priority)

    return Part("queue", name, wrong, mend)


def _deployments(client: SyncPrefectClient) -> Iterator[Part]:
    """Those of prefect.yaml; one deploy mends them all."""
    for written in declared():
        flow = written["entrypoint"].split(":")[1]
        name = f"{flow}/{written['name']}"
        there = _found(lambda name=name: client.read_deployment_by_name(name))
        yield Part("deployment", name, "missing" if there is None else _drift(written, there), _deploy)


def declared() -> list[JsonObject]:
    """The deployments as prefect.yaml has them.

    Raises:
        BadConfig: there is none.
    """
    path = PROJECT / "prefect.yaml"
    if not path.is_file():
        raise BadConfig(
            "deployments are made from a checkout of the project",
            seen=f"no {path}",
            remedy="clone it; or write a prefect.yaml of your own and `prefect deploy --all`",
        )
    return yaml.safe_load(path.read_text(encoding="utf-8"))["deployments"]


def _drift(written: JsonObject, there: DeploymentResponse) -> str:
    """In what a deployment differs from what is written; empty where it does not."""
    limit, options = there.global_concurrency_limit, there.concurrency_options
    asked = written.get("concurrency_limit") or {}
    pairs = {
        "entrypoint": (written["entrypoint"], there.entrypoint),
        "tags": (sorted(written["tags"]), sorted(there.tags)),
        "parameters": (written.get("parameters", {}), there.parameters),
        "pool": (written["work_pool"]["name"], there.work_pool_name),
        "queue": (written["work_pool"]["work_queue_name"], there.work_queue_name),
        "variables": (written["work_pool"]["job_variables"], there.job_variables),
        "schedules": (
            sorted((one["cron"], one["timezone"]) for one in written.get("schedules", ())),
            sorted(
                (getattr(one.schedule, "cron", ""), getattr(one.schedule, "timezone", "") or "")
                for one in there.schedules
            ),
        ),
        "limit": (asked.get("limit"), limit.limit if limit else None),
        "collisions": (
            asked.get("collision_strategy"),
            options.collision_strategy.value if options and limit else None,
        ),
        "grace period": (
            asked.get("grace_period_seconds"),
            options.grace_period_seconds if options and limit else None,
        ),
    }
    return "; ".join(f"{what} {has}, not {should}" for what, (should, has) in pairs.items() if should != has)


def _deploy() -> None:
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=PROJECT,
        env=os.environ | settings | {"PWD": str(PROJECT)},  # where prefect.yaml has runs look for their flow
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DeployFailed(
            "`prefect deploy --all` makes the deployments of prefect.yaml",
            seen=(done.stdout + done.stderr).strip()[-1000:],
            remedy="mend what it names, and run `ranker bootstrap` again",
        )


def _notifier(client: SyncPrefectClient) -> UUID | None:
    document = _found(lambda: client.read_block_document_by_name(WEBHOOK, "webhook"))
    return document.id if document else None


def _webhook(client: SyncPrefectClient, address: str) -> Iterator[Part]:
    """Its address may hold a secret: it is never printed."""
    if not address:
        return
    document = _found(lambda: client.read_block_document_by_name(WEBHOOK, "webhook", include_secrets=True))
    if document is None:
        wrong = "missing"
    else:
        wrong = "" if document.data.get("url") == address else "another address"
    yield Part(
        "webhook", WEBHOOK, wrong, lambda: Webhook(url=SecretStr(address)).save(WEBHOOK, overwrite=True)
    )


def _automations(client: SyncPrefectClient, asked: Bootstrap) -> Iterator[Part]:
    for wanted in automations(asked, _notifier(client)):
        there = client.read_automations_by_name(wanted.name)
        if not there:
            yield Part(
                "automation", wanted.name, "missing", lambda wanted=wanted: client.create_automation(wanted)
            )
            continue
        # Two, where the answer to a request for one was lost, and Prefect's client asked again.
        wrong = f"{len(there)} of them" if len(there) > 1 else "" if _same(wanted, there[0]) else "differs"

        def mend(wanted: AutomationCore = wanted, there: Sequence[Automation] = there) -> None:
            for other in there[1:]:
                client.delete_automation(other.id)
            client.update_automation(there[0].id, wanted)

        yield Part("automation", wanted.name, wrong, mend)


def _same(wanted: AutomationCore, there: AutomationCore) -> bool:
    def parts(one: AutomationCore) -> JsonObject:
        return one.model_dump(
            mode="json", include={"enabled", "trigger", "actions"}, exclude={"trigger": {"id"}}
        )

    def settled(value: object) -> object:
        """Sets come in any order."""
        if isinstance(value, dict):
            return {key: settled(one) for key, one in value.items()}
        return sorted(map(settled, value), key=repr) if isinstance(value, list) else value

    return settled(parts(wanted)) == settled(parts(there))


def automations(asked: Bootstrap, notifier: UUID | None) -> Iterator[AutomationCore]:
    """Dead while running, dead before it ran, and, where somebody is to be told, failures and findings."""
    yield _crash(
        "no sign of life",
        after={"prefect.flow-run.heartbeat", "prefect.flow-run.Running"},  # one may die before its first
        seconds=asked.silent_seconds,
        message=f"no sign of life for {asked.silent_seconds:.0f} s",
    )
    yield _crash(
        "pending for too long",
        after={"prefect.flow-run.Pending"},
        seconds=asked.pending_seconds,
        message=f"Pending for {asked.pending_seconds:.0f} s: whoever took it has died",
    )
    if notifier:
        yield _told("tell of failures", FAILURES, notifier, FAILED, match=RUNS, match_related=OURS)
        yield _told("tell of findings", {EVENTS}, notifier, FOUND)


def _crash(name: str, after: set[str], seconds: float, message: str) -> AutomationCore:
    return AutomationCore(
        name=f"{TAG}: {name}",
        description="Made by `ranker bootstrap`.",
        enabled=True,  # said, as an update leaves alone what is not
        trigger=EventTrigger(
            match=RUNS,
            match_related=OURS,
            after=after,
            expect={"prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=seconds),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=message, force=False)],
    )


FAILED = (
    '{"text": {{ ("run " ~ flow_run.name ~ ": " ~ flow_run.state.name ~ ". "'
    ' ~ (flow_run.state.message or "")) | tojson }}, "event": {{ event.event | tojson }},'
    ' "flow_run": {{ (flow_run.id ~ "") | tojson }}}'
)
FOUND = '{"text": {{ event.payload.get("text", event.event) | tojson }}, "event": {{ event.event | tojson }}}'
"""What is posted: `text` is what chat services show."""


def _told(name: str, expect: set[str], notifier: UUID, payload: str, **match: Any) -> AutomationCore:
    return AutomationCore(
        name=f"{TAG}: {name}",
        description="Made by `ranker bootstrap --webhook`.",
        enabled=True,
        trigger=EventTrigger(
            expect=expect,
            for_each={"prefect.resource.id"},
            posture=Posture.Reactive,
            threshold=1,
            **match,
        ),
        actions=[CallWebhook(block_document_id=notifier, payload=payload)],
    )
