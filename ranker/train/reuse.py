"""Phases that another training has already gone through: arms of a study share their start and their SFT.

A phase's key is the digest of all that decides it: inputs, code, and the parameters without those of later
phases. A model folder under an equal key is linked into place, and the trainer skips what is complete. Only
trainings of likelihood policies do so: their starts are hundreds of megabytes, and a study has four arms.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from ranker.config import TrainParams
from ranker.engines import MANIFEST, manifest
from ranker.refs import digest

LATER = {
    "untrained": {"sft", "grpo", "likelihood", "start", "weights", "early_stopping_patience"},
    "sft": {"grpo", "likelihood", "start"},
}
"""Phase → parameters that only later phases read."""


def phase_keys(params: TrainParams, sets: str, traces: str, code: str, start: str = "") -> dict[str, str]:
    """Keys of the phases that may be shared; none where snapshots of them are wanted.

    Args:
        sets, traces: keys of the stages that the training reads.
        code: digest of the code and libraries that decide a training.
        start: the model that training begins with; empty is the policy's own.
    """
    if params.policy.style != "likelihood" or params.snapshots:
        return {}
    inputs = {"untrained": [sets, start], "sft": [sets, traces, start]}
    return {
        phase: digest(phase, params.model_dump(mode="json", exclude=later), inputs[phase], code)
        for phase, later in LATER.items()
    }


def adopt(home: Path, key: str, keys: Mapping[str, str], log: Callable[[str], None]) -> None:
    """Link each phase that another training has completed under the same key, with its curves."""
    for phase, wanted in keys.items():
        target = home / "models" / key / phase
        if (target / MANIFEST).is_file():
            continue
        for path in sorted((home / "models").glob(f"*/{phase}/{MANIFEST}")):
            other = path.parent.parent.name
            if manifest(path.parent).get("phase_key") == wanted and _curves(home, other, key, phase):
                _link(path.parent, target, key)
                log(f"{phase} is that of training {other}, which had the same parameters and data")
                break


def _curves(home: Path, other: str, key: str, phase: str) -> bool:
    """Copy a phase's curves; False where they are gone, and the phase with them."""
    if phase == "untrained":
        return True
    source = home / "jobs" / other / f"metrics-{phase}.parquet"
    if source.is_file():
        shutil.copy(source, home / "jobs" / key / source.name)
    return source.is_file() or not manifest(home / "models" / other / phase)["facts"].get("steps")


def _link(source: Path, target: Path, key: str) -> None:
    """Hard links, so that the weights lie on disk once; the manifest, which names its training, is written
    anew, and last.
    """
    part = target.with_name(f"{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for path in source.iterdir():
        if path.name != MANIFEST:
            os.link(path, part / path.name)
    described = manifest(source) | {"train_key": key}
    (part / MANIFEST).write_text(json.dumps(described, indent=1), encoding="utf-8")
    part.rename(target)
