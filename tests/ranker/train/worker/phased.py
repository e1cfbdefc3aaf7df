"""Phases of a training in the test's own process."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from ranker.config import TrainParams
from ranker.train.worker import phases
from ranker.train.worker.heartbeat import Heartbeat
from ranker.train.worker.job import Job
from tests.ranker.train.jobs import write_job

Weights = dict[str, torch.Tensor]


def trained(home: Path, params: TrainParams, *names: str) -> Job:
    """The phases, in this process."""
    found = Job.read(write_job(home, params) / "job.json")
    heartbeat = Heartbeat(found.folder / "heartbeat.json")
    for name in ("untrained", *names):
        getattr(phases, name)(found, heartbeat)
    return found


def weights(found: Job, phase: str) -> Weights:
    return load_file(found.model(phase) / "model.safetensors")
