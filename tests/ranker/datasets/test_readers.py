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
