"""Work in shards, shared out over the workers of a Ray cluster or done here one after another.

Ray is called within a stage's own task, and not through prefect-ray: the task stays one that is retried,
skipped and timed as a whole, and its shards are no tasks that a server has to hold. Workers only compute:
what they give is written where the work was cut, once, so a worker that is killed costs time alone.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from ranker.config import FanOutParams
from ranker.engines import Closing, Completion, Engine, Prompt, Sampling
from ranker.errors import BadConfig, Unreachable
from ranker.policy.prompts import Style

T = TypeVar("T")
log = logging.getLogger("ranker.stages.fan_out")
RETRIES = 3
"""Workers that a shard may lose."""
AHEAD = 2
"""Shards at each worker at once: those that come after stay here, so that no cluster holds them all."""
REACHED_SECONDS = 10.0
"""For which a cluster's address is tried."""
CARRIED = ("RANKER_", "HF_", "OPENAI_")
"""Environment variables, by how they begin, that a worker needs as this process has them."""


def spread(shards: Sequence[Callable[[], T]], params: FanOutParams) -> Iterator[tuple[int, T]]:
    """The number and result of each shard, as they end. A shard is pickled; the folders that it names are
    seen by all workers.

    Raises:
        What a shard raises.
        Unreachable: there is no cluster at the address, or a shard lost RETRIES workers and one more.
        BadConfig: Ray is not installed, or has no worker as large as is asked for.
    """
    if params.engine == "local":
        for number, shard in enumerate(shards):
            yield number, shard()
        return
    with cluster(params) as ray:
        slots = _slots(ray, params)
        call = ray.remote(_called).options(
            num_cpus=params.num_cpus,
            num_gpus=params.num_gpus,
            max_retries=RETRIES,
            scheduling_strategy="SPREAD",
        )
        carried = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
        coming = iter(enumerate(shards))
        at_work: dict[Any, int] = {}
        while True:
            while len(at_work) < AHEAD * slots and (one := next(coming, None)) is not None:
                number, shard = one
                at_work[call.remote(carried, shard)] = number
            if not at_work:
                return
            (ended,), _ = ray.wait(list(at_work), num_returns=1)
            yield at_work.pop(ended), _result(ray, ended)


@contextmanager
def cluster(params: FanOutParams) -> Generator[Any]:
    """Ray, connected; what is connected already stays so."""
    ray = _ray()
    if ray.is_initialized():
        yield ray
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        _reached(params.address)
        ray.init(
            address=params.address or "local",
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            **({} if params.address else {"_node_ip_address": "127.0.0.1"}),
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise Unreachable(
            "fan_out.address is that of a Ray cluster",
            seen=f"{params.address or 'local'}: {str(error).splitlines()[0]}",
            remedy="`ray start --head` says it; leave it empty for this machine alone",
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGTERM, before
        )  # how a stage ends is its flow's to say, and Ray has a way of its own
    try:
        yield ray
    finally:
        ray.shutdown()


def _reached(address: str) -> None:
    """Ray itself tries for minutes.

    Raises:
        OSError: nobody listens there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=REACHED_SECONDS).close()


class FannedOut:
    """An engine whose completions are written by the workers, each of which loads the engine itself.

    Prompt number i of a call has the seed `sampling.seed` + i whoever answers it.
    """

    def __init__(
        self, name: str, style: Style, load: Callable[[], Engine], params: FanOutParams, size: int
    ) -> None:
        self.name = name
        self.style: Style = style
        self._load, self._params, self._size = load, params, size

    def complete(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Completion]:
        """As the engine's own; `size` prompts a shard."""
        starts = range(0, len(prompts), self._size)
        shards = [
            partial(
                _completed,
                partial(kept, f"{self.style} {self.name}", self._load),
                prompts[start : start + self._size],
                replace(sampling, seed=sampling.seed + start),
            )
            for start in starts
        ]
        found = dict(spread(shards, self._params))
        return [done for number in sorted(found) for done in found[number]]


def _completed(
    engine: Callable[[], Engine], prompts: Sequence[Prompt], sampling: Sampling
) -> list[Completion]:
    return engine().complete(prompts, sampling)


_engine: tuple[str, Engine] | None = None


def kept(key: str, load: Callable[[], Engine]) -> Engine:
    """The engine of that key, loaded once in a worker's process; what it had before is given back."""
    global _engine
    if _engine is None or _engine[0] != key:
        if _engine is not None and isinstance(_engine[1], Closing):
            _engine[1].close()
        _engine = None
        _engine = key, load()
    return _engine[1]


def _called(environment: Mapping[str, str], shard: Callable[[], T]) -> T:
    """What a worker runs."""
    os.environ.update(environment)
    return shard()


def _result(ray: Any, ended: Any) -> Any:
    try:
        return ray.get(ended)
    except ray.exceptions.RayTaskError as error:
        raise (error.cause or error) from error
    except ray.exceptions.RayError as error:
        raise Unreachable(
            "a shard ends on a worker of the Ray cluster",
            seen=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            remedy="run it again: what is done stays; workers that die again and again want more memory",
        ) from error


def _slots(ray: Any, params: FanOutParams) -> int:
    """Shards that the cluster runs at once."""
    there = ray.cluster_resources()
    wanted = {"CPU": params.num_cpus, "GPU": params.num_gpus}
    slots = int(min(there.get(name, 0) / count for name, count in wanted.items() if count))
    if not slots:
        found = ", ".join(f"{there.get(name, 0):g} {name}" for name in wanted)
        raise BadConfig(
            "a worker must fit into the Ray cluster",
            seen=f"fan_out.num_cpus {params.num_cpus:g} and num_gpus {params.num_gpus:g} of {found}",
            remedy="ask for less a worker, or give the cluster more",
        )
    log.info("Ray: %d workers", slots)
    return slots


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise BadConfig(
            "fan_out.engine = ray needs Ray",
            seen=str(error),
            remedy="pip install 'r1-ranker[ray]'",
        ) from error
    return ray
