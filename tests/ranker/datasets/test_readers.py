"""What all readers share: which there are, their options, the digest of what they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.datasets import readers
from ranker.errors import BadConfig, BadSource
from tests.ranker.datasets.test_recbole import MOVIE
from tests.ranker.datasets.test_synthetic import _synthetic
from tests.ranker.material import recbole, taste


def test_a_missing_folder_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        BadSource, match=r"no file or folder .*nowhere\n.*ranker fetch.*ingest\.locations\.rec-movie"
    ):
        readers.digest(MOVIE, tmp_path / "nowhere")


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    one, two = recbole(tmp_path / "a", taste()), recbole(tmp_path / "b", taste())
    assert readers.digest(MOVIE, one) == readers.digest(MOVIE, two)
    recbole(two, taste(users=3))
    assert readers.digest(MOVIE, one) != readers.digest(MOVIE, two)


def test_an_unknown_reader_is_refused() -> None:
    with pytest.raises(BadConfig, match="recbole"):
        readers.read(MOVIE.model_copy(update={"reader": "excel"}), None)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(BadConfig, match="colour"):
        readers.read(_synthetic(colour=1), None)


def test_what_an_item_lacks_is_filled_from_what_it_has(tmp_path: Path) -> None:
    (tmp_path / "collection.tsv").write_text("d 1\t A  title\tSo \u00a0 long\nd2\tOnly\t\nd3\t \t\n")
    (tmp_path / "topics.tsv").write_text("q1\t why?\n")
    (tmp_path / "qrels").write_text("q1 0 d2 1\n")
    task = MOVIE.model_copy(update={"reader": "trec", "options": {}})
    assert readers.read(task, tmp_path).items.select("title", "text").rows() == [
        ("A title", "So long"),
        ("Only", "Only"),
        ("d3", "d3"),
    ]


def test_a_source_without_anything_to_learn_from_is_refused(tmp_path: Path) -> None:
    folder = recbole(tmp_path, [(1, 99, 3, 9)], items=2)
    lenient = MOVIE.model_copy(update={"options": {"unknown_items": "leave out"}})
    with pytest.raises(BadSource):
        readers.read(lenient, folder)
