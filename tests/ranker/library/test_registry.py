"""What is read from the registry's file is what MLflow says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import RegisterParams
from ranker.errors import BadRegistry, StageMissing
from ranker.library.registry import DATABASE, registered
from ranker.stages import registry
from tests.ranker.serving.running import NAME, promote

PARAMS = RegisterParams()
VERSION = {"train_key": "k", "model": "models/k/rl", "strategy": "setwise:size=3", "thinking": "true"}


def test_a_version_is_what_mlflow_says_it_is(tmp_path: Path) -> None:
    home = tmp_path / "50% of ? #1"
    home.mkdir()
    promote(home, "k1", "champion", "other-alias")
    client = registry.client_of(home, PARAMS)
    evaluated = client.create_model_version(NAME, source=str(home / "x"), tags=VERSION).version
    foreign = client.create_model_version(NAME, source=f"file://{home / 'elsewhere'}").version
    client.set_registered_model_alias(NAME, "challenger", evaluated)
    for asked, address in (
        ("champion", "@champion"),
        ("other-alias", "@other-alias"),
        ("challenger", "@challenger"),
        (1, "/1"),
        (str(foreign), f"/{foreign}"),
    ):
        found = registered(home, PARAMS, asked)
        assert found == registry.addressed(home, PARAMS, f"models:/{NAME}{address}")
    assert registered(home, PARAMS, "challenger").strategy == "setwise:size=3"
    assert registered(home, PARAMS, foreign).model == str(home / "elsewhere")


def test_another_registry_is_asked_through_mlflow(tmp_path: Path) -> None:
    promote(tmp_path, "k1")
    elsewhere = RegisterParams(tracking_uri=f"sqlite:///{tmp_path / DATABASE}")
    assert registered(tmp_path / "empty", elsewhere, "champion") == registered(tmp_path, PARAMS, "champion")
    with pytest.raises(StageMissing, match="sqlite"):
        registered(tmp_path, elsewhere, "challenger")


def test_what_is_not_registered_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match="champion"):
        registered(tmp_path, PARAMS, "champion")
    assert not list(tmp_path.iterdir()), "nothing is made by a look"
    promote(tmp_path, "k1")
    for params, asked in ((PARAMS, "shadow"), (PARAMS, 2), (RegisterParams(name="other"), "champion")):
        with pytest.raises(StageMissing, match=f"{asked}"):
            registered(tmp_path, params, asked)


def test_a_file_that_is_no_registry_is_named(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("no database")
    with pytest.raises(BadRegistry, match=r"mlflow\.db"):
        registered(tmp_path, PARAMS, "champion")
