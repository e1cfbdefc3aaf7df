"""Fetching: real wheels through the real pip, from a folder instead of an index."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ranker.cli.fetch import fetch_data
from ranker.config import Task
from ranker.errors import BadSource

MOVIES = Task(
    name="rec-fake",
    scenario="recommendation",
    reader="recbole",
    location="downloads/fake",
    package="fakedata==1.0",
    member="fakedata/set",
    pool_size=4,
    wording="Rank.",
)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / "fakedata-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("fakedata/set/a.inter", "user\titem\n")
        wheel.writestr("fakedata/setup/other.txt", "not asked for")
        wheel.writestr(
            "fakedata-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: fakedata\nVersion: 1.0\n"
        )
        wheel.writestr(
            "fakedata-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("fakedata-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_the_folder_comes_out_of_the_wheel_once(home: Path, index: Path) -> None:
    said: list[str] = []
    fetch_data(home, MOVIES, said.append)
    assert [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()] == [
        "downloads/fake/a.inter"
    ]
    fetch_data(home, MOVIES, said.append)
    assert "already at" in said[-1]


def test_a_package_that_cannot_be_had_leaves_nothing_behind(home: Path, index: Path) -> None:
    with pytest.raises(BadSource, match="nosuchdata"):
        fetch_data(home, MOVIES.model_copy(update={"package": "nosuchdata==1.0"}), print)
    assert not (home / "downloads" / "fake").exists()


def test_a_package_without_the_folder_is_refused(home: Path, index: Path) -> None:
    with pytest.raises(BadSource, match="must hold its data"):
        fetch_data(home, MOVIES.model_copy(update={"member": "fakedata/elsewhere"}), print)
    assert not list((home / "downloads").glob("*")) if (home / "downloads").exists() else True
