"""Data folders whose registry was written by MLflow."""

from __future__ import annotations

from pathlib import Path

from tests.ranker.material import tiny_lm
from tests.ranker.serving.running import CALIBRATION, promote

FITTED = {"synthetic": {"temperature": 0.5, "calibration": CALIBRATION, "queries": 9}}


def registered_home(home: Path) -> Path:
    """Two likelihood policies, calibrated for the task synthetic alone: version 1 is challenger, version 2 is
    champion.
    """
    for seed, (key, alias) in enumerate([("k1", "challenger"), ("k2", "champion")]):
        tiny_lm(home / "models" / key / "rl", seed=seed, likelihood=FITTED, tasks=["synthetic"])
        promote(home, key, alias)
    return home
