"""`ranker gc` as it is typed."""

from __future__ import annotations

import shutil
from pathlib import Path

from ranker.lake import open_lake
from tests.ranker.cli.commands import ranker
from tests.ranker.evaluated import trained

KEY = "0" * 16


def test_it_says_what_would_go_and_does_it_only_where_that_is_asked(home: Path, empty_registry: Path) -> None:
    shutil.copy(empty_registry, home / "mlflow.db")
    with open_lake(home) as lake:
        trained(lake, KEY)
    model = home / "models" / KEY
    (model / "rl" / "model.safetensors").write_bytes(bytes(2**20))
    everything = ("--days", "0", "--grace", "0")
    young, old = ranker("gc"), ranker("gc", *everything)
    assert young.exit_code == old.exit_code == 0 and model.is_dir()
    assert "stays" in young.stdout and "0 MiB of folders and 0 snapshots would go" in young.stdout
    assert "goes" in old.stdout and "1 MiB of folders" in old.stdout and "--apply" in old.stdout
    done = ranker("gc", *everything, "--apply")
    assert done.exit_code == 0 and "1 MiB of folders are free" in done.stdout and not model.exists()


def test_without_a_lake_there_is_nothing_to_collect(home: Path) -> None:
    shown = ranker("gc")
    assert shown.exit_code == 2 and "ranker retrain" in shown.stderr
