"""A ranker of a tiny likelihood policy, and what it is asked."""

from __future__ import annotations

import os

import pytest

from ranker import Ranker
from tests.ranker.library.homes import FITTED
from tests.ranker.material import tiny_lm

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "false")


@pytest.fixture(scope="session")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Ranker:
    folder = tiny_lm(tmp_path_factory.mktemp("adapted") / "lm", likelihood=FITTED, tasks=["synthetic"])
    return Ranker.from_pretrained(folder)
