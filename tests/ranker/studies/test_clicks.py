"""Clicks as a judged collection."""

from __future__ import annotations

from pathlib import Path

import pytest

from ranker.config import Task, task
from ranker.datasets import beir
from ranker.errors import BadConfig, StageMissing
from ranker.lake import Lake
from ranker.studies import clicks
from tests.ranker.traffic import days


def as_beir() -> Task:
    return task("synthetic").model_copy(update={"reader": "beir", "scenario": "passage", "options": {}})


def test_what_is_written_is_read_as_judgements_and_agrees_with_the_known_grades(
    lake: Lake, tmp_path: Path
) -> None:
    served = days(lake, 3, each=20)
    done = clicks.write(lake, tmp_path / "labels", "synthetic", 10, 0.4)
    read = beir.read(as_beir(), tmp_path / "labels")
    assert read.qrels is not None and read.queries is not None
    assert (read.queries.height, read.qrels.height) == (done["queries"], done["judged"])
    assert int((read.qrels["relevance"] > 0).sum()) == done["relevant"]
    grades = {True: [], False: []}
    for item, relevant in read.qrels.select("item_id", "relevance").iter_rows():
        query, place = item.removeprefix("q").split("-")
        grades[relevant > 0].append(int(served.people.grades[int(query), int(place)]))
    means = {relevant: sum(found) / len(found) for relevant, found in grades.items()}
    assert means[True] > means[False] + 0.8, means


def test_there_must_be_clicks_enough_and_an_empty_folder(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match="clicked often enough"):
        clicks.write(lake, tmp_path / "labels", "synthetic", 10, 0.3)
    assert not (tmp_path / "labels").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(BadConfig, match="empty folder"):
        clicks.write(lake, tmp_path / "full", "synthetic", 10, 0.3)
