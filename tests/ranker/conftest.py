"""An MLflow database for the tests that register models."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import RegisterParams
from ranker.stages import register


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database without a model: its migrations take seconds, so they run once."""
    home = tmp_path_factory.mktemp("mlflow")
    register._client(home, RegisterParams()).search_registered_models()
    return home / "mlflow.db"
