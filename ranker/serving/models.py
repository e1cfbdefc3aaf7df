"""The model that serves: the champion, loaded; and the next one, loaded beside it and put in its place
between two batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ranker.config import RetrainParams
from ranker.engines import OPENAI, VLLM, Engine, load, require
from ranker.studies.replay import identity

log = logging.getLogger("ranker.serving")
ADDRESS = "models:/"
"""What stands before the name of a registered model."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which model shall serve: where it lies (as engines.load takes it), and what it is called."""

    location: str
    name: str
    """As answers tell it: NAME:VERSION, or a folder's name."""
    identity: str
    """As episodes.model."""
    version: str = ""
    """Registered version; empty for one that is not registered."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A pointer and its engine."""

    pointer: Pointer
    engine: Engine


class Models:
    """Holds what serves. `refresh` looks whether that is still what shall, and loads it where it is not.

    The old model serves until the new one is loaded; a batch under way keeps the one that it began with.
    Where none is found, or the new one cannot be loaded, the old one stays, `trouble` says why, and the next
    look tries again.

    Args:
        find: the pointer that shall serve now; None where there is none.
        load: an engine for a pointer's location.
        swapped: called with what serves from now on.
        failed: called where finding or loading raised.
        besides: the pointer that another holds: it is not loaded again, and what is held is let go (`same`).
        does: what a model does here, for the log.
    """

    def __init__(
        self,
        find: Callable[[], Pointer | None],
        load: Callable[[str], Engine],
        *,
        swapped: Callable[[Loaded], None],
        failed: Callable[[], None],
        besides: Callable[[], Pointer | None] = lambda: None,
        does: str = "serves",
    ) -> None:
        self._find, self._load, self._swapped, self._failed = find, load, swapped, failed
        self._besides, self._does = besides, does
        self.current: Loaded | None = None
        self.trouble = ""
        self.same = False
        """Whether the latest look found what another holds."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="loading")

    def refresh(self) -> None:
        """Look, and swap where another model shall serve. Takes as long as loading does.

        Raises:
            Whatever finding or loading it raises; what serves has not changed then.
        """
        found = self._find()
        self.same = found is not None and found == self._besides()
        if self.same:
            self.current, self.trouble = None, ""
        elif found is None:
            self.trouble = self.trouble if self.current else "no version is registered under this address yet"
        elif self.current is None or found != self.current.pointer:
            loaded = Loaded(found, self._load(found.location))
            self.current, self.trouble = loaded, ""  # one assignment: a batch sees the old or the new one
            self._swapped(loaded)
            log.info("%s %s now (%s)", found.name, self._does, found.location)
        else:
            self.trouble = ""

    async def follow(self, every: float) -> None:
        """Look now and again each `every` seconds, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            # gathered: whatever goes wrong is told, and the model that serves goes on
            (outcome,) = await asyncio.gather(
                loop.run_in_executor(self._thread, self.refresh), return_exceptions=True
            )
            if isinstance(outcome, BaseException):
                self.trouble = f"{type(outcome).__name__}: {outcome}"
                self._failed()
                log.warning(
                    "the model could not be looked up or loaded; %s: %s",
                    f"the one before {self._does} on" if self.current else f"none {self._does} yet",
                    outcome,
                )
            await asyncio.sleep(every)

    def close(self) -> None:
        """Wait for a load under way."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def finder(model: str, params: RetrainParams) -> Callable[[], Pointer | None]:
    """How the model that shall serve is found: `models:/…` asks the registry each time; a folder, `vllm:` or
    `openai:` stays what it is.

    Raises:
        BadConfig: no address of a registered model.
        BadModel: a folder that is none of a model.
    """
    if model.startswith(ADDRESS):
        from ranker.stages import registry

        registry.parsed(model)  # refused now and not by the first look
        return lambda: _registered(model, params)
    if model.startswith(OPENAI):
        return lambda: Pointer(model, model.rpartition("#")[2], model)
    folder = Path(model.removeprefix(VLLM)).resolve()
    require(folder)
    prefix = VLLM if model.startswith(VLLM) else ""
    fixed = Pointer(f"{prefix}{folder}", folder.name, identity(params.home_path, folder))
    return lambda: fixed


def loader(params: RetrainParams, documents: int = 0) -> Callable[[str], Engine]:
    """How a model is loaded: on the device, in batches and with the cache that `evaluate` says. An endpoint
    does not tell how it is to be asked: by likelihood where that is `train.policy.style`.

    Args:
        documents: MiB for what a likelihood policy makes of documents that may come again.
    """
    given, likelihood = params.evaluate, params.train.policy.style == "likelihood"
    return lambda location: load(
        location,
        style="likelihood" if likelihood and location.startswith(OPENAI) else None,
        device=given.device,
        batch=given.per_device_eval_batch_size,
        cache=given.cache,
        home=params.home_path,
        contexts=documents,
    )


def _registered(address: str, params: RetrainParams) -> Pointer | None:
    from ranker.stages import registry

    found = registry.addressed(params.home_path, params.register_, address)
    if found is None:
        return None
    folder = params.home_path / found.model
    require(folder)
    return Pointer(
        str(folder),
        f"{registry.parsed(address)['name']}:{found.version}",
        identity(params.home_path, folder),
        found.version,
    )
