"""Curves while a training goes on: rows of the lake before the stage ends, and each point once."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from ranker.lake import open_lake
from ranker.train import curves
from ranker.train.curves import POINTS, Following


def logged(folder: Path, *rows: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with curves.path(folder, "sft").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_points_are_in_the_lake_while_training_goes_on_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curves, "EVERY_SECONDS", 0.0)
    folder, seen = tmp_path / "jobs" / "k", []
    with open_lake(tmp_path) as lake:

        def rows() -> list[tuple]:
            asked = "select step, name, value from training_metrics where batch_id = 'k' order by all"
            return lake.rows(asked).rows()

        def launched(*parts: dict) -> Following:
            following = Following(lake, folder, lambda text: None, lambda key, new: seen.append((key, new)))
            for part in parts:
                logged(folder, part)
                following.log("a sign of life")
            return following

        launched({"step": 5, "loss": 2.0}, {"step": 10, "loss": 1.0, "eval_rr": 0.5})
        assert rows() == [(5, "loss", 2.0), (10, "eval_rr", 0.5), (10, "loss", 1.0)]
        assert [new.height for _, new in seen] == [1, 2] and {key for key, _ in seen} == {"k"}
        with curves.path(folder, "sft").open("a") as file:
            file.write('{"step": 15, "lo')  # killed in the middle of a line
        again = launched()
        again.look()
        again.look()
        assert len(rows()) == 3, "a run that goes on doubles nothing"


def test_without_a_curve_there_are_no_points(tmp_path: Path) -> None:
    assert curves.read(tmp_path).equals(pl.DataFrame(schema=POINTS))
