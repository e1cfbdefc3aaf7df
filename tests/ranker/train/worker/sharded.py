"""A trainer as FSDP's configurations start it, on a CPU: `python -m tests.ranker.train.worker.sharded JOB`.

accelerate shards over GPUs alone. What it asks is the kind of its processes, so here several on CPUs say that
they are GPUs' when they have met; torch's FSDP2 and gloo care for no device.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils import DistributedType
from accelerate.utils.launch import prepare_multi_gpu_env

from ranker.config import TrainParams
from ranker.refs import PROJECT
from ranker.train import job


def run(folder: Path, params: TrainParams, processes: int) -> None:
    """Train with the environment that accelerate's launcher makes of the configuration."""
    launched = job.command(folder, params)
    given: argparse.Namespace = launch_command_parser().parse_args(
        launched[launched.index("accelerate.commands.launch") + 1 :]
    )
    given, _, _ = _validate_launch_command(given)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = (
        os.environ | prepare_multi_gpu_env(given) | {"WORLD_SIZE": str(processes), "OMP_NUM_THREADS": "1"}
    )
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", __name__, str(folder / "job.json")]
    with (folder / "trainer.log").open("ab") as log:
        started = [
            subprocess.Popen(
                command, env=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=log, stderr=log
            )
            for rank in range(processes)
        ]
        try:
            codes = [one.wait(300) for one in started]
        finally:
            for one in started:
                one.kill()
    assert codes == [0] * processes, (folder / "trainer.log").read_text()[-3000:]


def _say_gpu() -> None:
    begin = PartialState.__init__

    def begun(self: PartialState, *given: Any, **named: Any) -> None:
        begin(self, *given, **named)
        if self.distributed_type is DistributedType.MULTI_CPU:
            self.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begun  # type: ignore[method-assign]


if __name__ == "__main__":
    from ranker.train.worker.__main__ import main

    _say_gpu()
    main(Path(sys.argv[1]))
