"""The reader of MovieTweetings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import task
from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource
from tests.ranker.material import SHARED, needs_shared


def _tweets(folder: Path, ratings: str = "1::7::8::1365029107\n") -> Path:
    (folder / "ratings.dat").write_text(ratings, encoding="utf-8")
    (folder / "movies.dat").write_text(
        "7::Fantômas (1913)::Crime|Drama\n8::Nothing (2000)::\n", encoding="utf-8"
    )
    return folder


def test_movietweetings_reads_titles_and_genres(tmp_path: Path) -> None:
    bundle = readers.read(task("movietweetings"), _tweets(tmp_path))
    assert bundle.items["text"].to_list() == ["Fantômas (1913), Crime Drama", "Nothing (2000)"]
    assert bundle.interactions.select("user_id", "item_id", "rating").rows() == [("1", "7", 8.0)]


def test_movietweetings_refuses_a_rating_of_eleven(tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=r"ratings\.dat, row 1: 11"):
        readers.read(task("movietweetings"), _tweets(tmp_path, "1::7::11::1365029107\n"))


@needs_shared
def test_the_given_movietweetings_are_read_whole() -> None:
    bundle = readers.read(task("movietweetings"), SHARED / "movietweetings-100k")
    assert (bundle.interactions.height, bundle.items.height) == (100_000, 10_506)


def test_a_movie_without_a_title_shows_its_id(tmp_path: Path) -> None:
    folder = _tweets(tmp_path)
    (folder / "movies.dat").write_text("7::  ::Crime\n")
    assert readers.read(task("movietweetings"), folder).items["text"].to_list() == ["7, Crime"]


def test_an_unknown_option_of_movietweetings_is_refused(tmp_path: Path) -> None:
    given = task("movietweetings").model_copy(update={"options": {"colour": "red"}})
    with pytest.raises(BadConfig, match="colour"):
        readers.read(given, _tweets(tmp_path))
