"""The reader of Last.fm's tags and plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import task
from ranker.datasets import readers
from ranker.errors import BadSource

LASTFM = {
    "artists.dat": (
        "id\tname\turl\tpictureURL\n1\tMotörhead Tribute\thttp://x\thttp://y\n2\tThe"
        " Hums\thttp://x\t\n3\tDuo\t\t\n"
    ),
    "user_artists.dat": "userID\tartistID\tweight\n7\t1\t99\n7\t3\t9\n8\t2\t5\n",
    "user_taggedartists-timestamps.dat": (
        "userID\tartistID\ttagID\ttimestamp\n7\t1\t5\t1238536800000\n7\t1\t6\t1238536700000\n7\t2\t5\t1241128800000\n"
        "8\t2\t5\t-428720400000\n8\t44\t5\t1241128800000\n"
    ),
}


def _lastfm(folder: Path, **files: str) -> Path:
    for name, content in {**LASTFM, **files}.items():
        (folder / name).write_text(content, encoding="utf-8")
    return folder


def test_a_user_meets_an_artist_at_the_first_tag_and_untimed_ones_before_all(tmp_path: Path) -> None:
    bundle = readers.read(task("lastfm"), _lastfm(tmp_path))
    times = {(u, i): t.timestamp() for u, i, _, t in bundle.interactions.iter_rows()}
    assert times == {("7", "1"): 1238536700, ("7", "2"): 1241128800, ("7", "3"): 0, ("8", "2"): 0}
    assert {(u, i): r for u, i, r, _ in bundle.interactions.iter_rows()} == {
        ("7", "1"): 10,
        ("7", "2"): None,
        ("7", "3"): 5,
        ("8", "2"): 10,
    }
    assert bundle.items["text"].to_list() == ["Motörhead Tribute", "The Hums", "Duo"]
    assert bundle.left_out == {
        "meetings with artists that artists.dat does not name": 1,
        "times before 2002, taken as the beginning": 1,
    }


LASTFM_FAULTS = {
    "column": (
        {"user_artists.dat": "userID\tartist\tweight\n7\t1\t9\n"},
        r"header must hold userID, artistID, weight\n.*user_artists\.dat, row 1",
    ),
    "plays": (
        {"user_artists.dat": "userID\tartistID\tweight\n7\t1\tmany\n"},
        r"user_artists\.dat, row 2: many",
    ),
    "time": (
        {"user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n7\t1\t5\tnow\n"},
        r"timestamps\.dat, row 2: now",
    ),
    "artist twice": (
        {"artists.dat": "id\tname\n1\tA\n1\tB\n"},
        r"artists\.dat, row 3: 1 again, first in row 2",
    ),
    "played twice": (
        {"user_artists.dat": "userID\tartistID\tweight\n7\t1\t9\n7\t1\t9\n"},
        r"user_artists\.dat, row 3: user 7, item 1 again",
    ),
}


@pytest.mark.parametrize("name", LASTFM_FAULTS)
def test_each_fault_of_lastfm_is_named(tmp_path: Path, name: str) -> None:
    files, expected = LASTFM_FAULTS[name]
    with pytest.raises(BadSource, match=expected) as caught:
        readers.read(task("lastfm"), _lastfm(tmp_path, **files))
    assert caught.value.remedy


def test_another_encoding_is_an_option(tmp_path: Path) -> None:
    _lastfm(tmp_path)
    (tmp_path / "artists.dat").write_bytes("id\tname\n1\tMotörhead\n2\tB\n3\tC\n".encode("latin-1"))
    with pytest.raises(BadSource, match=r"must be UTF-8\n.*artists\.dat, row 2"):
        readers.read(task("lastfm"), tmp_path)
    bundle = readers.read(task("lastfm").model_copy(update={"options": {"encoding": "latin-1"}}), tmp_path)
    assert bundle.items["title"][0] == "Motörhead"


def test_times_in_seconds_are_refused_and_not_taken_as_the_beginning(tmp_path: Path) -> None:
    tags = "userID\tartistID\ttagID\ttimestamp\n7\t1\t5\t1238536800\n"
    with pytest.raises(BadSource, match=r"timestamps\.dat, row 2: 1238536800.*\n.*milliseconds"):
        readers.read(task("lastfm"), _lastfm(tmp_path, **{"user_taggedartists-timestamps.dat": tags}))


def test_a_fault_is_named_in_the_file_that_has_it(tmp_path: Path) -> None:
    plays = "userID\tartistID\tweight\n7\t1\t9\n\t1\t9\n"
    with pytest.raises(BadSource, match=r"user_artists\.dat, row 3: an empty field"):
        readers.read(task("lastfm"), _lastfm(tmp_path, **{"user_artists.dat": plays}))
