"""Served episodes in files of their own, until they are collected."""

from __future__ import annotations

import fcntl
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ranker.engines import Sampling
from ranker.engines.scripted import ScriptedEngine
from ranker.serving.explore import Exploration, order
from ranker.serving.request_log import RequestLog, record
from ranker.strategies import strategy
from tests.ranker.factories import make_set, oracle


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_is_there_at_once_and_its_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    log = RequestLog(tmp_path / "served")
    assert not log.waiting
    log.add({"n": 1})
    (path,) = (tmp_path / "served").iterdir()
    assert lines(path) == [{"n": 1}] and log.waiting
    with path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    log.close()
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_behind_a_closed_file_the_next_line_begins_another(tmp_path: Path) -> None:
    log = RequestLog(tmp_path)
    for n in (1, 2):
        log.add({"n": n})
        log.close()
    log.close()
    assert [lines(path) for path in sorted(tmp_path.iterdir())] == [[{"n": 1}], [{"n": 2}]]


def test_a_record_is_json_and_says_what_was_asked_and_answered() -> None:
    given = make_set([0, 1, 2])
    (episode,) = strategy("iterative")([given], ScriptedEngine(oracle), thinking=True, sampling=Sampling(64))
    now = datetime.now(UTC)
    shown = order(episode.ranking, given.set_id, Exploration(1.0, 2))
    row = record(given, episode, shown, at=now, milliseconds=2.5, model="k/rl", version="3")
    again = json.loads(json.dumps(row))
    assert (again["set_id"], again["served_at"]) == (given.set_id, now.isoformat())
    assert (again["order"]["shown"], again["order"]["propensity"]) == (list(shown.labels), 0.5)
    assert (again["model"], again["version"], again["milliseconds"]) == ("k/rl", "3", 2.5)


def test_a_disk_that_takes_nothing_costs_lines_and_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk (the device that always is), then a folder that cannot be made; the log tells it once."""
    log = RequestLog(tmp_path / "served")
    assert log.add({"n": 1})
    log._file = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115
    assert not log.add({"n": 2})
    (tmp_path / "served").rename(tmp_path / "before")
    (tmp_path / "served").touch()
    assert not log.add({"n": 3})
    (tmp_path / "served").unlink()
    assert log.add({"n": 4})
    log.close()
    assert [lines(path) for path in (tmp_path / "served").iterdir()] == [[{"n": 4}]]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left on device" in caplog.text
