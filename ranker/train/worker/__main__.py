"""Read a job, make or load the policy, cold-start it (SFT), reinforce it (GRPO). Each phase is skipped where its folder is complete."""

from __future__ import annotations

import fcntl
import logging
import sys
from pathlib import Path

from ranker.train.worker.job import Job
from ranker.train.worker.vitals import Vitals, follow_owner

log = logging.getLogger("ranker.train")


def main(path: Path) -> None:
    """Run all phases of the job at `path` to their end."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stdout)
    follow_owner()
    with (path.parent / "lock").open("w") as lock:
        # An orphan of a killed run needs a moment to notice that its owner is gone; two trainers in one folder never run.
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = Job.read(path)
        vitals = Vitals(path.parent / "heartbeat.json")
        vitals.beat("loading libraries")
        from ranker.train.worker import phases  # torch and trl take seconds to import: after the first sign of life

        for phase in (phases.untrained, phases.sft, phases.exact, phases.rl):
            phase(job, vitals)
        log.info("done")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
