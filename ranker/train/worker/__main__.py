"""Read a job, make or load the policy, cold-start it (SFT), reinforce it (GRPO).

Each phase is skipped where its folder is complete.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from ranker.engines.lean_imports import lean_imports
from ranker.train.worker.heartbeat import Heartbeat, follow_owner
from ranker.train.worker.job import Job

log = logging.getLogger("ranker.train")


def main(path: Path) -> None:
    """Run all phases of the job at `path` to their end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    faulthandler.enable()  # a crash in native code says where it was
    follow_owner()
    leads = os.environ.get("RANK", "0") == "0"
    with _alone(path.parent, leads):
        job = Job.read(path)
        heartbeat = Heartbeat(path.parent / "heartbeat.json", silent=not leads)
        heartbeat.beat("loading libraries")
        # torch and what stands on it take seconds to import: after the first sign of life
        with lean_imports():
            from ranker.train.worker import distributed, phase_run, scale

            if job.params.policy.style == "likelihood":
                from ranker.train.worker import likelihood as phases
            else:
                from ranker.train.worker import phases

        distributed.join(cpu=not scale.on_gpu(job.params))
        phase_run.threads(job)
        for phase in (phases.untrained, phases.sft, phases.rl):
            phase(job, heartbeat)
        distributed.leave()
        log.info("done")


@contextmanager
def _alone(folder: Path, leads: bool) -> Iterator[None]:
    """An orphan of a killed run needs a moment to notice that its owner is gone; two trainers in one folder
    never run.

    The first process holds the lock for all of its training; the others meet it before they touch the folder.
    """
    if not leads:
        yield
        return
    with FileLock(folder / "lock", fallback_to_soft=False):
        yield


if __name__ == "__main__":
    main(Path(sys.argv[1]))
