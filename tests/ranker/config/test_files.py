"""TOML files by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import RegisterParams, parse_params
from ranker.config.files import by_name, read
from ranker.errors import BadConfig


def test_of_two_files_with_one_name_that_of_the_later_folder_counts(tmp_path: Path) -> None:
    for folder, value in (("first", 1), ("second", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.toml").write_text(f"value = {value}")
    (tmp_path / "first" / "b.toml").write_text("")
    files = by_name([tmp_path / "first", tmp_path / "second"])
    assert sorted(files) == ["a", "b"] and read(files, "a", "preset", "presets/") == {"value": 2}


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"'c'[\s\S]*a, b, or add c\.toml to presets/"):
        read({"b": tmp_path, "a": tmp_path}, "c", "preset", "presets/")


@pytest.mark.parametrize("data", [b"value = ", b"\xff"])
def test_what_is_no_toml_is_named_with_its_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.toml").write_bytes(data)
    with pytest.raises(BadConfig, match=r"preset a must be a TOML file[\s\S]*a\.toml"):
        read(by_name([tmp_path]), "a", "preset", "presets/")


def test_a_machine_s_lake_and_registry_are_those_of_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is said, or nothing in so many words; what is said comes first."""
    machine, other = "ducklake:postgres:dbname=lake", "ducklake:sqlite:other.sqlite"
    monkeypatch.setenv("RANKER_LAKE", machine)
    monkeypatch.setenv("RANKER_TRACKING_URI", "http://mlflow:5000")
    assert parse_params({}).lake == parse_params({"lake": ""}).lake == machine
    assert parse_params({"lake": other}).lake == other
    assert parse_params({}).register_.tracking_uri == RegisterParams().tracking_uri == "http://mlflow:5000"
    assert RegisterParams(tracking_uri="sqlite:///own.db").tracking_uri == "sqlite:///own.db"
    monkeypatch.setenv("RANKER_LAKE", "ducklake:postgres:dbname=lake password=secret")
    with pytest.raises(BadConfig, match=r"pgpass"):
        parse_params({})
