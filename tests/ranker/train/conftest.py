"""One training of the tiny policy for all tests that look at one, go on from it, or compare with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ranker.train import job
from tests.ranker.train.jobs import counts, tiny, write_job


@pytest.fixture(scope="session")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, made_once: Callable[[str], None]
) -> tuple[Path, Path, dict[str, int]]:
    """Data folder, job folder and row counts of a training that nothing disturbed. Not to be changed."""
    made_once("training")
    home = tmp_path_factory.mktemp("calm")
    params = tiny()
    folder = write_job(home, params)
    job.launch(folder, params, lambda text: None)
    return home, folder, counts(home, folder)
